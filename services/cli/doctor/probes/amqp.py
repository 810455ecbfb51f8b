# SPDX-License-Identifier: Apache-2.0
"""As much of AMQP 0-9-1 as it takes to log in, to ask for an exchange, and to hear one message."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

_METHOD, _HEADER, _BODY, _HEARTBEAT, _END = 1, 2, 3, 8, 0xCE
_START, _START_OK, _TUNE, _TUNE_OK, _OPEN, _OPEN_OK, _CLOSE, _CLOSE_OK = (
    (10, 10), (10, 11), (10, 30), (10, 31), (10, 40), (10, 41), (10, 50), (10, 51),
)  # fmt: skip
_CHANNEL_OPEN, _CHANNEL_OPEN_OK, _CHANNEL_CLOSE = (20, 10), (20, 11), (20, 40)
_EXCHANGE, _EXCHANGE_OK = (40, 10), (40, 11)
_QUEUE, _QUEUE_OK, _BIND, _BIND_OK = (50, 10), (50, 11), (50, 20), (50, 21)
_CONSUME, _CONSUME_OK, _DELIVER = (60, 20), (60, 21), (60, 60)
_LARGEST = 16 * 1024 * 1024


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
    """A connection to a broker, with one channel. A context manager.

    Args:
        ca: the CA file of its certificate; empty for the system's.
        seconds: how long any answer may take.

    Raises:
        OSError: there is no connection.
    """

    def __init__(self, address: Address, seconds: float, ca: str = "") -> None:
        self._address = address
        self._seconds = seconds
        self._socket: socket.socket = socket.create_connection((address.host, address.port), timeout=seconds)
        if address.tls:
            context = ssl.create_default_context(cafile=ca or None)
            self._socket = context.wrap_socket(self._socket, server_hostname=address.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def log_in(self) -> None:
        """Says who we are, and opens the virtual host and a channel.

        Raises:
            Refused: it does not let us.
            NoBroker: see there.
        """
        address = self._address
        try:
            self._socket.sendall(b"AMQP\x00\x00\x09\x01")
            self._await(_START)
            # That we may be told why, rather than cut off.
            told = _table({"authentication_failure_close": True, "consumer_cancel_notify": True})
            properties = _long(_short_string("capabilities") + b"F" + told)
            response = f"\0{address.user}\0{address.password}".encode()
            self._send(0, _START_OK, properties + _short_string("PLAIN") + _long(response) + _short_string("en_US"))
            channels, largest, _ = struct.unpack(">HIH", self._await(_TUNE)[:8])
            self._send(0, _TUNE_OK, struct.pack(">HIH", channels, largest, 0))
            self._send(0, _OPEN, _short_string(address.vhost) + b"\0\0")
            self._await(_OPEN_OK)
            self._send(1, _CHANNEL_OPEN, b"\0")
            self._await(_CHANNEL_OPEN_OK)
        except (ConnectionError, EOFError):
            raise NoBroker("it ends the connection before we are logged in") from None

    def has_exchange(self, name: str) -> bool:
        """Whether there is an exchange called *name*. Asked for what is not there, the broker ends the channel."""
        passive = b"\0\0" + _short_string(name) + _short_string("topic") + b"\x01" + _table({})
        try:
            self._send(1, _EXCHANGE, passive)
            self._await(_EXCHANGE_OK)
        except Refused as error:
            if error.code == 404:
                return False
            raise
        return True

    def listen(self, exchange: str, key: str) -> None:
        """Has messages of *exchange* with *key* brought to us, through a queue that goes with the connection."""
        # A name of the broker's own choice; exclusive (4) and deleted with its reader (8).
        self._send(1, _QUEUE, b"\0\0" + _short_string("") + bytes([4 | 8]) + _table({}))
        answer = self._await(_QUEUE_OK)
        queue = answer[1 : 1 + answer[0]].decode()
        self._send(
            1, _BIND, b"\0\0" + _short_string(queue) + _short_string(exchange) + _short_string(key) + b"\0" + _table({})
        )
        self._await(_BIND_OK)
        # Nothing is acknowledged (2).
        self._send(1, _CONSUME, b"\0\0" + _short_string(queue) + _short_string("") + bytes([2]) + _table({}))
        self._await(_CONSUME_OK)

    def messages(self, seconds: float) -> Iterator[bytes]:
        """The bodies of messages as they come, until *seconds* have passed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                kind, _, payload = self._frame()
                if kind == _METHOD:
                    self._method(payload)
                if kind != _HEADER:
                    continue
                size = struct.unpack(">Q", payload[4:12])[0]
                body = b""
                while len(body) < size:
                    body += self._frame()[2]
            except TimeoutError:
                return
            finally:
                self._socket.settimeout(self._seconds)
            yield body

    # ---- frames -----------------------------------------------------------------------------------------------------

    def _send(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        payload = struct.pack(">HH", *method) + arguments
        self._socket.sendall(struct.pack(">BHI", _METHOD, channel, len(payload)) + payload + bytes([_END]))

    def _await(self, method: tuple[int, int]) -> bytes:
        """The arguments of *method*, the answer that has to come."""
        while True:
            kind, _, payload = self._frame()
            if kind != _METHOD:
                continue
            found, arguments = self._method(payload)
            if found == method:
                return arguments

    def _method(self, payload: bytes) -> tuple[tuple[int, int], bytes]:
        first, second = struct.unpack(">HH", payload[:4])
        if (first, second) in (_CLOSE, _CHANNEL_CLOSE):
            code = struct.unpack(">H", payload[4:6])[0]
            raise Refused(code, payload[7 : 7 + payload[6]].decode(errors="replace"))
        return (first, second), payload[4:]

    def _frame(self) -> tuple[int, int, bytes]:
        head = self._exactly(7)
        kind, channel, size = struct.unpack(">BHI", head)
        if head[:4] == b"AMQP" or size > _LARGEST:
            raise NoBroker("what answers speaks no AMQP 0-9-1")
        payload = self._exactly(size + 1)
        if payload[-1] != _END:
            raise NoBroker("what answers speaks no AMQP 0-9-1")
        return kind, channel, payload[:-1]

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self._socket.recv(count - len(found))
            if not part:
                raise EOFError
            found += part
        return found


def _short_string(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw


def _long(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def _table(values: dict[str, bool]) -> bytes:
    return _long(b"".join(_short_string(name) + b"t" + bytes([value]) for name, value in values.items()))
