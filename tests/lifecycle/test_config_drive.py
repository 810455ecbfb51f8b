# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.lifecycle.config_drive import config_drive, network_data
from services.lifecycle.domain.instance import Instance, Interface, NetworkWish
from services.lifecycle.domain.server import Port

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BLUE, GREEN, RED = (f"projects/demo/networks/{name}" for name in ("blue", "green", "red"))
PORTS = (
    Port("servers/s/ports/1", "52:54:00:00:00:01", "leaf1", "1", True),
    Port("servers/s/ports/2", "52:54:00:00:00:02", "leaf1", "2", port_group="bond0"),
    Port("servers/s/ports/3", "52:54:00:00:00:03", "leaf2", "2", port_group="bond0"),
    Port("servers/s/ports/4", "52:54:00:00:00:04", "", ""),
)
INSTANCE = Instance(
    "projects/demo/instances/web",
    "demo",
    "flavors/f",
    "images/i",
    (NetworkWish(BLUE), NetworkWish(GREEN), NetworkWish(RED, (), 7)),
    NOW,
    NOW,
    hostname="web",
    ssh_public_keys=("ssh-ed25519 AAAA",),
    interfaces=(
        Interface(BLUE, address="10.0.0.5", prefix_length=24, gateway="10.0.0.1", dns_servers=("10.0.0.2",)),
        Interface(GREEN, address="fd00::5", prefix_length=64, gateway="fd00::1", dns_servers=("fd00::2", "10.0.0.2")),
        Interface(RED, 7, address="10.7.0.5", prefix_length=20, gateway="10.7.0.1"),
    ),
)


def told(instance: Instance = INSTANCE, ports: tuple[Port, ...] = PORTS) -> dict[str, Any]:
    return network_data(instance, ports, {"bond0": "802.3ad"})


def test_every_link_is_told_by_its_mac_address() -> None:
    """
    Ports, bonds and tagged links as the networks lie on them, each with a MAC address; ports without a network are not.
    """
    links = {link["id"]: link for link in told()["links"]}

    assert links == {
        "nic-525400000001": {"id": "nic-525400000001", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:01"},
        "nic-525400000001.7": {
            "id": "nic-525400000001.7", "type": "vlan", "vlan_link": "nic-525400000001", "vlan_id": 7,
            "vlan_mac_address": "52:54:00:00:00:01",
        },
        "nic-525400000002": {"id": "nic-525400000002", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:02"},
        "nic-525400000003": {"id": "nic-525400000003", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:03"},
        "bond0": {
            "id": "bond0", "type": "bond", "ethernet_mac_address": "52:54:00:00:00:02", "bond_mode": "802.3ad",
            "bond_links": ["nic-525400000002", "nic-525400000003"], "bond_miimon": 100,
        },
    }  # fmt: skip


def test_addresses_of_both_families_with_one_way_out_each() -> None:
    """
    Each address stands on its link with its mask and name servers; one default route for each family.
    """
    blue, green, red = told()["networks"]

    assert (blue["type"], blue["link"], blue["ip_address"], blue["netmask"]) == (
        "ipv4", "nic-525400000001", "10.0.0.5", "255.255.255.0",
    )  # fmt: skip
    assert blue["routes"] == [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}]
    assert blue["services"] == [{"type": "dns", "address": "10.0.0.2"}]
    assert (green["type"], green["link"], green["ip_address"], green["netmask"]) == (
        "ipv6", "bond0", "fd00::5", "ffff:ffff:ffff:ffff::",
    )  # fmt: skip
    assert green["routes"] == [{"network": "::", "netmask": "::", "gateway": "fd00::1"}]
    assert (red["link"], red["netmask"], red["routes"]) == ("nic-525400000001.7", "255.255.240.0", [])
    assert told()["services"] == [{"type": "dns", "address": "10.0.0.2"}, {"type": "dns", "address": "fd00::2"}]


def test_what_lies_already_stays_where_it_is() -> None:
    """
    A rebuild tells of the ports on which the instance's networks were connected.
    """
    moved = tuple(
        replace(face, port="servers/s/ports/2") if face.network == BLUE else face for face in INSTANCE.interfaces
    )
    alone = replace(INSTANCE, networks=(NetworkWish(BLUE),), interfaces=moved)

    (blue,) = told(alone)["networks"]

    assert blue["link"] == "bond0"


def test_the_whole_document() -> None:
    """
    Host name, keys and user data stand beside; user data of any bytes come through.
    """
    document = json.loads(config_drive(INSTANCE, b"\xff\x00", PORTS))

    assert document["meta_data"]["hostname"] == "web"
    assert document["meta_data"]["public_keys"] == {"0": "ssh-ed25519 AAAA"}
    assert base64.b64decode(document["user_data"]) == b"\xff\x00"
    assert len(document["network_data"]["networks"]) == 3
