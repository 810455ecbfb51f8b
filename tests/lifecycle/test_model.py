# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: T201 -- how much was explored is printed for whoever asks with -s
"""Every place a server and its instance can get to, and that none of them is stuck without saying so."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from services.kernel.errors import WrongState
from services.lifecycle.domain import holding, walk
from services.lifecycle.domain.blocker import Kind
from services.lifecycle.domain.findings import IN_USE
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.lateness import late_at
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.states import IN_MOTION, LIMITS, TRANSITIONS, State
from services.lifecycle.domain.step import OnFailure
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.operations.beginning import is_quarantining
from tests.lifecycle.model import BY_ITSELF, CALL, FRESH, SERVERS, UUID, Model, OneBook, Place, done, verbs
from tests.lifecycle.test_plans import BEGINS
from tests.support.clocks import START

# Exploring all of it takes a minute of one core, which others may want as well.
pytestmark = pytest.mark.timeout(600)

_WAYS_OUT = {
    *("move", "cabled"),
    *("delete", "recover", "take", "quarantine", "close", "replug", "clean", "power_on", "power_off", "power_reboot"),
    *("force release", "force available", "force attest_power_off"),
}
"""What may be asked of a server in quarantine: by its project, an administrator, inventory, or two administrators."""
_FAR = START + timedelta(days=1)


@pytest.fixture(scope="module")
def model() -> Model:
    """All that can be reached from where servers come from."""
    model = Model()
    model.explore(Place(FRESH), Place(replace(FRESH, state=State.UNEXPECTED)))
    return model


def at_work(model: Model) -> list[Place]:
    return [place for place in model.places.values() if place.server.intent is not None]


def test_how_much_was_explored(model: Model) -> None:
    """
    Every plan at every step, in every state that leads on, with and without an instance; the figures are printed.
    """
    steps = {(place.server.task.kind, place.server.task.index) for place in at_work(model)}
    states = Counter(place.server.state.value for place in model.places.values())
    edges = sum(len(leads) for leads in model.edges.values())
    print(
        f"\n{len(model.places)} places, {edges} ways on, {len(steps)} steps of {len({kind for kind, _ in steps})} plans"
    )
    print(", ".join(f"{state} {count}" for state, count in sorted(states.items())))

    explored = {kind for kind, _ in steps}
    assert explored == set(IntentKind)
    for kind in explored:
        indices = sorted(index for other, index in steps if other is kind)
        assert indices == list(range(indices[-1] + 1))
    assert set(states) == {state.value for state in set(State)}


def test_abort_reaches_quarantine_from_everywhere(model: Model) -> None:
    """
    From every place, QuarantineServer leads to quarantine with every port read back there, in at most three steps.
    """
    longest = 0
    for place in model.places.values():
        if place.server.closed:
            continue
        books = OneBook(place)
        try:
            SERVERS.quarantine(books, CALL, UUID, "smoke")
        except WrongState:
            # It is being set aside already, or lies there.
            assert place.server.state is State.QUARANTINED, place
            assert place.server.intent is None or is_quarantining(place.server), place
        went, count = books.place, 0
        while went.server.intent is not None:
            assert went.server.state is State.QUARANTINED, f"{place} led to {went}"
            went, count = done(went), count + 1
        longest = max(longest, count)
        assert went.server.state is State.QUARANTINED, place
        assert not went.connected, place
    print(f"\nabort: at most {longest} steps")
    assert longest <= 4


def test_no_place_is_terminal_and_connected(model: Model) -> None:
    """
    Where nothing is due, no port is on a network, unless an instance in use has it there; and it can be deleted.
    """
    for place in model.places.values():
        if place.server.intent is not None or not place.connected:
            continue
        assert not place.server.closed, place
        assert place.server.state in (State.ACTIVE, State.RESCUED), place
        assert place.instance is not None, place
        assert place.instance.state in (InstanceState.ACTIVE, InstanceState.STOPPED, InstanceState.RESCUED), place
        assert "delete" in [what for what, _ in verbs(place)], place


def test_at_rest_somebody_can_act(model: Model) -> None:
    """
    Nothing rests in a state that should pass by itself, and from every rest but a closed log some verb leads on.
    """
    for key, place in model.places.items():
        if place.server.intent is None and not place.server.closed:
            assert place.server.state not in IN_MOTION, place
            assert model.edges[key], place


def is_going_elsewhere(place: Place) -> bool:
    """Whether its instance seeks another server once what was done for it here is taken back, or is being ended."""
    intent = place.server.intent
    return intent is not None and intent.kind in (IntentKind.PLACE_ANEW, IntentKind.FORCE_RELEASE)


def test_nobody_who_failed_or_was_set_aside_is_back_in_use(model: Model) -> None:
    """
    While its server lies in quarantine, no verb of its project leads anywhere but out: deletion.
    """
    for key, place in model.places.items():
        if place.server.state is State.QUARANTINED:
            ways = {what for what, _ in model.edges[key]} - set(BY_ITSELF)
            assert ways <= _WAYS_OUT, f"{place}: {ways}"
            if place.instance is not None and not is_going_elsewhere(place):
                assert place.instance.state in (InstanceState.ERROR, InstanceState.DELETING), place


def test_every_way_from_use_into_quarantine_can_be_held(model: Model) -> None:
    """
    Wherever a failing step would take a server from the instance that uses it, the brake leaves it to its tenant: it
    is in use when all is put back, with no step that may fail on the way.
    """
    kinds = Counter[str]()
    for key, place in model.places.items():
        ways = dict(model.edges[key])
        if place.server.intent is None or place.server.state not in IN_USE or "failed" not in ways:
            continue
        fallen = model.places[ways["failed"]]
        if fallen.server.state is not State.QUARANTINED or place.instance is None:
            continue
        assert place.instance.state is not InstanceState.DELETING, place
        went = model.places[ways["held"]]
        kinds[place.server.task.kind.value] += 1
        while went.server.intent is not None:
            assert holding.is_putting_back(went.server), went
            assert not went.server.task.step.may_fail, went
            went = done(went)
        assert went.server.state is place.server.state, place
        assert went.instance is not None, place
        assert went.instance.state in (InstanceState.ACTIVE, InstanceState.STOPPED, InstanceState.RESCUED), place
        assert not went.instance.operation, place
        own = {tag.network for port in place.server.ports for tag in port.networks}
        kept = {tag.network for port in went.server.ports for tag in port.networks}
        if place.server.task.kind is IntentKind.ATTACH:
            assert own == kept == {wish.network for wish in went.instance.networks} or not own, place
    assert set(kinds) == {
        *("start", "attach", "attach_restart", "unrescue"),
        *("move", "move_quiet", "move_stopped"),
    }


def test_a_verb_that_changed_nothing_yet_and_cannot_go_back_waits(model: Model) -> None:
    """
    Rebuild and rescue before power off was read: held, the server stays where it is, under the brake's code.
    """
    kinds = set()
    for key, place in model.places.items():
        ways = dict(model.edges[key])
        if "held" in ways and place.server.state not in IN_USE:
            went = model.places[ways["held"]]
            kinds.add(place.server.task.kind)
            assert ways["held"] == key, place
            assert went.connected == place.connected, place
    assert kinds == {IntentKind.REBUILD, IntentKind.RESCUE}


def test_every_way_by_itself_ends(model: Model) -> None:
    """
    Without anybody's doing, the worker comes to rest: what it goes through has no cycle but a wait.
    """
    state: dict[str, int] = {}
    for start in model.places:
        stack = [(start, iter(model.by_itself(start)))]
        if state.setdefault(start, 1) == 2:
            continue
        while stack:
            key, ways = stack[-1]
            following = next(ways, None)
            if following is None:
                state[key] = 2
                stack.pop()
            elif state.get(following) != 2:
                assert state.get(following) != 1, f"a cycle at {model.places[following]}"
                state[following] = 1
                stack.append((following, iter(model.by_itself(following))))


@pytest.mark.parametrize("code", [code for code, blocker in BLOCKERS.items() if blocker.kind is Kind.WAIT])
def test_every_wait_has_an_end_or_an_alarm(model: Model, code: str) -> None:
    """
    Waiting for whatever, at any step: the step has a limit, or the alarm is raised within its time, once.
    """
    for place in {str(place): place for place in at_work(model)}.values():
        step = place.server.task.step
        first = walk.wait(place.server, place.instance, (), START, code, "", START)
        late = late_at(first.server)
        assert late is not None, place
        assert late < _FAR or step.limit is not None, place
        told = walk.wait(first.server, place.instance, first.events, late, code, "", START)
        assert [event.type for event in told.events].count("server.overdue") == 1, place
        again = walk.wait(told.server, place.instance, (), _FAR, "FABRIC_SILENT", "", START)
        assert "server.overdue" not in [event.type for event in again.events], place


def test_what_is_in_motion_has_a_limit(model: Model) -> None:
    """
    A state with a step at work that may not last has its limit, and the step's own is no reason to outlast a day.
    """
    for place in at_work(model):
        if place.server.state in IN_MOTION:
            assert place.server.state_deadline is not None
        limit = place.server.task.step.limit
        assert limit is None or limit < timedelta(days=1)
    assert set(LIMITS) == set(IN_MOTION)


def test_staying_changes_nothing_that_moves(model: Model) -> None:
    """
    A step that may fail and stay does so only where a server may rest.
    """
    for place in at_work(model):
        step = place.server.task.step
        if step.may_fail and step.on_failure is OnFailure.STAY:
            assert place.server.state not in IN_MOTION, place


def test_what_is_retired_never_comes_into_the_pool(model: Model) -> None:
    """
    Retired at any place, and left to the worker: it is not available when it comes to rest, and what is on it stays.
    """
    assert {State.CLEANING, State.RESERVED, State.QUARANTINED} <= {before for before, _ in kept(model)}


def kept(model: Model) -> set[tuple[State, State]]:
    """The transitions into enrolled of servers that are retired wherever they are."""
    seen: dict[str, None] = {}
    went = set()
    for place in at_work(model):
        following = Place(replace(place.server, retired=True), place.instance)
        while following.server.intent is not None and following.key not in seen:
            seen[following.key] = None
            before, following = following.server.state, done(following)
            if before is not following.server.state is State.ENROLLED:
                went.add((before, State.ENROLLED))
            assert following.server.state is not State.AVAILABLE or before is State.AVAILABLE, place
    return went


def test_every_way_of_the_table_is_gone(model: Model) -> None:
    """
    No transition stands in the table for nothing, but those of what is found and nobody registered.
    """
    # An available one that is retired goes with the verb itself.
    went = {(State.AVAILABLE, State.ENROLLED), *kept(model)} | {
        (place.server.state, model.places[to].server.state)
        for key, place in model.places.items()
        for _, to in model.edges[key]
    }
    kinds = {place.server.intent.kind for place in model.places.values() if place.server.intent}
    used = {step.enter for kind in kinds for step in plan_of(kind)} | {BEGINS[kind][0] for kind in kinds}
    for state in {place.server.state for place in model.places.values()}:
        for trigger, target in TRANSITIONS[state].items():
            assert trigger not in used or (state, target) in went or state is target, f"{state} to {target}"
