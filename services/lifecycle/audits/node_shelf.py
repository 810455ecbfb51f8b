# SPDX-License-Identifier: Apache-2.0
"""The controller's book: whom it holds servers for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.kernel.effect import effect
from services.kernel.names import SERVER
from services.lifecycle.audits import rows
from services.lifecycle.audits.leaks import Leak
from services.lifecycle.audits.node_holds import of_hold
from services.lifecycle.audits.shelves import Look
from services.lifecycle.ports import Holds, HoldSeen
from services.runtime.database import Database


@dataclass(frozen=True, slots=True)
class NodeHolds:
    """`services.lifecycle.audits.shelves.Shelf` over a controller's holds."""

    database: Database
    holds: Holds

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        with effect("audit.node_holds"):
            seen, more = self.holds.page(token, size)
        return Look(self._judge(seen, now), len(seen), seen[-1].server if seen and more else "")

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        (uuid,) = SERVER.parse(resource, "resource")
        seen = self.holds.hold(uuid)
        return self._judge([seen], now) if seen is not None else ()

    def _judge(self, seen: Sequence[HoldSeen], now: datetime) -> tuple[Leak, ...]:
        known = self.database.read(lambda tx: rows.servers(tx, {one.server for one in seen}))
        return tuple(leak for one in seen for leak in of_hold(one, known.get(one.server), now))
