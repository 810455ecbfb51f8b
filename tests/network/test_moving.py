# SPDX-License-Identifier: Apache-2.0
"""Servers that go to other switch ports: nothing is left on the old ones, whatever the fabric, all is on the new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.kernel.calls import Caller
from services.runtime.contrail import network_uuid, pairs_of
from services.runtime.database import Database
from services.simulated.state import Vlans
from tests.network import test_neutron_observed as ironics
from tests.network import test_neutron_ports as neutrons
from tests.network.conftest import OTHER, SERVER, Site, link, refusal, wish
from tests.network.contrail_rig import BLUE, CONFIG, DEMO, PROVISIONING, Cloud, furnished, ids_of, ok
from tests.support.neutron import FakeNeutron
from tests.support.wire import Reply, admin, service

NEW = "xe-0/0/19"


def look(site: Site, *links: at.PortLink, caller: Caller | None = None) -> Reply:
    site.clock.advance(1)
    request = at.ReadSwitchPortsRequest(server=f"servers/{SERVER}", links=links)
    return site.wire.call("ReadSwitchPorts", request, caller=caller or service())


def seen(site: Site, *links: at.PortLink) -> list[tuple[str, str]]:
    """Holder and class of each."""
    return [
        (one.holder, net.PortClass.Name(one.reading.port_class).removeprefix("PORT_CLASS_").lower())
        for one in ok(look(site, *links)).readings
    ]


def moved(site: Site, *stay: at.PortLink, **more: Any) -> None:
    """The first port is cut, read, and plugged in elsewhere; then all are read where they are."""
    ok(site.attach(wish(0, "quarantine"), **more))
    ok(site.read())
    ok(site.register(link(0, plug=NEW), *stay))
    ok(site.read())


# -- what is read


def test_a_switch_port_is_read_for_whoever_shall_come_or_was_there(site: Site) -> None:
    """
    Who is registered there, and what is configured; nothing is recorded of it.
    """
    site.network(BLUE, vlan=100)
    ok(site.register(link(0), link(1)))
    ok(site.read())
    ok(site.register(link(0, OTHER), server=OTHER))
    ok(site.attach(wish(0, "tenant", BLUE), project=DEMO))
    events = site.events()

    free = link(0, plug=NEW)
    theirs = link(0, plug=link(0, OTHER).switch_port)
    assert seen(site, free, link(0), theirs) == [
        ("", "quarantine"),
        (link(0).port, "tenant"),
        (link(0, OTHER).port, "quarantine"),
    ]
    site.fault("switch-read-fails")
    assert seen(site, free) == [("", "unknown")]
    assert site.events() == events


def test_a_look_is_for_services_and_at_something(site: Site) -> None:
    """
    Administrators do not ask, and nobody asks for nothing, for a link without a port, or for one twice.
    """
    assert look(site, link(0), caller=admin()).code is grpc.StatusCode.PERMISSION_DENIED
    for links, field in (
        ((), "links"),
        ((at.PortLink(port="x", mac_address=link(0).mac_address, switch_name="a", switch_port="b"),), "links[0].port"),
        ((link(0), link(0)), "links[1].switch_port"),
    ):
        assert refusal(look(site, *links))[::2] == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert len(seen(site, link(0), link(0, plug=NEW))) == 2  # one port was at both


# -- what is left


def test_the_simulated_switch_port_that_was_left_is_empty(site: Site) -> None:
    """
    As the rack has it, whatever anybody believes.
    """
    site.network(BLUE, vlan=100)
    ok(site.register(link(0), link(1)))
    ok(site.read())
    ok(site.attach(wish(0, "tenant", BLUE), project=DEMO))
    assert site.actual() == Vlans(100)
    moved(site, link(1))
    ok(site.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert site.classes() == ["tenant", "quarantine"]
    assert site.actual() == Vlans()
    assert seen(site, link(0), link(0, plug=NEW)) == [("", "quarantine"), (link(0).port, "tenant")]


@pytest.fixture
def contrail(database: Database, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, furnished())
    made.network(PROVISIONING, "provisioning")
    made.network(BLUE)
    made.subnet(BLUE, "10.2.0.0")
    ok(made.register(link(0), link(1)))
    ok(made.read())
    yield made
    made.close()


def interface_at(cloud: Cloud, plug: str) -> list[str]:
    """The interfaces in the port group of a switch port of leaf1."""
    port = cloud.fake.named("physical-interface", CONFIG, "leaf1", plug)
    assert port is not None
    groups = [
        cloud.fake.read("virtual-port-group", one["uuid"]) for one in port.get("virtual_port_group_back_refs") or ()
    ]
    return [ref["uuid"] for group in groups for ref in group.get("virtual_machine_interface_refs", ())]


def test_contrail_deletes_the_interface_and_makes_it_anew(contrail: Cloud) -> None:
    """
    The switch port that was left is in no port group, and no object of the server's points to it; the interface on the
    new one has the same uuid, since that follows from server, port, network and tag, and the address points to it.
    """
    lease = contrail.lease(BLUE)
    ok(contrail.attach(wish(0, "tenant", BLUE), project=DEMO))
    (before,) = interface_at(contrail, link(0).switch_port)
    moved(contrail, link(1))
    assert contrail.interfaces() == contrail.groups() == []
    ok(contrail.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert contrail.classes() == ["tenant", "quarantine"]
    assert interface_at(contrail, link(0).switch_port) == []
    assert interface_at(contrail, NEW) == [before]
    made = contrail.fake.read("virtual-machine-interface", before)
    assert NEW in pairs_of(made, "virtual_machine_interface_bindings")["profile"]
    assert link(0).switch_port not in pairs_of(made, "virtual_machine_interface_bindings")["profile"]
    assert ids_of(contrail.fake.read("instance-ip", lease)["virtual_machine_interface_refs"]) == [before]
    assert contrail.fake.read("virtual-network", network_uuid(BLUE))
    old = contrail.fake.named("physical-interface", CONFIG, "leaf1", link(0).switch_port)
    assert old is not None
    assert not old.get("port_refs")
    assert seen(contrail, link(0)) == [("", "quarantine")]


def test_a_member_of_a_bond_takes_the_bond_along_in_contrail(contrail: Cloud) -> None:
    """
    One interface over the new switch port and the one that stays; the one that was left is free.
    """
    bond = (link(0, group="bond0"), link(1, group="bond0"))
    ok(contrail.register(*bond))
    ok(contrail.attach(wish(0, "tenant", BLUE), project=DEMO))
    ok(contrail.attach(wish(0, "quarantine")))
    ok(contrail.read())
    ok(contrail.register(link(0, group="bond0", plug=NEW), bond[1]))
    ok(contrail.read())
    ok(contrail.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert contrail.classes() == ["tenant", "tenant"]
    assert len(contrail.interfaces()) == 1
    assert interface_at(contrail, link(0).switch_port) == []
    assert interface_at(contrail, NEW) == [contrail.interfaces()[0]["uuid"]]


def test_a_switch_port_that_contrail_does_not_have_is_unknown(contrail: Cloud) -> None:
    """
    Nobody is sent to a link that is spelled otherwise than Contrail has it.
    """
    assert seen(contrail, link(0, plug="xe-7/7/7")) == [("", "unknown")]


def test_neutron_has_nothing_bound_where_it_was(database: Database, tmp_path: Path) -> None:
    """
    The port of Neutron's that is bound again says the new link alone; before, the new link reads empty though the
    server is on a network elsewhere.
    """
    cloud = neutrons.Cloud(database, tmp_path, FakeNeutron())
    cloud.network(BLUE)
    ok(cloud.register(link(0), link(1)))
    ok(cloud.read())
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    assert seen(cloud, link(0, plug=NEW)) == [("", "quarantine")]
    moved(cloud, link(1))
    assert cloud.bound() == []
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert cloud.classes() == ["tenant", "quarantine"]
    assert cloud.bound() == []
    (port,) = cloud.fake.ports.values()
    assert [one["port_id"] for one in port["binding:profile"]["local_link_information"]] == [NEW]
    assert seen(cloud, link(0)) == [("", "quarantine")]
    cloud.close()


def test_a_port_of_ironics_is_bound_again_where_the_server_is_now(database: Database, tmp_path: Path) -> None:
    """
    Where Ironic moves ports its own port keeps the place that Ironic gave it; that of a server that was moved does not.
    """
    cloud = ironics.Ironics(database, tmp_path, FakeNeutron())
    cloud.network(BLUE)
    ok(cloud.register(link(0), link(1)))
    ok(cloud.read())
    port = cloud.bind(BLUE)
    cut = wish(0, "quarantine")
    cut.purpose = ironics.CUT
    ok(cloud.attach(cut))
    ok(cloud.read())
    ok(cloud.register(link(0, plug=NEW), link(1)))
    ok(cloud.read())
    ok(cloud.ask(0, "tenant", BLUE, purpose=ironics.RESTORE))

    assert cloud.classes() == ["tenant", "quarantine"]
    (there,) = cloud.fake.ports[port["id"]]["binding:profile"]["local_link_information"]
    assert there["port_id"] == NEW
    assert seen(cloud, link(0)) == [("", "quarantine")]
    cloud.close()
