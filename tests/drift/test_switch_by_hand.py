# SPDX-License-Identifier: Apache-2.0
"""Somebody changes the switch, or its controller, behind our backs: found by the next look, told, and acted on."""

from __future__ import annotations

import pytest

from bms.lifecycle.v1 import instance_pb2
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.states import State
from tests.drift.hands import Hands
from tests.drift.rig import BLUE, GREEN, RED, Fleet


def stands(fleet: Fleet, uuid: str) -> tuple[State, str, bool]:
    """State, fault and whether every port was read in quarantine."""
    server = fleet.server(uuid)
    return server.state, server.fault, server.isolated


def pulled(fleet: Fleet) -> bool:
    return fleet.database.read(Brakes().is_pulled)


def test_a_server_in_use_on_another_network(fleet: Fleet, hands: Hands) -> None:
    """
    Moved to another tenant's network: within one look it is told what was seen, and the server is cut off.
    """
    (uuid,) = fleet.in_use()
    hands.move(uuid, 0, RED)
    fleet.patrol()

    assert stands(fleet, uuid) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    instance = fleet.instance("projects/demo/instances/web1")
    assert instance is not None
    assert instance.state is InstanceState.ERROR
    (seen, *_) = fleet.told(uuid, "server.patrolled")
    (port,) = [one for one in seen.body.evidence.ports if one.networks]
    assert RED in port.networks
    assert len(port.reading_digest) == 32
    assert not pulled(fleet)


def test_a_second_network_beside_the_tenants(fleet: Fleet, hands: Hands) -> None:
    """
    On another tenant's network as well: what was read is no class, and names both; the server is cut off.
    """
    (uuid,) = fleet.in_use()
    hands.add(uuid, 0, RED)
    fleet.patrol()

    assert stands(fleet, uuid) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    (seen, *_) = fleet.told(uuid, "server.patrolled")
    (port,) = [one for one in seen.body.evidence.ports if one.networks]
    assert (port.port_class, {BLUE, RED} <= set(port.networks)) == ("unknown", True)
    assert len(port.reading_digest) == 32
    assert "networks of several projects" in seen.body.message
    # The verifier finds it in the log too, and the server is FAIL for as long as it was not cleaned.
    assert [one.header.type for one in fleet.told(uuid, "server.violated")] == ["server.violated"]


def test_a_network_of_the_fabric_that_is_none_of_ours(fleet: Fleet, hands: Hands) -> None:
    """
    Nobody here knows who is there: isolation is at stake.
    """
    (uuid,) = fleet.in_use()
    hands.add(uuid, 1, "")
    fleet.patrol()

    assert stands(fleet, uuid) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    (seen, *_) = fleet.told(uuid, "server.patrolled")
    assert "belongs to no network" in seen.body.message


def test_another_network_of_the_same_tenant(fleet: Fleet, hands: Hands) -> None:
    """
    It is none of the instance's: who is on it may not have this server there.
    """
    (uuid,) = fleet.in_use()
    hands.add(uuid, 1, GREEN)
    fleet.patrol()

    assert stands(fleet, uuid) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)


def test_a_port_that_was_merely_cut(fleet: Fleet, hands: Hands) -> None:
    """
    Off its network: nobody is exposed. It is told, shown and alarmed, and nothing is asked of the fabric; a stop and
    start brings it back.
    """
    (uuid,) = fleet.in_use()
    hands.cut(uuid, 0)
    fleet.patrol()
    server = fleet.server(uuid)

    assert (server.state, server.wait and server.wait.code) == (State.ACTIVE, "PORTS_LOST")
    assert fleet.site.classes(uuid) == ["quarantine", "quarantine"]
    (waiting,) = fleet.told(uuid, "server.waiting")[-1:]
    assert waiting.body.reason == "PORTS_LOST"
    told = fleet.diagnosed(uuid)
    assert (told.blocked_on, told.who_must_act) == ("PORTS_LOST", "network administrator")
    name = "projects/demo/instances/web1"
    fleet.ok("StopInstance", instance_pb2.StopInstanceRequest(name=name))
    fleet.settle()
    fleet.ok("StartInstance", instance_pb2.StartInstanceRequest(name=name))
    fleet.settle()
    assert fleet.site.classes(uuid) == ["tenant", "quarantine"]
    assert fleet.server(uuid).wait is None


@pytest.mark.parametrize("network", [RED, ""], ids=["a tenant's", "nobody's"])
def test_a_free_server_on_some_network(fleet: Fleet, hands: Hands, network: str) -> None:
    """
    Nobody has it, so nothing holds anything back: it is no longer clean, and goes to quarantine.
    """
    uuid = fleet.server_at(1)
    hands.add(uuid, 0, network)
    fleet.patrol()

    assert stands(fleet, uuid) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    assert not fleet.inventory.pool[uuid].available
    (seen, *_) = fleet.told(uuid, "server.patrolled")
    assert [len(one.reading_digest) for one in seen.body.evidence.ports] == [32, 32]
    # Put there again, it is cut off again.
    hands.add(uuid, 0, network)
    fleet.patrol()
    assert stands(fleet, uuid) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)


def test_everybody_at_once(fleet: Fleet, hands: Hands) -> None:
    """
    The controller shows a strange network on every server: two are set aside, the third pulls the brake, and the others
    stay connected under an alarm, until somebody releases it.
    """
    uuids = fleet.in_use(5)
    for uuid in uuids:
        hands.add(uuid, 0, RED)
    fleet.patrol(2)
    states = [fleet.server(uuid).state for uuid in uuids]
    held = [uuid for uuid in uuids if fleet.server(uuid).state is State.ACTIVE]

    assert (states.count(State.QUARANTINED), len(held)) == (2, 3)
    assert pulled(fleet)
    assert {fleet.diagnosed(uuid).blocked_on for uuid in held} == {"BRAKE_PULLED"}
    ports = [fleet.networks.read(uuid, 0)[0] for uuid in held]
    assert all(BLUE in {tag.network for tag in port.networks} for port in ports)
    assert len([one for one in fleet.events() if one.header.type == "brake.pulled"]) == 1


def test_everybody_cut_at_once(fleet: Fleet, hands: Hands) -> None:
    """
    The controller shows nothing attached: nobody is set aside, and the brake is pulled.
    """
    uuids = fleet.in_use(4)
    for uuid in uuids:
        hands.cut(uuid, 0)
    fleet.patrol()

    assert {fleet.server(uuid).state for uuid in uuids} == {State.ACTIVE}
    assert {fleet.diagnosed(uuid).blocked_on for uuid in uuids} == {"PORTS_LOST"}
    assert pulled(fleet)
