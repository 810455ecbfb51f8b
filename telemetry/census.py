# SPDX-License-Identifier: Apache-2.0
"""Tells of every generator that connects to our collector what a genuine collector tells (``ModuleServerState``).

That a session began or ended is told at once, what was sent once a minute. The collector tells it, so it stays when the
generator goes: that it went is just what people want to see. It is a UVE alone and no message of the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from telemetry.sandesh.collector import GeneratorState
from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.reception import Announcement, Received
from telemetry.sandesh.server_state import SANDESH_MODULE_SERVER_TRACE, GeneratorRecord, connects, counts
from telemetry.sink import StoreSink

MINUTE: Final = 60.0
GONE_MICROS: Final = 24 * 3600 * 1_000_000
"""How long it is told of a generator that has left."""
AT_ONCE: Final = 20
"""Generators that are told of in one go; a statement for each would keep messages waiting."""
MOST_GONE: Final = 1000
"""Generators that have left of which it is told; the first that left are forgotten first."""


class Census:
    """A `telemetry.sandesh.collector.Sink` in front of *sink*, which writes what is told.

    Attributes:
        sessions: the generators that are connected now, told by the collector.

    Args:
        collector: who tells.
        clock: gives microseconds since 1970.
    """

    def __init__(self, sink: StoreSink, collector: Identity, clock: Callable[[], int]) -> None:
        self._sink = sink
        self._collector = collector
        self._clock = clock
        self._records: dict[Identity, GeneratorRecord] = {}
        self._news: set[Identity] = set()
        self._told = 0
        self.sessions: Callable[[], Iterable[GeneratorState]] = tuple

    async def admit(self, announcement: Announcement) -> None:
        """See `Sink`."""
        await self._sink.admit(announcement)
        # The newest to come or go is the last of all.
        record = self._records.pop(announcement.identity, None) or GeneratorRecord()
        self._records[announcement.identity] = record
        record.connects += 1
        record.connect_time = self._clock()
        await self._tell([connects(announcement.identity, record, self._collector.source)])

    async def store(self, message: Received) -> None:
        """See `Sink`."""
        record = self._records.get(message.generator)
        if record is not None:
            record.count(message)
            self._news.add(message.generator)
        await self._sink.store(message)

    async def forget(self, generator: Identity) -> None:
        """See `Sink`."""
        record = self._records.pop(generator, None)
        if record is not None:
            self._records[generator] = record
            record.resets += 1
            record.reset_time = self._clock()
        await self._sink.forget(generator)
        if record is not None:
            await self._tell([connects(generator, record, self._collector.source)])

    async def run(self) -> None:
        """Tells what was sent, every minute until it is cancelled."""
        while True:
            await asyncio.sleep(MINUTE)
            await self.tell()

    async def tell(self) -> None:
        """Tells what was sent since this was done last, and forgets who left long ago."""
        news, self._news = self._news, set()
        sessions = {state.announcement.identity: state for state in self.sessions()}
        waiting = sorted(news & self._records.keys(), key=str)
        for begin in range(0, len(waiting), AT_ONCE):
            some = waiting[begin : begin + AT_ONCE]
            host = self._collector.source
            await self._tell([counts(one, self._records[one], host, sessions.get(one)) for one in some])
            await asyncio.sleep(0)  # others have a turn
        gone = [generator for generator, record in self._records.items() if not record.connected]
        long_ago = self._clock() - GONE_MICROS
        for number, generator in enumerate(gone):
            record = self._records[generator]
            if record.connected:
                continue  # it came again while this was told
            if len(gone) - number > MOST_GONE or record.reset_time <= long_ago:
                del self._records[generator]
                await self._tell([{"name": str(generator), "deleted": True}])

    async def _tell(self, values: Iterable[dict[str, Any]]) -> None:
        await self._sink.tell(self._collector, [self._message(each) for each in values])

    def _message(self, values: dict[str, Any]) -> Received:
        self._told += 1
        now = self._clock()
        header = header_of(SANDESH_MODULE_SERVER_TRACE, self._collector, now, self._told)
        made = encode(header, SANDESH_MODULE_SERVER_TRACE, {"data": values})
        return Received(self._collector, decode(made), made, now)
