# SPDX-License-Identifier: Apache-2.0
"""Reads the queues that Ironic fills.

Ironic declares a queue for each level it tells on (``ironic_versioned_notifications.info``) when it first tells
something, and what it tells waits there: the old daemon read these queues, so does this. They are taken as they are,
durable, quorum or neither; nothing of Ironic's is declared here, since what was declared otherwise would keep Ironic
from telling anything.

Each message is acknowledged once it was handled. What is no notification is parked with its reason in a queue of our
own and acknowledged: it does not come again. Of several bridges one reads: whoever has the queue that only one
connection can have.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import structlog

from services.runtime.rabbitmq import Cluster, backoff, connect

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

NAME: Final = "ironic-notification-manager"
TURN: Final = f"{NAME}.active"
PARKED: Final = f"{NAME}.parked"
PREFETCH: Final = 100
_WAIT: Final = 1.0
_TURN_AGAIN: Final = 15.0
"""Seconds between two looks for our turn: the broker complains of each in its log."""
_LOOK: Final = 5.0
"""Seconds between the first two looks for a queue that is not there yet."""
_SELDOM: Final = {"info": 60.0, "error": 300.0}
_NEVER_YET: Final = 3600.0
"""The longest between two looks, by the queue's level: twice as long each time, since the broker complains of each in
its log. No Ironic has told anything on the other levels so far."""
_REFUSED, _NOT_FOUND, _LOCKED, _OTHERWISE = 403, 404, 405, 406
_PARKED: Final = {
    # As much as somebody will look at, and no longer than he may wait with it: bodies may hold what is secret.
    "x-max-length": 1_000,
    "x-max-length-bytes": 64 << 20,
    "x-message-ttl": 7 * 86_400_000,
}

_log = structlog.get_logger("bms.notifications")


class Ear(Enum):
    """How listening goes."""

    AWAY = "away"
    STANDBY = "standby"
    ACTIVE = "active"


@dataclass(slots=True)
class Listening:
    """One reader in a thread of its own, which alone touches the connection.

    Args:
        queues: in the order in which they are looked for.
        handle: takes bodies in the order they came; answers for each why it is to be parked, "" if it is not.
        told: is told how listening goes whenever that changes, and why; ACTIVE once everything that is there was
            subscribed to, and again after each connection.
    """

    cluster: Cluster
    queues: Sequence[str]
    handle: Callable[[list[bytes]], list[str]]
    told: Callable[[Ear, str], None]
    _connection: BlockingConnection | None = None
    _channel: BlockingChannel | None = None
    _reading: set[str] = field(default_factory=set)
    _owed: list[tuple[Any, str, bytes]] = field(default_factory=list)
    _parks: bool = False
    _failures: int = 0
    _looks: dict[str, tuple[float, float]] = field(default_factory=dict)
    _said: bool = False
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins."""
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after what is in hand; what was not acknowledged goes to another bridge, or comes again."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _run(self) -> None:
        from pika.exceptions import AMQPError

        while not self._stopping.is_set():
            try:
                self._step()
            except (AMQPError, OSError, ValueError) as error:
                # By its class: what these say may quote the login. ValueError: a certificate that cannot be read.
                code = getattr(error, "reply_code", None)
                self._lost(type(error).__name__ + (f" ({code})" if code else ""))
            except Exception as error:  # noqa: BLE001 -- a defect of ours must not end listening without a word
                _log.exception("notifications.failed")
                self._lost(type(error).__name__)
        self._close()

    def _step(self) -> None:
        """What is to be done next."""
        if self._connection is None:
            self._connection = connect(self.cluster, NAME)
        if self._channel is None and not self._take_turn():
            self.told(Ear.STANDBY, "another bridge reads")
            again = time.monotonic() + _TURN_AGAIN
            while time.monotonic() < again and not self._stopping.is_set():
                # Its heartbeats must be answered while we wait.
                self._connection.process_data_events(time_limit=_WAIT)
            return
        self._subscribe()
        self._connection.process_data_events(time_limit=_WAIT)
        self._take()

    def _take_turn(self) -> bool:
        from pika.exceptions import ChannelClosedByBroker

        assert self._connection is not None
        channel = self._connection.channel()
        try:
            # Only one connection can have it, and it goes with that connection.
            channel.queue_declare(TURN, exclusive=True, auto_delete=True)
        except ChannelClosedByBroker as error:
            if error.reply_code == _LOCKED:
                return False
            if error.reply_code != _REFUSED:
                raise
            # A login that may read and nothing else: it must be the only one.
            _log.warning("notifications.no_turn", code=error.reply_code)
            channel = self._connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.add_on_cancel_callback(self._cancelled)
        self._channel = channel
        self._parks = self._can_park()
        _log.info("notifications.active")
        return True

    def _subscribe(self) -> None:
        """To the queues that are there by now."""
        from pika.exceptions import ChannelClosedByBroker

        assert self._connection is not None
        assert self._channel is not None
        before, now = set(self._reading), time.monotonic()
        for queue in self.queues:
            due, pause = self._looks.get(queue, (0.0, _LOOK))
            if queue in self._reading or now < due:
                continue
            longest = _SELDOM.get(queue.rpartition(".")[2], _NEVER_YET)
            self._looks[queue] = (now + pause, min(2 * pause, longest))
            looking = self._connection.channel()
            try:
                looking.queue_declare(queue, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code != _NOT_FOUND:
                    raise
                continue
            looking.close()
            self._channel.basic_consume(queue, self._on_message, consumer_tag=queue)
            self._reading.add(queue)
        if not self._said or self._reading != before:
            self._said, self._failures = True, 0
            _log.info("notifications.reading", queues=sorted(self._reading))
            what = "" if self._reading else f"Ironic has told nothing yet: there is no queue {self.queues[-1]}"
            self.told(Ear.ACTIVE, what)

    def _cancelled(self, frame: Any) -> None:
        """A queue is gone: somebody deleted it, or its node ended. It is looked for again."""
        self._reading.discard(frame.method.consumer_tag)
        self._looks.clear()
        self._said = False
        _log.warning("notifications.queue_gone", queue=frame.method.consumer_tag)

    def _on_message(self, _channel: object, method: Any, _properties: object, body: bytes) -> None:
        self._owed.append((method.delivery_tag, method.consumer_tag, body))

    def _take(self) -> None:
        if not self._owed:
            return
        assert self._channel is not None
        owed, self._owed = self._owed, []
        reasons = self.handle([body for _, _, body in owed])
        for (_, queue, body), reason in zip(owed, reasons, strict=True):
            if reason:
                self._park(queue, body, reason)
        self._channel.basic_ack(owed[-1][0], multiple=True)

    # --- what is no notification -----------------------------------------------------------------

    def _can_park(self) -> bool:
        from pika.exceptions import ChannelClosedByBroker

        assert self._connection is not None
        channel = self._connection.channel()
        try:
            channel.queue_declare(PARKED, durable=True, arguments=_PARKED)
        except ChannelClosedByBroker as error:
            if error.reply_code == _OTHERWISE:
                # Somebody declared it to his liking.
                return True
            _log.warning("notifications.not_parking", code=error.reply_code)
            return False
        channel.close()
        return True

    def _park(self, queue: str, body: bytes, reason: str) -> None:
        import pika

        # Never its body: people write anything into their nodes.
        _log.error("notifications.poison", queue=queue, size=len(body), error=reason, parked=self._parks)
        if self._parks:
            assert self._channel is not None
            headers = {"reason": reason, "queue": queue}
            properties = pika.BasicProperties(delivery_mode=2, headers=headers)
            self._channel.basic_publish("", PARKED, body, properties)

    # --- ends ------------------------------------------------------------------------------------

    def _lost(self, why: str) -> None:
        """Begins anew after a pause."""
        self._close()
        self._failures += 1
        pause = backoff(self._failures, random.random()).total_seconds()  # noqa: S311 -- spreads bridges, protects nothing
        _log.warning("notifications.away", error=why, failures=self._failures, again=round(pause, 1))
        self.told(Ear.AWAY, why)
        self._stopping.wait(pause)

    def _close(self) -> None:
        from pika.exceptions import AMQPError

        connection, self._connection, self._channel = self._connection, None, None
        self._owed.clear()
        self._reading.clear()
        self._looks.clear()
        self._said = False
        if connection is not None:
            # Gone already, as often as not.
            with suppress(AMQPError, OSError):
                connection.close()
