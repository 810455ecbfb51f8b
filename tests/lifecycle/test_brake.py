# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.lifecycle.v1 import brake_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.brake import Allowed, Held, Policy, Sign, objection
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Tag
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import BLUE, GREEN, Rig
from tests.support.clocks import START
from tests.support.wire import admin, reason

POLICY = Policy()
_PATROL = 1000


def sign(server: int, cause: str = "A", backend: str = "", minutes: float = 0, *, cut: bool = True) -> Sign:
    return Sign(str(server), cause, backend, START + timedelta(minutes=minutes), cut)


# -- the rule


@pytest.mark.parametrize(
    ("signs", "new", "in_use", "held"),
    [
        # One is one.
        ([], sign(1), 100, False),
        ([sign(1)], sign(2), 100, False),
        # The third of a kind is no accident.
        ([sign(1), sign(2)], sign(3), 100, True),
        ([sign(1), sign(2)], sign(3), 100_000, True),
        # The same server again is no other server.
        ([sign(1), sign(2)], sign(2), 100, False),
        # Of different causes as many as allowed: three, or a share of a large fleet.
        ([sign(1, "A"), sign(2, "B")], sign(3, "C"), 10, False),
        ([sign(1, "A"), sign(2, "B"), sign(3, "C")], sign(4, "D"), 10, True),
        ([sign(1, "A"), sign(2, "B"), sign(3, "C")], sign(4, "D"), 100, False),
        # Of one backend alone.
        ([sign(1, "A", "leaf1"), sign(2, "B", "leaf1")], sign(3, "C", "leaf1"), 100, True),
        ([sign(1, "A", "leaf1"), sign(2, "B", "leaf2")], sign(3, "C", "leaf1"), 100, False),
        # Long ago is over.
        ([sign(1, minutes=-61), sign(2, minutes=-60)], sign(3), 100, False),
        # What is only recorded counts where it has the same cause, and pulls the brake when it is everywhere.
        ([sign(1, cut=False), sign(2, cut=False)], sign(3), 100, True),
        ([sign(n, cut=False) for n in range(23)], sign(50, cut=False), 100, False),
        ([sign(n, cut=False) for n in range(24)], sign(50, cut=False), 100, True),
        ([sign(1, cut=False)], sign(2, cut=False), 2, False),
        ([sign(1, cut=False), sign(2, cut=False)], sign(3, cut=False), 3, True),
    ],
)
def test_what_pulls_the_brake(signs: Sequence[Sign], new: Sign, in_use: int, held: bool) -> None:
    """
    Too many within the window, too many of one cause, all of one backend.
    """
    assert bool(objection(signs, new, in_use, POLICY)) is held


@given(
    signs=st.lists(
        st.builds(sign, st.integers(0, 30), st.sampled_from("ABCDEFGH"), st.sampled_from(["", "x", "y"])), max_size=60
    ),
    in_use=st.integers(0, 400),
)
def test_no_more_servers_are_taken_than_are_allowed(signs: list[Sign], in_use: int) -> None:
    """
    Whatever is found in whatever order, once held all is held, and what was taken is within the allowance and the limit
    of one cause.
    """
    taken: list[Sign] = []
    seen: list[Sign] = []
    for one in signs:
        if objection(seen, one, in_use, POLICY):
            break
        seen.append(one)
        taken.append(one)

    assert len({one.server for one in taken}) <= POLICY.allowance(in_use)
    for cause in "ABCDEFGH":
        assert len({one.server for one in taken if one.cause == cause}) < POLICY.same


# -- in a fleet


def fleet(rig: Rig, count: int) -> list[str]:
    """Servers in use, each with an instance of its own."""
    for number in range(1, count + 1):
        rig.register(number)
        rig.ok(
            "ProvideServer", srv.ProvideServerRequest(name=f"servers/{number:08d}-0000-4000-8000-000000000000"), admin()
        )
    rig.settle()
    for number in range(1, count + 1):
        rig.create(BLUE, name=f"web{number}")
        # One by one, so that each is on the server of its number: those that are due together are in no order.
        rig.settle()
    uuids = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(1, count + 1)]
    assert {rig.server(uuid).state for uuid in uuids} == {State.ACTIVE}
    return uuids


def stray(rig: Rig, uuid: str, network: str = GREEN) -> None:
    """Somebody put the server's second port onto a network that it has no business on."""
    port = rig.networks.ports[rig.server(uuid).ports[1].name]
    port.port_class, port.networks = PortClass.TENANT, (Tag(network),)


def patrol(rig: Rig, times: int = 1) -> None:
    for _ in range(times):
        rig.clock.advance(_PATROL)
        rig.settle()


def types_of(rig: Rig, type_: str) -> list[str]:
    return [event.header.stream for event in rig.events() if event.header.type == type_]


def summary(rig: Rig) -> srv.SummarizeFleetResponse:
    answer = rig.wire.ok("SummarizeFleet", srv.SummarizeFleetRequest(), caller=admin())
    assert isinstance(answer, srv.SummarizeFleetResponse)
    return answer


@pytest.mark.finds("I1")
def test_a_single_bad_server_is_set_aside(rig: Rig) -> None:
    """
    A port of a server in use on another project's network: quarantine at once, and its instance says why.
    """
    bad, *good = fleet(rig, 4)
    stray(rig, bad)
    patrol(rig)
    server = rig.server(bad)
    instance = rig.instance("projects/demo/instances/web1")

    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    assert instance is not None
    assert instance.state is InstanceState.ERROR
    assert GREEN in instance.error
    assert {rig.server(uuid).state for uuid in good} == {State.ACTIVE}
    assert types_of(rig, "brake.pulled") == []


@pytest.mark.finds("I1")
def test_a_controller_gone_mad_takes_no_fleet_down(rig: Rig) -> None:
    """
    All ports read astray at once: two servers are set aside, the third pulls the brake, the others stay connected.
    """
    uuids = fleet(rig, 6)
    for uuid in uuids:
        stray(rig, uuid)
    patrol(rig, 3)
    states = [rig.server(uuid).state for uuid in uuids]
    held = [uuid for uuid in uuids if rig.server(uuid).state is State.ACTIVE]

    assert (states.count(State.QUARANTINED), states.count(State.ACTIVE)) == (2, 4)
    assert len(types_of(rig, "brake.pulled")) == 1
    assert all(rig.networks.ports[rig.server(uuid).ports[0].name].port_class is PortClass.TENANT for uuid in held)
    told = rig.wire.ok("DiagnoseServer", srv.DiagnoseServerRequest(name=f"servers/{held[0]}"), caller=admin())
    assert (told.blocked_on, told.who_must_act) == ("BRAKE_PULLED", "administrator")
    assert any("bms brake release" in command for command in told.commands)
    waits = {wait.code: wait.count for wait in summary(rig).waits}
    assert waits["BRAKE_PULLED"] == 4
    assert summary(rig).overdue_count >= 4
    assert [event.body.reason for event in rig.events() if event.header.type == "server.waiting"].count(
        "BRAKE_PULLED"
    ) == 4


@pytest.mark.finds("I1")
def test_nothing_attached_fleet_wide_cuts_nobody_and_alarms(rig: Rig) -> None:
    """
    The controller suddenly answers that nothing is attached: no server is touched, all are shown, the brake is pulled.
    """
    uuids = fleet(rig, 4)
    before = list(rig.networks.history)
    for port in rig.networks.ports.values():
        port.port_class, port.networks = PortClass.QUARANTINE, ()
    patrol(rig, 2)

    assert {rig.server(uuid).state for uuid in uuids} == {State.ACTIVE}
    assert rig.networks.history == before
    assert {wait.code: wait.count for wait in summary(rig).waits} == {"PORTS_LOST": 4}
    assert summary(rig).overdue_count == 4
    assert len(types_of(rig, "brake.pulled")) == 1
    # And whoever is found astray now is held.
    stray(rig, uuids[0])
    patrol(rig)
    assert rig.server(uuids[0]).state is State.ACTIVE


def test_off_fleet_wide_cuts_nobody_and_alarms(rig: Rig) -> None:
    """
    A firmware says off of every server: tenants stay connected, and an administrator is told by the brake.
    """
    uuids = fleet(rig, 4)
    for uuid in uuids:
        rig.hardware.machine(uuid).on = False
    patrol(rig, 2)

    assert {rig.server(uuid).state for uuid in uuids} == {State.ACTIVE}
    assert all(rig.networks.ports[rig.server(uuid).ports[0].name].port_class is PortClass.TENANT for uuid in uuids)
    assert {wait.code: wait.count for wait in summary(rig).waits} == {"POWER_LOST": 4}
    (told,) = [event for event in rig.events() if event.header.type == "brake.pulled"]
    assert told.body.facts["cause"] == "POWER_LOST"


def test_a_tenant_who_shuts_down_alarms_nobody(rig: Rig) -> None:
    """
    One server off among many is its tenant's business: shown with its code, not overdue, and gone when it is on again.
    """
    uuids = fleet(rig, 4)
    rig.hardware.machine(uuids[0]).on = False
    patrol(rig, 2)
    assert {wait.code: wait.count for wait in summary(rig).waits} == {"POWER_LOST": 1}
    assert (summary(rig).overdue_count, types_of(rig, "brake.pulled")) == (0, [])
    rig.hardware.machine(uuids[0]).on = True
    patrol(rig)

    assert rig.server(uuids[0]).wait is None


@pytest.mark.finds("I1")
def test_whoever_comes_right_is_held_no_longer(rig: Rig) -> None:
    """
    Held, and then found as it should be: nothing is left of it on the server; the brake stays pulled.
    """
    uuids = fleet(rig, 4)
    for uuid in uuids:
        stray(rig, uuid)
    patrol(rig)
    held = [uuid for uuid in uuids if rig.server(uuid).state is State.ACTIVE]
    for uuid in held:
        port = rig.networks.ports[rig.server(uuid).ports[1].name]
        port.port_class, port.networks = PortClass.QUARANTINE, ()
    patrol(rig)

    assert all(rig.server(uuid).wait is None for uuid in held)
    assert rig.database.read(lambda tx: Brakes().state(tx, rig.clock.now())).pull_time is not None


def brake(rig: Rig) -> brake_pb2.Brake:
    answer = rig.wire.ok("GetBrake", brake_pb2.GetBrakeRequest(), caller=admin())
    assert isinstance(answer, brake_pb2.Brake)
    return answer


@pytest.mark.finds("I1")
def test_an_administrator_releases_the_brake(rig: Rig) -> None:
    """
    Released, with who and why: counting begins anew, and every server it held is looked at again at once.
    """
    uuids = fleet(rig, 4)
    for uuid in uuids:
        stray(rig, uuid)
    patrol(rig)
    pulled = brake(rig)
    assert (pulled.pulled, pulled.held_count, pulled.quarantined_count, pulled.cause) == (
        True,
        2,
        2,
        "PORTS_MOVED_UNPLANNED",
    )
    assert summary(rig).brake == pulled
    held = [uuid for uuid in uuids if rig.server(uuid).state is State.ACTIVE]
    good, bad = held
    port = rig.networks.ports[rig.server(good).ports[1].name]
    port.port_class, port.networks = PortClass.QUARANTINE, ()
    checked = rig.wire.ok(
        "ReleaseBrake", brake_pb2.ReleaseBrakeRequest(reason="mended", validate_only=True), caller=admin()
    )
    assert not checked.pulled
    assert brake(rig).pulled
    released = rig.wire.ok("ReleaseBrake", brake_pb2.ReleaseBrakeRequest(reason="mended"), caller=admin())
    rig.settle()

    assert (released.pulled, released.release_reason, released.held_count) == (False, "mended", 2)
    assert (rig.server(good).state, rig.server(good).wait) == (State.ACTIVE, None)
    assert rig.server(bad).state is State.QUARANTINED
    (told,) = [event for event in rig.events() if event.header.type == "brake.released"]
    assert (told.body.actor, told.body.message) == (released.released_by, "mended")
    assert not summary(rig).HasField("brake")


def test_a_brake_that_is_not_pulled_is_not_released(rig: Rig) -> None:
    """
    Refused, and nothing is written; so it is without a reason, or by who is no administrator.
    """
    request = brake_pb2.ReleaseBrakeRequest(reason="why not")
    assert reason(rig.wire.call("ReleaseBrake", request, caller=admin()).status) == "WRONG_STATE"
    assert (
        reason(rig.wire.call("ReleaseBrake", brake_pb2.ReleaseBrakeRequest(), caller=admin()).status) == "INVALID_FIELD"
    )
    assert reason(rig.wire.call("ReleaseBrake", request).status) == "FORBIDDEN"
    assert reason(rig.wire.call("GetBrake", brake_pb2.GetBrakeRequest()).status) == "FORBIDDEN"
    assert not brake(rig).HasField("release_time")


def test_others_ask_the_brake_in_their_own_transaction(rig: Rig) -> None:
    """
    Who may set servers aside asks with a cause of his own: allowed, allowed, held; and what was rolled back never was.
    """
    servers = [rig.server(uuid) for uuid in fleet(rig, 3)]
    brakes, now = Brakes(), rig.clock.now()

    def asked(number: int) -> Allowed | Held:
        return rig.database.transact(
            lambda tx: brakes.may_quarantine(tx, servers[number], "I1", "verifier", now), label="test"
        )

    class Undone(Exception):
        pass

    def undone() -> None:
        def ask(tx: object) -> None:
            brakes.may_quarantine(tx, servers[2], "I1", "verifier", now)  # type: ignore[arg-type]  # a transaction
            raise Undone

        rig.database.transact(ask, label="test")

    with pytest.raises(Undone):
        undone()
    assert isinstance(asked(0), Allowed)
    assert isinstance(asked(0), Allowed)
    assert isinstance(asked(1), Allowed)
    held = asked(2)
    assert isinstance(held, Held)
    assert held.pulls
    again = asked(0)
    assert isinstance(again, Held)
    assert not again.pulls
