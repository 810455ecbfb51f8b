# SPDX-License-Identifier: Apache-2.0
"""Stand-ins with state for what surrounds the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from telemetry.sandesh.decode import decode
from telemetry.sandesh.flat import UveView
from telemetry.sandesh.framing import frame
from telemetry.sandesh.header import Identity, header_of, header_text
from telemetry.sandesh.publication import uve_update
from telemetry.sandesh.reception import Announcement, Received
from telemetry.sandesh.uve import Outgoing
from tests.telemetry.sandesh.vectors import FULL

SENDER = FULL.sender


class Clock:
    """Microseconds since 1970, one more at each look."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now


class Store:
    """An analytics store in memory: the UVEs of each generator, as XML by attribute."""

    def __init__(self) -> None:
        self.uves: dict[tuple[str, str], dict[tuple[str, str], dict[str, str]]] = {}

    def take(self, message: Received) -> None:
        update = uve_update(message.message)
        if update is None:
            return
        told = self.uves.setdefault((update.table, update.key), {})
        place = (str(message.generator), update.struct)
        if update.deleted:
            told.pop(place, None)
        elif update.attributes:
            attributes = told.setdefault(place, {})
            attributes |= dict(update.attributes)
            attributes["__T"] = f'<__T type="u64">{update.timestamp}</__T>'

    def drop(self, generator: Identity) -> None:
        for told in self.uves.values():
            for place in [place for place in told if place[0] == str(generator)]:
                del told[place]

    def view(self, table: str, key: str) -> UveView:
        view = UveView()
        for (generator, struct), attributes in self.uves.get((table, key), {}).items():
            view.add(struct, generator, attributes)
        return view


class FakeSink:
    """A sink that remembers, and can be told to wait or to fail."""

    def __init__(self) -> None:
        self.store_ = Store()
        self.admitted: list[Announcement] = []
        self.messages: list[Received] = []
        self.forgotten: list[Identity] = []
        self.broken = False
        self.entered = 0
        self.open = asyncio.Event()
        self.open.set()
        self._changed = asyncio.Event()

    async def admit(self, announcement: Announcement) -> None:
        self.admitted.append(announcement)
        self._tell()

    async def store(self, message: Received) -> None:
        self.entered += 1
        self._tell()
        await self.open.wait()
        if self.broken:
            msg = "the disk is full"
            raise RuntimeError(msg)
        self.messages.append(message)
        self.store_.take(message)
        self._tell()

    async def forget(self, generator: Identity) -> None:
        self.forgotten.append(generator)
        self.store_.drop(generator)
        self._tell()

    def names(self) -> list[str]:
        return [message.message.body.name for message in self.messages]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something happened that makes *condition* true."""
        async with asyncio.timeout(10):
            while not condition():
                await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def received(outgoing: Outgoing, time: int = 1, sender: Identity = SENDER) -> Received:
    """A message as a collector would get it."""
    header = header_of(outgoing.message, sender, time, outgoing.sequence, sync=outgoing.sync)
    data = frame((header_text(header) + outgoing.body).encode())
    return Received(sender, decode(data), data, time)
