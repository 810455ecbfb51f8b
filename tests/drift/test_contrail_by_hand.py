# SPDX-License-Identifier: Apache-2.0
"""What can be done by hand in a Contrail alone, and what it does only by half."""

from __future__ import annotations

import pytest

from bms.lifecycle.v1 import instance_pb2
from services.lifecycle.domain.states import State
from services.runtime.contrail import listed, pairs_of
from tests.drift.hands import AtContrail
from tests.drift.rig import BLUE, RED, Fleet
from tests.network.conftest import link
from tests.network.contrail_rig import CONFIG

pytestmark = pytest.mark.parametrize("hands", ["contrail"], indirect=True)


def cut_off(fleet: Fleet, uuid: str) -> None:
    """The next look finds it, and nothing of it is left."""
    fleet.patrol()
    server = fleet.server(uuid)
    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    (seen, *_) = fleet.told(uuid, "server.patrolled")
    assert all(len(port.reading_digest) == 32 for port in seen.body.evidence.ports)


def test_moved_there_and_back(fleet: Fleet, hands: AtContrail) -> None:
    """
    Made in another's network and then moved to the tenant's by a PUT: it says blue, and its routing instance is red's
    still.
    """
    (uuid,) = fleet.in_use()
    plug = link(0, uuid)
    hands.cut(uuid, 0)
    made = hands.interface(hands.names(RED), plug.switch_name, plug.switch_port, "", {"tor_port_vlan_id": "4094"})
    hands.put(made, virtual_network_refs=[{"to": hands.names(BLUE)}])
    cut_off(fleet, uuid)


def test_another_vlan(fleet: Fleet, hands: AtContrail) -> None:
    """
    The interface says another VLAN than its port group: which of the two the switch has, and whose it is, is not known.
    """
    (uuid,) = fleet.in_use()
    interface = hands.at(uuid)[0]
    pairs = pairs_of(interface, "virtual_machine_interface_bindings") | {"tor_port_vlan_id": "300"}
    hands.put(interface["uuid"], virtual_machine_interface_bindings=listed(pairs))
    cut_off(fleet, uuid)
    assert "VLAN 300" in fleet.told(uuid, "server.patrolled")[0].body.message


def test_the_switch_port_in_another_group(fleet: Fleet, hands: AtContrail) -> None:
    """
    The physical interface joins somebody's port group beside ours.
    """
    (uuid,) = fleet.in_use()
    group = hands.fake.add("virtual-port-group", [CONFIG, "fab1", "theirs"], virtual_port_group_user_created=True)
    hands.interface(hands.names(RED), "leaf2", "xe-0/0/29", "theirs", {"tor_port_vlan_id": "4094"})
    plug = link(0, uuid)
    port = hands.fake.named("physical-interface", CONFIG, plug.switch_name, plug.switch_port)
    assert port is not None
    hands.site.api.add_ref("virtual-port-group", group, "physical-interface", port["uuid"])
    cut_off(fleet, uuid)
    theirs = hands.fake.read("virtual-port-group", group)
    assert [ref["to"][-1] for ref in theirs["physical_interface_refs"]] == ["xe-0/0/29"], "nobody else was cut"


def test_one_side_of_a_reference_alone(fleet: Fleet, hands: AtContrail) -> None:
    """
    Whether the interface is attached is in doubt, and to nothing but the tenant's own network: it is shown and alarmed,
    and nobody is cut.
    """
    (uuid,) = fleet.in_use()
    hands.fake.objects.things[hands.at(uuid)[0]["uuid"]].body["virtual_port_group_refs"] = []
    fleet.patrol()
    server = fleet.server(uuid)

    assert (server.state, server.wait and server.wait.code) == (State.ACTIVE, "PORTS_IN_DOUBT")
    assert server.wait is not None
    assert "only one of interface" in server.wait.reason
    assert fleet.diagnosed(uuid).who_must_act == "network administrator"
    name = "projects/demo/instances/web1"
    fleet.ok("StopInstance", instance_pb2.StopInstanceRequest(name=name))
    fleet.settle()
    fleet.ok("StartInstance", instance_pb2.StartInstanceRequest(name=name))
    fleet.settle()
    assert fleet.site.classes(uuid) == ["tenant", "quarantine"]
    assert (fleet.server(uuid).wait, fleet.server(uuid).ports[0].odd) == (None, None)
