# SPDX-License-Identifier: Apache-2.0
"""A broker in memory that speaks as much AMQP as a doctor asks for."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_END = b"\xce"


@dataclass
class FakeBroker:
    """What it is; a test changes it.

    Attributes:
        exchanges: those that there are.
        speaks: whether it speaks AMQP at all; else it says something else and stays.
        silent: whether it takes connections and says nothing.
        bound: (exchange, key) of what somebody listens to.
        listeners: connections, channels and tags that messages go to.
    """

    port: int = 0
    user: str = "bms"
    password: str = "a-broker's-password"
    vhost: str = "/"
    exchanges: set[str] = field(default_factory=lambda: {"ironic"})
    speaks: bool = True
    silent: bool = False
    bound: list[tuple[str, str]] = field(default_factory=list)
    listeners: list[tuple[socket.socket, int, str]] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def url(self, **other: str) -> str:
        """Its URL, as transport_url has it."""
        user, password = other.get("user", self.user), other.get("password", self.password)
        return f"rabbit://{user}:{password}@127.0.0.1:{self.port}{other.get('vhost', '/')}"

    def publish(self, body: bytes) -> None:
        """Brings *body* to whoever listens, in two frames."""
        for each, channel, tag in self.listeners:
            deliver = _short(tag) + struct.pack(">QB", 1, 0) + _short("ironic") + _short("k")
            each.sendall(_method(channel, 60, 60, deliver))
            each.sendall(_frame(2, channel, struct.pack(">HHQH", 60, 0, len(body), 0)))
            half = len(body) // 2
            each.sendall(_frame(3, channel, body[:half]) + _frame(3, channel, body[half:]))

    def serve(self, client: socket.socket) -> None:
        """One connection, to its end."""
        if self.silent:
            self.end.wait(20)
            return
        if not self.speaks:
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        _exactly(client, 8)
        client.sendall(_method(0, 10, 10, b"\0\x09" + _long(b"") + _long(b"PLAIN") + _long(b"en_US")))
        while True:
            kind, channel, size = struct.unpack(">BHI", _exactly(client, 7))
            payload = _exactly(client, size + 1)[:-1]
            if kind == 1:
                first, second = struct.unpack(">HH", payload[:4])
                client.sendall(self._answer(channel, (first, second), payload[4:], client))

    def _answer(self, channel: int, method: tuple[int, int], rest: bytes, client: socket.socket) -> bytes:
        if method == (10, 11):
            ours = f"\0{self.user}\0{self.password}".encode()
            if ours in rest:
                return _method(0, 10, 30, struct.pack(">HIH", 100, 131072, 60))
            return _method(0, 10, 50, struct.pack(">H", 403) + _short("ACCESS_REFUSED") + bytes(4))
        if method == (10, 40):
            if rest[1 : 1 + rest[0]].decode() == self.vhost:
                return _method(0, 10, 41, b"\0")
            return _method(0, 10, 50, struct.pack(">H", 530) + _short("NOT_ALLOWED - no such vhost") + bytes(4))
        if method == (20, 10):
            return _method(channel, 20, 11, _long(b""))
        if method == (40, 10):
            if rest[3 : 3 + rest[2]].decode() in self.exchanges:
                return _method(channel, 40, 11, b"")
            return _method(channel, 20, 40, struct.pack(">H", 404) + _short("NOT_FOUND") + bytes(4))
        if method == (50, 10):
            return _method(channel, 50, 11, _short("amq.gen-1") + bytes(8))
        if method == (50, 20):
            words = _words(rest, 3)
            self.bound.append((words[1], words[2]))
            return _method(channel, 50, 21, b"")
        if method == (60, 20):
            tag = _words(rest, 2)[1]
            self.listeners.append((client, channel, tag))
            return _method(channel, 60, 21, _short(tag))
        if method == (60, 30):
            return _method(channel, 60, 31, rest[: 1 + rest[0]])
        if method in ((10, 50), (20, 40)):
            return _method(channel, method[0], method[1] + 1, b"")
        return b""


@contextmanager
def fake_broker() -> Iterator[FakeBroker]:
    """A broker on a free port of the loopback, until the block ends."""
    broker = FakeBroker()
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker.port = server.getsockname()[1]

        def one(client: socket.socket) -> None:
            with client, suppress(OSError, EOFError, struct.error):
                broker.serve(client)

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield broker
        finally:
            broker.end.set()
            # Closing alone does not wake who waits in accept.
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _words(rest: bytes, count: int) -> list[str]:
    """The first strings of a method's arguments, behind its ticket."""
    words, at = [], 2
    for _ in range(count):
        words.append(rest[at + 1 : at + 1 + rest[at]].decode())
        at += 1 + rest[at]
    return words


def _exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = client.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + _END


def _method(channel: int, first: int, second: int, arguments: bytes) -> bytes:
    return _frame(1, channel, struct.pack(">HH", first, second) + arguments)


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _long(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw
