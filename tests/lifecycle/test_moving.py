# SPDX-License-Identifier: Apache-2.0
"""Servers that are migrated to other switch ports: in which order, what is refused, and where it stands in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from bms.lifecycle.v1.server_move_pb2 import ConfirmServerMoveRequest, MoveServerRequest, PortMove
from services.kernel.errors import WrongState
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.verifier.verdict import Verdict
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig
from tests.lifecycle.test_crashes import quarantine
from tests.support.judging import judged, stored_events
from tests.support.wire import admin

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"
FIRST, SECOND = (f"{SERVER}/ports/0cc47a0000{index:02x}" for index in range(2))
OLD = {FIRST: ("leaf1", "xe-0/0/00000"), SECOND: ("leaf1", "xe-0/0/00001")}
NEW = {FIRST: ("leaf2", "xe-9/0/0"), SECOND: ("leaf2", "xe-9/0/1")}


def request(*ports: str, cabled: bool = True, to: dict[str, tuple[str, str]] | None = None, **more: Any) -> Any:
    """A request that moves *ports* (the first, if none is named) to their new links."""
    named = {port: (to or NEW)[port] for port in ports or (FIRST,)}
    moves = [PortMove(port=port, switch_name=switch, switch_port=at) for port, (switch, at) in named.items()]
    return MoveServerRequest(**{"name": SERVER, "ports": moves, "reason": "new rack", "cabled": cabled, **more})


def move(rig: Rig, *ports: str, **more: Any) -> str:
    return rig.ok("MoveServer", request(*ports, **more), admin())


def cabled(rig: Rig) -> None:
    rig.wire.ok("ConfirmServerMove", ConfirmServerMoveRequest(name=SERVER), caller=admin())


def links(rig: Rig) -> dict[str, dict[str, tuple[str, str]]]:
    """Where each of the three that keep it has the server's ports."""
    return {
        "lifecycle": {port.name: (port.switch_name, port.switch_port) for port in rig.server(UUID).ports},
        "inventory": {port.name: (port.switch_name, port.switch_port) for port in rig.inventory.servers[UUID].ports},
        "network": {name: port.plug for name, port in sorted(rig.networks.ports.items()) if port.server == UUID},
    }


def assert_moved(rig: Rig, *ports: str) -> None:
    """All agree on the new links, and what was left was cut."""
    wanted = {**OLD, **{port: NEW[port] for port in ports or (FIRST,)}}
    assert links(rig) == dict.fromkeys(("lifecycle", "inventory", "network"), wanted)
    assert {rig.networks.left[OLD[port]] for port in ports or (FIRST,)} == {PortClass.QUARANTINE}


def assert_judged(rig: Rig) -> None:
    """The verifier finds nothing wrong with the server's log."""
    report = judged("lifecycle", stored_events(rig.database, rig.log))[SERVER]
    assert (report.verdict, report.findings) == (Verdict.PASS, ())


def running(rig: Rig) -> None:
    rig.active(BLUE, GREEN)


def stopped(rig: Rig) -> None:
    rig.active(BLUE, GREEN)
    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
    rig.settle()


def free(rig: Rig) -> None:
    rig.available()


def aside(rig: Rig) -> None:
    rig.available()
    quarantine(rig, UUID)
    rig.settle()


def enrolled(rig: Rig) -> None:
    rig.register()


Before = Callable[[Rig], None]


def tail(rig: Rig, since: int) -> list[str]:
    return rig.types(UUID)[since:]


@pytest.mark.parametrize("ports", [(FIRST,), (FIRST, SECOND)], ids=["one", "both"])
def test_a_running_server_goes_off_moves_and_comes_back(rig: Rig, ports: tuple[str, ...]) -> None:
    """
    Power off read < old links cut and read < inventory's links < new links, and what was left, read < networks < power
    on. Instance, addresses and MAC addresses stay.
    """
    running(rig)
    instance, leases = rig.instance(), rig.server(UUID).leases
    since = len(rig.types(UUID))
    operation = move(rig, *ports)
    rig.settle()
    server = rig.server(UUID)

    assert tail(rig, since) == [
        "server.move_requested", "power.requested", "power.observed",
        "port.detach_requested", "port.detach_observed",
        "port.moved", "port.detach_requested", "port.left_observed", "port.detach_observed",
        "power.requested", "power.observed",
        "port.attach_requested", "port.attach_observed", "power.requested", "power.observed",
    ]  # fmt: skip
    assert_moved(rig, *ports)
    assert (server.state, server.power, server.intent, server.leases) == (State.ACTIVE, Power.ON, None, leases)
    left = rig.instance()
    assert instance is not None
    assert left is not None
    assert (left.state, left.interfaces) == (InstanceState.ACTIVE, instance.interfaces)
    assert {port.observed for port in server.ports} == {PortClass.TENANT}
    done = rig.operation(operation)[0]
    assert (done.done, done.HasField("error")) == (True, False)
    answer = srv.ServerStatus()
    assert done.response.Unpack(answer)
    assert_judged(rig)


def test_a_port_group_moves_by_one_member_or_by_all(rig: Rig) -> None:
    """
    The members of a group carry the same before and after, wherever each is plugged in.
    """
    uuid = rig.register()
    ports = tuple(replace(port, port_group="bond0") for port in rig.inventory.servers[uuid].ports)
    rig.inventory.servers[uuid] = replace(rig.inventory.servers[uuid], ports=ports)
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()
    rig.ok("ProvideServer", srv.ProvideServerRequest(name=SERVER), admin())
    rig.settle()
    rig.create(BLUE)
    rig.settle()
    for moved in ((SECOND,), (FIRST,)):
        move(rig, *moved)
        rig.settle()
        seen = {(port.observed, port.networks, port.port_group) for port in rig.server(uuid).ports}
        assert len(seen) == 1
        assert next(iter(seen))[0] is PortClass.TENANT
    assert_moved(rig, FIRST, SECOND)
    assert_judged(rig)


@pytest.mark.parametrize("before", [stopped, free, aside, enrolled])
def test_what_does_not_run_moves_and_stays_what_it_was(rig: Rig, before: Before) -> None:
    """
    In quarantine on the old links, read, and on the new ones, read; nothing is powered on.
    """
    before(rig)
    was = rig.server(UUID)
    held = rig.instance()
    operation = move(rig, FIRST, SECOND)
    rig.settle()
    server = rig.server(UUID)

    assert not rig.operation(operation)[0].HasField("error")
    assert_moved(rig, FIRST, SECOND)
    assert (server.state, server.fault, server.intent, server.isolated) == (was.state, was.fault, None, True)
    assert not rig.hardware.machine(UUID).on
    left = rig.instance()
    assert (left and left.state) == (held and held.state)
    if server.state is State.AVAILABLE:
        assert rig.inventory.pool[UUID].available
        rig.create(BLUE)
        rig.settle()
        assert rig.server(UUID).state is State.ACTIVE
    if before is stopped:
        rig.ok("StartInstance", instance_pb2.StartInstanceRequest(name=WEB))
        rig.settle()
        assert {port.observed for port in rig.server(UUID).ports} == {PortClass.TENANT}
    assert_judged(rig)


def test_one_that_its_tenant_shut_down_is_not_switched_on(rig: Rig) -> None:
    """
    It was off, though its instance runs as far as anybody asked: on its networks afterwards, and off.
    """
    running(rig)
    rig.hardware.machine(UUID).on = False
    rig.pass_time(2000, 20)
    assert rig.server(UUID).power is Power.OFF
    move(rig)
    rig.settle()

    assert not rig.hardware.machine(UUID).on
    assert_moved(rig)
    assert {port.observed for port in rig.server(UUID).ports} == {PortClass.TENANT}
    assert_judged(rig)


def test_cables_are_waited_for(rig: Rig) -> None:
    """
    Off and cut, under a code that says which cable goes where and the command; said, it goes on. Powered on by whoever
    was at it, it is powered off before its ports return.
    """
    running(rig)
    operation = move(rig, cabled=False)
    rig.settle(60)
    waiting = rig.server(UUID)
    diagnosis = rig.wire.ok("DiagnoseServer", srv.DiagnoseServerRequest(name=SERVER), caller=admin())

    assert waiting.wait is not None
    assert (waiting.wait.code, waiting.isolated, waiting.power) == ("RECABLE", True, Power.OFF)
    assert "0cc47a000000: leaf1 xe-0/0/00000 -> leaf2 xe-9/0/0" in waiting.wait.reason
    assert (diagnosis.blocked_on, diagnosis.who_must_act) == ("RECABLE", "administrator")
    assert diagnosis.commands[0] == f"bms server cabled {UUID}"
    rig.hardware.machine(UUID).on = True
    cabled(rig)
    cabled(rig)
    rig.settle()

    assert rig.types(UUID).count("server.cabled") == 1
    assert not rig.operation(operation)[0].HasField("error")
    assert rig.hardware.history[-2:] == [(UUID, "off"), (UUID, "on")]
    assert_moved(rig)
    assert_judged(rig)


def test_cables_that_went_elsewhere_are_aimed_at_anew(rig: Rig) -> None:
    """
    Other links are named while it waits: the operation before fails, and every place that was left is read.
    """
    running(rig)
    before = move(rig, cabled=False, to={FIRST: ("leaf3", "xe-1")})
    rig.settle(60)
    after = move(rig)
    rig.settle()

    assert "other links were named" in rig.operation(before)[0].error.message
    assert not rig.operation(after)[0].HasField("error")
    assert_moved(rig)
    left = next(event for event in rig.events(SERVER)[::-1] if event.header.type == "port.left_observed")
    assert set(left.body.facts) == {"leaf1 xe-0/0/00000", "leaf3 xe-1"}
    assert rig.server(UUID).power is Power.ON
    assert_judged(rig)


def test_a_new_link_that_falls_silent_is_aimed_elsewhere(rig: Rig) -> None:
    """
    It waits off and cut; asked again it goes elsewhere, whether the switch that fell silent ever answers or not.
    """
    running(rig)
    move(rig, to={FIRST: ("leaf3", "xe-1")})
    rig.networks.dead_switches = {"leaf3"}
    rig.settle(60)
    waiting = rig.server(UUID)
    assert (waiting.task.step.name, waiting.wait and waiting.wait.code) == (StepName.SETTLE_LINKS, "FABRIC_SILENT")
    refused = rig.wire.call("MoveServer", request(to={FIRST: ("leaf3", "xe-2")}), caller=admin())
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    move(rig)
    rig.settle()

    assert rig.server(UUID).power is Power.ON
    assert_moved(rig)
    assert_judged(rig)


def test_what_is_left_on_an_old_link_is_waited_for(rig: Rig) -> None:
    """
    The old switch port shows its network again after it was read in quarantine: nothing goes on before that is gone.
    """
    running(rig)
    move(rig)
    rig.networks.shows = {OLD[FIRST]: PortClass.TENANT}
    rig.settle(60)
    waiting = rig.server(UUID)
    assert waiting.task.step.name is StepName.SETTLE_LINKS
    assert waiting.wait is not None
    assert (waiting.wait.code, "leaf1 xe-0/0/00000" in waiting.wait.reason) == ("PORTS_NOT_SETTLED", True)
    rig.networks.shows = {}
    rig.settle()

    assert rig.server(UUID).power is Power.ON
    assert_judged(rig)


def test_ports_may_change_places(rig: Rig) -> None:
    """
    Two ports of one server, each to where the other was: nothing is left anywhere.
    """
    running(rig)
    move(rig, FIRST, SECOND, to={FIRST: OLD[SECOND], SECOND: OLD[FIRST]})
    rig.settle()

    assert links(rig)["network"] == {FIRST: OLD[SECOND], SECOND: OLD[FIRST]}
    assert rig.server(UUID).power is Power.ON
    assert_judged(rig)


def test_a_refusal_of_inventorys_in_between_leads_to_quarantine(rig: Rig) -> None:
    """
    Of an instance's server: off, cut off, its operation failed with inventory's words; a free one stays what it was.
    """
    running(rig)
    rig.inventory.refuses_links = WrongState("leaf2 xe-9/0/0 is where another port is plugged in", remedy="Look.")
    failed = move(rig)
    rig.settle()
    assert "where another port is plugged in" in rig.operation(failed)[0].error.message
    server = rig.server(UUID)
    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "PEER_REFUSED", True)
    assert not rig.hardware.machine(UUID).on
    assert links(rig)["network"] == OLD
    assert_judged(rig)

    rig.inventory.refuses_links = None
    move(rig)
    rig.settle()
    assert_moved(rig)
    assert rig.server(UUID).state is State.QUARANTINED


def test_a_free_server_that_inventory_refuses_stays_free(rig: Rig) -> None:
    """
    Nothing was changed: it is offered again.
    """
    free(rig)
    rig.inventory.refuses_links = WrongState("taken", remedy="Look.")
    failed = move(rig)
    rig.settle()

    assert rig.operation(failed)[0].HasField("error")
    assert (rig.server(UUID).state, rig.inventory.pool[UUID].available) == (State.AVAILABLE, True)
    assert links(rig)["lifecycle"] == OLD


def test_a_silent_bmc_changes_nothing(rig: Rig) -> None:
    """
    Power off cannot be read: the operation fails, and the instance runs on where it is.
    """
    running(rig)
    rig.hardware.machine(UUID).silent = True
    failed = move(rig)
    rig.pass_time(1500, 10)
    server, instance = rig.server(UUID), rig.instance()

    assert rig.operation(failed)[0].HasField("error")
    assert (server.state, server.intent) == (State.ACTIVE, None)
    assert instance is not None
    assert instance.state is InstanceState.ACTIVE
    assert links(rig)["network"] == OLD
    assert {port.observed for port in server.ports} == {PortClass.TENANT}


@pytest.mark.parametrize("act", ["delete", "quarantine"])
def test_it_may_be_given_back_or_set_aside_while_its_cables_are_waited_for(rig: Rig, act: str) -> None:
    """
    Whatever takes over finds the ports where they are by now.
    """
    running(rig)
    move(rig, cabled=False)
    rig.settle(60)
    if act == "delete":
        rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    else:
        quarantine(rig, UUID)
    rig.settle()

    assert rig.server(UUID).state is (State.AVAILABLE if act == "delete" else State.QUARANTINED)
    assert rig.server(UUID).isolated
    assert_moved(rig)
    assert_judged(rig)


def test_what_stands_is_kept(rig: Rig) -> None:
    """
    The links, and what they left, survive a restart in between.
    """
    running(rig)
    move(rig, cabled=False)
    rig.settle(60)
    before: Server = rig.server(UUID)
    rig.start()

    assert rig.server(UUID) == before
    assert before.task.moves[0].left == (OLD[FIRST],)
