# SPDX-License-Identifier: Apache-2.0
"""Follows inventory's log: new servers are enrolled, changed ones are read again, deleted ones are let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from services.kernel.clock import Clock, Ids
from services.kernel.errors import BmsError, NotFound, Stale
from services.kernel.names import SERVER
from services.lifecycle.claims import done_with, follow, followed, held_back, hold_back
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.server import Intent, Report, Server
from services.lifecycle.operations.following import close as close_log
from services.lifecycle.operations.following import enroll as enroll_server
from services.lifecycle.peers import Heard, Inventory, Registered
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction

_log = structlog.get_logger("bms.follower")

_LOG = "inventory"
_PORTS = "/ports"
_WAIT_SECONDS = 10
_SOON_SECONDS = 1
"""How long it waits for news while a deletion is remembered, which wants to be tried again."""


def _nobody(_uuid: str) -> None:
    """Nobody needs to be told."""


@dataclass(slots=True)
class Follower:
    """One reader of inventory's log; its place is kept in the transaction of what it led to.

    A deletion is remembered until the server's log is closed: it may have to wait while the server is at work, and an
    administrator may take its closing over. So is a change of where its ports are plugged in that the server cannot
    take yet. Neither holds back what comes after it.
    """

    database: Database
    store: Store
    inventory: Inventory
    clock: Clock
    ids: Ids
    changed: Callable[[str], None] = _nobody
    """Told of each server of which something stands in the log, by its UUID."""
    _told: int | None = field(default=None, init=False)
    """How far that was done here: what another replica has gone past has yet to be told in this process."""

    def tick(self, _now: datetime) -> datetime | None:
        """Reads on from where it is; waits for news up to ten seconds. Answers that it wants to go on at once."""
        place, owed = self.database.read(lambda tx: (followed(tx, _LOG), held_back(tx, _LOG)))
        for key in owed:
            self._go_on(key)
        closing = any(not key.endswith(_PORTS) for key in owed)
        after = place if self._told is None else min(place, self._told)
        heard, next_after = self.inventory.events(after, _SOON_SECONDS if closing else _WAIT_SECONDS)
        for event in heard:
            if event.stream.startswith("servers/"):
                self.changed(SERVER.parse(event.stream)[0])
        self._told = next_after
        fresh = [event for event in heard if event.position > place]
        for event in fresh:
            if event.stream.startswith("servers/"):
                self._hear(event)
            else:
                self._keep(event.position)
        if next_after > (fresh[-1].position if fresh else place):
            self._keep(next_after)
        return self.clock.now()

    def _hear(self, event: Heard) -> None:
        (uuid,) = SERVER.parse(event.stream)
        if event.type == "server.deleting":

            def close(tx: Transaction) -> None:
                if followed(tx, _LOG, lock=True) < event.position:
                    if not close_log(self.store.within(tx), uuid, self._closing()):
                        hold_back(tx, _LOG, event.stream, event.position)
                    follow(tx, _LOG, event.position)

            self.database.transact(close, label="follow.close")
            return
        if event.type not in ("server.created", "server.updated"):
            self._keep(event.position)
            return
        try:
            registered = self.inventory.server(uuid)
        except NotFound:
            # Gone again already; its deletion stands further on in the log.
            self._keep(event.position)
            return
        fresh = replace(_fresh(registered, self.clock.now()), card_changed=event.type == "server.updated")

        def enroll(tx: Transaction) -> None:
            # Another replica may have gone past it meanwhile: what it read is younger.
            if followed(tx, _LOG, lock=True) < event.position:
                if event.type == "server.created":
                    # Whatever is owed is owed to its life before.
                    done_with(tx, _LOG, event.stream)
                if enroll_server(self.store.within(tx), fresh, self.ids.uuid()):
                    done_with(tx, _LOG, event.stream + _PORTS)
                else:
                    hold_back(tx, _LOG, event.stream + _PORTS, event.position)
                follow(tx, _LOG, event.position)

        self.database.transact(enroll, label="follow.enroll")

    def _go_on(self, key: str) -> None:
        """Tries again what was held back of one server; whatever refuses it, the others have their turn."""
        (uuid,) = SERVER.parse(key.removesuffix(_PORTS))
        try:
            if key.endswith(_PORTS):
                self._learn(uuid, key)
            else:
                self._close(uuid, key)
        except Stale:
            pass  # somebody was writing the server at this moment
        except BmsError as error:
            _log.warning("follower.held_back", key=key, reason=error.reason, error=str(error))

    def _close(self, uuid: str, key: str) -> None:
        def close(tx: Transaction) -> None:
            if close_log(self.store.within(tx), uuid, self._closing()):
                done_with(tx, _LOG, key)

        self.database.transact(close, label="follow.close")

    def _learn(self, uuid: str, key: str) -> None:
        try:
            registered = self.inventory.server(uuid)
        except NotFound:
            self.database.transact(lambda tx: done_with(tx, _LOG, key), label="follow.learn")
            return
        fresh = _fresh(registered, self.clock.now())

        def learn(tx: Transaction) -> None:
            if enroll_server(self.store.within(tx), fresh, self.ids.uuid()):
                done_with(tx, _LOG, key)

        self.database.transact(learn, label="follow.learn")

    def _closing(self) -> Intent:
        now = self.clock.now()
        return Intent(self.ids.uuid(), IntentKind.CLOSE, "", "inventory", now, now)

    def _keep(self, position: int) -> None:
        def keep(tx: Transaction) -> None:
            if followed(tx, _LOG, lock=True) < position:
                follow(tx, _LOG, position)

        self.database.transact(keep, label="follow.keep")


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
