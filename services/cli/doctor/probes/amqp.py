# SPDX-License-Identifier: Apache-2.0
"""A broker as the doctor asks it: a login, an exchange, one message. pika speaks AMQP; here are words for people."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingConnection

_CLOSED = re.compile(r"\((\d+)\) '(.*)'", re.DOTALL)
"""How pika quotes the code and the text with which a broker ends something."""


class Refused(Exception):
    """The broker will not.

    Attributes:
        code: of AMQP: 403 for a login or a right, 404 for what is not there.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class NoBroker(Exception):
    """What answers does not speak AMQP, or stopped in the middle."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is, and the login; see `parse`."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    tls: bool

    def __repr__(self) -> str:
        """Leaves out the login."""
        return f"Address({self.shown!r})"

    @property
    def shown(self) -> str:
        """``host:port`` and the virtual host, for people."""
        return f"{self.host}:{self.port}{'' if self.vhost == '/' else f'/{self.vhost}'}"


def parse(url: str) -> Address:
    """The address in ``rabbit://user:password@host:port/vhost``, as oslo.messaging writes it; the first of several.

    Raises:
        ValueError: it is not of that form; the text says nothing of what is in it.
    """
    first, _, _ = url.strip().partition(",")
    parts = urlsplit(first)
    schemes = {"rabbit": False, "amqp": False, "kombu": False, "rabbits": True, "amqps": True}
    if parts.scheme not in schemes or not parts.hostname:
        msg = "it is not of the form rabbit://user:password@host:port/vhost"
        raise ValueError(msg)
    tls = schemes[parts.scheme]
    try:
        port = parts.port or (5671 if tls else 5672)
    except ValueError:
        msg = "its port is no number"
        raise ValueError(msg) from None
    # The virtual host stands behind the last of several addresses.
    last = url.strip().rpartition(",")[2]
    path = urlsplit(last if "://" in last else f"//{last}").path
    return Address(
        parts.hostname, port, unquote(parts.username or "guest"), unquote(parts.password or "guest"),
        unquote(path.removeprefix("/")) or "/", tls,
    )  # fmt: skip


class Broker:
    """A connection to a broker, logged in. A context manager.

    What it waits for once it is logged in has no time of its own: the doctor waits for no section beyond its limit.

    Args:
        ca: the CA file of its certificate; empty for the system's.
        seconds: how long it may take until we are logged in.

    Raises:
        OSError: there is no connection; ssl.SSLError, TimeoutError: because of that.
        Refused: it does not let us in.
        NoBroker: see there.
    """

    def __init__(self, address: Address, seconds: float, ca: str = "") -> None:
        # What it warns of is told as a finding, without the login that its lines may quote.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._connection = _connected(address, seconds, ca)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from pika.exceptions import AMQPError

        # Gone already, as often as not.
        with suppress(AMQPError, OSError):
            self._connection.close()

    def has_exchange(self, name: str) -> bool:
        """Whether there is an exchange called *name*."""
        try:
            self._asked(lambda channel: channel.exchange_declare(name, "topic", passive=True))
        except Refused as error:
            if error.code == 404:
                return False
            raise
        return True

    def listen(self, exchange: str, key: str) -> list[bytes]:
        """Has messages of *exchange* with *key* brought to us, through a queue that goes with the connection.

        They come to the answered list, when `messages` waits for them.
        """
        heard: list[bytes] = []

        def begin(channel: Any) -> None:
            queue = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
            channel.queue_bind(queue, exchange, key)
            channel.basic_consume(queue, lambda *message: heard.append(message[-1]), auto_ack=True)

        self._asked(begin)
        return heard

    def messages(self, heard: list[bytes], seconds: float) -> Iterator[bytes]:
        """The bodies of messages as they come to what `listen` answered, until *seconds* have passed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not heard:
                self._asked(lambda _: self._connection.process_data_events(time_limit=left), anew=False)
            while heard:
                yield heard.pop(0)

    def _asked(self, ask: Any, *, anew: bool = True) -> None:
        from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

        try:
            ask(self._connection.channel() if anew else None)
        except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
            raise Refused(error.reply_code, error.reply_text) from None
        except AMQPError:
            raise NoBroker("it ends the connection in the middle") from None


def _connected(address: Address, seconds: float, ca: str) -> BlockingConnection:
    import pika
    from pika import exceptions
    from pika.adapters.utils import connection_workflow as workflow

    tls = None
    if address.tls:
        tls = pika.SSLOptions(ssl.create_default_context(cafile=ca or None), address.host)
    wanted = pika.ConnectionParameters(
        host=address.host, port=address.port, virtual_host=address.vhost, ssl_options=tls,
        credentials=pika.PlainCredentials(address.user, address.password, erase_on_connect=True),
        heartbeat=0, socket_timeout=seconds, stack_timeout=seconds, connection_attempts=1,
    )  # fmt: skip
    try:
        return pika.BlockingConnection(wanted)
    except (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError) as error:
        told = _CLOSED.search(str(error))
        if told is None:
            raise NoBroker("it ends the connection before we are logged in") from None
        raise Refused(int(told[1]), told[2]) from None
    except (exceptions.IncompatibleProtocolError, exceptions.ProtocolSyntaxError):
        raise NoBroker("what answers speaks no AMQP 0-9-1") from None
    except workflow.AMQPConnectorStackTimeout:
        raise TimeoutError from None
    except exceptions.AMQPError as error:
        # No connection: pika wraps what the system said.
        inner = next(iter(error.args), None)
        cause = getattr(inner, "exception", None)
        raise cause if isinstance(cause, OSError) else ConnectionError from None
