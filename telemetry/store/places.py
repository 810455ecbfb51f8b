# SPDX-License-Identifier: Apache-2.0
"""How far each log was read, in our positions and in its own, and which events a restored log no longer has.

Our positions rise for ever: tokens of watches, the outbox and the events kept hang on them. A service's own fall back
when its database is restored from a backup; from then on ours are greater by the log's *shift*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log was read.

    Attributes:
        position: ours.
        shift: by how much ours are greater than the service's.
        last: the bytes of the StoredEvent that was read last; empty if the log has none of what was read.
    """

    position: int
    shift: int = 0
    last: bytes = b""

    @property
    def at(self) -> int:
        """The service's own position."""
        return self.position - self.shift


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as it is kept: our position of it, its stream, and the bytes of its StoredEvent."""

    position: int
    stream: str
    event: bytes


def place(tx: Transaction, service: str) -> Place:
    """How far the log of *service* was read."""
    row = tx.one("SELECT position, shift FROM logs WHERE service = ?", (service,))
    if row is None:
        return Place(0)
    last = standing(tx, service, None, 1)
    return Place(int(row["position"]), int(row["shift"]), last[0].event if last else b"")


def standing(tx: Transaction, service: str, below: int | None, limit: int) -> Sequence[Kept]:
    """Events of *service*, the newest first, without lost ones; only those *below* a position of ours."""
    term, params = ("", ()) if below is None else (" AND position < ?", (below,))
    rows = tx.all(
        f"SELECT position, stream, event FROM events WHERE service = ? AND lost = 0{term}"
        " ORDER BY position DESC LIMIT ?",
        (service, *params, limit),
    )
    return [Kept(int(row["position"]), row["stream"], bytes(row["event"])) for row in rows]


def leap(tx: Transaction, service: str, before: Place, position: int, shift: int, now: int) -> bool:
    """Lets the log of *service* go on behind our *position*, unless somebody else has moved it from *before*."""
    changed = tx.execute(
        "UPDATE logs SET position = ?, shift = ?, reachable = 1, seen_time = ?"
        " WHERE service = ? AND position = ? AND shift = ?",
        (position, shift, now, service, before.position, before.shift),
    )
    return changed == 1


def lose(tx: Transaction, service: str, above: int) -> Sequence[str]:
    """Notes that the log of *service* no longer has what we keep above our position *above*; answers their streams."""
    condition = "service = ? AND lost = 0 AND position > ?"
    rows = tx.all(f"SELECT stream FROM events WHERE {condition}", (service, above))
    tx.execute(f"UPDATE events SET lost = 1 WHERE {condition}", (service, above))
    return [row["stream"] for row in rows]


def of_stream(tx: Transaction, stream: str, services: Sequence[str]) -> Sequence[tuple[str, bytes]]:
    """The events of *stream* in the logs of *services* in order of arrival, without lost ones: service and bytes."""
    rows = tx.all(
        f"SELECT service, event FROM events WHERE stream = ? AND service IN ({', '.join('?' * len(services))})"
        " AND lost = 0 ORDER BY id",
        (stream, *services),
    )
    return [(row["service"], bytes(row["event"])) for row in rows]
