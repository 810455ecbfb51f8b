# SPDX-License-Identifier: Apache-2.0
"""Servers and ports as Contrail shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.runtime.database import Database
from tests.network.conftest import OTHER, SERVER, link, wish
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
    for lost in (("POST", "nodes"), ("POST", "ports")):
        cloud.fake.loses = lost
        assert cloud.register(link(0, OTHER), server=OTHER).code is grpc.StatusCode.UNAVAILABLE
    ok(cloud.register(link(0, OTHER), server=OTHER))

    assert shown(cloud, OTHER) == expected(link(0, OTHER))
    assert len(cloud.fake.every("node")) == 1
