# SPDX-License-Identifier: Apache-2.0
"""Every message that collectors received, for a while, with what it is about; the raw bytes among it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Final

from services.runtime.database import Transaction
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG
from telemetry.sandesh.publication import object_names
from telemetry.sandesh.reception import Received
from telemetry.sandesh.tree import Node
from telemetry.store import bulk, days

_COLUMNS: Final[bulk.Columns] = MappingProxyType(
    {
        "id": "bigint",
        "message_type": "text",
        "event_id": "text",
        "source": "text",
        "module": "text",
        "node_type": "text",
        "instance": "text",
        "time": "bigint",
        "seen_time": "bigint",
        "expire_time": "bigint",
        "sequence": "bigint",
        "kind": "integer",
        "level": "bigint",
        "category": "text",
        "frame": bulk.BYTES,
    }
)
_OBJECT_COLUMNS: Final[bulk.Columns] = MappingProxyType(
    {"object_table": "text", "object_key": "text", "message": "bigint", "seen_time": "bigint"}
)
_EVENT_COLUMNS: Final[bulk.Columns] = MappingProxyType({"event_id": "text", "seen_time": "bigint"})

Kept = tuple[Received, int, str | None]
"""A message, the time until which it is kept, and the event that it names."""


def keep(tx: Transaction, messages: Iterable[tuple[Received, int]]) -> frozenset[str]:
    """Keeps messages, each until the time beside it; of those that name one event the first alone.

    Answers the events that they name.
    """
    told = [(message, until, event_id(message.message.body)) for message, until in messages]
    if tx.dialect == "postgresql":
        days.cover(tx, ((message.time, message.message.header.timestamp) for message, _, _ in told))
    fresh = _fresh(tx, told)
    numbers = _numbers(tx, len(fresh))
    tx.load("messages", _COLUMNS, (_row(number, *each) for number, each in zip(numbers, fresh, strict=True)))
    objects = (
        (table, key, number, message.time)
        for number, (message, _, _) in zip(numbers, fresh, strict=True)
        for table, key in object_names(message.message.body)
    )
    tx.load("message_objects", _OBJECT_COLUMNS, objects)
    return frozenset(event for _, _, event in told if event is not None)


def expire(tx: Transaction, now: int, limit: int) -> bool:
    """Drops messages whose time is over, at most *limit* or, in PostgreSQL, a whole day; answers whether more may be.

    Raises:
        PeerUnavailable: see `telemetry.store.days.drop`.
    """
    if tx.dialect == "postgresql":
        days.prepare(tx, now)
        dropped = days.drop(tx, now)
        # After their messages, or a repeat could be kept beside the first.
        forgotten = tx.execute(
            "DELETE FROM message_events WHERE event_id IN (SELECT event_id FROM message_events"
            " WHERE seen_time < (SELECT min(lower) FROM message_days) ORDER BY seen_time LIMIT ?)",
            (limit,),
        )
        return dropped or forgotten == limit
    rows = tx.all("SELECT id, event_id FROM messages WHERE expire_time <= ? ORDER BY expire_time LIMIT ?", (now, limit))
    events = [row["event_id"] for row in rows if row["event_id"] is not None]
    if events:
        tx.execute(f"DELETE FROM message_events WHERE event_id IN ({', '.join('?' * len(events))})", events)
    numbers = [row["id"] for row in rows]
    if numbers:
        among = f"({', '.join('?' * len(numbers))})"
        tx.execute(f"DELETE FROM message_objects WHERE message IN {among}", numbers)
        tx.execute(f"DELETE FROM messages WHERE id IN {among}", numbers)
    return len(numbers) == limit


def event_id(body: Node) -> str | None:
    """The event that an object log of ours names."""
    if body.name != BMS_LIFECYCLE_EVENT_LOG.name:
        return None
    named = body.child("event_id")
    return named.text or None if named is not None else None


def _fresh(tx: Transaction, messages: Sequence[Kept]) -> Sequence[Kept]:
    """*messages* but for those whose event another one has named, here or in the store."""
    # Of several the first is kept, and its day decides how long the event is noted.
    named = {event: message.time for message, _, event in reversed(messages) if event is not None}
    if not named:
        return messages
    # Always in the same order, so that two replicas cannot wait for each other.
    rows = bulk.insert_returning(
        tx, "message_events", _EVENT_COLUMNS, sorted(named.items()), "ON CONFLICT DO NOTHING", "event_id"
    )
    new = {row["event_id"] for row in rows}
    fresh = []
    for each in messages:
        if each[2] is None or each[2] in new:
            new.discard(each[2])
            fresh.append(each)
    return fresh


def _numbers(tx: Transaction, count: int) -> list[int]:
    """So many numbers for messages, rising; none is ever given again."""
    if tx.dialect == "sqlite":
        # There is one writer. What is inserted with a number counts as given.
        row = tx.one("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
        last = int(row["seq"]) if row else 0
        return list(range(last + 1, last + 1 + count))
    taken = tx.all("SELECT nextval('message_numbers') AS id FROM generate_series(1, ?)", (count,))
    return sorted(int(row["id"]) for row in taken)


def _row(number: int, message: Received, until: int, event: str | None) -> tuple[object, ...]:
    header, body = message.message.header, message.message.body
    return (
        number,
        body.name,
        event,
        header.source,
        header.module,
        header.node_type,
        header.instance,
        header.timestamp,
        message.time,
        until,
        header.sequence,
        header.kind,
        header.level,
        header.category,
        message.frame,
    )
