# SPDX-License-Identifier: Apache-2.0
"""Prefixes and leases in Contrail's words, and its subnets and instance-ips in ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from services.ipam.domain.addresses import Address, Network, address_of
from services.ipam.domain.holding import Holder, Realm, mac_of
from services.ipam.domain.leases import Lease
from services.ipam.domain.prefixes import MAX_POOLS, Prefix, Range
from services.kernel.errors import NotFound
from services.runtime.contrail import LEASE, MAC, Resource, chosen, listed, pairs_of, refs_of

SERVICE = "the subnet's own DHCP and name server"
"""What has the service address of a subnet."""
_NO_GATEWAY = {4: "0.0.0.0", 6: "::"}
"""How a subnet says that it has none; one that says nothing gets one."""
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Place:
    """A subnet of a network, as `Realm.ref` says it.

    Attributes:
        network, subnet: UUIDs.
        service: the address that Contrail answers DHCP and DNS from, and gives away if it is asked to; "" for none.
        fq_name: of the network: an instance-ip that names it by UUID alone is refused.
    """

    network: str
    subnet: str
    service: str
    fq_name: tuple[str, ...]

    @classmethod
    def of(cls, realm: str) -> Place:
        """What *realm* says.

        Raises:
            NotFound: another controller wrote it; the next round finds the range, or makes it.
        """
        parts = realm.split("/", 3)
        if len(parts) != 4:
            msg = f"Contrail has no {realm}: another controller had the range before"
            raise NotFound(msg, remedy="Try again in a minute: it is looked for by its range.", name=realm)
        network, subnet, service, fq_name = parts
        return cls(network, subnet, service, tuple(fq_name.split(":")))

    @property
    def text(self) -> str:
        """The same as `Realm.ref`; no name in Contrail has a colon."""
        return "/".join((self.network, self.subnet, self.service, ":".join(self.fq_name)))

    def server(self) -> Holder | None:
        """Who has the service address."""
        if not self.service:
            return None
        return Holder(ip_address(self.service), f"{self.subnet}/service", kind=SERVICE)


def subnets_of(network: Resource) -> Iterator[Resource]:
    """The subnets of a virtual network, whatever IPAM each is listed under."""
    for ref in refs_of(network, "network-ipam"):
        yield from (ref.get("attr") or {}).get("ipam_subnets") or ()


def range_of(subnet: Resource) -> Network:
    """The range of *subnet*; host bits, which Contrail takes and keeps, are left out."""
    given = subnet["subnet"]
    return ip_network(f"{given['ip_prefix']}/{given['ip_prefix_len']}", strict=False)


def realm_of(network: Resource, subnet: Resource) -> Realm:
    """*subnet* of *network* as ipam sees it."""
    service, gateway = str(subnet.get("dns_server_address") or ""), str(subnet.get("default_gateway") or "")
    place = Place(network["uuid"], subnet["subnet_uuid"], service, tuple(network["fq_name"]))
    pools = (
        Range(int(ip_address(pool["start"])), int(ip_address(pool["end"])))
        for pool in subnet.get("allocation_pools") or ()
    )
    return Realm(
        ref=place.text,
        shown=f"Contrail's subnet {place.subnet} ({range_of(subnet)})",
        gateway=ip_address(gateway) if gateway and gateway not in _NO_GATEWAY.values() else None,
        dns_servers=tuple(ip_address(server) for server in subnet.get("dns_nameservers") or ()),
        pools=tuple(sorted(pools, key=lambda pool: pool.first))[:MAX_POOLS],
    )


def ipam_of(prefix: Prefix, network: Resource) -> Resource:
    """What is sent to make the IPAM under which the subnet of *prefix* is listed: one of its own."""
    return {
        "uuid": ipam_uuid(prefix),
        "fq_name": [*network["fq_name"][:-1], f"bms-{prefix.uid}"],
        "parent_type": "project",
        "parent_uuid": network["parent_uuid"],
        "display_name": prefix.name,
    }


def ipam_uuid(prefix: Prefix) -> str:
    """The UUID of that IPAM; another prefix of the same name has another."""
    return chosen("network-ipam", prefix.uid)


def subnet_of(prefix: Prefix, *, dhcp: bool) -> Resource:
    """The subnet of *prefix*, as it is sent. Its pools are what they are now for ever: Contrail changes none."""
    gateway = str(prefix.gateway) if prefix.gateway is not None else _NO_GATEWAY[prefix.version]
    servers = [str(server) for server in prefix.dns_servers]
    body: Resource = {
        "subnet": {"ip_prefix": str(prefix.cidr.network_address), "ip_prefix_len": prefix.cidr.prefixlen},
        "default_gateway": gateway,
        "addr_from_start": True,
        "enable_dhcp": dhcp,
        "dns_nameservers": servers,
        "subnet_name": prefix.name.rpartition("/")[2],
    }
    if servers and prefix.version == 4:
        # The list above is for Neutron alone; hosts are told by option 6.
        option = {"dhcp_option_name": "6", "dhcp_option_value": " ".join(servers)}
        body["dhcp_option_list"] = {"dhcp_option": [option]}
    if prefix.tuning.pools or prefix.tuning.reserved:
        body["allocation_pools"] = [
            {"start": str(address_of(one.first, prefix.version)), "end": str(address_of(one.last, prefix.version))}
            for one in prefix.choices
        ]
    return body


def hold_uuid(lease: str) -> str:
    """The UUID of the instance-ip of the lease that is called *lease*."""
    return chosen("instance-ip", lease)


def hold_of(lease: Lease, place: Place) -> Resource:
    """What is sent to make the instance-ip of *lease*. Its name must be nobody's in all of Contrail: its UUID."""
    ident = hold_uuid(lease.name)
    return {
        "uuid": ident,
        "fq_name": [ident],
        "display_name": lease.name,
        "virtual_network_refs": [{"to": list(place.fq_name), "uuid": place.network}],
        "instance_ip_address": str(lease.address),
        "annotations": listed(notes_of(lease)),
    }


def notes_of(lease: Lease) -> dict[str, str]:
    """What the instance-ip of *lease* is told of it."""
    return {LEASE: lease.name, MAC: mac_of(lease)}


def address_in(found: Resource) -> Address | None:
    """The address of an instance-ip; None if it has none, which the server answers as well as any other."""
    text = found.get("instance_ip_address")
    return ip_address(text) if text else None


def lease_in(found: Resource) -> str:
    """The name of the lease that an instance-ip is there for; "" if it is not ours, whatever it says."""
    name = pairs_of(found, "annotations").get(LEASE, "")
    return name if name and found["uuid"] == hold_uuid(name) else ""


def holder_of(found: Resource, address: Address, interfaces: Mapping[str, Resource]) -> Holder:
    """An instance-ip as who has *address*, with the machine behind the first of its interfaces.

    Args:
        interfaces: by UUID, as far as they are known.
    """
    lease = lease_in(found)
    refs = refs_of(found, "virtual-machine-interface")
    interface = next((interfaces[ref["uuid"]] for ref in refs if ref["uuid"] in interfaces), {})
    machines = refs_of(interface, "virtual-machine")
    macs = (interface.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address") or [""]
    return Holder(
        address=address,
        ref=str(found["uuid"]),
        lease=lease,
        kind=str(interface.get("virtual_machine_interface_device_owner") or ""),
        device=str(machines[0]["to"][-1]) if machines else "",
        project=_project(interface) or _owner(found),
        mac_address=pairs_of(found, "annotations").get(MAC, "") if lease else str(macs[0]),
    )


def _project(interface: Resource) -> str:
    return str(interface.get("parent_uuid") or "").replace("-", "")


def _owner(found: Resource) -> str:
    owner = str((found.get("perms2") or {}).get("owner") or "")
    return owner if _PROJECT_ID.fullmatch(owner) else ""
