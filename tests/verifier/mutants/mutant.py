# SPDX-License-Identifier: Apache-2.0
"""Our own lifecycle with one thing wrong: another order of steps, or a step that believes what it should read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from services.kernel.events import Event, Evidence
from services.lifecycle.domain import plans, states
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.step import Step, StepName
from services.lifecycle.steps.outcomes import Context, Done, Outcome
from services.verifier.verdict import Finding, Verdict
from tests.lifecycle.rig import Rig
from tests.support.judging import judged, stored_events

Order = tuple[StepName | tuple[StepName, Trigger], ...]
"""Steps in their order; with a trigger: entering it changes the server's state."""

Act = Callable[[Context], Outcome]
"""A step's code."""

Found = tuple[str, str, str]
"""An invariant, and the types of the two events that witness that it is broken."""


class Mutant:
    """A lifecycle of which a test spoils something; all else is the genuine one."""

    def __init__(self, rig: Rig, patch: pytest.MonkeyPatch) -> None:
        self.rig = rig
        self._patch = patch

    # -- what is spoiled

    def plan(self, kind: IntentKind, order: Order) -> None:
        """*kind* is done in *order* from now on."""
        self._patch.setitem(plans._PLANS, kind, tuple(_step(one) for one in order))

    def move(self, state: State, trigger: Trigger, target: State) -> None:
        """*trigger* leads from *state* to *target* from now on, which no honest table allows."""
        self._patch.setitem(states.TRANSITIONS, state, {**states.TRANSITIONS[state], trigger: target})

    def act(self, name: StepName, made: Callable[[Context, Act], Outcome]) -> None:
        """The step is *made*, which is given the genuine one, from now on."""
        table = dict(self.rig.worker._walker._table)
        honest = table[name]
        self.rig.worker._walker._table = {**table, name: lambda ctx: made(ctx, honest)}

    def tells(self, name: StepName, told: Callable[[Context], Event]) -> None:
        """The step records *told* besides."""

        def made(ctx: Context, honest: Act) -> Outcome:
            outcome = honest(ctx)
            return replace(outcome, events=(*outcome.events, told(ctx))) if isinstance(outcome, Done) else outcome

        self.act(name, made)

    # -- what is found

    def findings(self, uuid: str) -> tuple[Finding, ...]:
        """What the verifier finds wrong with the server, in order; the verdict must be FAIL if it finds anything."""
        report = judged("lifecycle", stored_events(self.rig.database, self.rig.log))[f"servers/{uuid}"]
        found = report.findings
        known = {event.header.id: event.header.type for event in self.rig.events(f"servers/{uuid}")}
        for finding in found:
            earlier, later = finding.witnesses
            assert earlier.sequence <= later.sequence
            assert [known[one.event] for one in finding.witnesses] == [earlier.type, later.type]
        assert (report.verdict is Verdict.FAIL) == bool(found)
        return found

    def found(self, uuid: str) -> Found:
        """The first thing that the verifier finds wrong with the server."""
        (first, *_) = self.findings(uuid)
        return first.invariant, first.witnesses[0].type, first.witnesses[1].type


def _step(one: StepName | tuple[StepName, Trigger]) -> Step:
    name, trigger = one if isinstance(one, tuple) else (one, None)
    return Step(name, f"{name.value} of a mutant", timedelta(hours=5), enter=trigger)


def told(ctx: Context, type_: str, evidence: Evidence | None = None, *, instance: str | None = None) -> Event:
    """An event of the server, in the name of *instance* if it is given."""
    server = ctx.server if instance is None else replace(ctx.server, instance=instance)
    return note(server, server, type_, ctx.now, evidence=evidence)
