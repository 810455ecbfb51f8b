# SPDX-License-Identifier: Apache-2.0
"""A round of the patrol: many servers at rest are looked at together, of which most are as they were.

Power is read of one server after the other, ports of all of them in one call; what shows nothing new is recorded in one
statement. A server that shows anything else, or cannot be read, is left to a walk of its own, which claims it, reads
afresh and records or acts: here nothing is decided. See docs/decisions/0042-looks-in-bulk.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from services.kernel.clock import Clock
from services.kernel.errors import BmsError
from services.kernel.events import PowerSeen
from services.lifecycle import looks
from services.lifecycle.domain.server import Power, Server
from services.lifecycle.patrol import left_alone, nothing_new
from services.lifecycle.peers import Networks, Reading
from services.lifecycle.ports import Hardware, Target
from services.lifecycle.steps.describing import is_news
from services.lifecycle.steps.marking import wanted_marks
from services.runtime.database import Database, Transaction
from services.runtime.times import from_micros, to_micros

_log = structlog.get_logger("bms.rounds")

MOST = 64
"""How many servers a round has at most: what they share costs no more with more of them, and one slow BMC holds up the
others of its round."""
_CELLS = 30
"""Looks are due at one of so many moments between two at the same server, so that there are some together."""


def next_look(now: datetime, patrol: timedelta) -> datetime:
    """When a server looked at *now* is due again: *patrol* later at most, together with others."""
    due, cell = to_micros(now + patrol), max(1, patrol // _CELLS // timedelta(microseconds=1))
    return max(now, from_micros(due - due % cell))


@dataclass(slots=True)
class Rounds:
    """Takes servers for rounds, and walks these.

    Args:
        patrol: how often a server at rest is looked at.
        hold: for how long a server that was taken is left to its round.
        longest: how long a round may go on reading; what it did not come to is due again at once.
    """

    database: Database
    hardware: Hardware
    networks: Networks
    clock: Clock
    patrol: timedelta
    hold: timedelta
    longest: timedelta
    _odd: set[str] = field(default_factory=set)
    """Servers that a round left to a walk of their own. What is forgotten here is found out again."""

    def take(self, tx: Transaction, now: datetime, *, free: bool) -> tuple[tuple[Server, ...], tuple[str, ...]]:
        """The servers of a round that can begin now, if one is *free*, and the UUIDs of those that need a walk.

        Who is calm and due and neither is left to a later round.
        """
        found = looks.due(tx, now, MOST, self._rests)
        if not free or not found.resting:
            return (), found.busy
        looks.take(tx, found.resting, now + self.hold)
        return found.resting, found.busy

    def walked(self, uuid: str) -> None:
        """A walk of its own has begun for a server."""
        self._odd.discard(uuid)

    def walk(self, servers: tuple[Server, ...]) -> None:
        """Looks at *servers* and records what is as it was."""
        began = self.clock.now()
        instances = self.database.read(lambda tx: looks.holders(tx, servers))
        powers: dict[str, PowerSeen] = {}
        late: list[Server] = []
        for server in servers:
            if left_alone(server):
                continue
            if self.clock.now() - began > self.longest:
                late.append(server)
                continue
            seen = self._power(server)
            if seen is not None:
                powers[server.uuid] = seen
        readings = self._ports({server.uuid: server.fence for server in servers if server.uuid in powers})
        same, odd = [], []
        for server in servers:
            if left_alone(server):
                same.append(server)
            elif server.uuid in readings:
                instance = instances.get(server.instance)
                looked = nothing_new(server, instance, powers[server.uuid], readings[server.uuid])
                same.append(looked) if looked is not None else odd.append(server)
            elif server not in late:
                odd.append(server)
        self._odd.update(server.uuid for server in odd)

        def record(tx: Transaction) -> None:
            if same:
                looks.keep(tx, same, next_look(began, self.patrol))
            if odd or late:
                looks.hand_back(tx, [*odd, *late], began)

        self.database.transact(record, label="round")

    def _rests(self, server: Server) -> bool:
        if server.intent is not None or server.closed or server.wait is not None or server.uuid in self._odd:
            return False
        told = server.wanted_report() == server.reported and wanted_marks(server) == server.marked
        return told and not is_news(server) and (server.power is not Power.UNKNOWN or left_alone(server))

    def _power(self, server: Server) -> PowerSeen | None:
        try:
            return self.hardware.read_power(Target(server.uuid, server.fence))
        except BmsError:
            return None  # to be told by the walk of its own
        except Exception:  # noqa: BLE001 -- a defect met at one server must not keep the others from being looked at
            _log.exception("worker.defect", server=server.name)
            return None

    def _ports(self, fences: dict[str, int]) -> dict[str, tuple[Reading, ...]]:
        try:
            return self.networks.look(fences) if fences else {}
        except BmsError as error:
            _log.warning("round.ports_unread", servers=len(fences), reason=error.reason, error=str(error))
            return {}
