# SPDX-License-Identifier: Apache-2.0
"""Acts on what was found broken: an event on the server's stream, and quarantine, under the brake."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from services.kernel.calls import Call, Caller, Role
from services.kernel.clock import Ids
from services.kernel.names import SERVER, stable_uuid
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.aside import brake_pulled, set_aside
from services.lifecycle.domain.brake import Held
from services.lifecycle.domain.findings import VIOLATED
from services.lifecycle.domain.notes import LIFECYCLE, note
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.walk import Change
from services.lifecycle.judging import docket
from services.lifecycle.judging.docket import Violation
from services.lifecycle.operations.beginning import is_quarantining, taken_over
from services.lifecycle.store import Store, Within
from services.runtime.database import Database, Transaction

_AT_ONCE = 20
_UNTOUCHED = frozenset({State.ENROLLED, State.UNEXPECTED})
_CONTESTED = "address.contested"
"""What others brought about at a controller, tenants among them who removed a port of theirs: no port of the server is
where it should not be, so nothing is gained by taking it from its tenant, and the brake's share is not theirs to spend.
It is the address that is judged, and not the server, which is told of it under the same name."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Acts on violations, each in one transaction that also strikes it off."""

    database: Database
    store: Store
    ids: Ids
    brakes: Brakes = field(default_factory=Brakes)

    def pass_on(self, now: datetime) -> int:
        """Acts on what is waiting; answers on how many."""
        waiting = self.database.read(lambda tx: docket.violations(tx, _AT_ONCE))
        for violation in waiting:
            self.database.transact(partial(self._act, violation=violation, now=now), label="sentence")
        return len(waiting)

    def _act(self, tx: Transaction, violation: Violation, now: datetime) -> None:
        if not docket.acted(tx, violation):
            return
        for uuid in self._servers(tx, violation.stream):
            server = self.store.find_server(tx, uuid)
            if server is not None and not server.closed:
                self._set_aside(tx, server, violation, now)

    def _set_aside(self, tx: Transaction, server: Server, violation: Violation, now: datetime) -> None:
        books = Within(self.store, tx)
        finding = violation.finding
        message = f"{finding.invariant}: {finding.message}"
        contested = finding.witnesses[1].type == _CONTESTED
        told = note(
            server, server, _CONTESTED if contested else "server.violated", now, actor=LIFECYCLE,
            reason="" if contested else VIOLATED, message=message,
            facts={
                "invariant": finding.invariant,
                "stream": violation.stream,
                "witness_first": finding.witnesses[0].event,
                "witness_second": finding.witnesses[1].event,
            },
        )  # fmt: skip
        aside = is_quarantining(server) or (server.state is State.QUARANTINED and server.intent is None)
        if contested or aside or server.unmanaged or server.state in _UNTOUCHED:
            books.write(Change(server, (told,)), now, due=now)
            return
        if server.instance:
            said = self.brakes.may_quarantine(tx, server, VIOLATED, "", now)
            if isinstance(said, Held):
                pulled = (brake_pulled(server, said, VIOLATED, "", message, now),) if said.pulls else ()
                # Where a port was astray, patrol's own readings say whether it still is. Of the rest a mark on the row
                # tells patrol, until the server is given back: it asks the brake again whenever it looks.
                astray = finding.invariant == "I1"
                marked = server if astray else replace(server, fault=VIOLATED, fault_message=message)
                books.write(Change(marked, (told, *pulled)), now, due=now)
                return
        instance = books.find_instance(server.instance)
        call = Call(Caller(LIFECYCLE, frozenset({Role.SERVICE})), "judge", "", now)
        calm = taken_over(books, call, server, instance, "an invariant of isolation was found broken")
        change = set_aside(calm, instance, (told,), now, VIOLATED, message, new_id=self.ids.uuid)
        books.write(change, now, due=now)

    def _servers(self, tx: Transaction, stream: str) -> list[str]:
        """The servers that a violation in *stream* is about."""
        if stream.startswith("servers/"):
            return list(SERVER.parse(stream))
        vrf, _, address = stream.removeprefix("vrfs/").partition("/addresses/")
        holding = self.store.holding_address(tx, address)
        return [
            server.uuid
            for server in holding
            if any(lease.address == address and stable_uuid("vrf", lease.vrf) == vrf for lease in server.leases)
        ]
