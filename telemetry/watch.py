# SPDX-License-Identifier: Apache-2.0
"""Lets many follow the events as they are kept, each from where he left off.

Events that were just kept are held in batches (`telemetry.relay`), serialised once for all watchers; nothing is ever
skipped.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bms.telemetry.v1 import telemetry_pb2
from services.kernel.errors import InvalidField
from services.runtime.database import Transaction
from telemetry.events import SERVICES
from telemetry.relay import Relay
from telemetry.store import Store
from telemetry.store import events as kept
from telemetry.store.events import Chosen, EventRow
from telemetry.tokens import from_token, to_token

PAGE: Final = 500
HEARTBEAT_SECONDS: Final = 15.0
HELD_EVENTS: Final = 20_000
HELD_BYTES: Final = 64 * 1024 * 1024

_EVERYTHING: Final = Chosen()
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


class Hub(Relay[Batch]):
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
        super().__init__("events", held=held_events, held_bytes=held_bytes, heartbeat_seconds=heartbeat_seconds)
        self._store = store
        self._heads = dict.fromkeys(SERVICES, 0)

    async def start(self) -> None:
        """See `Relay`: finds out how far each log was read."""
        self._heads = _later({}, await self._store.read(kept.positions))

    async def _look(self) -> bool:
        heads = dict(self._heads)

        def look(tx: Transaction) -> tuple[dict[str, int], Sequence[EventRow]]:
            high = kept.positions(tx)
            return high, kept.after(tx, heads, high, _EVERYTHING, PAGE)

        high, rows = await self._store.read(look)
        if rows and self._holds:
            self._hold(rows, _moved(heads, high, rows))
        return len(rows) == PAGE

    async def watch(self, token: str, chosen: Chosen) -> AsyncGenerator[Encoded, None]:
        """Batches of the *chosen* events behind *token*, as they come.

        Raises:
            InvalidField: *token* is none, or is ahead of the logs.
            Exhausted: the watcher does not keep up; the fact ``token`` says where to go on.
            PeerUnavailable: telemetry stops; as above.
        """
        async with self._watched():
            vector = dict(self._heads) if not token else from_token(token)
            await self._refuse_ahead(vector)

            def here() -> str:
                return to_token(vector)

            while True:
                walk, high = self._walk(here), dict(self._heads)
                while any(high.get(service, 0) > vector.get(service, 0) for service in SERVICES):
                    low = dict(vector)
                    rows = await self._store.read(lambda tx: kept.after(tx, low, high, chosen, PAGE))  # noqa: B023 -- read at once
                    vector = _moved(vector, high, rows)
                    if rows:
                        yield _response(list(map(_entry, rows)), vector)
                    self._refuse_draining(here)
                if not self._lost(walk):
                    break
                # So much came meanwhile that the store must be read again.
            everything = chosen == _EVERYTHING
            while True:
                batch = await self._next(walk)
                if batch is None:
                    yield _response((), vector)
                    continue
                before, vector = vector, _later(vector, batch.vector)
                new = [
                    entry
                    for row, entry in zip(batch.rows, batch.encoded, strict=True)
                    if row.position > before.get(row.service, 0) and (everything or chosen.admits(row))
                ]
                if new:
                    self._told(walk)
                    yield (
                        batch.whole
                        if len(new) == len(batch.rows) and vector == batch.vector
                        else _response(new, vector)
                    )

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
