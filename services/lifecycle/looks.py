# SPDX-License-Identifier: Apache-2.0
"""Servers at rest, many at a time: which are due for a look, and what a look that shows nothing new leaves of them.

Nobody claims them. Whoever takes them puts off when they are due, so that no other looks meanwhile; should he die, they
are due again then. What he saw is written where nothing was written since, and nobody has claimed the server: it loses
against anything newer, and holds up nobody. Every function runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.rows import instance_of, server_of, server_values
from services.runtime.database import Transaction
from services.runtime.times import to_micros

_AT_REST = (State.ENROLLED, State.AVAILABLE, State.ACTIVE, State.RESCUED, State.QUARANTINED, State.UNEXPECTED)
_STATES = ", ".join(repr(state.value) for state in _AT_REST)
CALM = f"closed = 0 AND wait_code = '' AND state || '' IN ({_STATES}) AND doc LIKE ?"
"""Whom a round may be for, as far as a row tells; its parameter is `NO_INTENT`.

Nearly every server is in one of these states. Of the bare column SQLite would take the index, and go through the whole
fleet at each claim, where the few that are due stand together in the index of dues.
"""
NO_INTENT = '%"intent":null%'
"""In a document: within a text that somebody wrote, the quotation marks would be escaped."""
_AS_TAKEN = "uuid = ? AND version = ? AND fence = ? AND claim_until IS NULL"


@dataclass(frozen=True, slots=True)
class Due:
    """The first of the calm servers that are due.

    Attributes:
        resting: those that a round can look at.
        busy: the UUIDs of the others: there is more to do than to look, or a look did not do.
    """

    resting: tuple[Server, ...]
    busy: tuple[str, ...]


def due(tx: Transaction, now: datetime, most: int, rests: Callable[[Server], bool]) -> Due:
    """Up to *most* calm servers that are due and nobody has; *rests* tells them apart. They stay as they are."""
    skip = "" if tx.dialect == "sqlite" else " FOR UPDATE SKIP LOCKED"
    rows = tx.all(
        f"SELECT * FROM servers WHERE due <= ? AND claim_until IS NULL AND {CALM} ORDER BY due LIMIT ?{skip}",
        (to_micros(now), NO_INTENT, most),
    )
    resting: list[Server] = []
    busy: list[str] = []
    for server in map(server_of, rows):
        if rests(server):
            resting.append(server)
        else:
            busy.append(server.uuid)
    return Due(tuple(resting), tuple(busy))


def take(tx: Transaction, servers: Sequence[Server], until: datetime) -> None:
    """Puts off when *servers* are due to *until*; in the transaction that found them due."""
    tx.many("UPDATE servers SET due = ? WHERE uuid = ?", [(to_micros(until), one.uuid) for one in servers])


def holders(tx: Transaction, servers: Collection[Server]) -> dict[str, Instance]:
    """The instances that hold *servers*, by name."""
    names = sorted({server.instance for server in servers} - {""})
    if not names:
        return {}
    rows = tx.all(f"SELECT * FROM instances WHERE name IN ({', '.join('?' * len(names))})", names)
    return {row["name"]: instance_of(row) for row in rows}


def keep(tx: Transaction, same: Sequence[Server], due: datetime) -> None:
    """Writes when each of *same* was read, where it is still as it was taken; the next look is at *due*.

    Of what a look may leave otherwise than it was, the document alone holds something.
    """
    tx.many(
        f"UPDATE servers SET doc = ?, version = version + 1, due = ? WHERE {_AS_TAKEN}",
        [(server_values(one)["doc"], to_micros(due), one.uuid, one.version, one.fence) for one in same],
    )


def hand_back(tx: Transaction, servers: Sequence[Server], due: datetime) -> None:
    """Makes *servers* due at *due*, where they are still as they were taken."""
    tx.many(
        f"UPDATE servers SET due = ? WHERE {_AS_TAKEN}",
        [(to_micros(due), one.uuid, one.version, one.fence) for one in servers],
    )
