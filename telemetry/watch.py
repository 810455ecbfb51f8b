# SPDX-License-Identifier: Apache-2.0
"""Lets many follow the events, each from where he left off.

What a follower has just read is told at once, before it is kept: it stands in its service's log. Such batches are held
(`telemetry.relay`), serialised once for all watchers. What a follower of ours did not read, because another replica was
faster, is found in the store. Batches follow on each other position by position in each log: nothing is ever skipped or
told twice. A watcher may thus be ahead of the store; who comes with such a token waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bms.telemetry.v1 import telemetry_pb2
from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime.database import Transaction
from telemetry.events import SERVICES, Followed
from telemetry.relay import POLL_SECONDS, Relay
from telemetry.store import Store
from telemetry.store import events as kept
from telemetry.store.events import Chosen, EventRow
from telemetry.tokens import from_token, to_token

PAGE: Final = 500
HEARTBEAT_SECONDS: Final = 15.0
AHEAD_SECONDS: Final = 10.0
"""How long a token may be ahead: a telemetry that has just begun reads first what the one before it has told."""
HELD_EVENTS: Final = 20_000
HELD_BYTES: Final = 64 * 1024 * 1024

_EVERYTHING: Final = Chosen()
_AGAIN: Final = "Watch again with the same token."
_EVENTS_TAG = bytes([telemetry_pb2.WatchEventsResponse.EVENTS_FIELD_NUMBER << 3 | 2])
_TOKEN_TAG = bytes([telemetry_pb2.WatchEventsResponse.TOKEN_FIELD_NUMBER << 3 | 2])
_SERVICE_TAG = bytes([telemetry_pb2.SourcedEvent.SERVICE_FIELD_NUMBER << 3 | 2])
_EVENT_TAG = bytes([telemetry_pb2.SourcedEvent.EVENT_FIELD_NUMBER << 3 | 2])


@dataclass(frozen=True, slots=True)
class Encoded:
    """A WatchEventsResponse that is bytes already."""

    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 -- as messages have it
        """The bytes."""
        return self.data


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that were read together.

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


class Hub(Relay[Batch]):
    """Where watchers get their events.

    Args:
        held_events, held_bytes: how much is held for watchers that are behind.
        heartbeat_seconds: how often a watcher without news gets an empty batch.
        ahead_seconds: how long a token ahead of the logs waits for them.
    """

    def __init__(
        self,
        store: Store,
        *,
        held_events: int = HELD_EVENTS,
        held_bytes: int = HELD_BYTES,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        ahead_seconds: float = AHEAD_SECONDS,
    ) -> None:
        super().__init__("events", held=held_events, held_bytes=held_bytes, heartbeat_seconds=heartbeat_seconds)
        self._store = store
        self._ahead_seconds = ahead_seconds
        self._heads = dict.fromkeys(SERVICES, 0)
        self._kept = asyncio.Event()

    def heard(self, service: str, after: int, events: Sequence[Followed], shift: int) -> bool:
        """See `telemetry.follower.Listener`: tells what of *events* was not told yet."""
        head = self._heads[service]
        if self._holds and after > head:
            self.wake()  # what lies between is in the store
        elif self._holds and (rows := [event.row(shift) for event in events if event.position + shift > head]):
            self._hold(rows, {**self._heads, service: rows[-1].position})
        return self._holds

    def kept(self) -> None:
        """Says that what was told is in the store, or some of it."""
        self._kept.set()
        self._kept = asyncio.Event()

    async def start(self) -> None:
        """See `Relay`: finds out how far each log was kept."""
        self._heads = _later({}, await self._store.read(kept.positions))

    async def _look(self) -> bool:
        heads = dict(self._heads)

        def look(tx: Transaction) -> tuple[dict[str, int], Sequence[EventRow]]:
            high = kept.positions(tx)
            return high, kept.after(tx, heads, high, _EVERYTHING, PAGE)

        high, rows = await self._store.read(look)
        if self._holds:
            # Meanwhile some may have been told before they were kept.
            told = _later(self._heads, _moved(heads, high, rows))
            if new := [row for row in rows if row.position > self._heads[row.service]]:
                self._hold(new, told)
            elif told != self._heads:
                self._heads = told
                self._announce()
        return len(rows) == PAGE

    async def watch(self, token: str, chosen: Chosen) -> AsyncGenerator[Encoded, None]:
        """Batches of the *chosen* events behind *token*, as they come.

        Raises:
            InvalidField: *token* is none, or is ahead of the logs.
            Exhausted: the watcher does not keep up; the fact ``token`` says where to go on.
            PeerUnavailable: telemetry stops, as above; or *token* is ahead of what was read of a log that is away.
        """
        async with self._watched():
            vector: Mapping[str, int] = dict(self._heads) if not token else from_token(token)

            def here() -> str:
                return to_token(vector)

            await self._until_read(vector)
            while True:
                walk, high = self._walk(here), dict(self._heads)
                while any(high.get(service, 0) > vector.get(service, 0) for service in SERVICES):
                    low, changed = dict(vector), self._kept
                    stored, rows = await self._store.read(
                        lambda tx: (kept.positions(tx), kept.after(tx, low, high, chosen, PAGE))  # noqa: B023 -- read at once
                    )
                    vector = _moved(vector, _earlier(stored, high), rows)
                    if rows:
                        yield _response(list(map(_entry, rows)), vector)
                    self._refuse_draining(here)
                    if vector == low:
                        await _pulse(changed)  # the rest was told to others, and is not kept yet
                if not self._lost(walk):
                    break
                # So much came meanwhile that the store must be read again.
            everything = chosen == _EVERYTHING
            while True:
                batch = await self._next(walk)
                if batch is None:
                    yield _response((), vector)
                    continue
                # It begins where the one before ended, and the first where the store was left.
                vector = batch.vector
                new: Sequence[bytes] = batch.encoded
                if not everything:
                    new = [entry for row, entry in zip(batch.rows, batch.encoded, strict=True) if chosen.admits(row)]
                if new:
                    self._told(walk)
                    yield batch.whole if len(new) == len(batch.rows) else _response(new, vector)

    async def _until_read(self, vector: Mapping[str, int]) -> None:
        """Waits until the logs were read up to *vector*: perhaps another replica told more, or the one before us."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._ahead_seconds
        if self._ahead(vector):
            await self.refresh()
        while (service := self._ahead(vector)) and loop.time() < until:
            self._refuse_draining(lambda: to_token(vector))
            await _pulse(self._changed, until - loop.time())
        if not service:
            return
        head = self._heads[service]
        where = f"is ahead of the log of {service}, which was read up to {head}"
        if not any(log.reachable for log in await self._store.read(kept.logs) if log.service == service):
            raise PeerUnavailable(
                f"the token {where}, and does not answer", remedy=_AGAIN, peer=service, token=to_token(vector)
            )
        raise InvalidField(
            "after",
            where,
            remedy="Start at the beginning with 0, or now with nothing: the token is of another store.",
            service=service,
            position=str(head),
        )

    def _ahead(self, vector: Mapping[str, int]) -> str:
        """A service whose log was not read as far as *vector*; empty if there is none."""
        return next((service for service in SERVICES if vector[service] > self._heads[service]), "")

    def _hold(self, rows: Sequence[EventRow], vector: Mapping[str, int]) -> None:
        encoded = tuple(map(_entry, rows))
        batch = Batch(tuple(rows), encoded, _response(encoded, vector), dict(vector))
        self._heads = dict(vector)
        self._add(batch, len(rows), len(batch.whole.data))


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


def _earlier(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {service: min(one.get(service, 0), other.get(service, 0)) for service in SERVICES}


async def _pulse(event: asyncio.Event, seconds: float = POLL_SECONDS) -> None:
    """Waits for *event*, but not for ever: another replica's doings set none of ours."""
    with suppress(TimeoutError):  # the same as if it had been set
        async with asyncio.timeout(min(seconds, POLL_SECONDS)):
            await event.wait()


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
