# SPDX-License-Identifier: Apache-2.0
"""One life of a server whose ports and addresses are a genuine Neutron's; its hardware and switches are simulated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bms.inventory.v1 import catalogue_pb2
from bms.ipam.v1 import prefix_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from services.kernel.clock import SystemClock
from services.kernel.names import SERVER
from services.simulated.rack import PortWrite, Rack
from services.simulated.state import Vlans
from tests.openstack.cloud.fixture import Cloud
from tests.site import furnish
from tests.site.client import Client, wait_for
from tests.site.rig import Site, running_site

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(600),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

_PRIVATE = ("provisioning", "cleaning", "rescue")
# Names of its own: whoever looks for the cloud's own network called cleaning finds one.
_NAMED = "neutron-life"
_State = server_status_pb2.ServerStatus


@pytest.fixture
def site(cloud: Cloud, tmp_path: Path) -> Iterator[Site]:
    """Five processes, of which network and ipam are on the cloud's Neutron."""
    settings = {
        "BMS_NETWORK_BACKEND": "neutron", "BMS_NETWORK_NEUTRON_CLOUD": "site",
        "BMS_IPAM_BACKEND": "neutron", "BMS_IPAM_NEUTRON_CLOUD": "site",
        "OS_CLIENT_CONFIG_FILE": str(cloud.place.home / "clouds.yaml"),
        "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    network = cloud.connect().network
    ends = threading.Event()
    try:
        # So slow that a wire is laid before the work on it is over, which needs a network.
        with running_site(tmp_path, settings=settings, profile="demo") as running:
            wires = threading.Thread(target=_wire, args=(cloud, running, ends))
            wires.start()
            try:
                yield running
            finally:
                ends.set()
                wires.join(30)
    finally:
        for one in network.networks(name=_NAMED):
            for port in network.ports(network_id=one.id):
                network.delete_port(port.id)
            network.delete_network(one.id)


def _wire(cloud: Cloud, site: Site, ends: threading.Event) -> None:
    """Has the rack's switches do, until *ends*, what Neutron's bindings say: the hardware's work needs a network."""
    neutron: Any = cloud.connect().network
    rack = Rack(site.data.path / "rack.sqlite")
    known: dict[tuple[str, str, str, str], int] = {}
    try:
        while not ends.wait(0.05):
            vlans = {one.id: one.provider_segmentation_id for one in neutron.networks(name=_NAMED)}
            now = {
                (port.binding_host_id, link["switch_info"], link["port_id"], port.mac_address): vlans[port.network_id]
                for port in neutron.ports()
                if port.network_id in vlans and port.binding_vif_type == "other"
                for link in port.binding_profile["local_link_information"]
            }
            for place in known.keys() | now.keys():
                if known.get(place) != now.get(place):
                    server, switch, plug, mac = place
                    write = PortWrite(switch, plug, Vlans(now.get(place, 0)), mac)
                    rack.write_ports(server, (write,), SystemClock().now())
            known = now
    finally:
        rack.close()


def lay_ground(admin: Client, tenant: Client) -> None:
    """Networks of Neutron's, a prefix, a flavor and an image."""
    kinds = network_pb2.PortClass
    for caller, project, name in (
        *((admin, "site", name) for name in _PRIVATE),
        (tenant, "tenant-a", "blue"),
    ):
        kind = kinds.Value(f"PORT_CLASS_{name.upper()}") if name in _PRIVATE else network_pb2.PORT_CLASS_TENANT
        network = network_pb2.Network(network_class=kind, display_name=_NAMED)
        request = network_pb2.CreateNetworkRequest(parent=f"projects/{project}", network_id=name, network=network)
        caller.call("network", "CreateNetwork", request)
    prefix = prefix_pb2.Prefix(cidr="10.98.0.0/24", network="projects/tenant-a/networks/blue")
    prefix.cool_down.FromSeconds(3600)
    tenant.call(
        "ipam",
        "CreatePrefix",
        prefix_pb2.CreatePrefixRequest(parent="projects/tenant-a", prefix_id="blue-v4", prefix=prefix),
    )
    admin.call(
        "inventory",
        "CreateFlavor",
        catalogue_pb2.CreateFlavorRequest(flavor_id="any", flavor=catalogue_pb2.Flavor(min_cpus=1)),
    )
    image = catalogue_pb2.Image(
        source_uri="https://images.example.org/debian.raw",
        checksum=furnish._SUM,
        visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
    )
    admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id="debian", image=image))


def test_a_life_over_neutron(cloud: Cloud, site: Site) -> None:
    """
    Cleaned, deployed, given back and cleaned again: while the instance is active Neutron has the server's port bound on
    the tenant's network with the address that ipam gave; before and after, nothing of the server is bound.
    """
    admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
    neutron: Any = cloud.connect().network
    lay_ground(admin, tenant)
    (server,) = furnish.bring_in(admin, 1)
    (uuid,) = SERVER.parse(server)

    def bound() -> list[Any]:
        return [port for port in neutron.ports() if port.binding_host_id == uuid]

    furnish.provide(admin, [server], 240)
    assert bound() == []

    tenant.done(furnish.create_instance(tenant, "web"), 240)
    ports = bound()
    blue = next(one for one in neutron.networks(name=_NAMED) if one.description.endswith("tenant-a/blue"))
    assert {(port.network_id, port.status, port.binding_vif_type) for port in ports} == {(blue.id, "ACTIVE", "other")}
    assert [port for port in ports if "bms-lease" in port.tags and port.fixed_ips]

    tenant.done(
        tenant.call(
            "lifecycle",
            "DeleteInstance",
            instance_pb2.DeleteInstanceRequest(name="projects/tenant-a/instances/web"),
        ),
        240,
    )

    def available() -> bool:
        (status,) = furnish.statuses_of(admin)
        return status.state == _State.STATE_AVAILABLE and not status.operation

    wait_for("the server is offered again", available, 240, every=0.5)
    assert bound() == []
    assert {port.status for port in neutron.ports(network_id=blue.id)} == {"DOWN"}, "the address rests, bound nowhere"
