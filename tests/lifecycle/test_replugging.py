# SPDX-License-Identifier: Apache-2.0
"""Ports that inventory has plugged in elsewhere, or no more: cut where they were, read where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.claims import held_back
from services.lifecycle.domain.server import Port, PortClass
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from tests.lifecycle.portrait import assert_sound, portrait
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig
from tests.lifecycle.test_crashes import At, Case, Prepared, kill, points, provide, quarantine, settled
from tests.support.wire import admin


def tell(rig: Rig, uuid: str, *ports: Port) -> None:
    """Inventory has these ports from now on, and lifecycle hears of it."""
    rig.inventory.servers[uuid] = replace(rig.inventory.servers[uuid], ports=ports)
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()


def replugged(rig: Rig, uuid: str) -> None:
    """Every port is plugged into another switch."""
    tell(rig, uuid, *(replace(port, switch_name="leaf2") for port in rig.inventory.servers[uuid].ports))


def unplugged(rig: Rig, uuid: str) -> None:
    """Its second port is gone."""
    tell(rig, uuid, rig.inventory.servers[uuid].ports[0])


def owed(rig: Rig) -> list[str]:
    return rig.database.read(lambda tx: held_back(tx, "inventory"))


def switches(rig: Rig) -> list[str]:
    """Where network has the ports that it knows."""
    return [port.plug[0] for _, port in sorted(rig.networks.ports.items())]


def go_on(rig: Rig) -> None:
    for _ in range(3):
        rig.hear()
        rig.pass_time(20)


def isolated_elsewhere(rig: Rig, uuid: str) -> bool:
    """It lies isolated at its new switch, was cut at the old one, and nothing is owed."""
    server = rig.server(uuid)
    assert {port.switch_name for port in server.ports} == {"leaf2"}
    assert set(rig.networks.left.values()) == {PortClass.QUARANTINE}
    assert owed(rig) == []
    return server.isolated and switches(rig) == ["leaf2"] * 2 and all(port.read_time for port in server.ports)


def test_a_free_server_is_not_taken_before_its_ports_were_read_where_they_are(rig: Rig) -> None:
    """
    Neither offered nor given to anybody while the new switch is silent; available again once it was read there.
    """
    uuid = rig.available()
    rig.networks.dead_switches = {"leaf2"}
    replugged(rig, uuid)
    rig.pass_time(10)
    assert rig.server(uuid).wait.code == "FABRIC_SILENT"  # type: ignore[union-attr]  # it is what is asserted
    assert (rig.inventory.pool[uuid].available, rig.inventory.pool[uuid].reason) == (False, "PORTS_CHANGED")

    rig.networks.dead_switches = set()
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE
    assert isolated_elsewhere(rig, uuid)
    assert rig.inventory.pool[uuid].available
    assert_sound(rig, uuid)


def test_a_free_server_that_loses_a_port_lets_network_forget_it(rig: Rig) -> None:
    """
    A port that was read in quarantine is let go at once, everywhere.
    """
    uuid = rig.available()
    unplugged(rig, uuid)
    rig.settle()

    assert (rig.server(uuid).state, len(rig.server(uuid).ports)) == (State.AVAILABLE, 1)
    assert switches(rig) == ["leaf1"]
    assert owed(rig) == []
    assert_sound(rig, uuid)


def test_a_wrong_switch_can_be_corrected_while_it_is_provided(rig: Rig) -> None:
    """
    Ports that were never read, and asked into quarantine alone, are looked for where inventory has them now.
    """
    uuid = rig.register()
    rig.networks.dead_switches = {"leaf1"}
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.pass_time(30)
    replugged(rig, uuid)
    rig.settle()
    rig.hear()

    assert rig.server(uuid).state is State.AVAILABLE
    assert switches(rig) == ["leaf2"] * 2
    assert owed(rig) == []


def stuck_on_a_switch(rig: Rig) -> str:
    """It was free, and the switch it was plugged into died before it was set aside."""
    uuid = rig.available()
    rig.networks.dead_switches = {"leaf1"}
    quarantine(rig, uuid)
    rig.pass_time(30)
    assert rig.server(uuid).task.step.name is StepName.DETACH_ALL
    return uuid


def stuck_on_its_power(rig: Rig) -> str:
    """It is cut off, and its BMC does not answer."""
    uuid = rig.available()
    rig.hardware.machine(uuid).silent = True
    quarantine(rig, uuid)
    rig.pass_time(30)
    assert rig.server(uuid).task.step.name is StepName.POWER_OFF
    return uuid


def given_back_silent(rig: Rig) -> str:
    """Its instance ended, its BMC is silent, and its addresses are held."""
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.pass_time(900, 10)
    assert rig.server(uuid).leases
    return uuid


def resting(rig: Rig) -> str:
    uuid = rig.available()
    quarantine(rig, uuid)
    rig.settle()
    return uuid


@pytest.mark.parametrize("made", [stuck_on_a_switch, stuck_on_its_power, given_back_silent, resting])
def test_replugging_in_quarantine_is_learned(rig: Rig, made: Callable[[Rig], str]) -> None:
    """
    Wherever in quarantine it is stuck, it is cut off anew where it is plugged in now, and that is read back.
    """
    uuid = made(rig)
    replugged(rig, uuid)
    assert not rig.server(uuid).isolated
    go_on(rig)

    assert rig.server(uuid).state is State.QUARANTINED
    assert isolated_elsewhere(rig, uuid)
    rig.networks.dead_switches = set()
    rig.hardware.machine(uuid).silent = False
    go_on(rig)
    assert_sound(rig, uuid)


def test_a_port_on_a_network_is_cut_where_it_was_first(rig: Rig) -> None:
    """
    The switch that has a tenant's port is dead: it is not looked for elsewhere before it was read off his network.
    """
    uuid = rig.active(BLUE, GREEN)
    rig.networks.dead_switches = {"leaf1"}
    quarantine(rig, uuid)
    rig.pass_time(30)
    replugged(rig, uuid)
    go_on(rig)
    assert not rig.server(uuid).isolated
    assert switches(rig) == ["leaf1"] * 2
    assert owed(rig) == [f"servers/{uuid}/ports"]

    rig.networks.dead_switches = set()
    go_on(rig)
    assert isolated_elsewhere(rig, uuid)
    assert_sound(rig, uuid)


def test_a_dropped_port_of_a_server_in_use_is_cut_before_it_is_forgotten(rig: Rig) -> None:
    """
    Inventory's news came after the server was taken: the port stays the tenant's until he gives it back.
    """
    uuid = rig.active(BLUE, GREEN)
    before = rig.server(uuid)
    unplugged(rig, uuid)
    rig.settle()
    # They may have been read once more, and are what they were.
    assert [replace(port, read_time=None) for port in rig.server(uuid).ports] == [
        replace(port, read_time=None) for port in before.ports
    ]
    assert owed(rig) == [f"servers/{uuid}/ports"]

    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    go_on(rig)
    rig.settle()
    assert (rig.server(uuid).state, len(rig.server(uuid).ports)) == (State.AVAILABLE, 1)
    assert set(rig.networks.left.values()) == {PortClass.QUARANTINE}
    assert switches(rig) == ["leaf1"]
    assert owed(rig) == []
    assert_sound(rig, uuid)


def test_a_boot_port_that_is_dropped_on_the_cleaning_network_is_cut_first(rig: Rig) -> None:
    """
    Its disks are being erased: the port stays until the pass is over, and goes once it was read in quarantine.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).slow = True
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle(rounds=20)
    assert rig.server(uuid).task.step.name is StepName.CLEAN
    tell(rig, uuid, rig.inventory.servers[uuid].ports[1])
    assert len(rig.server(uuid).ports) == 2
    rig.hardware.machine(uuid).slow = False
    go_on(rig)
    rig.settle()

    assert (rig.server(uuid).state, len(rig.server(uuid).ports)) == (State.AVAILABLE, 1)
    assert set(rig.networks.left.values()) == {PortClass.QUARANTINE}
    assert_sound(rig, uuid)


def test_a_log_is_closed_once_a_port_that_moved_was_cut(rig: Rig) -> None:
    """
    Somebody put a free server's port onto a network, network saw it, and inventory deletes the server.
    """
    uuid = rig.available()
    name, moved = next(iter(rig.networks.ports.items()))
    moved.port_class = moved.seen = PortClass.CLEANING
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()
    go_on(rig)

    assert rig.server(uuid).closed
    assert (name, PortClass.QUARANTINE) in rig.networks.history
    assert set(rig.networks.left.values()) == {PortClass.QUARANTINE}


CASES = {
    "free": Case(settled(provide), replugged),
    "quarantined": Case(settled(provide, quarantine), replugged),
    "dropped": Case(settled(provide), unplugged),
}


@pytest.mark.parametrize("name", CASES)
def test_a_kill_anywhere_changes_nothing(name: str, tmp_path: Path) -> None:
    """
    Killed before and after every effect of learning where ports are now: the end is that of the undisturbed run.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case)
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    found = points(rig, both=True)
    wanted, plugs = portrait(rig, prepared.uuid), switches(rig)
    assert wanted.resting
    assert wanted.isolated
    assert found

    for number, point in enumerate(found):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        assert rig.killed_at(At(number, kill, both=True)), point
        rig.settle()
        assert (portrait(rig, prepared.uuid), switches(rig)) == (wanted, plugs), (number, point)
        assert_sound(rig, prepared.uuid)
    forks.close()


def test_a_free_server_whose_ports_are_all_dropped_is_not_said_to_be_read(rig: Rig) -> None:
    """
    There is nothing left to read: no event claims a reading, and the verifier finds nothing wrong.
    """
    uuid = rig.available()
    before = rig.types(uuid).count("port.detach_observed")
    tell(rig, uuid)
    go_on(rig)
    rig.settle()

    assert rig.server(uuid).ports == ()
    assert rig.types(uuid).count("port.detach_observed") == before
    assert_sound(rig, uuid)
