# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lifecycle.domain.kinds import MOVES, IntentKind
from services.lifecycle.domain.plans import percent, plan_of
from services.lifecycle.domain.states import State, Trigger, after
from services.lifecycle.domain.step import OnFailure, StepName
from services.lifecycle.operations.powering import POWERS
from services.lifecycle.steps.table import steps
from tests.lifecycle.rig import World

_N, _K = StepName, IntentKind
_PRIVATE = (_N.ATTACH_PROVISIONING, _N.ATTACH_CLEANING, _N.ATTACH_RESCUE)

BEGINS: dict[IntentKind, tuple[Trigger | None, tuple[State, ...]]] = {
    _K.PROVIDE: (Trigger.PROVIDE, (State.ENROLLED,)),
    _K.RECOVER: (Trigger.RECOVER, (State.QUARANTINED,)),
    _K.CLEAN: (Trigger.CLEAN, (State.AVAILABLE,)),
    _K.CLEAN_ENROLLED: (Trigger.CLEAN, (State.ENROLLED,)),
    _K.CLEAN_QUARANTINED: (Trigger.CLEAN, (State.QUARANTINED,)),
    **dict.fromkeys((_K.SWITCH_ON, _K.SWITCH_OFF, _K.SWITCH_REBOOT), (None, (State.ENROLLED, State.QUARANTINED))),
    _K.DEPLOY: (Trigger.RESERVE, (State.AVAILABLE,)),
    _K.DEPLOY_NOVA: (Trigger.RESERVE, (State.AVAILABLE,)),
    _K.PLACE_ANEW: (Trigger.QUARANTINE, (State.PROVISIONING,)),
    _K.UNDO: (None, (State.RESERVED,)),
    _K.REBUILD: (Trigger.REBUILD, (State.ACTIVE, State.RESCUED)),
    _K.RESCUE: (Trigger.RESCUE, (State.ACTIVE,)),
    _K.UNRESCUE: (None, (State.RESCUED,)),
    _K.STOP: (None, (State.ACTIVE,)),
    _K.START: (None, (State.ACTIVE,)),
    _K.REBOOT: (None, (State.ACTIVE,)),
    _K.ATTACH: (None, (State.ACTIVE,)),
    _K.ATTACH_RESTART: (None, (State.ACTIVE,)),
    _K.DETACH: (None, (State.ACTIVE,)),
    _K.PUT_BACK: (None, (State.ACTIVE,)),
    _K.RELEASE: (
        Trigger.RELEASE,
        (
            State.PROVISIONING,
            State.SWITCHING,
            State.ACTIVE,
            State.RESCUING,
            State.RESCUED,
            State.REBUILDING,
        ),
    ),
    _K.RELEASE_FOUND: (Trigger.RELEASE, (State.ACTIVE, State.REBUILDING, State.SWITCHING, State.RESCUED)),
    _K.RELEASE_SILENT: (None, (State.RELEASING, State.QUARANTINED)),
    _K.QUARANTINE: (Trigger.QUARANTINE, tuple(State)),
    _K.ADOPT: (Trigger.ADOPT, (State.ENROLLED,)),
    _K.UNADOPT: (None, (State.ADOPTING,)),
    _K.FORCE_RELEASE: (Trigger.QUARANTINE, (State.RELEASING, State.DETACHING, State.QUARANTINED)),
    _K.FORCE_AVAILABLE: (None, (State.QUARANTINED,)),
    _K.SKIP_CLEAN: (None, (State.CLEANING,)),
    _K.ATTEST: (None, (State.QUARANTINED,)),
    _K.REPLUG: (None, (State.AVAILABLE,)),
    **dict.fromkeys((_K.MOVE, _K.MOVE_QUIET, _K.MOVE_STOPPED), (None, (State.ACTIVE,))),
    _K.MOVE_FREE: (None, (State.AVAILABLE,)),
    _K.MOVE_ASIDE: (None, (State.ENROLLED, State.QUARANTINED)),
    _K.STAND_BACK: (Trigger.QUARANTINE, (State.RESERVED, State.VERIFYING)),
    _K.CLOSE: (None, (State.ENROLLED, State.AVAILABLE, State.QUARANTINED)),
}
"""How each plan begins: the trigger of the verb itself, and from which states."""

ENDS = {
    _K.PROVIDE: State.AVAILABLE,
    _K.RECOVER: State.AVAILABLE,
    _K.DEPLOY: State.ACTIVE,
    _K.DEPLOY_NOVA: State.ACTIVE,
    _K.PLACE_ANEW: State.QUARANTINED,
    _K.UNDO: State.AVAILABLE,
    _K.REBUILD: State.ACTIVE,
    _K.RESCUE: State.RESCUED,
    _K.UNRESCUE: State.ACTIVE,
    _K.RELEASE: State.AVAILABLE,
    _K.RELEASE_FOUND: State.AVAILABLE,
    _K.RELEASE_SILENT: State.QUARANTINED,
    _K.ADOPT: State.ACTIVE,
    _K.UNADOPT: State.ENROLLED,
    _K.FORCE_RELEASE: State.QUARANTINED,
    _K.FORCE_AVAILABLE: State.AVAILABLE,
    _K.SKIP_CLEAN: State.AVAILABLE,
    _K.QUARANTINE: State.QUARANTINED,
    _K.STAND_BACK: State.QUARANTINED,
}
"""Where each plan that moves the state leads."""


def names(kind: IntentKind) -> list[StepName]:
    return [step.name for step in plan_of(kind)]


@pytest.mark.parametrize("kind", IntentKind)
def test_every_trigger_of_a_plan_is_possible_where_it_comes(kind: IntentKind) -> None:
    """
    Walked from every state it may begin in, each plan finds its triggers in the table, and ends where it should.
    """
    begins, sources = BEGINS[kind]
    for source in sources:
        state = after(source, begins) if begins else source
        for step in plan_of(kind):
            if step.enter is not None:
                state = after(state, step.enter)
        assert state is ENDS.get(kind, source)


@pytest.mark.parametrize("kind", IntentKind)
def test_a_failure_may_come_at_every_step(kind: IntentKind) -> None:
    """
    Wherever a step of a plan fails, its way out is possible in the state it fails in.
    """
    begins, sources = BEGINS[kind]
    for source in sources:
        state = after(source, begins) if begins else source
        for step in plan_of(kind):
            state = after(state, step.enter) if step.enter is not None else state
            if step.on_failure is OnFailure.UNDO:
                assert state is State.RESERVED
            elif step.on_failure is OnFailure.LEAVE:
                assert state is State.ADOPTING
            elif step.on_failure is OnFailure.SILENT:
                assert after(state, Trigger.QUARANTINE)
            elif step.on_failure is OnFailure.STAY and step.limit is not None:
                assert state is State.ACTIVE or kind in (*POWERS, _K.MOVE_FREE, _K.MOVE_ASIDE)


def test_release_goes_in_the_promised_order() -> None:
    """
    Power off < detach of all ports < addresses into cool-down < the instance's end < cleaning network < clean pass <
    available.
    """
    plan = names(_K.RELEASE)
    order = [_N.POWER_OFF, _N.DETACH_ALL, _N.COOL_ADDRESSES, _N.END_INSTANCE, _N.ATTACH_CLEANING, _N.CLEAN]

    assert [plan.index(name) for name in order] == sorted(plan.index(name) for name in order)
    assert plan_of(_K.RELEASE)[-1].enter is Trigger.CLEANED
    assert plan[0] is _N.POWER_OFF


def test_what_was_never_inspected_is_inspected_before_it_is_erased() -> None:
    """
    Given back after an adoption: the same order, with inspection between the instance's end and the cleaning network.
    """
    plan = names(_K.RELEASE_FOUND)
    rest = [name for name in plan if name is not _N.INSPECT]

    assert plan.index(_N.END_INSTANCE) < plan.index(_N.INSPECT) < plan.index(_N.ATTACH_CLEANING)
    assert set(rest) == set(names(_K.RELEASE))


@pytest.mark.parametrize("kind", [_K.ADOPT, _K.UNADOPT])
def test_adopting_asks_nothing_of_the_server_or_its_ports(kind: IntentKind) -> None:
    """
    No step of an adoption, nor of leaving one, moves a port, changes power, or starts a job.
    """
    reads_or_books = {
        *(_N.REPORT, _N.VERIFY_BMC, _N.FIND_PORTS, _N.LEASE_ADDRESSES, _N.TAKE_OVER),
        *(_N.WITHDRAW_ADDRESSES, _N.FORGET_PORTS, _N.END_INSTANCE, _N.RESERVE_NODE, _N.UNRESERVE_NODE),
    }

    assert set(names(kind)) <= reads_or_books


def test_a_silent_release_cuts_ports_first_and_keeps_addresses_until_power_off() -> None:
    """
    With power unknown: detach first, the deletion ends, and addresses go back only behind power off.
    """
    plan = names(_K.RELEASE_SILENT)

    assert plan[0] is _N.DETACH_ALL
    assert plan.index(_N.END_INSTANCE) < plan.index(_N.POWER_OFF) < plan.index(_N.COOL_ADDRESSES)
    assert plan.index(_N.COUNT_ADDRESSES) < plan.index(_N.END_INSTANCE)


@pytest.mark.parametrize("kind", IntentKind)
def test_nothing_follows_a_tenants_network_but_power_and_reports(kind: IntentKind) -> None:
    """
    Once a port is asked onto a tenant's network, a plan only powers on and tells.
    """
    plan = names(kind)
    if _N.ATTACH_TENANT in plan:
        assert set(plan[plan.index(_N.ATTACH_TENANT) + 1 :]) <= {_N.POWER_ON, _N.REPORT}


@pytest.mark.parametrize("kind", IntentKind)
def test_ports_change_class_only_through_quarantine_and_powered_off(kind: IntentKind) -> None:
    """
    Between two classes lie power off and then the detach of all ports; a tenant's network comes only behind power off.
    """
    last_attach, seen = -1, names(kind)
    for index, name in enumerate(seen):
        if name in (*_PRIVATE, _N.ATTACH_TENANT):
            between = seen[last_attach + 1 : index]
            if last_attach >= 0:
                assert between.index(_N.POWER_OFF) < between.index(_N.DETACH_ALL)
            elif name is _N.ATTACH_TENANT and kind is not _K.ATTACH:
                assert _N.POWER_OFF in between
            last_attach = index


def test_nothing_is_done_for_an_instance_before_its_server_is_held_for_it() -> None:
    """
    Deploying begins with the controller's hold, which every way back to the pool ends, just before it is offered.
    """
    assert names(_K.DEPLOY)[0] is _N.RESERVE_NODE
    assert names(_K.ADOPT).index(_N.RESERVE_NODE) < names(_K.ADOPT).index(_N.LEASE_ADDRESSES)
    for kind in (*(kind for kind, state in ENDS.items() if state is State.AVAILABLE), _K.UNADOPT):
        assert names(kind).count(_N.UNRESERVE_NODE) == 1
    for kind in (_K.PROVIDE, _K.RECOVER, _K.RELEASE, _K.RELEASE_FOUND, _K.SKIP_CLEAN, _K.FORCE_AVAILABLE):
        assert names(kind)[-2:] == [_N.UNRESERVE_NODE, _N.REPORT]


@pytest.mark.parametrize("kind", MOVES)
def test_a_server_is_moved_cut_off_and_off(kind: IntentKind) -> None:
    """
    Ports are cut before the links change, and read on the new ones before anything goes on; an instance's server is off
    from before that until its networks are read, and powered off anew behind whoever moved the cables.
    """
    plan = names(kind)
    order = [_N.DETACH_ALL, _N.CHANGE_LINKS, _N.SETTLE_LINKS, _N.RECABLE]

    assert plan[plan.index(_N.DETACH_ALL) :][:4] == order
    if kind in (_K.MOVE, _K.MOVE_QUIET, _K.MOVE_STOPPED):
        assert plan[0] is _N.POWER_OFF
    if _N.ATTACH_TENANT in plan:
        assert plan[plan.index(_N.ATTACH_TENANT) - 1] is _N.POWER_OFF


@pytest.mark.parametrize("kind", IntentKind)
def test_disks_are_erased_only_where_it_was_asked_for(kind: IntentKind) -> None:
    """
    Only providing, recovering, giving back and steps run by hand erase, on the private cleaning network.
    """
    erasing = [step for step in plan_of(kind) if step.erases]
    erase = {
        **dict.fromkeys((_K.PROVIDE, _K.RECOVER, _K.RELEASE, _K.RELEASE_FOUND), (_N.CLEAN,)),
        **dict.fromkeys((_K.CLEAN_ENROLLED, _K.CLEAN_QUARANTINED), (_N.RUN_STEPS,)),
        _K.CLEAN: (_N.RUN_STEPS, _N.CLEAN),
    }

    assert tuple(step.name for step in erasing) == erase.get(kind, ())
    for step in erasing:
        assert names(kind).index(_N.ATTACH_CLEANING) < names(kind).index(step.name)


@pytest.mark.parametrize("kind", IntentKind)
def test_taking_a_server_off_its_networks_is_never_given_up(kind: IntentKind) -> None:
    """
    No detach has a limit, and none can fail.
    """
    detaching = (
        _N.DETACH_ALL,
        _N.DETACH_NETWORK,
        _N.COOL_ADDRESSES,
        _N.COUNT_ADDRESSES,
        _N.REGISTER_PORTS,
        _N.SETTLE_LINKS,
    )

    assert all(step.limit is None for step in plan_of(kind) if step.name in detaching)


def test_every_step_has_its_code_and_is_used() -> None:
    """
    Each step of a plan has code, and no code is for a step that no plan has.
    """
    world = World()
    table = steps(world.hardware, world.inventory, world.networks, world.addresses, lambda _instance: b"")
    used = {name for kind in IntentKind for name in names(kind)}

    assert used == set(StepName)
    assert used == {*table, _N.END_INSTANCE}


@given(kind=st.sampled_from(IntentKind), within=st.integers(-50, 200))
def test_per_cent_only_rises(kind: IntentKind, within: int) -> None:
    """
    Whatever a controller says of its progress, a plan's per cent is 0 to 100 and never falls from step to step.
    """
    seen = [percent(kind, index, within) for index in range(len(plan_of(kind)) + 1)]

    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] == 100
