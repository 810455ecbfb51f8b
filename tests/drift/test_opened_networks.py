# SPDX-License-Identifier: Apache-2.0
"""A private network that somebody opens to tenants while servers are on it."""

from __future__ import annotations

from typing import Any

import pytest

from bms.lifecycle.v1 import instance_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.server import PortClass
from services.lifecycle.domain.states import State
from tests.drift.hands import OPENINGS
from tests.drift.rig import PATROL, PRIVATE, Fleet
from tests.support.wire import admin

WAYS = [(fabric, how) for fabric, ways in OPENINGS.items() for how in ways]
every_way = pytest.mark.parametrize(("hands", "how"), WAYS, indirect=["hands"])
one_way = pytest.mark.parametrize("hands", ["neutron", "contrail"], indirect=True)


def cleaning(fleet: Fleet) -> str:
    """A server that was given back, and whose clean goes on and on."""
    (uuid,) = fleet.in_use()
    fleet.hardware.machine(uuid).slow = True
    fleet.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name="projects/demo/instances/web1"))
    fleet.settle(rounds=60)
    assert fleet.server(uuid).state is State.CLEANING, fleet.server(uuid)
    assert fleet.site.classes(uuid) == ["cleaning", "quarantine"]
    return uuid


@every_way
def test_opened_while_a_server_is_cleaned(fleet: Fleet, hands: Any, how: str) -> None:
    """
    The next look at the running job tells it and cuts the server off; nothing is attached there before it is mended.
    """
    uuid = cleaning(fleet)
    hands.open(PRIVATE["cleaning"], how)
    fleet.clock.advance(PATROL)
    fleet.settle()
    server = fleet.server(uuid)

    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "NETWORK_OPENED", True)
    seen = fleet.told(uuid, "server.patrolled")[-1]
    assert "is the site's alone, and" in seen.body.message
    assert {port.port_class: len(port.reading_digest) for port in seen.body.evidence.ports}["cleaning"] == 32
    told = fleet.diagnosed(uuid)
    assert (told.blocked_on, told.who_must_act) == ("NETWORK_OPENED", "network administrator")
    fleet.hardware.machine(uuid).slow = False
    fleet.ok("RecoverServer", srv.RecoverServerRequest(name=f"servers/{uuid}"), admin())
    fleet.settle()
    assert fleet.site.classes(uuid) == ["quarantine", "quarantine"], "it is attached to nothing that is open"
    hands.close(PRIVATE["cleaning"])
    for _ in range(3):
        if fleet.server(uuid).state is State.QUARANTINED and fleet.server(uuid).intent is None:
            fleet.ok("RecoverServer", srv.RecoverServerRequest(name=f"servers/{uuid}"), admin())
        fleet.settle()
    assert fleet.server(uuid).state is State.AVAILABLE


@one_way
def test_opened_under_rescued_servers(fleet: Fleet, hands: Any) -> None:
    """
    They are in use: two are set aside, the third pulls the brake, and the others stay where they are, under an alarm.
    """
    uuids = fleet.in_use(4)
    for number in range(1, 5):
        name = f"projects/demo/instances/web{number}"
        fleet.ok("RescueInstance", instance_pb2.RescueInstanceRequest(name=name))
        fleet.settle()
    assert {fleet.server(uuid).state for uuid in uuids} == {State.RESCUED}
    hands.open(PRIVATE["rescue"], "shared")
    fleet.patrol(2)
    states = [fleet.server(uuid).state for uuid in uuids]
    held = [uuid for uuid in uuids if fleet.server(uuid).state is State.RESCUED]

    assert (states.count(State.QUARANTINED), len(held)) == (2, 2)
    assert {fleet.server(uuid).fault for uuid in set(uuids) - set(held)} == {"NETWORK_OPENED"}
    assert fleet.database.read(Brakes().is_pulled)
    assert {fleet.diagnosed(uuid).blocked_on for uuid in held} == {"BRAKE_PULLED"}
    assert {fleet.networks.read(uuid, 0)[0].port_class for uuid in held} == {PortClass.RESCUE}
    # Mended, they are as they were.
    hands.close(PRIVATE["rescue"])
    fleet.patrol()
    assert {fleet.server(uuid).wait for uuid in held} == {None}


def test_moved_while_a_server_is_cleaned(fleet: Fleet, hands: Any) -> None:
    """
    A job of hours is no time without looks: a port on a network that nobody asked for ends it.
    """
    uuid = cleaning(fleet)
    hands.add(uuid, 1, "")
    fleet.clock.advance(PATROL)
    fleet.settle()
    server = fleet.server(uuid)

    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, "PORTS_MOVED_UNPLANNED", True)
    assert "belongs to no network" in fleet.told(uuid, "server.patrolled")[-1].body.message
