# SPDX-License-Identifier: Apache-2.0
"""An asyncio loop in an actor: its time is the simulation's, connections are pipes in memory, and it has no threads."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
from collections.abc import Callable
from typing import Any

from tests.simulation.engine import Event, Simulation

_LEAST = 1e-6


class _Selector(selectors.BaseSelector):
    """Waits for the simulation's time, or for somebody who calls from outside."""

    def __init__(self, news: Event) -> None:
        self._news = news
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self.leaving = False
        self.skipped = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.leaving:
            self.skipped += (timeout or 0.0) + _LEAST
        elif timeout is None or timeout > 0:
            # Never less than the clock's least step: a timer would be a hair too early for ever.
            self._news.wait(None if timeout is None else timeout + _LEAST)
        self._news.clear()
        return []

    def get_map(self) -> Any:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._outside = sim.event()
        self._ports: dict[int, Callable[[], asyncio.BaseProtocol]] = {}
        self._pipes: list[Pipe] = []
        self._taken = 0
        # Sockets' options are set on a genuine one that leads nowhere.
        self._socket = socket.socket()
        self._selector_ = _Selector(self._outside)
        super().__init__(self._selector_)

    def time(self) -> float:
        """Seconds of the simulation; when leaving, whatever is waited for is over at once."""
        return self._sim.seconds() + self._selector_.skipped

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]  # as wide as it is used
        """Also from other actors: only one runs at a time."""
        self._outside.set()
        return super().call_soon(callback, *args, context=context)

    def _write_to_self(self) -> None:
        self._outside.set()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # as wide as it is used
        """Runs *func* at once: an actor is one thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 -- whoever awaits it gets it
            future.set_exception(error)
        return future

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Listens at a port of this loop."""
        self._taken += 1
        self._ports[self._taken] = protocol_factory
        return _Listening(self, self._taken)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Connects to a port of this loop."""
        await asyncio.sleep(0)
        if port not in self._ports:
            raise ConnectionRefusedError
        near, far = protocol_factory(), self._ports[port]()
        here, there = Pipe(self, near, self._socket), Pipe(self, far, self._socket)
        here.other, there.other = there, here
        self._pipes += [here, there]
        far.connection_made(there)
        near.connection_made(here)
        return here, near

    def cut(self) -> None:
        """Breaks every connection; what was under way is lost."""
        pipes, self._pipes = self._pipes, []
        for pipe in pipes:
            pipe.abort()

    def leave(self) -> None:
        """The end: what is pending is cancelled, and whatever its last lines wait for, does not hold it up."""
        self._selector_.leaving = True
        pending = asyncio.all_tasks(self)
        for task in pending:
            task.cancel()
        self.set_exception_handler(lambda _loop, _context: None)
        if pending:
            with contextlib.suppress(BaseException):
                self.run_until_complete(asyncio.wait(pending))
        for task in pending:
            if task.done() and not task.cancelled():
                task.exception()
        self._socket.close()
        self.close()


class _Listening:
    """As much of an asyncio.Server as the collector uses."""

    def __init__(self, loop: VirtualLoop, port: int) -> None:
        self._loop = loop
        self._port = port

    @property
    def sockets(self) -> list[_Listening]:
        return [self]

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def close(self) -> None:
        self._loop._ports.pop(self._port, None)

    async def wait_closed(self) -> None:
        """Is closed at once."""


class Pipe(asyncio.Transport):
    """One end of a connection in memory."""

    def __init__(self, loop: VirtualLoop, protocol: Any, sock: socket.socket) -> None:
        super().__init__({"socket": sock, "peername": ("127.0.0.1", 1)})
        self._loop = loop
        self._protocol = protocol
        self._closed = False
        self.other: Pipe | None = None

    def write(self, data: Any) -> None:
        """Brings *data* to the other end, a moment later."""
        if not self._closed and self.other is not None:
            self._loop.call_soon(self.other._arrive, bytes(data))

    def _arrive(self, data: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(data)

    def close(self) -> None:
        """Ends it for both, after what is under way."""
        self._loop.call_soon(self._part, None)

    def abort(self) -> None:
        """Ends it for both."""
        self._part(ConnectionResetError())

    def _part(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon(self._protocol.connection_lost, error)
        if self.other is not None:
            self.other._part(error)

    def is_closing(self) -> bool:
        return self._closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is room."""

    def pause_reading(self) -> None:
        """What arrives is taken."""

    def resume_reading(self) -> None:
        """As above."""

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def can_write_eof(self) -> bool:
        return False
