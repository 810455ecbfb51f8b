# SPDX-License-Identifier: Apache-2.0
"""Servers, ports and port groups as Contrail shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.runtime.database import Database
from tests.network.conftest import OTHER, SERVER, link, port, wish
from tests.network.contrail_rig import CONFIG, PROVISIONING, Cloud, furnished, ok


@pytest.fixture
def cloud(database: Database, tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, furnished())
    yield made
    made.close()


def shown(cloud: Cloud, server: str = SERVER) -> list[tuple[str, str, str]]:
    """MAC address, switch and switch port of each port of a server's node."""
    ports = [one for one in cloud.fake.every("port") if one["parent_uuid"] == server]
    infos = [one["bms_port_info"] for one in ports]
    links = [(info["address"], info.get("local_link_connection", {})) for info in infos]
    return sorted((mac, one.get("switch_info", ""), one.get("port_id", "")) for mac, one in links)


def expected(*links: Any) -> list[tuple[str, str, str]]:
    return sorted((one.mac_address, one.switch_name, one.switch_port.replace(":", "_")) for one in links)


def test_a_server_is_a_node_with_ports(cloud: Cloud) -> None:
    """
    The node has the server's UUID, and nothing of a BMC; each port says where it is plugged in.
    """
    ok(cloud.register(link(0), link(1)))

    (node,) = cloud.fake.every("node")
    assert (node["uuid"], node["node_type"]) == (SERVER, "baremetal")
    assert "bms_info" not in node
    assert shown(cloud) == expected(link(0), link(1))
    told = list(cloud.fake.told)
    ok(cloud.register(link(0), link(1)))
    assert cloud.fake.told == told


def test_the_ports_follow_their_registration(cloud: Cloud) -> None:
    """
    Plugged in elsewhere is changed, and gone is deleted, though Contrail's switch port points to it and would keep it.
    """
    ok(cloud.register(link(0), link(1)))
    ok(cloud.read())
    ok(cloud.register(link(0, plug="xe-0/0/19")))

    assert shown(cloud) == expected(link(0, plug="xe-0/0/19"))
    moved = cloud.fake.named("physical-interface", CONFIG, "leaf1", "xe-0/0/19")
    assert moved is not None
    assert [ref["to"][1] for ref in moved["port_refs"]] == [SERVER]
    ok(cloud.read())
    cloud.network(PROVISIONING, "provisioning")
    for asked in (wish(0, "provisioning", PROVISIONING), wish(0, "quarantine")):
        ok(cloud.attach(asked))
        ok(cloud.read())
    assert len(cloud.fake.every("virtual-machine")) == 1
    ok(cloud.register())
    for kind in ("port", "node", "virtual-machine"):
        assert cloud.fake.every(kind) == []


def grouped(cloud: Cloud) -> dict[str, list[str]]:
    """The MAC addresses in each port group that Contrail shows, by its label."""
    groups = {one["display_name"]: one.get("port_refs", ()) for one in cloud.fake.every("port-group")}
    ports = {one["uuid"]: one["bms_port_info"]["address"] for one in cloud.fake.every("port")}
    return {label: sorted(ports[ref["uuid"]] for ref in refs) for label, refs in groups.items()}


def macs(*indices: int) -> list[str]:
    return [link(index).mac_address for index in indices]


def test_a_bond_is_a_port_group(cloud: Cloud) -> None:
    """
    It is below the node, refers to the ports in it, and says whose it is; nothing is written for it a second time.
    """
    links = [link(0, group="bond0"), link(1, group="bond0"), link(2), link(3, group="a:b / &")]
    ok(cloud.register(*links))

    assert grouped(cloud) == {"bond0": macs(0, 1), "a:b / &": macs(3)}
    for one in cloud.fake.every("port-group"):
        assert (one["parent_uuid"], one["bms_port_group_info"]) == (SERVER, {"node_uuid": SERVER})
    told = list(cloud.fake.told)
    ok(cloud.register(*links))
    assert cloud.fake.told == told


def test_port_groups_follow_their_ports(cloud: Cloud) -> None:
    """
    One more member, one less, another label, none any more; Contrail deletes no port that is in a group.
    """
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0"), link(2)))
    ok(cloud.read())
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0"), link(2, group="bond0")))
    assert grouped(cloud) == {"bond0": macs(0, 1, 2)}
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0")))
    assert grouped(cloud) == {"bond0": macs(0, 1)}
    assert shown(cloud) == expected(link(0), link(1))
    ok(cloud.register(link(0, group="bond1"), link(1, group="bond1")))
    assert grouped(cloud) == {"bond1": macs(0, 1)}
    ok(cloud.register())
    for kind in ("port-group", "port", "node"):
        assert cloud.fake.every(kind) == []


def test_what_hands_did_to_a_port_group_is_put_right(cloud: Cloud) -> None:
    """
    A node profile takes ports out of groups; the next registration has them there again, and nothing else.
    """
    links = [link(0, group="bond0"), link(1, group="bond0"), link(2)]
    ok(cloud.register(*links))
    (group,) = cloud.fake.every("port-group")
    ports = {one["bms_port_info"]["address"]: one["uuid"] for one in cloud.fake.every("port")}
    cloud.api.remove_ref("port-group", group["uuid"], "port", ports[link(0).mac_address])
    cloud.api.add_ref("port-group", group["uuid"], "port", ports[link(2).mac_address])
    ok(cloud.register(*links))

    assert grouped(cloud) == {"bond0": macs(0, 1)}


def test_port_groups_of_others_stay(cloud: Cloud) -> None:
    """
    One of the same name below our node is theirs; where they described a port of a bond, they describe the bond.
    """
    ok(cloud.register(link(0), link(1, group="bond1")))
    theirs = cloud.fake.add("port-group", [CONFIG, SERVER, "bond0"], parent_type="node")
    info = {"address": link(2).mac_address}
    cloud.fake.add("port", [CONFIG, SERVER, "ens3"], parent_type="node", bms_port_info=info)
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond1"), link(2, group="bond1")))

    members = {one["fq_name"][-1]: len(one.get("port_refs", ())) for one in cloud.fake.every("port-group")}
    assert members.pop("bond0") == 0
    assert list(members.values()) == [1]
    ok(cloud.read())
    ok(cloud.register())
    assert [one["uuid"] for one in cloud.fake.every("port-group")] == [theirs]


def test_a_port_by_another_name(cloud: Cloud) -> None:
    """
    Its MAC address is that of the port which goes: the new one is shown in its place.
    """
    ok(cloud.register(link(0)))
    ok(cloud.read())
    renamed = link(0)
    renamed.port = port(1)
    ok(cloud.register(renamed))

    assert shown(cloud) == expected(renamed)
    assert [one["fq_name"][-1] for one in cloud.fake.every("port")] == [renamed.port.rpartition("/")[2]]


def test_a_removal_that_is_refused_keeps_nothing_else(cloud: Cloud) -> None:
    """
    Somebody's own port group has the port that goes: Contrail keeps both, and the port that comes is shown.
    """
    ok(cloud.register(link(0)))
    ok(cloud.read())
    (gone,) = cloud.fake.every("port")
    cloud.fake.add("port-group", [CONFIG, SERVER, "mine"], parent_type="node", port_refs=[{"to": gone["fq_name"]}])
    ok(cloud.register(link(1)))

    assert shown(cloud) == expected(link(0), link(1))
    assert grouped(cloud) == {"mine": macs(0)}


def test_what_others_made_stays(cloud: Cloud) -> None:
    """
    A node of Contrail Command's keeps what it says, and its ports; a port that it has already is not made twice.
    """
    info = {"name": "srv", "driver_info": {"ipmi_address": "192.0.2.9"}}
    cloud.fake.add("node", [CONFIG, "srv"], uuid=SERVER, bms_info=info)
    theirs = {"address": link(0).mac_address.upper()}
    cloud.fake.add("port", [CONFIG, "srv", "ens1"], parent_type="node", bms_port_info=theirs)
    ok(cloud.register(link(0), link(1)))

    assert shown(cloud) == sorted([(theirs["address"], "", ""), *expected(link(1))])
    ok(cloud.read())
    ok(cloud.register())
    assert [one["bms_info"] for one in cloud.fake.every("node")] == [info]
    assert shown(cloud) == [(theirs["address"], "", "")]


def test_a_refusal_keeps_no_server_out(cloud: Cloud) -> None:
    """
    Somebody has a node of that name: the server is registered and attached all the same.
    """
    cloud.fake.add("node", [CONFIG, SERVER])
    ok(cloud.register(link(0)))
    ok(cloud.read())
    cloud.network(PROVISIONING, "provisioning")
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    assert cloud.classes() == ["provisioning"]
    assert shown(cloud) == []


def test_a_contrail_that_is_away_is_told_again(cloud: Cloud) -> None:
    """
    The same registration, sent again, ends with what the first one would have.
    """
    bonded = link(0, OTHER, group="bond0")
    for lost in (("POST", "nodes"), ("POST", "ports"), ("POST", "port-groups")):
        cloud.fake.loses = lost
        assert cloud.register(bonded, server=OTHER).code is grpc.StatusCode.UNAVAILABLE
    ok(cloud.register(bonded, server=OTHER))

    assert shown(cloud, OTHER) == expected(link(0, OTHER))
    assert grouped(cloud) == {"bond0": [link(0, OTHER).mac_address]}
    assert len(cloud.fake.every("node")) == 1
    ok(cloud.read(OTHER))
    for lost in (("DELETE", "port-group"), ("DELETE", "port"), ("DELETE", "node")):
        cloud.fake.loses = lost
        assert cloud.register(server=OTHER, fence=2).code is grpc.StatusCode.UNAVAILABLE
    ok(cloud.register(server=OTHER, fence=2))
    for kind in ("port-group", "port", "node"):
        assert cloud.fake.every(kind) == []
