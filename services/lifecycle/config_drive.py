# SPDX-License-Identifier: Apache-2.0
"""The secret document an instance boots with.

OpenStack's form, which cloud-init reads: meta_data, network_data and user_data, in one JSON.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Mapping, Sequence

import orjson

from services.kernel.names import stable_uuid
from services.lifecycle.domain.instance import Instance, Interface, lay_out
from services.lifecycle.domain.server import Port

Open = Callable[[Instance], bytes]
"""The user data of an instance, opened; empty if it has none."""

_DEFAULT_MODE = "active-backup"
_DEFAULT_NETWORK = {4: "0.0.0.0", 6: "::"}

Piece = dict[str, object]


def config_drive(
    instance: Instance, user_data: bytes, ports: Sequence[Port] = (), modes: Mapping[str, str] | None = None
) -> bytes:
    """The document for *instance*; it holds secrets and is never logged or recorded.

    Args:
        ports: its server's, as they will carry its networks.
        modes: bonding mode by port group.

    Raises:
        WrongState: the networks do not fit on the ports.
    """
    return orjson.dumps(
        {
            "meta_data": {
                "uuid": stable_uuid(instance.name),
                "name": instance.name,
                "hostname": instance.hostname,
                "public_keys": {str(index): key for index, key in enumerate(instance.ssh_public_keys)},
            },
            "network_data": network_data(instance, ports, modes or {}),
            "user_data": base64.b64encode(user_data).decode(),
        }
    )


def network_data(instance: Instance, ports: Sequence[Port], modes: Mapping[str, str]) -> Piece:
    """OpenStack's ``network_data.json``: links by their MAC addresses, addresses, routes and name servers.

    The first network of each family whose gateway is known is the way out; a second default route would be a coin toss.
    """
    where = {face.network: face.port for face in instance.interfaces if face.port}
    laid = lay_out(instance.networks, ports, where) if ports else {}
    links: list[Piece] = []
    link_of: dict[tuple[str, int], str] = {}
    for port in ports:
        tags = laid.get(port.name, ())
        if not tags:
            continue
        members = [one for one in ports if one.port_group == port.port_group and one.linked] if port.port_group else []
        carrier = port.port_group or _short(port)
        links += [_physical(one) for one in members or [port]]
        if members:
            links.append(
                {
                    "id": carrier, "type": "bond", "ethernet_mac_address": port.mac_address,
                    "bond_links": [_short(one) for one in members],
                    "bond_mode": modes.get(carrier) or _DEFAULT_MODE, "bond_miimon": 100,
                }
            )  # fmt: skip
        for tag in tags:
            link_of[tag.network, tag.vlan_tag] = carrier if not tag.vlan_tag else f"{carrier}.{tag.vlan_tag}"
            if tag.vlan_tag:
                links.append(
                    {
                        "id": f"{carrier}.{tag.vlan_tag}", "type": "vlan", "vlan_link": carrier,
                        "vlan_id": tag.vlan_tag, "vlan_mac_address": port.mac_address,
                    }
                )  # fmt: skip
    networks: list[Piece] = []
    ways_out: set[int] = set()
    servers: dict[str, None] = {}
    for wish in instance.networks:
        link = link_of.get((wish.network, wish.vlan_tag))
        for face in instance.interfaces:
            if face.network == wish.network and face.address and link:
                networks.append(_network(len(networks), face, link, ways_out))
                servers |= dict.fromkeys(face.dns_servers)
    return {"links": links, "networks": networks, "services": [_name_server(address) for address in servers]}


def _short(port: Port) -> str:
    return f"nic-{port.mac_address.replace(':', '')}"


def _physical(port: Port) -> Piece:
    return {"id": _short(port), "type": "phy", "ethernet_mac_address": port.mac_address}


def _network(index: int, face: Interface, link: str, ways_out: set[int]) -> Piece:
    address = ipaddress.ip_interface(f"{face.address}/{face.prefix_length}")
    version = address.version
    found: Piece = {
        "id": f"network{index}",
        "network_id": stable_uuid(face.network),
        "type": f"ipv{version}",
        "link": link,
        "ip_address": str(address.ip),
        "netmask": str(address.netmask),
        "routes": [],
        "services": [_name_server(one) for one in face.dns_servers],
    }
    if face.gateway and version not in ways_out:
        ways_out.add(version)
        everywhere = _DEFAULT_NETWORK[version]
        found["routes"] = [{"network": everywhere, "netmask": everywhere, "gateway": face.gateway}]
    return found


def _name_server(address: str) -> Piece:
    return {"type": "dns", "address": address}
