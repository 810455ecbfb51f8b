# SPDX-License-Identifier: Apache-2.0
"""The verb that runs clean steps by hand on a server that nobody holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import InvalidField, WrongState
from services.lifecycle.domain import walk
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.operations.beginning import Beginnings, not_at_work
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.refusals import managed, no_maintenance, not_held
from services.lifecycle.ports import CleanStep

INTERFACES = ("bios", "deploy", "firmware", "management", "power", "raid", "vendor")
"""Ironic's interfaces that may have clean steps."""

_STEP = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MOST_STEPS = 64
_MOST_ARGS = 16 * 1024

CLEANS = {
    State.ENROLLED: IntentKind.CLEAN_ENROLLED,
    State.AVAILABLE: IntentKind.CLEAN,
    State.QUARANTINED: IntentKind.CLEAN_QUARANTINED,
}
"""State that a manual clean begins in -> its plan."""


def check_steps(steps: Sequence[CleanStep]) -> None:
    """The form of the steps that are asked for; which of them there are is known to the driver alone.

    Raises:
        InvalidField: one is malformed, or there are none or too many.
    """
    if not 0 < len(steps) <= _MOST_STEPS:
        raise InvalidField("steps", f"does not hold 1 to {_MOST_STEPS} steps", remedy="Name at least one step.")
    for index, step in enumerate(steps):
        if step.interface not in INTERFACES:
            shown = step.interface[:60]
            raise InvalidField(
                f"steps[{index}].interface",
                f"{shown!r} is no interface of a driver",
                remedy=f"Give one of {', '.join(INTERFACES)}.",
            )
        if not _STEP.fullmatch(step.step):
            raise InvalidField(
                f"steps[{index}].step", f"{step.step[:60]!r} is no step", remedy="Give 1 to 64 letters, digits and '_'."
            )
        if len(step.args.encode()) > _MOST_ARGS:
            raise InvalidField(f"steps[{index}].args", "is larger than 16 KiB", remedy="Give less.")


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What an administrator has run on servers."""

    beginnings: Beginnings

    def clean(self, books: Books, call: Call, uuid: str, steps: tuple[CleanStep, ...]) -> Progress:
        """enrolled, available or quarantined -> cleaning, and back there; from available through a full clean."""
        server = books.server(uuid)
        not_held(server)
        not_at_work(server)
        if server.state not in CLEANS:
            msg = f"{server.name} is {server.state.value}; a manual clean needs {', '.join(CLEANS)}"
            raise WrongState(
                msg,
                remedy=f"Wait until it is at rest, or set it aside: bms server quarantine {uuid} --reason WHY.",
                subject=server.name,
                state=server.state.value,
            )
        managed(server)
        no_maintenance(server)
        _read_in_quarantine(server)
        kind = CLEANS[server.state]
        intent = replace(self.beginnings.intent(call, kind, self.beginnings.operation(call, "")), steps=steps)
        change = walk.begin(server, None, intent, call.now, trigger=Trigger.CLEAN)
        return self.beginnings.commit(books, call, change, f"server.{kind.verb}_requested")


def _read_in_quarantine(server: Server) -> None:
    if server.state is State.QUARANTINED and not server.isolated:
        msg = f"{server.name} may still be on a network: not every port of it was read in quarantine"
        raise WrongState(
            msg,
            remedy=f"Have its ports cut again: bms server quarantine {server.uuid} --reason WHY.",
            subject=server.name,
            state=server.state.value,
        )
