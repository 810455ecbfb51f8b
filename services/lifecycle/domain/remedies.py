# SPDX-License-Identifier: Apache-2.0
"""Safe remedies that run by themselves: when one is due, what is left of its budget, and what each try leaves behind.

A try is recorded before it is made, so that no crash makes it for nothing; it counts for the step it was made in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.lifecycle.domain.blocker import Cure
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server, Tried
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.domain.walk import Change

_N = StepName

CURES: Mapping[Cure, frozenset[StepName]] = {
    Cure.ASK_POWER: frozenset({_N.POWER_OFF, _N.POWER_ON, _N.SWITCH_ON}),
    Cure.REGISTER_PORTS: frozenset(
        {
            _N.ATTACH_PROVISIONING,
            _N.ATTACH_CLEANING,
            _N.ATTACH_RESCUE,
            _N.ATTACH_TENANT,
            _N.DETACH_ALL,
            _N.DETACH_NETWORK,
            _N.REGISTER_PORTS,
            _N.SETTLE_LINKS,
        }
    ),
    Cure.RESET_BMC: frozenset({_N.VERIFY_BMC, _N.POWER_OFF, _N.POWER_ON, _N.SWITCH_ON, _N.REBOOT}),
    Cure.BEGIN_ANEW: frozenset({_N.INSPECT, _N.CLEAN, _N.WRITE_IMAGE, _N.BOOT_RESCUE}),
}
"""In which steps each remedy does something, and nothing that may not be done twice."""

_ONCE = frozenset({Cure.BEGIN_ANEW, Cure.RESET_BMC})


@dataclass(frozen=True, slots=True)
class Budget:
    """How often a remedy may run by itself.

    Attributes:
        tries: in one step, for one code.
        cool_down: how long a wait lasts before the first try, and what lies between two.
        seldom: what lies between two tries when the budget is spent and the step is never given up.
        resets_bmc: whether the hardware's backend can restart a BMC.
    """

    tries: int = 3
    cool_down: timedelta = timedelta(minutes=1)
    seldom: timedelta = timedelta(minutes=15)
    resets_bmc: bool = True

    def of(self, cure: Cure) -> int:
        """How often *cure* may be tried."""
        if cure is Cure.RESET_BMC and not self.resets_bmc:
            return 0
        return min(1, self.tries) if cure in _ONCE else self.tries


def cure_for(server: Server, code: str) -> Cure | None:
    """The remedy of *code* that does something in the step at work; None if there is none."""
    blocker = BLOCKERS.get(code)
    if blocker is None or blocker.cure is None or server.intent is None:
        return None
    if blocker.cure is Cure.RESET_BMC and server.state is State.ADOPTING:
        return None  # nothing is asked of what is not ours yet
    return blocker.cure if server.intent.step.name in CURES[blocker.cure] else None


def tried(server: Server, code: str) -> Tried | None:
    """The tries of the remedy of *code* in the step at work; None before the first."""
    return next((one for one in server.task.tried if one.code == code), None)


def next_try(server: Server, budget: Budget) -> datetime | None:
    """When what *server* waits for is next remedied by itself; None: never again in this step."""
    if server.wait is None or server.intent is None:
        return None
    cure = cure_for(server, server.wait.code)
    if cure is None or not budget.of(cure) or cure is Cure.BEGIN_ANEW:
        return None
    before = tried(server, server.wait.code)
    if before is None:
        return server.wait.since + budget.cool_down
    if before.attempts < budget.of(cure):
        return before.last + budget.cool_down
    again = server.intent.step.limit is None and cure not in _ONCE
    return before.last + budget.seldom if again else None


def is_due(server: Server, budget: Budget, now: datetime) -> bool:
    """Whether a try is to be made before the step is looked at again."""
    at = next_try(server, budget)
    return at is not None and now >= at and not server.task.cure


def may_begin_anew(server: Server, reason: str, budget: Budget) -> bool:
    """Whether a step that failed for *reason* may be begun anew by itself."""
    if cure_for(server, reason) is not Cure.BEGIN_ANEW:
        return False
    before = tried(server, reason)
    return (before.attempts if before else 0) < budget.of(Cure.BEGIN_ANEW)


def is_spent(server: Server, code: str, budget: Budget, now: datetime) -> bool:
    """Whether the last try of the remedy of *code* has had its time too, and there is none left."""
    cure = cure_for(server, code)
    before = tried(server, code) if cure else None
    if cure is None or before is None or cure is Cure.RESET_BMC:
        return False  # a BMC that was restarted takes its time: the step has its own
    return before.attempts >= budget.of(cure) and now >= before.last + budget.cool_down


def begin_try(server: Server, code: str, budget: Budget, now: datetime) -> Change:
    """Counts and tells of one more try; the next look at the step makes it."""
    before, cure = tried(server, code), cure_for(server, code)
    attempts = before.attempts + 1 if before else 1
    others = tuple(one for one in server.task.tried if one.code != code)
    intent = replace(server.task, tried=(*others, Tried(code, attempts, now)), cure=code)
    trying = replace(server, intent=intent)
    following = next_try(trying, budget)
    facts = {"code": code, "remedy": cure.value if cure else "", "attempt": str(attempts)}
    facts["of"] = str(budget.of(cure) if cure else 0)
    if following is not None:
        facts["next"] = following.isoformat()
    event = note(server, trying, "remedy.tried", now, reason=code, facts=facts)
    return Change(trying, (event,))


def made(server: Server) -> Server:
    """*server* after a look at its step: what was to be tried was tried."""
    if server.intent is None or not server.intent.cure:
        return server
    return replace(server, intent=replace(server.intent, cure=""))
