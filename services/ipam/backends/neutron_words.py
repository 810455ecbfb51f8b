# SPDX-License-Identifier: Apache-2.0
"""Prefixes and leases in Neutron's words, and its subnets and ports in ours. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from services.ipam.domain.addresses import Address, address_of
from services.ipam.domain.holding import Holder, Realm, mac_of
from services.ipam.domain.leases import Lease
from services.ipam.domain.prefixes import MAX_POOLS, Prefix, Range, usable
from services.runtime.neutron import LEASE, Resource, is_ours

SUBNET = "bms-subnet"
"""The mark of a subnet that we made; its description holds the prefix's uid beside it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A network and a subnet by their ids, as `Realm.ref` says them."""

    network: str
    subnet: str

    @classmethod
    def of(cls, realm: str) -> Place:
        """What *realm* says."""
        network, _, subnet = realm.partition("/")
        return cls(network, subnet)


def made_for(prefix: Prefix) -> str:
    """The description of a subnet that was made for *prefix*."""
    return f"{SUBNET} {prefix.uid}"


def body_of_subnet(prefix: Prefix, network: Resource, *, dhcp: bool) -> dict[str, object]:
    """What is sent to make the subnet of *prefix* in Neutron's *network*.

    It is of the network's project: whoever removes a port and may not see its subnet leaves the address allocated.
    """
    body: dict[str, object] = {
        "network_id": network["id"],
        "project_id": network["project_id"],
        "name": prefix.name.rpartition("/")[2],
        "description": made_for(prefix),
        "cidr": str(prefix.cidr),
        "ip_version": prefix.version,
        "gateway_ip": None if prefix.gateway is None else str(prefix.gateway),
        "dns_nameservers": [str(server) for server in prefix.dns_servers],
        "enable_dhcp": dhcp,
    }
    if prefix.pools:
        body["allocation_pools"] = [
            {
                end: str(address_of(number, prefix.version))
                for end, number in (("start", pool.first), ("end", pool.last))
            }
            for pool in prefix.pools
        ]
    return body


def body_of_port(lease: Lease, place: Place, project: str) -> dict[str, object]:
    """What is sent to make the port of *lease*, for Neutron's *project*. It is bound to nothing."""
    return {
        "network_id": place.network,
        "project_id": project,
        "name": lease.name,
        "description": LEASE,
        "mac_address": mac_of(lease),
        "fixed_ips": [{"subnet_id": place.subnet, "ip_address": str(lease.address)}],
        "binding:vnic_type": "baremetal",
    }


def realm_of(subnet: Resource) -> Realm:
    """*subnet* as ipam sees it."""
    gateway = subnet.get("gateway_ip")
    return Realm(
        ref=f"{subnet['network_id']}/{subnet['id']}",
        shown=f"Neutron's subnet {subnet['id']} ({subnet['cidr']})",
        gateway=ip_address(gateway) if gateway else None,
        dns_servers=tuple(ip_address(server) for server in subnet.get("dns_nameservers") or ()),
        pools=_pools(subnet),
    )


def holder_of(port: Resource, address: Address) -> Holder:
    """*port* as who has *address*."""
    name, ident = str(port.get("name") or ""), str(port["id"])
    return Holder(
        address=address,
        ref=ident,
        lease=(name or ident) if is_ours(port, LEASE) else "",
        kind=str(port.get("device_owner") or ""),
        device=str(port.get("device_id") or ""),
        project=str(port.get("project_id") or ""),
        mac_address=str(port.get("mac_address") or ""),
    )


def addresses_of(port: Resource, subnet: str = "") -> list[Address]:
    """The addresses that *port* has in *subnet*; in any if that is ""."""
    return [ip_address(each["ip_address"]) for each in port["fixed_ips"] if subnet in ("", each["subnet_id"])]


def _pools(subnet: Resource) -> tuple[Range, ...]:
    """Where Neutron chooses; empty if that is every host's address but the gateway's."""
    given = [Range(int(ip_address(pool["start"])), int(ip_address(pool["end"]))) for pool in _ranges(subnet)]
    hosts = usable(ip_network(subnet["cidr"]))
    left_out = hosts.last - hosts.first + 1 - sum(pool.last - pool.first + 1 for pool in given)
    if not given or left_out <= (1 if subnet.get("gateway_ip") else 0):
        return ()
    return tuple(sorted(given, key=lambda pool: pool.first))[:MAX_POOLS]


def _ranges(subnet: Resource) -> list[dict[str, str]]:
    return list(subnet.get("allocation_pools") or ())
