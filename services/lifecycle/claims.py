# SPDX-License-Identifier: Apache-2.0
"""Who works on which row: claims with a fence; how far inventory's log was followed, and what in it has to wait.

Every function runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.lifecycle.looks import CALM, NO_INTENT
from services.runtime.database import Transaction
from services.runtime.times import to_micros


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on one row.

    Attributes:
        key: the server's UUID or the instance's name.
        fence: raised by this claim.
        until: when it ends; no call may outlast it.
        taken_over: the claim before it ended without being given back.
    """

    key: str
    fence: int
    until: datetime
    taken_over: bool


def claim(
    tx: Transaction, table: str, now: datetime, until: datetime, most: int, *, busy: Sequence[str] | None = None
) -> list[Claim]:
    """Takes up to *most* rows of ``servers`` or ``instances`` that are due and nobody holds.

    Args:
        busy: of calm servers, these alone; None: all. See `services.lifecycle.looks`.
    """
    key = "uuid" if table == "servers" else "name"
    at = to_micros(now)
    skip = "" if tx.dialect == "sqlite" else " FOR UPDATE SKIP LOCKED"
    but = ""
    if busy is not None:
        these = f" OR uuid IN ({', '.join('?' * len(busy))})" if busy else ""
        but = f" AND (claim_until IS NOT NULL OR NOT ({CALM}){these})"
    rows = tx.all(
        f"SELECT {key} AS key, fence, claim_until FROM {table}"
        f" WHERE due <= ? AND (claim_until IS NULL OR claim_until <= ?){but} ORDER BY due LIMIT ?{skip}",
        (at, at, *(() if busy is None else (NO_INTENT, *busy)), most),
    )
    claims = []
    for row in rows:
        # Fences rise from one clock, not from a counter of each row: ipam keeps them by owner, and an instance of the
        # same name may come back on another server.
        fence = max(row["fence"] + 1, at)
        tx.execute(
            f"UPDATE {table} SET fence = ?, claim_until = ? WHERE {key} = ?",
            (fence, to_micros(until), row["key"]),
        )
        claims.append(Claim(row["key"], fence, until, taken_over=row["claim_until"] is not None))
    return claims


def claim_one(tx: Transaction, server: str, now: datetime, until: datetime) -> Claim | None:
    """Takes the row of *server*, whether it is due or not; None if somebody has it."""
    at = to_micros(now)
    row = tx.one("SELECT fence, claim_until FROM servers WHERE uuid = ?", (server,))
    if row is None or (row["claim_until"] is not None and row["claim_until"] > at):
        return None
    fence = max(row["fence"] + 1, at)
    done = tx.execute(
        "UPDATE servers SET fence = ?, claim_until = ? WHERE uuid = ? AND fence = ?",
        (fence, to_micros(until), server, row["fence"]),
    )
    return Claim(server, fence, until, taken_over=row["claim_until"] is not None) if done else None


def give_back(tx: Transaction, table: str, claim: Claim, due: datetime) -> None:
    """Gives a claim back that is still ours, to be looked at again at *due*; a claim taken over is left alone."""
    key = "uuid" if table == "servers" else "name"
    tx.execute(
        f"UPDATE {table} SET claim_until = NULL, due = ? WHERE {key} = ? AND fence = ?",
        (to_micros(due), claim.key, claim.fence),
    )


def next_due(tx: Transaction) -> int | None:
    """When the next row can be claimed (microseconds): it is due, and nobody holds it any more; None if there is none.

    Never earlier: a loop that is told to look at once, and finds nothing, would look again at once.
    """
    return min(next_of_each(tx).values(), default=None)


def next_of_each(tx: Transaction) -> dict[str, int]:
    """As `next_due`, by table: without those of which nothing can be claimed."""
    # Asked at every tick: nothing but the ends of indexes is looked at, however many rows there are.
    ends = "min(CASE WHEN claim_until > due THEN claim_until ELSE due END)"
    rows = tx.all(
        "SELECT 'servers' AS held, min(due) AS at FROM servers WHERE claim_until IS NULL UNION ALL"
        f" SELECT 'servers', {ends} FROM servers WHERE due IS NOT NULL AND claim_until IS NOT NULL UNION ALL"
        " SELECT 'instances', min(due) FROM instances WHERE claim_until IS NULL UNION ALL"
        f" SELECT 'instances', {ends} FROM instances WHERE due IS NOT NULL AND claim_until IS NOT NULL"
    )
    found: dict[str, int] = {}
    for row in rows:
        if row["at"] is not None:
            found[row["held"]] = min(row["at"], found.get(row["held"], row["at"]))
    return found


def followed(tx: Transaction, log: str, *, lock: bool = False) -> int:
    """How far another service's log was followed; *lock* keeps others from going on until the transaction ends."""
    locked = " FOR UPDATE" if lock and tx.dialect == "postgresql" else ""
    row = tx.one(f"SELECT position FROM followed WHERE log = ?{locked}", (log,))
    return int(row["position"]) if row else 0


def follow(tx: Transaction, log: str, position: int) -> None:
    """Remembers how far another service's log was followed."""
    tx.execute(
        "INSERT INTO followed (log, position) VALUES (?, ?)"
        " ON CONFLICT (log) DO UPDATE SET position = excluded.position",
        (log, position),
    )


def hold_back(tx: Transaction, log: str, stream: str, position: int) -> None:
    """Remembers that of *stream* the event at *position* has yet to be acted on, though the log was followed on."""
    follow(tx, f"{log} {stream}", position)


def held_back(tx: Transaction, log: str) -> list[str]:
    """The streams of a log of which something has yet to be acted on, the oldest first."""
    rows = tx.all("SELECT log FROM followed WHERE log LIKE ? ORDER BY position", (f"{log} %",))
    return [str(row["log"]).removeprefix(f"{log} ") for row in rows]


def done_with(tx: Transaction, log: str, stream: str) -> None:
    """Forgets what was held back of *stream*."""
    tx.execute("DELETE FROM followed WHERE log = ?", (f"{log} {stream}",))
