# SPDX-License-Identifier: Apache-2.0
"""Who holds a server in its controller: taken there first, or not at all; and what becomes of one that others took."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.effect import observed
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Power
from services.lifecycle.domain.states import State
from services.runtime.database import open_database
from tests.lifecycle.portrait import assert_sound, portrait
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.lifecycle.test_crashes import At, create, kill, points
from tests.support.stores import _sqlite_copy
from tests.support.wire import admin

Touched = tuple[int, int]


def touched(rig: Rig) -> Touched:
    """How much was done to hardware and ports so far."""
    return len(rig.hardware.history), len(rig.networks.history)


def provide(rig: Rig, uuid: str) -> None:
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())


def recover(rig: Rig, uuid: str) -> str:
    return rig.ok("RecoverServer", server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}"), admin())


def lost(rig: Rig) -> str:
    """A server that somebody else took while an instance was being placed on it, as all of them."""
    uuid = rig.available()
    rig.hardware.machine(uuid).taken = True
    rig.create(BLUE)
    rig.settle()
    return uuid


def test_it_is_held_before_anything_is_done_and_for_the_instances_life(rig: Rig) -> None:
    """
    The controller's hold comes before addresses and ports, lasts while the instance does, and ends with the clean.
    """
    uuid = rig.available()
    before = len(rig.types(uuid))
    rig.create(BLUE)
    rig.settle()
    types = rig.types(uuid)[before:]
    (hold,) = rig.hardware.machine(uuid).holders

    assert types.index("server.held") < types.index("address.leased") < types.index("port.attach_requested")
    (held,) = [event for event in rig.events(f"servers/{uuid}") if event.header.type == "server.held"]
    assert held.body.facts["hold"] == hold

    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))
    rig.settle()
    assert rig.hardware.machine(uuid).holders == (hold,)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    assert rig.hardware.machine(uuid).holders == ()
    assert_sound(rig, uuid)


def test_a_race_that_is_lost_is_retried_on_another_server(rig: Rig) -> None:
    """
    Somebody else was first: nothing is done to that server, nobody is offered it, and the instance gets another one.
    """
    first, second = rig.available(1), rig.available(2)
    rig.hardware.machine(first).taken = True
    done = len(rig.types(first))
    operation = rig.create(BLUE)
    rig.settle()
    instance, server = rig.instance(), rig.server(first)

    assert instance is not None
    assert (instance.state, instance.server) == (InstanceState.ACTIVE, second)
    assert rig.operation(operation)[0].HasField("response")
    assert (server.state, server.fault, server.instance, server.clean_time) == (
        State.QUARANTINED, "TAKEN_ELSEWHERE", "", None,
    )  # fmt: skip
    assert rig.types(first)[done:] == [
        "server.state_changed", "server.failed", "instance.ended", "server.state_changed",
    ]  # fmt: skip
    assert not [act for name, act in rig.hardware.history if name == first and act not in ("off", "inspect", "clean")]
    pool = rig.inventory.pool[first]
    assert (pool.available, pool.reason, pool.held_by) == (False, "TAKEN_ELSEWHERE", "")
    assert rig.inventory.reserved == {WEB: second}
    assert_sound(rig, second)


def test_without_another_server_the_operation_says_so(rig: Rig) -> None:
    """
    Every server was taken by others: the operation fails as one for which there is none, and nothing stays reserved.
    """
    servers = [rig.available(number) for number in (1, 2, 3)]
    for uuid in servers:
        rig.hardware.machine(uuid).taken = True
    before = touched(rig)
    operation = rig.create(BLUE)
    rig.settle()
    instance = rig.instance()

    assert instance is not None
    assert (instance.state, instance.server) == (InstanceState.ERROR, "")
    assert "no server would do" in rig.operation(operation)[0].error.message
    assert touched(rig) == before
    assert rig.inventory.reserved == {}
    assert {rig.server(uuid).fault for uuid in servers} == {"TAKEN_ELSEWHERE"}
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    assert rig.instance() is None


def test_who_has_it_is_left_alone(rig: Rig) -> None:
    """
    What others run on a server that they took, on whatever network, is neither switched off nor cut by looking at it.
    """
    uuid = lost(rig)
    rig.hardware.machine(uuid).on = True
    port = min(rig.networks.ports)
    rig.networks.ports[port].port_class = PortClass.TENANT
    before, events = touched(rig), len(rig.types(uuid))
    rig.pass_time(4000, step=50)

    assert touched(rig) == before
    assert rig.hardware.machine(uuid).on
    assert rig.networks.ports[port].port_class is PortClass.TENANT
    assert len(rig.types(uuid)) == events


def test_recovering_waits_until_it_was_given_back(rig: Rig) -> None:
    """
    While others have it, recovering fails and touches nothing; given back, it is inspected and cleaned before it is
    offered.
    """
    uuid = lost(rig)
    before = touched(rig)
    operation = recover(rig, uuid)
    rig.settle()
    error = rig.operation(operation)[0].error

    assert "somebody else" in error.message
    assert touched(rig) == before
    assert rig.server(uuid).taken_elsewhere

    rig.hardware.machine(uuid).taken = False
    recover(rig, uuid)
    rig.settle()
    server = rig.server(uuid)
    assert (server.state, server.fault, server.power) == (State.AVAILABLE, "", Power.OFF)
    assert [act for name, act in rig.hardware.history if name == uuid][-2:] == ["clean", "off"]
    assert_sound(rig, uuid)


def test_what_others_use_is_not_provided(rig: Rig) -> None:
    """
    Somebody registers a server that others use by the same controller: it is not erased, and no port of it moves.
    """
    uuid = rig.register()
    rig.hardware.machine(uuid).taken = True
    provide(rig, uuid)
    rig.settle()

    assert rig.server(uuid).taken_elsewhere
    assert touched(rig) == (0, 0)
    assert rig.networks.ports == {}


def test_a_silent_controller_fails_the_operation_and_nothing_else(rig: Rig) -> None:
    """
    The controller cannot be asked: the instance waits under that code; its time up, the server is free as it was.
    """
    uuid = rig.available()
    rig.hardware.deaf = True
    operation = rig.create(BLUE)
    rig.settle(rounds=20)
    assert rig.operation(operation)[1].wait.code == "CONTROLLER_SILENT"
    before = touched(rig)
    rig.pass_time(900)
    rig.hardware.deaf = False
    rig.settle()
    instance = rig.instance()

    assert "CONTROLLER_SILENT" in str(rig.operation(operation)[0].error)
    assert instance is not None
    assert (instance.state, instance.server) == (InstanceState.ERROR, "")
    assert touched(rig) == before
    assert rig.server(uuid).state is State.AVAILABLE
    assert_sound(rig, uuid)


@pytest.mark.parametrize("disturb", [kill, None])
def test_a_lost_race_may_be_disturbed_anywhere(disturb: Callable[[], None] | None, tmp_path: Path) -> None:
    """
    Killed, or deleted by its tenant, at any point of losing one server and getting another: each server is held once or
    not at all, and the one that others have is left alone.
    """
    path = tmp_path / "prepared.sqlite"
    database = open_database(_sqlite_copy("services.lifecycle", path))
    rig = Rig(database)
    first, second = rig.available(1), rig.available(2)
    rig.hardware.machine(first).taken = True
    world, before = deepcopy(rig.world), touched(rig)
    database.close()
    content, count = path.read_bytes(), 1
    wanted = None
    number = -1  # the first run is the undisturbed one
    while number < count:
        fork = tmp_path / f"fork{number}.sqlite"
        fork.write_bytes(content)
        database = open_database(f"sqlite:///{fork}")
        rig = Rig(database, world=deepcopy(world))
        create(rig, first)
        if wanted is None:
            count = len(points(rig))
            wanted = portrait(rig, second)
        elif disturb is not None:
            assert rig.killed_at(At(number, disturb))
            rig.settle()
            assert portrait(rig, second) == wanted, number
        else:
            delete = instance_pb2.DeleteInstanceRequest(name=WEB)
            with observed(At(number, partial(rig.ok, "DeleteInstance", delete))):
                rig.settle()
            rig.settle()
            assert rig.instance() is None, number
            assert rig.server(second).state is State.AVAILABLE, number
            assert rig.inventory.reserved == {}, number
        if rig.server(first).state is not State.AVAILABLE:
            assert rig.server(first).taken_elsewhere, number
        assert rig.hardware.machine(first).holders == ()
        assert_sound(rig, second)
        assert not [act for name, act in rig.hardware.history[before[0] :] if name == first]
        database.close()
        number += 1
    assert count > 20
