# SPDX-License-Identifier: Apache-2.0
"""Listens to Ironic's notifications, each of which makes us read its node now.

A queue of our own, which replicas share, is bound to Ironic's exchange: what is in it is handled by one of them. Every
message is acknowledged once it was handled, whatever came of that: one that cannot be understood is told of in the log
and never comes again; one whose node could not be read leaves it to the next listing. Several about one node that came
together lead to one reading.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from services.kernel.errors import BmsError, InvalidField
from services.lifecycle.observing.brokers import Brokers
from services.lifecycle.observing.hints import Hint, hint_of
from services.lifecycle.observing.observer import Observer
from services.runtime.rabbitmq import backoff, connect

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

_PREFETCH = 100
_WAIT_SECONDS = 1.0
_GATHER_SECONDS = 0.2
_MANY = 20
_QUEUE = {
    # Nobody listens any more: the broker need not keep them. The listing finds what they were about.
    "x-expires": 3_600_000,
    "x-max-length": 10_000,
}

_log = structlog.get_logger("bms.notifications")


@dataclass(slots=True)
class Listening:
    """One reader of the queue. Its loop's thread is the only one that touches the connection.

    Args:
        list_anew: called after every connection: what was told before is lost.
    """

    brokers: Brokers
    observer: Observer
    list_anew: Callable[[], None]
    _connection: BlockingConnection | None = None
    _channel: BlockingChannel | None = None
    _failures: int = 0
    _owed: list[tuple[int, bytes]] = field(default_factory=list)

    def tick(self, now: datetime) -> datetime:
        """Connects if it is not connected, and handles what comes within a second; answers when to come again."""
        from pika.exceptions import AMQPError

        try:
            if self._channel is None:
                self._connect()
            self._receive()
        except (AMQPError, OSError) as error:
            self.close()
            self._failures += 1
            pause = backoff(self._failures, random.random())  # noqa: S311 -- spreads replicas, protects nothing
            # By its class: what these say may quote the login.
            _log.warning("notifications.away", error=type(error).__name__, failures=self._failures, again=str(pause))
            return now + pause
        return now

    def close(self) -> None:
        """Ends the connection; what was not acknowledged goes to another replica, or comes again."""
        from pika.exceptions import AMQPError

        connection, self._connection, self._channel = self._connection, None, None
        self._owed.clear()
        if connection is not None:
            # Gone already, as often as not.
            with suppress(AMQPError, OSError):
                connection.close()

    def _connect(self) -> None:
        connection = connect(self.brokers.cluster, "bms-lifecycle")
        self._connection = connection
        channel = connection.channel()
        self._channel = _declare(connection, channel, self.brokers)
        self._channel.basic_qos(prefetch_count=_PREFETCH)
        self._channel.basic_consume(self.brokers.queue, self._on_message)
        self._failures = 0
        _log.info("notifications.connected", queue=self.brokers.queue)
        # Only now: whatever changes from here on is told, and whatever changed before is listed.
        self.list_anew()

    def _on_message(self, _channel: object, method: Any, _properties: object, body: bytes) -> None:
        self._owed.append((method.delivery_tag, body))

    def _receive(self) -> None:
        assert self._connection is not None
        self._connection.process_data_events(time_limit=_WAIT_SECONDS)
        if not self._owed:
            return
        # What belongs together comes together.
        self._connection.process_data_events(time_limit=_GATHER_SECONDS)
        owed, self._owed = self._owed, []
        self._handle([hint for tag, body in owed if (hint := _understood(tag, body)) is not None and hint.node])
        assert self._channel is not None
        self._channel.basic_ack(owed[-1][0], multiple=True)

    def _handle(self, hints: list[Hint]) -> None:
        nodes = list(dict.fromkeys(hint.node for hint in hints))
        try:
            if len(nodes) > _MANY:
                # One page costs less than so many questions.
                self.list_anew()
            elif nodes:
                self.observer.look(nodes)
                self.observer.judge()
            self.observer.hurry({hint.node for hint in hints if ".provision_set." in hint.type})
        except BmsError as error:
            _log.warning("notifications.not_handled", nodes=len(nodes), reason=error.reason, error=str(error))
            self.list_anew()


def _understood(tag: int, body: bytes) -> Hint | None:
    try:
        return hint_of(body)
    except InvalidField as error:
        # Never its body: people write anything into their nodes.
        _log.error("notifications.poison", delivery=tag, size=len(body), error=str(error))
        return None


def _declare(connection: BlockingConnection, channel: BlockingChannel, brokers: Brokers) -> BlockingChannel:
    """Our queue, bound to Ironic's exchange; answers the channel to go on with."""
    from pika.exceptions import ChannelClosedByBroker

    try:
        channel.exchange_declare(brokers.exchange, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        # Ironic makes it when it tells something for the first time, and after each restart of a broker: what it then
        # tells would be lost if nothing were bound to it.
        channel = connection.channel()
        channel.exchange_declare(brokers.exchange, "topic", durable=brokers.durable)
    channel.queue_declare(brokers.queue, durable=True, arguments=_QUEUE)
    channel.queue_bind(brokers.queue, brokers.exchange, f"{brokers.topic}.*")
    return channel
