# SPDX-License-Identifier: Apache-2.0
"""What a site needs before anything can happen on it, asked for over the contracts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import lease_pb2, prefix_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from tests.site.client import Client, names
from tests.site.rig import Site

_SUM = "sha256:5f2c0d3a1b8e4f6790a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8"
_PRIVATE = {
    "provisioning": network_pb2.PORT_CLASS_PROVISIONING,
    "cleaning": network_pb2.PORT_CLASS_CLEANING,
    "rescue": network_pb2.PORT_CLASS_RESCUE,
}


@dataclass(frozen=True, slots=True)
class Furnished:
    """The names of what there is."""

    servers: tuple[str, ...]
    instances: tuple[str, ...]
    leases: tuple[str, ...]


def furnish(site: Site, servers: int = 4) -> Furnished:
    """Networks, a catalogue, *servers* servers that are available but for one, and an instance of tenant-a."""
    admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
    lay_ground(admin, tenant)
    found = bring_in(admin, servers)
    provide(admin, found[:-1])
    operation = create_instance(tenant, "web")
    tenant.done(operation)
    leases = tenant.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/tenant-a"), "leases")
    return Furnished(tuple(found), ("projects/tenant-a/instances/web",), tuple(names(leases)))


def lay_ground(admin: Client, tenant: Client, *, cool_down: int = 600) -> None:
    """The private networks, a flavor, an image, and tenant-a's network with a prefix."""
    for name, kind in _PRIVATE.items():
        admin.call(
            "network",
            "CreateNetwork",
            network_pb2.CreateNetworkRequest(
                parent="projects/site", network_id=name, network=network_pb2.Network(network_class=kind)
            ),
        )
    admin.call(
        "inventory",
        "CreateFlavor",
        catalogue_pb2.CreateFlavorRequest(flavor_id="any", flavor=catalogue_pb2.Flavor(min_cpus=1)),
    )
    image = catalogue_pb2.Image(
        source_uri="https://images.example.org/debian.raw",
        checksum=_SUM,
        visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
    )
    admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id="debian", image=image))
    tenant.call(
        "network",
        "CreateNetwork",
        network_pb2.CreateNetworkRequest(parent="projects/tenant-a", network_id="blue"),
    )
    prefix = prefix_pb2.Prefix(cidr="10.1.0.0/24", network="projects/tenant-a/networks/blue")
    prefix.cool_down.FromSeconds(cool_down)
    tenant.call(
        "ipam",
        "CreatePrefix",
        prefix_pb2.CreatePrefixRequest(parent="projects/tenant-a", prefix_id="blue-v4", prefix=prefix),
    )


def import_file(first: int, count: int) -> bytes:
    """An import file with servers number *first* and following, each with two ports."""
    nodes = []
    for number in range(first, first + count):
        high, low = number // 250, number % 250
        tail = f"{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        nodes.append(
            {
                "name": f"s{number:05d}",
                "node_type": "baremetal",
                "driver": "redfish",
                "driver_info": {
                    "redfish_address": f"10.{100 + high // 250}.{high % 250}.{low + 1}",
                    "redfish_username": "root",
                    "redfish_password": "made-up",
                },
                "properties": {"cpu_arch": "x86_64", "cpus": "16", "memory_mb": "65536", "local_gb": "447"},
                "resource_class": "compute",
                "location": {"site": "test", "rack": f"T{number // 40}", "unit": number % 40 + 1},
                "ports": [
                    {
                        "name": f"ens{port}",
                        "mac_address": f"0c:{port:02x}:00:{tail}",
                        "switch_name": f"leaf{number // 40}{'ab'[port]}",
                        "port_name": f"xe-0/0/{number % 40}",
                        "pxe_enabled": port == 0,
                    }
                    for port in (0, 1)
                ],
            }
        )
    return json.dumps({"nodes": nodes}).encode()


def bring_in(admin: Client, count: int, first: int = 1) -> list[str]:
    """Imports *count* servers; answers their names."""
    answer = admin.call(
        "inventory",
        "ImportServers",
        server_pb2.ImportServersRequest(content=import_file(first, count), format=server_pb2.IMPORT_FORMAT_JSON),
    )
    return [each.server for each in answer.servers]


def provide(admin: Client, servers: Sequence[str], seconds: float = 120.0) -> None:
    """Makes *servers* available, once lifecycle has heard of them."""
    wait_known(admin, servers, seconds)
    operations = [
        admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=server))
        for server in servers
    ]
    for operation in operations:
        admin.done(operation, seconds)


def wait_known(admin: Client, servers: Sequence[str], seconds: float = 60.0) -> None:
    """Until lifecycle has heard of *servers* from inventory's log."""
    from tests.site.client import wait_for

    wanted = set(servers)
    wait_for(
        "lifecycle hears of the servers",
        lambda: wanted <= {status.server for status in statuses_of(admin)},
        seconds,
    )


def statuses_of(admin: Client) -> list[server_status_pb2.ServerStatus]:
    """Every server's status."""
    return admin.pages("lifecycle", "ListServerStatuses", server_status_pb2.ListServerStatusesRequest(), "statuses")


def create_instance(tenant: Client, identity: str):  # type: ignore[no-untyped-def]  # Operation has no stubs
    """Asks for an instance of tenant-a on his network; answers the operation."""
    instance = instance_pb2.Instance(
        flavor="flavors/any",
        image="images/debian",
        networks=[instance_pb2.InstanceNetwork(network="projects/tenant-a/networks/blue")],
    )
    return tenant.call(
        "lifecycle",
        "CreateInstance",
        instance_pb2.CreateInstanceRequest(parent="projects/tenant-a", instance_id=identity, instance=instance),
    )


__all__ = ["Furnished", "furnish", "names"]
