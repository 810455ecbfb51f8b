# SPDX-License-Identifier: Apache-2.0
"""The verb that switches a server which nobody holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import WrongState
from services.lifecycle.domain import walk
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.operations.beginning import Beginnings, not_at_work
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.refusals import managed, not_held

POWERS = (IntentKind.SWITCH_ON, IntentKind.SWITCH_OFF, IntentKind.SWITCH_REBOOT)
"""What may be asked for."""

_TENANTS = {IntentKind.SWITCH_ON: "start", IntentKind.SWITCH_OFF: "stop", IntentKind.SWITCH_REBOOT: "reboot"}


@dataclass(frozen=True, slots=True)
class Powering:
    """What an administrator asks of servers' power."""

    beginnings: Beginnings

    def switch(self, books: Books, call: Call, uuid: str, kind: IntentKind) -> Progress:
        """enrolled or quarantined, and stays so; switched on, it is no longer clean."""
        server = books.server(uuid)
        if server.instance:
            project, _, short = server.instance.removeprefix("projects/").partition("/instances/")
            not_held(server, f"Ask for its instance: bms instance {_TENANTS[kind]} {short} --project {project}.")
        not_held(server)
        not_at_work(server)
        _may_be_switched(server)
        managed(server)
        soiled = server if kind is IntentKind.SWITCH_OFF else replace(server, clean_time=None)
        intent = self.beginnings.intent(call, kind, self.beginnings.operation(call, ""))
        change = walk.begin(soiled, None, intent, call.now)
        return self.beginnings.commit(books, call, change, f"server.{kind.verb}_requested")


def _may_be_switched(server: Server) -> None:
    aside = f"Set it aside first: bms server quarantine {server.uuid} --reason WHY."
    if server.state is State.AVAILABLE:
        msg = f"{server.name} is available: it is off, and switched on it would no longer be clean"
        raise WrongState(msg, remedy=aside, subject=server.name, state=server.state.value)
    if server.state not in (State.ENROLLED, State.QUARANTINED):
        msg = f"{server.name} is {server.state.value}; its power is switched where it is enrolled or quarantined"
        raise WrongState(msg, remedy=aside, subject=server.name, state=server.state.value)
    if server.state is State.QUARANTINED and not server.isolated:
        msg = f"{server.name} may still be on a network: not every port of it was read in quarantine"
        remedy = f"Have its ports cut again: bms server quarantine {server.uuid} --reason WHY."
        raise WrongState(msg, remedy=remedy, subject=server.name, state=server.state.value)
