# SPDX-License-Identifier: Apache-2.0
"""Follows inventory's log: new servers are enrolled, changed ones are read again, deleted ones are let go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.kernel.clock import Clock, Ids
from services.kernel.errors import NotFound
from services.kernel.names import SERVER
from services.lifecycle.claims import follow, followed
from services.lifecycle.domain.plans import IntentKind
from services.lifecycle.domain.server import Intent, Report, Server
from services.lifecycle.operations.following import close as close_log
from services.lifecycle.operations.following import enroll as enroll_server
from services.lifecycle.peers import Heard, Inventory, Registered
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction

_LOG = "inventory"
_WAIT_SECONDS = 10


@dataclass(slots=True)
class Follower:
    """One reader of inventory's log; its place is kept in the transaction of what it led to."""

    database: Database
    store: Store
    inventory: Inventory
    clock: Clock
    ids: Ids

    def tick(self, _now: datetime) -> datetime | None:
        """Reads on from where it is; waits for news up to ten seconds. Answers that it wants to go on at once."""
        place = self.database.read(lambda tx: followed(tx, _LOG))
        heard, next_after = self.inventory.events(place, _WAIT_SECONDS)
        for event in heard:
            if event.stream.startswith("servers/"):
                if not self._hear(event):
                    # A server that is deleted while it is at work: this event is read again when it has come to rest.
                    return None
            else:
                self._keep(event.position)
        if next_after > (heard[-1].position if heard else place):
            self._keep(next_after)
        return self.clock.now()

    def _hear(self, event: Heard) -> bool:
        (uuid,) = SERVER.parse(event.stream)
        now = self.clock.now()
        if event.type == "server.deleting":
            intent = Intent(self.ids.uuid(), IntentKind.CLOSE, "", "inventory", now, now)

            def close(tx: Transaction) -> bool:
                if not close_log(self.store.within(tx), uuid, intent):
                    return False
                follow(tx, _LOG, event.position)
                return True

            return self.database.transact(close, label="follow.close")
        if event.type not in ("server.created", "server.updated"):
            self._keep(event.position)
            return True
        try:
            registered = self.inventory.server(uuid)
        except NotFound:
            # Gone again already; its deletion stands further on in the log.
            self._keep(event.position)
            return True
        fresh = _fresh(registered, now)

        def enroll(tx: Transaction) -> None:
            enroll_server(self.store.within(tx), fresh)
            follow(tx, _LOG, event.position)

        self.database.transact(enroll, label="follow.enroll")
        return True

    def _keep(self, position: int) -> None:
        self.database.transact(lambda tx: follow(tx, _LOG, position), label="follow.keep")


def _fresh(registered: Registered, now: datetime) -> Server:
    # Inventory's row says ENROLLED from the start, so there is nothing to report.
    return Server(
        registered.uuid,
        registered.display_name,
        now,
        ports=registered.ports,
        unmanaged=not registered.providable,
        reported=Report(available=False, reason="ENROLLED", held_by=""),
    )
