# SPDX-License-Identifier: Apache-2.0
"""What was observed of each node last, as rows. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from services.lifecycle.domain.nodes import NodeSeen
from services.lifecycle.domain.server import Server
from services.lifecycle.observing.merge import merged, same
from services.lifecycle.rows import server_of
from services.runtime.database import Row, Transaction
from services.runtime.times import from_micros, to_micros

_SOME = 500


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one node.

    Attributes:
        seen: as last read.
        told: as it was when last something was said of it, or there was nothing to say; None: never.
        anchor: `NodeSeen.moved` as the server was first judged at rest in its present state; "" if it was not yet.
        anchor_since: when the server came into that state (microseconds).
    """

    seen: NodeSeen
    told: NodeSeen | None = None
    anchor: str = ""
    anchor_since: int = 0


def take(tx: Transaction, readings: Sequence[NodeSeen]) -> int:
    """Keeps what is new in *readings* of servers of ours; answers how many say something new and wait to be judged."""
    news = 0
    for start in range(0, len(readings), _SOME):
        some = {one.uuid: one for one in readings[start : start + _SOME]}
        marks = ", ".join("?" for _ in some)
        ours = tx.all(
            "SELECT s.uuid AS uuid, o.seen AS seen FROM servers s LEFT JOIN observed_nodes o ON o.uuid = s.uuid"
            f" WHERE s.closed = 0 AND s.uuid IN ({marks})",
            tuple(some),
        )
        for row in ours:
            known = _seen(row["seen"]) if row["seen"] else None
            reading = some[row["uuid"]]
            if known is None and reading.gone:
                continue  # never there: nobody took it away
            news += _keep(tx, known, reading)
    return news


def _keep(tx: Transaction, known: NodeSeen | None, reading: NodeSeen) -> int:
    winner = merged(known, reading)
    if known is not None and (winner == known or same(known, winner)):
        return 0
    # What was read meanwhile by another replica is judged by the one that writes last: it is younger, or the same.
    tx.execute(
        "INSERT INTO observed_nodes (uuid, seen, gone) VALUES (?, ?, ?)"
        " ON CONFLICT (uuid) DO UPDATE SET seen = excluded.seen, gone = excluded.gone, judged = -1",
        (winner.uuid, _doc(winner), int(winner.gone)),
    )
    return 1


def waiting(tx: Transaction, now: datetime, most: int) -> list[tuple[Server, Record]]:
    """The servers of which the node, or the server itself, has changed since it was judged, and nobody holds."""
    rows = tx.all(
        "SELECT o.* FROM observed_nodes o JOIN servers s ON s.uuid = o.uuid"
        " WHERE s.closed = 0 AND o.judged <> s.version AND (s.claim_until IS NULL OR s.claim_until <= ?)"
        " ORDER BY o.uuid LIMIT ?",
        (to_micros(now), most),
    )
    if not rows:
        return []
    found = {row["uuid"]: _record(row) for row in rows}
    servers = tx.all(f"SELECT * FROM servers WHERE uuid IN ({', '.join('?' for _ in found)})", tuple(found))
    return [(server_of(row), found[row["uuid"]]) for row in servers]


def find(tx: Transaction, uuid: str) -> Record | None:
    """The record of one node; None if it was never seen."""
    row = tx.one("SELECT * FROM observed_nodes WHERE uuid = ?", (uuid,))
    return _record(row) if row else None


def nothing_said(tx: Transaction, judged_: Sequence[tuple[Server, Record]]) -> None:
    """Writes that these were judged and there was nothing to say, unless a reading came meanwhile."""
    tx.many(
        "UPDATE observed_nodes SET judged = ? WHERE uuid = ? AND seen = ?",
        [(server.version, server.uuid, _doc(record.seen)) for server, record in judged_],
    )


def judged(tx: Transaction, record: Record, version: int) -> None:
    """Writes that *record* was judged, the server being at *version*. A reading that came meanwhile stays to be."""
    seen = record.seen
    tx.execute(
        "UPDATE observed_nodes SET seen = ?, told = ?, judged = ?, anchor = ?, anchor_since = ?, gone = ?"
        " WHERE uuid = ?",
        (
            _doc(seen), _doc(record.told) if record.told else "", version, record.anchor, record.anchor_since,
            int(seen.gone), seen.uuid,
        ),
    )  # fmt: skip


def hurry(tx: Transaction, uuids: Sequence[str], now: datetime) -> int:
    """Has these servers looked at now, as far as they wait for a job; whoever is looking at one is left alone.

    Waits for power are left alone too: to read it makes Ironic notify, which would come back here without end.
    """
    marks = ", ".join("?" for _ in uuids)
    return tx.execute(
        "UPDATE servers SET due = ? WHERE closed = 0 AND claim_until IS NULL AND due > ?"
        f" AND wait_code = 'JOB_RUNNING' AND uuid IN ({marks})",
        (to_micros(now), to_micros(now), *uuids),
    )


def look_now(tx: Transaction, uuid: str, now: datetime) -> None:
    """Has patrol look at a server now, unless somebody is looking."""
    at = to_micros(now)
    tx.execute("UPDATE servers SET due = ? WHERE uuid = ? AND claim_until IS NULL AND due > ?", (at, uuid, at))


def present(tx: Transaction) -> set[str]:
    """The servers of ours whose nodes were there when last looked at."""
    rows = tx.all(
        "SELECT o.uuid AS uuid FROM observed_nodes o JOIN servers s ON s.uuid = o.uuid"
        " WHERE s.closed = 0 AND o.gone = 0"
    )
    return {row["uuid"] for row in rows}


def drop_closed(tx: Transaction) -> int:
    """Forgets the nodes of servers that are no longer ours."""
    return tx.execute(
        "DELETE FROM observed_nodes WHERE NOT EXISTS"
        " (SELECT 1 FROM servers WHERE servers.uuid = observed_nodes.uuid AND servers.closed = 0)"
    )


def _record(row: Row) -> Record:
    return Record(_seen(row["seen"]), _seen(row["told"]) if row["told"] else None, row["anchor"], row["anchor_since"])


def _doc(seen: NodeSeen) -> str:
    doc: dict[str, Any] = asdict(seen)
    doc["read_time"] = to_micros(seen.read_time)
    return orjson.dumps(doc).decode()


def _seen(text: str) -> NodeSeen:
    doc: dict[str, Any] = orjson.loads(text)
    return NodeSeen(**{**doc, "read_time": from_micros(doc["read_time"])})
