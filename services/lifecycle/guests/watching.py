# SPDX-License-Identifier: Apache-2.0
"""Asks Nova what it has on servers that Ironic holds for others, and shows that as instances of their projects.

Nothing is done to it or because of it: that its server is not offered and not touched is decided by what Ironic shows
(observing/meaning.py). What Nova does not know, an allocation perhaps, stays a holder without a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from services.kernel.clock import Clock
from services.kernel.errors import PeerUnavailable, Stale
from services.lifecycle.domain.guests import PREFIX, Guest
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.walk import Change
from services.lifecycle.guests import keeping
from services.lifecycle.guests.keeping import Held
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction
from services.runtime.times import to_micros

ACTOR = "nova"
_AT_ONCE = 20
_MOST_LATER = 10_000

_log = structlog.get_logger("bms.guests")


class Hosts(Protocol):
    """Where guests are asked about."""

    def guest(self, holder: str, server: str) -> Guest | None:
        """What Nova has by that id, on that server; None: nothing, and our login would see it.

        Raises:
            PeerUnavailable: it does not answer, or cannot tell.
        """
        ...


@dataclass(slots=True)
class Guests:
    """Reads, a few at a time; each replica by itself, since what two write is the same.

    Attributes:
        every: how long a reading counts.
    """

    database: Database
    store: Store
    hosts: Hosts
    clock: Clock
    every: timedelta = timedelta(seconds=60)
    _later: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def tick(self, now: datetime) -> datetime:
        """Asks about those that were not asked about for long; answers when to come again."""
        if len(self._later) > _MOST_LATER:
            self._later.clear()
        asked = 0
        for one in self.database.read(keeping.held):
            if not self._is_due(one, now):
                continue
            if asked >= _AT_ONCE:
                return now
            asked += 1
            try:
                self._look(one, now)
            except Stale:
                pass  # somebody wrote the server at this moment; it is looked at again
            except PeerUnavailable as error:
                # The others have their turn before this one is asked about again, should it be this one's fault.
                self._later[one.server, one.holder] = now + self.every
                _log.warning("guests.postponed", holder=one.holder, error=str(error))
                break
        return now + self.every / 2

    def _is_due(self, one: Held, now: datetime) -> bool:
        if not one.holder:
            return True
        read = _is_of(one.guest, one.holder) and one.read_time > to_micros(now - self.every)
        return not read and self._later.get((one.server, one.holder), now) <= now

    def _look(self, one: Held, now: datetime) -> None:
        found = self.hosts.guest(one.holder, one.server) if one.holder else None
        if found is None and one.holder:
            self._later[one.server, one.holder] = now + self.every
        if found is None and not one.guest:
            return
        shown = found.shown(now) if found is not None else None
        self.database.transact(lambda tx: self._write(tx, one.server, shown, now), label="guests.write")

    def _write(self, tx: Transaction, uuid: str, shown: Instance | None, now: datetime) -> None:
        # Locked, so that of two replicas that read the same the second finds it told.
        server = self.store.find_server(tx, uuid, lock=True)
        if server is None:
            return
        if shown is not None and (server.closed or server.instance or self._is_elsewhere(tx, shown)):
            return  # it changed meanwhile: it is looked at again
        before, after = keeping.on(tx, uuid), None
        if shown is not None:
            after = keeping.keep(tx, shown, now)
        else:
            keeping.drop(tx, uuid)
        if before is not None and (after is None or after.name != before.name):
            server = self._tell(tx, server, "guest.gone", before, now)
        if after is not None and (before is None or (after.name, after.state) != (before.name, before.state)):
            self._tell(tx, server, "guest.observed", after, now)

    def _is_elsewhere(self, tx: Transaction, shown: Instance) -> bool:
        """Whether it is still shown on another server, whose log has to say first that it is gone."""
        known = keeping.find(tx, shown.name)
        return known is not None and known.server != shown.server

    def _tell(self, tx: Transaction, server: Server, type_: str, guest: Instance, now: datetime) -> Server:
        if server.closed:
            return server  # its log has ended
        facts = {"guest": guest.name, "state": guest.state.value}
        event = note(server, server, type_, now, actor=ACTOR, message=guest.site_note, facts=facts)
        # His project's people read it as they read what is said of instances of ours; where one has the server already,
        # neither learns the other's name.
        told = replace(event, project="" if server.instance else guest.project)
        return self.store.write(tx, Change(server, (told,)), now, due=now).server


def _is_of(guest: str, holder: str) -> bool:
    return guest.rpartition("/")[2] == PREFIX + holder
