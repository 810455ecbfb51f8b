# SPDX-License-Identifier: Apache-2.0
"""What is on its way to analytics: object logs not yet taken, and what is known of each server for its UVE."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import orjson

from services.runtime.database import Transaction
from telemetry.events import server_of
from telemetry.known import FOLD, Known
from telemetry.store import bulk

_COLUMNS: Final[bulk.Columns] = MappingProxyType(
    {"service": "text", "position": "bigint", "event_id": "text", "message": "text"}
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An object log that a collector has yet to take.

    Attributes:
        id: order of sending.
        fields: of a BmsLifecycleEventLog.
    """

    id: int
    event_id: str
    fields: Mapping[str, Any]


def lock_known(tx: Transaction, uuids: Iterable[str]) -> dict[str, Known]:
    """What is known of each of *uuids*, nothing included; nobody else changes it before this transaction ends."""
    found = {}
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    # Always in the same order, so that two transactions cannot wait for each other.
    for uuid in sorted(set(uuids)):
        tx.execute(
            "INSERT INTO servers (uuid, known, wanted, got) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING",
            (uuid, Known().to_json()),
        )
        row = tx.one(f"SELECT known FROM servers WHERE uuid = ?{lock}", (uuid,))
        found[uuid] = Known() if row is None else Known.from_json(row["known"])
    return found


def get_known(tx: Transaction, uuids: Iterable[str]) -> dict[str, Known]:
    """What is known of those of *uuids* of which something is."""
    rows = ((uuid, tx.one("SELECT known FROM servers WHERE uuid = ?", (uuid,))) for uuid in uuids)
    return {uuid: Known.from_json(row["known"]) for uuid, row in rows if row is not None}


def every_known(tx: Transaction, after: str, limit: int) -> list[tuple[str, Known]]:
    """Servers and what is known of them, by UUID, behind *after*."""
    rows = tx.all("SELECT uuid, known FROM servers WHERE uuid > ? ORDER BY uuid LIMIT ?", (after, limit))
    return [(row["uuid"], Known.from_json(row["known"])) for row in rows]


def outdated(tx: Transaction, limit: int) -> list[str]:
    """Servers that an older release put together; see `telemetry.known.FOLD`."""
    mark = f'%"fold":{FOLD}}}%'
    rows = tx.all("SELECT uuid FROM servers WHERE known NOT LIKE ? ORDER BY uuid LIMIT ?", (mark, limit))
    return [row["uuid"] for row in rows]


def put_known(tx: Transaction, known: Mapping[str, Known], ask: Collection[str] = ()) -> None:
    """Keeps what is *known* of servers that `lock_known` has locked.

    Args:
        ask: those of them that inventory must be asked about (again).
    """
    tx.many(
        "UPDATE servers SET known = ?, wanted = wanted + ? WHERE uuid = ?",
        ((value.to_json(), int(uuid in ask), uuid) for uuid, value in known.items()),
    )


def told_since(tx: Transaction, service: str, position: int) -> frozenset[str]:
    """The servers of which events of *service* behind our *position* tell."""
    rows = tx.all(
        "SELECT DISTINCT stream FROM events WHERE service = ? AND position > ? AND stream LIKE 'servers/%'",
        (service, position),
    )
    return frozenset(uuid for row in rows if (uuid := server_of(row["stream"])) and row["stream"] == f"servers/{uuid}")


def to_ask(tx: Transaction, limit: int) -> list[tuple[str, int]]:
    """Servers that inventory must be asked about, and up to which wish an answer counts."""
    rows = tx.all("SELECT uuid, wanted FROM servers WHERE wanted > got ORDER BY uuid LIMIT ?", (limit,))
    return [(row["uuid"], int(row["wanted"])) for row in rows]


def answered(tx: Transaction, wishes: Iterable[tuple[str, int]]) -> None:
    """Notes that inventory answered for each of these servers after the wish beside it was made."""
    tx.many("UPDATE servers SET got = ? WHERE uuid = ? AND got < ?", ((wish, uuid, wish) for uuid, wish in wishes))


def add_outgoing(tx: Transaction, service: str, messages: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
    """Queues object logs, each with the position of its event."""
    bulk.insert(
        tx,
        "outbox",
        _COLUMNS,
        ((service, position, fields["event_id"], orjson.dumps(fields).decode()) for position, fields in messages),
        # A restored log may tell of an event again that still waits here, under another position.
        "ON CONFLICT DO NOTHING",
    )


def waiting(tx: Transaction, limit: int) -> list[int]:
    """The ids of object logs that no collector has yet, in order."""
    return [int(row["id"]) for row in tx.all("SELECT id FROM outbox ORDER BY id LIMIT ?", (limit,))]


def outgoing(tx: Transaction, limit: int, first: int = 0) -> Sequence[Outgoing]:
    """Object logs that no collector has yet, in order, from the id *first* on."""
    rows = tx.all("SELECT id, event_id, message FROM outbox WHERE id >= ? ORDER BY id LIMIT ?", (first, limit))
    return [Outgoing(int(row["id"]), row["event_id"], orjson.loads(row["message"])) for row in rows]


def taken(tx: Transaction, event_ids: Iterable[str]) -> None:
    """Forgets object logs that a collector has."""
    named = list(event_ids)
    if named:
        tx.execute(f"DELETE FROM outbox WHERE event_id IN ({', '.join('?' * len(named))})", named)
