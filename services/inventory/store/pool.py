# SPDX-License-Identifier: Apache-2.0
"""The servers as placement sees them. No lock is ever held on more servers than are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from services.inventory.domain.placement import Candidate
from services.inventory.domain.server import Server
from services.inventory.store import rows as codec
from services.runtime.database import Transaction

_FIRST, _NEXT = 25, 250
"""How many candidates are looked at first, which is mostly enough, and then at a time."""


class PoolRows:
    """See `services.inventory.operations.ports.Pool`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._postgresql = tx.dialect == "postgresql"

    def lock_holder(self, holder: str) -> None:
        """Until this transaction ends, nobody else reserves for *holder*. SQLite has one writer at a time anyway."""
        if self._postgresql:
            key = int.from_bytes(hashlib.sha256(b"bms.holder\x00" + holder.encode()).digest()[:8], "big", signed=True)
            self._tx.one("SELECT pg_advisory_xact_lock(?::bigint) AS locked", (key,))

    def reserved_by(self, holder: str) -> list[Server]:
        """The servers that *holder* has reserved or holds, by UUID, for change."""
        lock = " FOR UPDATE" if self._postgresql else ""
        rows = self._tx.all(
            f"SELECT {codec.COLUMNS} FROM servers WHERE reserved_by = ? ORDER BY uuid{lock}",
            (holder,),
        )
        return [codec.server(row) for row in rows]

    def available(self, resource_class: str, start: str) -> Iterator[Sequence[Candidate]]:
        """The available servers of the class, in portions, each once: from *start* on, then from the beginning."""
        yield from self._between(resource_class, start, "g")
        yield from self._between(resource_class, "", start)

    def take(self, uuids: Sequence[str], limit: int, *, wait: bool) -> list[Server]:
        """At most *limit* of these servers, those that are still available, for change."""
        if wait and self._postgresql:
            # One after the other: a statement with a limit would wait for rows and then find fewer of them still free.
            taken: list[Server] = []
            for uuid in sorted(uuids):
                if len(taken) == limit:
                    break
                taken += self._locked([uuid], 1, " FOR UPDATE")
            return taken
        return self._locked(uuids, limit, " FOR UPDATE SKIP LOCKED" if self._postgresql else "")

    def everything(self) -> Iterator[Candidate]:
        """Every server."""
        rows = self._tx.all(f"SELECT {codec.CANDIDATE_COLUMNS} FROM servers ORDER BY display_name")
        return map(codec.candidate, rows)

    def _locked(self, uuids: Sequence[str], limit: int, lock: str) -> list[Server]:
        if not uuids or limit <= 0:
            return []
        marks = ", ".join("?" for _ in uuids)
        # Whoever waits for a lock gets to see the row as it was left, and the condition is asked again.
        rows = self._tx.all(
            f"SELECT {codec.COLUMNS} FROM servers WHERE uuid IN ({marks}) AND available = 1 AND takeable = 1"
            f" ORDER BY uuid LIMIT ?{lock}",
            (*uuids, limit),
        )
        return [codec.server(row) for row in rows]

    def _between(self, resource_class: str, start: str, end: str) -> Iterator[Sequence[Candidate]]:
        of_class = " AND resource_class = ?" if resource_class else ""
        values = (resource_class,) if resource_class else ()
        after, first, size = start, ">=", _FIRST
        while True:
            rows = self._tx.all(
                f"SELECT {codec.CANDIDATE_COLUMNS} FROM servers WHERE available = 1 AND takeable = 1{of_class}"
                f" AND uuid {first} ? AND uuid < ? ORDER BY uuid LIMIT ?",
                (*values, after, end, size),
            )
            if rows:
                yield [codec.candidate(row) for row in rows]
                after, first = rows[-1]["uuid"], ">"
            if len(rows) < size:
                return
            size = _NEXT
