# SPDX-License-Identifier: Apache-2.0
"""The whole table: every provision state of Ironic's held against every state of ours, at rest and at work."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.nodes import NodeSeen, Policy, Trouble
from services.lifecycle.domain.server import Intent, Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.observing import lines
from services.lifecycle.observing.meaning import CODES, Meaning, meaning
from services.lifecycle.ports import Marks
from tests.support.clocks import START

UUID = "00000001-0000-4000-8000-000000000000"
HELD = {State.ACTIVE, State.RESCUED}
REST = [State.ENROLLED, State.UNEXPECTED, State.AVAILABLE, State.ACTIVE, State.RESCUED, State.QUARANTINED]
STATES = [*sorted(lines.NODE_STATES), "a state of a later Ironic"]
INTENT = Intent("i", IntentKind.START, "", "somebody", START, START)


def server(state: State, *, at_work: bool = False, **more: Any) -> Server:
    """A server of ours, in power as its state has it."""
    held = state in HELD
    power = Power.ON if held else Power.OFF
    instance = "projects/demo/instances/web" if held else ""
    made = Server(UUID, "r1", START, state=state, power=power, instance=instance, intent=INTENT if at_work else None)
    return replace(made, **more)


def node(state: str, **more: Any) -> NodeSeen:
    """Its node, as our jobs leave it."""
    made = NodeSeen(UUID, START, state=state, moved=state, power="on", job="deploy")
    return replace(made, **more)


def settled(state: State) -> NodeSeen:
    """The node as it stands while *state* lasts."""
    line = lines.AT_REST.get(state, lines.NODE_STATES)
    at = "available" if "available" in line else min(line)
    return node(at, power="on" if state in HELD else "off")


def found(of: Server, seen: NodeSeen, anchor: str = "") -> Meaning:
    return meaning(of, settled(of.state), seen, anchor, START)


EXPECTED: dict[tuple[State, str], tuple[str, Policy]] = {
    **dict.fromkeys(
        product(
            HELD,
            [
                "available", "deleting", "error", "cleaning", "clean wait", "clean hold", "clean failed", "enroll",
                "verifying", "manageable", "inspecting", "inspect wait", "inspect failed", "adopting", "adopt failed",
            ],
        ),
        ("UNDEPLOYED_ELSEWHERE", Policy.SET_ASIDE),
    ),
    **{
        (state, one): ("NODE_UNEXPECTED", Policy.NOTE)
        for state, one in product(
            HELD,
            [
                "active", "deploying", "wait call-back", "deploy hold", "deploy failed", "rescuing", "rescue wait",
                "rescue", "rescue failed", "unrescuing", "unrescue failed", "servicing", "service wait",
                "service hold", "service failed", "a state of a later Ironic",
            ],
        )
        if (state, one) not in {(State.ACTIVE, "active"), (State.RESCUED, "rescue")}
    },
    **{
        (State.AVAILABLE, one): ("TAKEN_ELSEWHERE", Policy.LEAVE)
        for one in [
            "deploying", "wait call-back", "deploy hold", "deploy failed", "active", "rescuing", "rescue wait",
            "rescue", "rescue failed", "unrescuing", "unrescue failed", "servicing", "service wait", "service hold",
            "service failed", "deleting", "error", "cleaning", "clean wait", "clean hold", "inspecting",
            "inspect wait", "adopting",
        ]
    },
    **{
        (State.AVAILABLE, one): ("NODE_UNEXPECTED", Policy.WITHHOLD)
        for one in [
            "enroll", "verifying", "manageable", "clean failed", "inspect failed", "adopt failed",
            "a state of a later Ironic",
        ]
    },
}  # fmt: skip
"""At rest: whatever is not here is in line."""


@pytest.mark.parametrize("state", REST)
def test_at_rest_every_provision_state_means_what_the_table_says(state: State) -> None:
    """
    Nothing of Ironic's is without a meaning; what is out of line has a code that says what to do.
    """
    for one in STATES:
        trouble = found(server(state), node(one)).trouble
        said = (trouble.code, trouble.policy) if trouble else None

        assert said == EXPECTED.get((state, one)), (state, one)
        if trouble:
            assert trouble.code in CODES & set(BLOCKERS)
            assert one in trouble.message


@pytest.mark.parametrize("state", list(State))
def test_at_work_nothing_is_acted_on_and_what_is_out_of_line_is_told(state: State) -> None:
    """
    Jobs find out by themselves what they meet; a state that no plan leads through is an event.
    """
    for one in STATES:
        meant = found(server(state, at_work=True), node(one, power="unknown"))

        assert meant.trouble is None, (state, one)
        if state not in {State.ENROLLED, State.UNEXPECTED}:
            line = lines.in_line(state, one, at_work=True)
            assert meant.tells is (not line and one != settled(state).state), (state, one)


@pytest.mark.parametrize("state", list(State))
def test_every_state_of_ours_has_its_line(state: State) -> None:
    """
    A new state of ours has to be thought about here as well.
    """
    assert state in lines.AT_WORK
    assert lines.AT_WORK[state] <= lines.NODE_STATES
    assert lines.AT_REST.get(state, frozenset()) <= lines.NODE_STATES
    assert lines.TRANSIENT <= lines.NODE_STATES


MARKS = [
    ({"fault": "power failure", "maintenance": True}, "BMC_SILENT"),
    ({"fault": "clean failure", "maintenance": True}, "CONTROLLER_MAINTENANCE"),
    ({"maintenance": True, "maintenance_reason": "fans"}, "CONTROLLER_MAINTENANCE"),
    ({"retired": True}, "CONTROLLER_RETIRED"),
    ({"gone": True, "state": ""}, "NODE_GONE"),
]


@pytest.mark.parametrize(("marks", "code"), MARKS)
@pytest.mark.parametrize("state", REST)
def test_marks_mean_the_same_wherever_a_server_rests(state: State, marks: dict[str, Any], code: str) -> None:
    """
    A free server is not offered under them, one in use goes on, one never touched is left alone.
    """
    trouble = found(server(state), replace(settled(state), **marks)).trouble

    if state in {State.ENROLLED, State.UNEXPECTED}:
        assert trouble is None
        return
    assert trouble is not None
    assert (trouble.code, trouble.policy) == (code, Policy.WITHHOLD if state is State.AVAILABLE else Policy.NOTE)


@pytest.mark.parametrize("state", REST)
def test_what_is_only_on_record_is_never_in_trouble(state: State) -> None:
    """
    Unmanaged servers, and those that left.
    """
    for one in STATES:
        assert found(server(state, unmanaged=True), node(one)).trouble is None
        assert found(server(state, closed=True), node(one)).trouble is None


def test_marks_of_ours_are_nobody_elses() -> None:
    """
    A server retired here is retired there by us.
    """
    marked = server(State.AVAILABLE, marked=Marks(retired=True))
    meant = found(marked, replace(settled(State.AVAILABLE), retired=True))

    assert (meant.trouble, meant.changes) == (None, ())


def test_an_instance_that_was_adopted_may_stand_on_a_node_that_was_never_deployed() -> None:
    """
    What is called undeployed must have been deployed; but a wipe is one whoever deployed.
    """
    adopted = server(State.ACTIVE)

    def said(state: str, told: str = "manageable") -> Trouble | None:
        return meaning(adopted, node(told, job=""), node(state, job=""), "", START).trouble

    assert said("manageable") is None
    assert said("active") is None
    free = said("available")
    assert free is not None
    assert (free.code, free.policy) == ("NODE_UNEXPECTED", Policy.NOTE)
    assert free.commands == ("openstack baremetal node manage {server}",)
    for one in ("cleaning", "deleting", "clean failed"):
        wiped = said(one)
        assert wiped is not None
        assert wiped.code == "UNDEPLOYED_ELSEWHERE"
    led = said("manageable", told="active")
    assert led is not None
    assert led.code == "UNDEPLOYED_ELSEWHERE"


def test_since_when_is_kept_as_long_as_it_lasts() -> None:
    """
    However often it is seen; another code begins anew.
    """
    first = found(server(State.ACTIVE), replace(settled(State.ACTIVE), retired=True)).trouble
    assert first is not None
    later = START.replace(hour=20)
    under = server(State.ACTIVE, trouble=first)
    again = meaning(under, settled(State.ACTIVE), replace(settled(State.ACTIVE), retired=True), "", later)
    other = meaning(under, settled(State.ACTIVE), replace(settled(State.ACTIVE), maintenance=True), "", later)

    assert again.trouble is not None
    assert again.trouble.since == START
    assert other.trouble is not None
    assert other.trouble.since == later
