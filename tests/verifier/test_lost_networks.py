# SPDX-License-Identifier: Apache-2.0
"""A controller that suddenly says "nothing attached" exposes nobody; what it says later must be what was there."""

from __future__ import annotations

from services.lifecycle.domain.server import PortClass, Tag
from tests.lifecycle.rig import BLUE, GREEN, Rig
from tests.support.judging import findings, stored_events
from tests.support.stores import MakeDatabase


def patrolled_with(rig: Rig, uuid: str, port_class: PortClass, *networks: str) -> None:
    """The fabric shows the server's first port so; patrol reads it."""
    for port in rig.server(uuid).ports[:1]:
        shown = rig.networks.ports[port.name]
        shown.port_class, shown.networks = port_class, tuple(Tag(network) for network in networks)
    rig.clock.advance(1000)
    rig.settle()


def test_a_network_that_was_lost_may_come_back(make_database: MakeDatabase) -> None:
    """
    Nothing attached, then the tenant's network again: no invariant was broken.
    """
    rig = Rig(make_database("services.lifecycle"))
    uuid = rig.active(BLUE)
    patrolled_with(rig, uuid, PortClass.QUARANTINE)
    patrolled_with(rig, uuid, PortClass.TENANT, BLUE)

    assert rig.types(uuid).count("server.patrolled") == 2
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []


def test_another_network_in_its_place_is_found(make_database: MakeDatabase) -> None:
    """
    Nothing attached, then somebody else's network: I1.
    """
    rig = Rig(make_database("services.lifecycle"))
    uuid = rig.active(BLUE)
    patrolled_with(rig, uuid, PortClass.QUARANTINE)
    patrolled_with(rig, uuid, PortClass.TENANT, GREEN)

    assert {one.invariant for one in findings("lifecycle", stored_events(rig.database, rig.log))} == {"I1"}


def test_what_is_no_class_names_where_it_may_have_been(make_database: MakeDatabase) -> None:
    """
    A reading that is no class breaks nothing as long as it names nothing new; with a network beside that nobody asked
    for, I1.
    """
    rig = Rig(make_database("services.lifecycle"))
    uuid = rig.active(BLUE)
    patrolled_with(rig, uuid, PortClass.UNKNOWN, BLUE)
    assert rig.server(uuid).wait is not None
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []
    patrolled_with(rig, uuid, PortClass.UNKNOWN, BLUE, GREEN)

    (found,) = findings("lifecycle", stored_events(rig.database, rig.log))
    assert (found.invariant, GREEN in found.message) == ("I1", True)
