# SPDX-License-Identifier: Apache-2.0
"""Reads back what was sent to a genuine collector: what is there leaves the outbox, what is missing is sent again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from telemetry.patience import patiently
from telemetry.publisher import Publisher
from telemetry.readback import UnreadableError
from telemetry.store import Store, audits
from telemetry.store.audits import Tally
from telemetry.underway import Sent

LOOK_SECONDS: Final = 15.0
SETTLE_SECONDS: Final = 20.0
"""How long analytics may take to have what a collector took, before it is asked."""
MISSING_SECONDS: Final = 90.0
"""After how long what is not there is believed to be missing."""
TRIES: Final = 5
"""How often a message is sent before it is given up, as an error."""
CHUNK: Final = 1000
_SECOND: Final = 1_000_000

_log = structlog.get_logger("bms.audit")


class Reader(Protocol):
    """A site's analytics (`telemetry.readback.Analytics`)."""

    async def object_logs(self, start: int, end: int) -> Counter[str]:
        """How often each event's object log is there, of those sent between two times.

        Raises:
            UnreadableError: it does not answer, or refuses.
        """
        ...


class Audit:
    """Looks again and again.

    Args:
        clock: gives microseconds since 1970.
        told: called with what is wrong with asking, "" when it answers.
        pace: divides all times, for tests.
    """

    def __init__(
        self,
        publisher: Publisher,
        reader: Reader,
        store: Store,
        clock: Callable[[], int],
        told: Callable[[str], None] = lambda _: None,
        *,
        pace: float = 1.0,
    ) -> None:
        self._publisher = publisher
        self._reader = reader
        self._store = store
        self._clock = clock
        self._told = told
        self._pace = pace
        self.tally = Tally()
        """What this process found."""

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS / self._pace)
            await patiently(self.look, "audit")

    async def look(self) -> None:
        """Asks once about everything that was sent long enough ago."""
        due = self._publisher.underway.older(SETTLE_SECONDS / self._pace)
        for start in range(0, len(due), CHUNK):
            part = due[start : start + CHUNK]
            try:
                # A header is written a moment after the time noted here.
                found = await self._reader.object_logs(part[0].time - _SECOND, part[-1].time + 5 * _SECOND)
            except UnreadableError as error:
                _log.warning("audit.unreadable", error=str(error))
                self._told(str(error))
                return
            self._told("")
            await self._judge(part, found)

    async def _judge(self, part: Sequence[Sent], found: Counter[str]) -> None:
        last = self._clock() - round(MISSING_SECONDS / self._pace * _SECOND)
        there = [sent for sent in part if found[sent.event_id]]
        missing = [sent for sent in part if not found[sent.event_id] and sent.time <= last]
        lost = [sent for sent in missing if sent.tries >= TRIES]
        again = [sent for sent in missing if sent.tries < TRIES]
        for sent in lost:
            _log.error("audit.lost", event_id=sent.event_id, tries=sent.tries)
        if again:
            _log.warning("audit.hole", messages=len(again), first=again[0].event_id)
        tally = Tally(
            found=len(there),
            duplicates=sum(found[sent.event_id] - 1 for sent in there),
            holes=len(again),
            lost=len(lost),
            seen_time=self._clock(),
        )
        await self._store.write(lambda tx: audits.add(tx, tally), "audit")
        self.tally += tally
        await self._publisher.confirm([*there, *lost])
        self._publisher.repeat(again)
