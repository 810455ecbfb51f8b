# SPDX-License-Identifier: Apache-2.0
"""Several networks on one port, and one attachment at several switch ports, within Contrail's rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.runtime.contrail import network_uuid, pairs_of
from services.runtime.database import Database
from tests.network.conftest import link, wish
from tests.network.contrail_rig import BLUE, DEMO, GREEN, PROVISIONING, Cloud, furnished, ids_of, ok

RED = f"projects/{DEMO}/networks/red"


@pytest.fixture(params=["service-provider", "enterprise"])
def cloud(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Cloud]:
    """
    A fabric of either style. On one of enterprise style every network has its VLAN and every VLAN its network.
    """
    enterprise = request.param == "enterprise"
    made = Cloud(database, tmp_path, furnished(enterprise=enterprise))
    made.network(PROVISIONING, "provisioning")
    for vlan, name in enumerate((BLUE, GREEN, RED), start=7):
        made.network(name, vlan=vlan if enterprise else 0)
    ok(made.register(link(0), link(1)))
    ok(made.read())
    yield made
    made.close()


def test_a_second_network_is_tagged_on_one_port(cloud: Cloud) -> None:
    """
    It is a further interface in the same port group; taking it away leaves the other alone.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    before = ids_of(cloud.at(0))
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 8)), project=DEMO))

    assert cloud.tags() == [(BLUE, 0), (GREEN, 8)]
    assert cloud.attachments()[0].settled
    assert len(cloud.groups()) == 1
    cloud.fake.told.clear()
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    assert ids_of(cloud.at(0)) == before
    assert [path.split("/")[1] for method, path in cloud.fake.told if method in ("DELETE", "PUT")] == [
        "virtual-machine-interface"
    ]
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes()[0] == "quarantine"
    assert (cloud.interfaces(), cloud.groups()) == ([], [])


def test_tagged_networks_alone(cloud: Cloud) -> None:
    """
    A port needs no untagged network.
    """
    ok(cloud.attach(wish(0, "tenant", (GREEN, 8), (RED, 9)), project=DEMO))

    assert cloud.tags() == [(GREEN, 8), (RED, 9)]


def test_another_tag_is_another_interface(cloud: Cloud) -> None:
    """
    A PUT of it would not take: the first one goes, then the other comes.
    """
    asked = ([(GREEN, 8)], [GREEN, (BLUE, 7)], [BLUE], [GREEN], [(BLUE, 7), (RED, 9)])
    for networks in asked:
        ok(cloud.attach(wish(0, "tenant", *networks), project=DEMO))
        wanted = [one if isinstance(one, tuple) else (one, 0) for one in networks]
        assert sorted(cloud.tags()) == sorted(wanted)
        assert cloud.attachments()[0].settled
        assert len(cloud.interfaces()) == len(wanted)
    assert not [path for method, path in cloud.fake.told if method == "PUT"]


def test_a_bond_is_one_interface_at_two_switches(cloud: Cloud) -> None:
    """
    One port group with a switch port of each, whichever member is named; its address points to it, whichever it is of.
    """
    cloud.subnet(BLUE, "10.2.0.0")
    lease = cloud.lease(BLUE, index=1)
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0")))
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 8)), project=DEMO))

    assert ids_of(cloud.at(0)) == ids_of(cloud.at(1))
    assert cloud.tags(0) == cloud.tags(1) == [(BLUE, 0), (GREEN, 8)]
    (group,) = cloud.groups()
    assert {ref["to"][1] for ref in group["physical_interface_refs"]} == {"leaf1", "leaf2"}
    assert {ref["attr"]["ae_num"] for ref in group["physical_interface_refs"]} == {0}
    (blue,) = [one for one in cloud.at(0) if one["virtual_network_refs"][0]["uuid"] == network_uuid(BLUE)]
    assert ids_of(cloud.fake.read("instance-ip", lease)["virtual_machine_interface_refs"]) == [blue["uuid"]]
    ok(cloud.attach(wish(1, "quarantine")))
    assert cloud.classes() == ["quarantine", "quarantine"]
    assert (cloud.interfaces(), cloud.groups()) == ([], [])


def test_a_bond_that_lost_a_switch_port_is_made_anew(cloud: Cloud) -> None:
    """
    Somebody took one out of the group: that member reads as quarantine, and the next wish puts both back.
    """
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0")))
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    (group,) = cloud.groups()
    lost = next(ref for ref in group["physical_interface_refs"] if ref["to"][1] == "leaf2")
    cloud.api.remove_ref("virtual-port-group", group["uuid"], "physical-interface", lost["uuid"])
    assert cloud.classes() == ["tenant", "quarantine"]
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert cloud.classes() == ["tenant", "tenant"]
    assert len(cloud.interfaces()) == len(cloud.groups()) == 1


def test_a_bond_in_two_port_groups_of_somebodys_is_told(cloud: Cloud) -> None:
    """
    Neither can hold both switch ports, and which of them shall is not ours to say.
    """
    for index, name in enumerate(("one", "two")):
        cloud.user_group(name, index)
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0")))
    reply = cloud.attach(wish(0, "tenant", BLUE), project=DEMO)

    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert "are in port groups" in reply.status.message
    assert cloud.classes() == ["quarantine", "quarantine"]


@pytest.mark.parametrize("cloud", ["enterprise"], indirect=True)
def test_what_the_style_of_the_fabric_forbids_is_told(cloud: Cloud) -> None:
    """
    A network keeps one VLAN on an enterprise fabric: another tag is refused in Contrail's words, and nothing is left.
    """
    ok(cloud.attach(wish(1, "tenant", (GREEN, 8)), project=DEMO))
    reply = cloud.attach(wish(0, "tenant", (GREEN, 88)), project=DEMO)

    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert "with other vlan(88) already exists in fabric" in reply.status.message
    assert cloud.classes() == ["quarantine", "tenant"]


def test_the_network_of_untagged_frames_has_its_vlan(cloud: Cloud) -> None:
    """
    That of the network where it has one, else that of the site.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    (there,) = cloud.at(0)
    fabric = cloud.fake.named("fabric", "default-global-system-config", "fab1")

    assert fabric is not None
    said = pairs_of(there, "virtual_machine_interface_bindings")["tor_port_vlan_id"]
    assert said == ("7" if fabric["fabric_enterprise_style"] else "4094")
