# SPDX-License-Identifier: Apache-2.0
"""Values that a service might well take, by the field they are for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.site.furnish import import_file

_SUM = "sha256:" + "5f" * 32
_IDS = tuple(f"w{number}" for number in range(12))

_TEXTS: Mapping[str, Sequence[str]] = {
    "parent": (*["projects/tenant-a"] * 5, "projects/tenant-b", "projects/-"),
    "project": ("tenant-a", "", "projects/tenant-a"),
    "for_project": ("tenant-a", ""),
    "network": ("projects/tenant-a/networks/blue", "projects/tenant-a/networks/w1", "projects/site/networks/cleaning"),
    "flavor": ("flavors/any", "flavors/w1"),
    "image": ("images/debian", "images/w1"),
    "instance": ("projects/tenant-a/instances/web", "projects/tenant-a/instances/w1", ""),
    "holder": ("projects/tenant-a/instances/web", "projects/tenant-a/instances/w2"),
    "held_by": ("", "projects/tenant-a/instances/web"),
    "resource": ("vm-1", "vm-2", "projects/tenant-a/instances/web"),
    "interface": ("", "eth0"),
    "address": ("", "10.1.0.9", "10.1.0.10", "10.1.0.77"),
    "fixed_addresses": ("10.1.0.11", "2001:db8::11"),
    "start": ("10.7.0.10",),
    "end": ("10.7.0.90",),
    "cidr": (*(f"10.{number}.0.0/24" for number in range(2, 14)), "2001:db8::/64", "2001:db8:1::/120"),
    "gateway": ("", "none"),
    "vrf": ("", "tenant-a.w"),
    "dns_servers": ("10.0.0.53", "2001:db8::53"),
    "mac_address": tuple(f"0e:00:00:00:00:{number:02x}" for number in range(40)),
    "switch_name": ("leaf1a", "leaf1b"),
    "switch_port": tuple(f"ge-0/0/{number}" for number in range(40)),
    "switch_id": ("", "02:aa:bb:11:00:01"),
    "port_group": ("", "", "", "bond0"),
    "mode": ("", "802.3ad"),
    "driver": ("", "redfish", "ipmi"),
    "username": ("root", ""),
    "password": ("made-up", ""),
    "hostname": ("", "web"),
    "ssh_public_keys": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGu4vJmPwS0m2vX7T7uYq5cS5n0o1yq3pQ2r8tUv9wXy ann",),
    "source_uri": ("https://images.example.org/x.raw",),
    "checksum": (_SUM,),
    "kernel_uri": ("", "", "", "https://images.example.org/vmlinuz"),
    "kernel_checksum": ("", "", "", _SUM),
    "ramdisk_uri": ("", "", "", "https://images.example.org/initrd"),
    "ramdisk_checksum": ("", "", "", _SUM),
    "shared_projects": ("tenant-b", "tenant-a"),
    "cpu_arch": ("", "x86_64"),
    "manufacturer": ("", "Acme"),
    "resource_class": ("", "compute"),
    "page_token": ("",),
    "filter": ("",),
    "etag": ("",),
    "after": ("",),
    "service": ("", "lifecycle", "ipam"),
    "type_prefix": ("", "server."),
    "paths": ("description", "labels", "display_name", "resource_class", "*"),
    "reason": ("because",),
    "unavailable_reason": ("", "CLEANING"),
    "type": ("server", "generator", "*"),
    "object_key": ("",),
    "message_type": ("", "IronicNode"),
    "server_id": ("", str(uuid.UUID(int=7, version=4))),
    "file_by_filename": ("bms/ipam/v1/lease.proto",),
}
_NUMBERS: Mapping[str, Sequence[int]] = {
    "page_size": (0, 1, 2, 1000, 5000),
    "wait_seconds": (0, 0, 1),
    "after": (0, 1, 10, 10**9),
    "ip_version": (0, 4, 6),
    "fence": (1, 2, 10**6, 2**62),
    "epoch": (1, 1, 2),
    "state_version": (1, 50, 10**6),
    "vlan_tag": (0, 0, 200, 201),
    "vlan_id": (0, 0, 300),
    "count": (0, 1, 2, 100),
    "port": (0, 443, 623),
    "unit": (0, 1, 42),
}
_PLURALS = {
    **{noun: f"{noun.lower()}s" for noun in ("Server", "Flavor", "Image", "Instance", "Network", "Lease", "Operation")},
    "Prefix": "prefixes",
    "Uve": "uves",
    "Maintenance": "servers",
}
_CONTAINED = frozenset({"Prefix.cidr", "Prefix.network", "Server.name", "Flavor.name", "Image.name"})
"""What a request cannot do without although its contract cannot say so: a resource's fields serve several verbs."""


def needed(message: str, field: str) -> bool:
    """Whether a plausible *message* has *field* though it is not marked as required."""
    return f"{message}.{field}" in _CONTAINED


class Plausible:
    """Values that name what there is.

    Args:
        names: names of things that do exist.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._servers = self._of("servers")

    def scalar(self, message: str, one: Any) -> st.SearchStrategy[Any] | None:
        """Values for field *one* of *message* (a short name); None if nothing is known of it."""
        name: str = one.name
        if one.type == one.TYPE_STRING:
            return st.sampled_from(self._texts(message, name))
        if one.type == one.TYPE_BYTES:
            if name == "content":
                return st.integers(1, 90).map(lambda first: import_file(first, 2))
            return st.just(b"\x05" * 32) if name.endswith("digest") else st.just(b"#cloud-config\n")
        if one.type == one.TYPE_ENUM:
            return st.sampled_from([number for number in one.enum_type.values_by_number if number] or [0])
        if one.type == one.TYPE_BOOL:
            return st.booleans()
        if name in _NUMBERS:
            return st.sampled_from(_NUMBERS[name])
        return st.sampled_from((0, 1, 2, 16, 64))

    def _texts(self, message: str, name: str) -> Sequence[str]:
        if name == "request_id":
            return ("", str(uuid.UUID(int=1, version=4)), str(uuid.UUID(int=2, version=4)))
        if name == "name":
            return self._named(message)
        if name in ("server", "servers", "excluded_servers"):
            return self._servers
        if name == "stream":
            return ("", *self._servers, *(f"{server}/x" for server in self._servers[:1]))
        if name == "port":
            return tuple(f"{server}/ports/0c0000000001" for server in self._servers)
        if name == "parent" and "ForcedAction" in message:
            return (*self._servers, "servers/-")
        if name == "without_proof":
            return ("", "", *self._servers[:1])
        if name in _TEXTS:
            if message == "Bmc" and name == "address":
                return tuple(f"10.250.0.{number}" for number in range(1, 20))
            return _TEXTS[name]
        return _IDS

    def _named(self, message: str) -> Sequence[str]:
        if "ForcedAction" in message:
            return tuple(f"{server}/forcedActions/{uuid.UUID(int=3, version=4)}" for server in self._servers)
        if message in ("GetServerStatusRequest", "ServerStatus"):
            return tuple(f"{server}/status" for server in self._servers)
        if message == "ListOperationsRequest":
            return ("", "operations", "projects/tenant-a", "projects/-", "projects/tenant-a/operations")
        if message in ("AttachNetworkRequest", "DetachNetworkRequest"):
            return self._of("instances")
        for noun, plural in _PLURALS.items():
            if noun in message:
                return self._of(plural)
        return _IDS

    def _of(self, plural: str) -> Sequence[str]:
        """The names of that kind; first what there is, then what there may be by now."""
        there = [name for name in self._names if f"{plural}/" in name and not name.endswith("/status")]
        if plural in ("flavors", "images"):
            return (f"{plural}/any", f"{plural}/debian", *(f"{plural}/{identity}" for identity in _IDS[:4]))
        if plural in ("instances", "networks", "prefixes"):
            there += [f"projects/tenant-a/{plural}/{name}" for name in ("blue", "blue-v4", *_IDS[:4])]
        if plural == "uves":
            there += [f"uves/server/{name.rpartition('/')[2]}" for name in self._servers]
        return there * 2 or [f"projects/tenant-a/{plural}/{uuid.UUID(int=9, version=4)}"]
