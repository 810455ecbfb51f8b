# SPDX-License-Identifier: Apache-2.0
"""Lets many follow the events as they are kept, each from where he left off.

Events that were just kept are held in batches, serialised once for all watchers. A watcher first reads from the store
what is behind its token, then moves from batch to batch. One that falls behind the oldest batch is told so, with the
token to go on from; nothing is ever skipped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from bms.telemetry.v1 import telemetry_pb2
from services.kernel.errors import Exhausted, InvalidField, PeerUnavailable
from services.runtime.database import Transaction
from telemetry.events import SERVICES
from telemetry.patience import patiently
from telemetry.store import Store
from telemetry.store import events as kept
from telemetry.store.events import Chosen, EventRow
from telemetry.tokens import from_token, to_token

PAGE: Final = 500
POLL_SECONDS: Final = 1.0
"""How often the store is looked at without being told: another replica may have followed."""
HEARTBEAT_SECONDS: Final = 15.0
HELD_EVENTS: Final = 20_000
HELD_BYTES: Final = 64 * 1024 * 1024

_EVERYTHING: Final = Chosen()
_EVENTS_TAG = bytes([telemetry_pb2.WatchEventsResponse.EVENTS_FIELD_NUMBER << 3 | 2])
_TOKEN_TAG = bytes([telemetry_pb2.WatchEventsResponse.TOKEN_FIELD_NUMBER << 3 | 2])
_SERVICE_TAG = bytes([telemetry_pb2.SourcedEvent.SERVICE_FIELD_NUMBER << 3 | 2])
_EVENT_TAG = bytes([telemetry_pb2.SourcedEvent.EVENT_FIELD_NUMBER << 3 | 2])

_log = structlog.get_logger("bms.watch")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A WatchEventsResponse that is bytes already."""

    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 -- as messages have it
        """The bytes."""
        return self.data


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that were kept together.

    Attributes:
        rows: in order of arrival.
        encoded: each as a field of a WatchEventsResponse.
        whole: the response that holds them all.
        vector: how far each log was read with them.
    """

    rows: tuple[EventRow, ...]
    encoded: tuple[bytes, ...]
    whole: Encoded
    vector: Mapping[str, int]


class Hub:
    """Where watchers get their events.

    Args:
        held_events, held_bytes: how much is held for watchers that are behind.
        heartbeat_seconds: how often a watcher without news gets an empty batch.
    """

    def __init__(
        self,
        store: Store,
        *,
        held_events: int = HELD_EVENTS,
        held_bytes: int = HELD_BYTES,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._held_events = held_events
        self._held_bytes = held_bytes
        self._heartbeat = heartbeat_seconds
        self._batches: deque[Batch] = deque()
        self._first = 0
        self._events = 0
        self._bytes = 0
        self._heads = dict.fromkeys(SERVICES, 0)
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._draining = False
        self._looking = asyncio.Lock()

    async def start(self) -> None:
        """Finds out how far each log was read; must end before anybody watches."""
        self._heads = _later({}, await self._store.read(kept.positions))

    def wake(self) -> None:
        """Says that there may be news in the store."""
        self._wanted.set()

    async def run(self) -> None:
        """Looks for news until it is cancelled."""
        while True:
            self._wanted.clear()
            await patiently(self.refresh, "watch")
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Holds what was kept since the last look."""
        async with self._looking:
            while await self._look():
                pass

    async def _look(self) -> bool:
        heads = dict(self._heads)

        def look(tx: Transaction) -> tuple[dict[str, int], Sequence[EventRow]]:
            high = kept.positions(tx)
            return high, kept.after(tx, heads, high, _EVERYTHING, PAGE)

        high, rows = await self._store.read(look)
        if rows:
            self._hold(rows, _moved(heads, high, rows))
        return len(rows) == PAGE

    def drain(self) -> None:
        """Ends every watch; each learns its token."""
        self._draining = True
        self._announce()

    async def watch(self, token: str, chosen: Chosen) -> AsyncGenerator[Encoded, None]:
        """Batches of the *chosen* events behind *token*, as they come.

        Raises:
            InvalidField: *token* is none, or is ahead of the logs.
            Exhausted: the watcher does not keep up; the fact ``token`` says where to go on.
            PeerUnavailable: telemetry stops; as above.
        """
        vector = dict(self._heads) if not token else from_token(token)
        await self._refuse_ahead(vector)
        while True:
            cursor, high = self._end, dict(self._heads)
            while any(high.get(service, 0) > vector.get(service, 0) for service in SERVICES):
                low = dict(vector)
                rows = await self._store.read(lambda tx: kept.after(tx, low, high, chosen, PAGE))  # noqa: B023 -- read at once
                vector = _moved(vector, high, rows)
                if rows:
                    yield _response(list(map(_entry, rows)), vector)
                self._refuse_draining(vector)
            if cursor >= self._first:
                break
            # So much came meanwhile that the store must be read again.
        async with aclosing(self._live(cursor, vector, chosen)) as live:
            async for batch in live:
                yield batch

    async def _live(self, cursor: int, vector: dict[str, int], chosen: Chosen) -> AsyncGenerator[Encoded, None]:
        everything = chosen == _EVERYTHING
        loop = asyncio.get_running_loop()
        due = loop.time() + self._heartbeat
        while True:
            self._refuse_draining(vector)
            if cursor < self._first:
                token = to_token(vector)
                msg = "this watcher does not keep up with the events"
                raise Exhausted(msg, remedy="Watch again with `after` set to the token.", token=token)
            if cursor == self._end:
                if await self._silent(due):
                    due = loop.time() + self._heartbeat
                    yield _response((), vector)
                continue
            batch = self._batches[cursor - self._first]
            cursor += 1
            before, vector = vector, _later(vector, batch.vector)
            new = [
                entry
                for row, entry in zip(batch.rows, batch.encoded, strict=True)
                if row.position > before.get(row.service, 0) and (everything or chosen.admits(row))
            ]
            if new:
                due = loop.time() + self._heartbeat
                yield batch.whole if len(new) == len(batch.rows) and vector == batch.vector else _response(new, vector)

    async def _silent(self, due: float) -> bool:
        """Waits for news; True if there was none until *due*."""
        changed = self._changed
        try:
            async with asyncio.timeout_at(due):
                await changed.wait()
        except TimeoutError:
            return True
        return False

    async def _refuse_ahead(self, vector: Mapping[str, int]) -> None:
        if any(vector[service] > self._heads.get(service, 0) for service in SERVICES):
            await self.refresh()  # another replica may have followed further
        for service in SERVICES:
            head = self._heads.get(service, 0)
            if vector[service] > head:
                raise InvalidField(
                    "after",
                    f"is ahead of the log of {service}, which was read up to {head}",
                    remedy="Start at the beginning with 0, or now with nothing: the token is of another store.",
                    service=service,
                    position=str(head),
                )

    def _refuse_draining(self, vector: Mapping[str, int]) -> None:
        if self._draining:
            msg = "telemetry is stopping"
            raise PeerUnavailable(
                msg, remedy="Watch again with `after` set to the token.", peer="telemetry", token=to_token(vector)
            )

    @property
    def _end(self) -> int:
        return self._first + len(self._batches)

    def _hold(self, rows: Sequence[EventRow], vector: Mapping[str, int]) -> None:
        encoded = tuple(map(_entry, rows))
        batch = Batch(tuple(rows), encoded, _response(encoded, vector), dict(vector))
        self._batches.append(batch)
        self._events += len(rows)
        self._bytes += len(batch.whole.data)
        # The newest batch is held whatever its size, or nobody would ever get it.
        while len(self._batches) > 1 and (self._events > self._held_events or self._bytes > self._held_bytes):
            oldest = self._batches.popleft()
            self._first += 1
            self._events -= len(oldest.rows)
            self._bytes -= len(oldest.whole.data)
        self._heads = dict(vector)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def sourced(row: EventRow) -> telemetry_pb2.SourcedEvent:
    """*row* as one event of an answer."""
    return telemetry_pb2.SourcedEvent.FromString(_content(row))


def _moved(low: Mapping[str, int], high: Mapping[str, int], rows: Sequence[EventRow]) -> dict[str, int]:
    """How far a reader is that stood at *low*, asked for at most a page up to *high* and got *rows*."""
    if len(rows) < PAGE:
        return _later(low, high)
    # There may be more. Per service the rows are in order, so nothing lies before the last of each.
    return _later(low, {row.service: row.position for row in rows})


def _later(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {service: max(one.get(service, 0), other.get(service, 0)) for service in SERVICES}


def _response(entries: Sequence[bytes], vector: Mapping[str, int]) -> Encoded:
    return Encoded(b"".join(entries) + part(_TOKEN_TAG, to_token(vector).encode()))


def _entry(row: EventRow) -> bytes:
    return part(_EVENTS_TAG, _content(row))


def _content(row: EventRow) -> bytes:
    # By hand: serialising the parsed event again might order its bytes anew, and digests are over the stored ones.
    return part(_SERVICE_TAG, row.service.encode()) + part(_EVENT_TAG, row.event)


def part(tag: bytes, content: bytes) -> bytes:
    """*content* as a field of a message, behind the field's *tag*."""
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return tag + bytes(length) + content
