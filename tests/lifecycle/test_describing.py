# SPDX-License-Identifier: Apache-2.0
"""The controller is told what inventory knows of a server and whose it is; nothing of ours waits for that at rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.states import State
from services.lifecycle.ports import ServerCard
from tests.lifecycle.rig import WEB, Rig
from tests.lifecycle.test_adopting import adopt, in_use
from tests.support.wire import admin, member

GOLD = ServerCard(display_name="r1-01", resource_class="gold")


def told(rig: Rig, uuid: str) -> tuple[ServerCard, str] | None:
    """What the controller was last told, and of whom."""
    return rig.hardware.machine(uuid).card


def change(rig: Rig, uuid: str, card: ServerCard) -> None:
    """Inventory's record becomes *card*, and lifecycle hears of it."""
    rig.inventory.servers[uuid] = replace(rig.inventory.servers[uuid], card=card)
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()
    rig.settle()


def test_a_server_is_described_as_long_as_it_is_with_us(rig: Rig) -> None:
    """
    With its ports registered, for the project while its instance has it, for nobody afterwards; and when it changes.
    """
    uuid = rig.register()
    change(rig, uuid, GOLD)
    assert told(rig, uuid) is None, "nothing is said of what was never provided"
    rig.available()
    assert told(rig, uuid) == (ServerCard(), "")
    change(rig, uuid, GOLD)
    assert told(rig, uuid) == (GOLD, "")

    silver = replace(GOLD, resource_class="silver")
    change(rig, uuid, silver)
    assert told(rig, uuid) == (silver, "")
    assert rig.server(uuid).state is State.AVAILABLE

    rig.create()
    rig.settle()
    assert told(rig, uuid) == (silver, "demo")
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB), member("demo"))
    rig.settle()
    assert told(rig, uuid) == (silver, "")


def test_what_changes_while_it_is_at_work_is_told_when_it_rests(rig: Rig) -> None:
    """
    A change that is heard in the middle of a plan takes nobody's claim, and is not forgotten.
    """
    uuid = rig.active()
    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB), member("demo"))
    before = rig.server(uuid)
    assert before.intent is not None
    assert before.intent.kind is IntentKind.STOP

    rig.inventory.servers[uuid] = replace(rig.inventory.servers[uuid], card=GOLD)
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()
    assert rig.server(uuid).version == before.version
    rig.settle()

    assert told(rig, uuid) == (GOLD, "demo")


def test_a_controller_that_does_not_listen_holds_up_nothing_at_rest(rig: Rig) -> None:
    """
    The server is taken and given back as ever; the controller is told once it listens.
    """
    uuid = rig.available()
    rig.hardware.undescribable = True
    change(rig, uuid, GOLD)
    rig.create()
    rig.settle()
    instance = rig.instance()
    assert instance is not None
    assert instance.state is InstanceState.ACTIVE
    assert told(rig, uuid) != (GOLD, "demo")

    rig.hardware.undescribable = False
    rig.pass_time(1000)

    assert told(rig, uuid) == (GOLD, "demo")


def test_ports_are_not_called_settled_before_the_controller_knows_them(rig: Rig) -> None:
    """
    Providing waits, and says for what; a controller that was busy holds it up no longer than that.
    """
    rig.hardware.undescribable = True
    uuid = rig.register()
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.pass_time(30)
    wait = rig.server(uuid).wait
    assert wait is not None
    assert (wait.code, rig.server(uuid).state) == ("CONTROLLER_BUSY", State.VERIFYING)
    # However often it looks, what it read is told once.
    looked = [each.header.type for each in rig.events(f"servers/{uuid}")].count("port.detach_observed")
    assert looked == 1
    rig.pass_time(120)
    assert [each.header.type for each in rig.events(f"servers/{uuid}")].count("port.detach_observed") == looked

    rig.hardware.undescribable = False
    rig.settle()

    assert rig.server(uuid).state is State.AVAILABLE


def test_the_controller_takes_over_with_us(rig: Rig) -> None:
    """
    An adopted server is one that the controller deployed, with the instance's image, for its project.
    """
    uuid = in_use(rig)
    adopt(rig, uuid)

    machine = rig.hardware.machine(uuid)
    assert machine.adopted_with is not None
    assert machine.adopted_with.image == "images/debian"
    assert told(rig, uuid) is not None
    assert machine.card is not None
    assert machine.card[1] == "demo"


@pytest.mark.parametrize("on", [True, False])
def test_what_the_controller_cannot_adopt_is_left_as_it_was(rig: Rig, *, on: bool) -> None:
    """
    The operation says why; the server is enrolled, its power and disks untouched, its addresses given back.
    """
    uuid = in_use(rig, on=on)
    rig.hardware.machine(uuid).unadoptable = True

    done, _ = rig.operation(adopt(rig, uuid))

    assert "cannot adopt it" in done.error.message
    server = rig.server(uuid)
    assert (server.state, server.instance, server.leases) == (State.ENROLLED, "", ())
    assert rig.hardware.machine(uuid).on is on
    assert (rig.hardware.history, rig.networks.history) == ([], [])
    assert rig.hardware.machine(uuid).disks["disk-1"] == "somebody's system"
