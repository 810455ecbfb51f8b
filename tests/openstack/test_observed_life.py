# SPDX-License-Identifier: Apache-2.0
"""One life of a server whose ports a genuine Ironic moves on a genuine Neutron, deployed and given back by us."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import prefix_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from services.cli.ironic_nodes import read, rows_of
from services.verifier.verdict import Verdict
from tests.openstack.cloud.fixture import Cloud
from tests.openstack.test_nova_life import image_of
from tests.site.audit import read_logs
from tests.site.client import Client, wait_for
from tests.site.furnish import provide, statuses_of, wait_known
from tests.site.rig import Site, running_site
from tests.support.judging import judged

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

CLASS, NAMED = "bms.observed", "observed-life"
_PROOFS = ("power.observed", "clean.passed", "image.verified")
_CLASSES = {
    "provisioning": network_pb2.PORT_CLASS_PROVISIONING,
    "cleaning": network_pb2.PORT_CLASS_CLEANING,
    "rescuing": network_pb2.PORT_CLASS_RESCUE,
}
"""The networks of Ironic's, by its own names for them."""
_State = server_status_pb2.ServerStatus


@dataclass(slots=True)
class Life:
    """What the tests share: each goes on where the one before it ended.

    Attributes:
        networks: Neutron's ids of what the server may be on, by what we call it.
    """

    site: Site
    admin: Any
    ours: Client
    project: str
    node: str
    networks: dict[str, str]

    @property
    def instance(self) -> str:
        """The instance's name."""
        return f"projects/{self.project}/instances/web"

    def status(self) -> server_status_pb2.ServerStatus:
        """How lifecycle shows the server."""
        (found,) = statuses_of(self.ours)
        return found

    def ironic(self) -> Any:
        """The node as Ironic shows it."""
        return self.admin.baremetal.get_node(self.node)

    def bound(self) -> list[tuple[str, str]]:
        """What is bound for the server: the network, as we call it, and the port."""
        named = {ident: name for name, ident in self.networks.items()}
        return [
            (named.get(port.network_id, "?"), port.id)
            for port in self.admin.network.ports()
            if port.binding_host_id == self.node and port.binding_profile
        ]

    def told(self) -> list[str]:
        """The types of the server's events about ports, power read and jobs passed, in order."""
        log = read_logs(self.site).events["lifecycle"]
        headers = [event_pb2.EventHeader.FromString(event.header) for event in log]
        own = [header.type for header in headers if header.stream == f"servers/{self.node}"]
        return [type_ for type_ in own if type_.startswith("port.") or type_ in _PROOFS]


@pytest.fixture(scope="module")
def node(cloud: Cloud) -> Iterator[str]:
    """A node of its own class, whose network interface is Ironic's neutron; its jobs take some seconds."""
    admin, ident = cloud.connect(), str(uuid.uuid4())
    kinds = {f"{kind}_interface": "bms-steered" for kind in ("deploy", "inspect", "rescue", "power")}
    admin.baremetal.create_node(
        id=ident, name=f"observed-{ident[:8]}", driver="fake-hardware", resource_class=CLASS,
        provision_state="enroll", network_interface="neutron",
        properties={"cpus": 4, "memory_mb": 8192, "local_gb": 10}, **kinds,
    )  # fmt: skip
    admin.baremetal.create_port(
        node_id=ident, address=f"52:54:02:{ident[:2]}:{ident[2:4]}:01", is_pxe_enabled=True,
        physical_network="physnet1", local_link_connection={
            "switch_id": "00:00:5e:00:53:01", "port_id": f"Ethernet2/{ident[:8]}", "switch_info": "leaf1",
        },
    )  # fmt: skip
    cloud.steer(ident, dict.fromkeys(("deploy", "clean", "rescue"), "wait:8"))
    try:
        yield ident
    finally:
        admin.baremetal.set_node_maintenance(ident)
        admin.baremetal.delete_node(ident)


@pytest.fixture(scope="module")
def life(cloud: Cloud, node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Our five processes on that cloud, in mode observed, and the node as a server of theirs."""
    clouds = cloud.place.clouds
    settings = {
        "BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "site",
        "BMS_LIFECYCLE_NEUTRON_MODE": "observed", "BMS_NETWORK_NEUTRON_MODE": "observed",
        "BMS_INVENTORY_GLANCE_CLOUD": "site", "BMS_INVENTORY_MIRROR_SECONDS": "1",
        "BMS_NETWORK_BACKEND": "neutron", "BMS_NETWORK_NEUTRON_CLOUD": "site",
        "BMS_IPAM_BACKEND": "neutron", "BMS_IPAM_NEUTRON_CLOUD": "site", "BMS_LIFECYCLE_POLL_SECONDS": "1",
        "OS_CLIENT_CONFIG_FILE": str(clouds), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    admin = cloud.connect()
    project = cloud.connect("tenant-a").session.get_project_id()
    networks = {name: str(admin.network.find_network(name).id) for name in _CLASSES}
    blue = admin.network.create_network(name=NAMED, project_id=project)
    networks["blue"] = str(blue.id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        settings["BMS_NETWORK_NEUTRON_PRIVATE_PROJECTS"] = str(admin.current_project_id)
        try:
            with running_site(tmp_path_factory.mktemp("site"), settings=settings) as running:
                ours = Client(running, "admin")
                _lay_ground(ours, project, networks)
                _bring_in(ours, node)
                yield Life(running, admin, ours, project, node, networks)
        finally:
            for port in admin.network.ports(network_id=blue.id):
                admin.network.delete_port(port.id)
            admin.network.delete_network(blue.id)


def _lay_ground(ours: Client, project: str, networks: dict[str, str]) -> None:
    """Takes over the networks that Ironic uses, and the tenant's; a prefix and a flavor."""
    for name, ident in networks.items():
        kind = _CLASSES.get(name, network_pb2.PORT_CLASS_TENANT)
        parent = f"projects/{project if name == 'blue' else 'site'}"
        network = network_pb2.Network(network_class=kind, display_name=name)
        request = network_pb2.CreateNetworkRequest(parent=parent, network_id=ident, network=network)
        ours.call("network", "CreateNetwork", request)
    prefix = prefix_pb2.Prefix(cidr="10.96.0.0/24", network=f"projects/{project}/networks/{networks['blue']}")
    prefix.cool_down.FromSeconds(3600)
    ours.call(
        "ipam",
        "CreatePrefix",
        prefix_pb2.CreatePrefixRequest(parent=f"projects/{project}", prefix_id="blue-v4", prefix=prefix),
    )
    flavor = catalogue_pb2.Flavor(resource_class=CLASS, min_cpus=2)
    ours.call("inventory", "CreateFlavor", catalogue_pb2.CreateFlavorRequest(flavor_id="observed", flavor=flavor))


def _bring_in(ours: Client, node: str) -> None:
    """Imports the node as `bms server import --from-ironic` does, and no other."""
    rows = [row for row in rows_of(read("site")).rows if row.get("uuid") == node]
    request = server_pb2.ImportServersRequest(
        content=json.dumps({"nodes": rows}).encode(), format=server_pb2.IMPORT_FORMAT_JSON
    )
    answer = ours.call("inventory", "ImportServers", request)
    wait_known(ours, [each.server for each in answer.servers])


def test_a_clean_is_read_on_ironics_cleaning_network(life: Life) -> None:
    """
    Ironic binds the port for its clean, which is read within it, and unbinds it: the server is free on no network.
    """
    provide(life.ours, [f"servers/{life.node}"], 300)

    assert life.status().state == _State.STATE_AVAILABLE
    assert life.bound() == []
    told = life.told()
    clean = told[told.index("port.attach_requested") :]
    assert [one for one in clean if one.startswith(("port.", "clean."))] == [
        "port.attach_requested", "port.attach_observed", "clean.passed", "port.detach_requested",
        "port.detach_observed",
    ]  # fmt: skip


def test_it_is_deployed_there_and_bound_for_the_tenant_by_us(life: Life) -> None:
    """
    Ironic writes the image on its provisioning network and leaves the server off; the tenant's port is its VIF, with
    the lease's address, and is bound before the server is switched on.
    """
    before = len(life.told())
    instance = instance_pb2.Instance(
        flavor="flavors/observed",
        image=image_of(life.ours, "tiny"),
        networks=[instance_pb2.InstanceNetwork(network=f"projects/{life.project}/networks/{life.networks['blue']}")],
    )
    request = instance_pb2.CreateInstanceRequest(
        parent=f"projects/{life.project}", instance_id="web", instance=instance
    )
    life.ours.done(life.ours.call("lifecycle", "CreateInstance", request), 300)
    node = life.ironic()

    assert (node.provision_state, node.power_state) == ("active", "power on")
    ((name, port),) = life.bound()
    assert name == "blue"
    assert [vif.id for vif in life.admin.network.ports(id=port) if "bms-lease" in vif.tags]
    assert list(life.admin.baremetal.list_node_vifs(life.node)) == [port]
    assert life.told()[before:] == [
        "port.attach_requested", "port.attach_observed", "image.verified", "power.observed", "port.detach_requested",
        "port.detach_observed", "port.attach_requested", "port.attach_observed", "power.observed",
    ]  # fmt: skip


def test_rebuilding_goes_the_same_way(life: Life) -> None:
    """
    Cut, written anew on Ironic's provisioning network, cut, and bound as before.
    """
    before = life.bound()
    request = instance_pb2.RebuildInstanceRequest(name=life.instance)
    life.ours.done(life.ours.call("lifecycle", "RebuildInstance", request), 300)

    assert life.bound() == before
    assert life.ironic().power_state == "power on"


def test_it_is_rescued_on_ironics_rescuing_network(life: Life) -> None:
    """
    Cut from the tenant before Ironic boots the rescue system on its own network, and his again after it, off meanwhile.
    """
    before, told = life.bound(), len(life.told())
    rescue, unrescue = (
        make(name=life.instance) for make in (instance_pb2.RescueInstanceRequest, instance_pb2.UnrescueInstanceRequest)
    )
    life.ours.done(life.ours.call("lifecycle", "RescueInstance", rescue), 300)
    node = life.ironic()
    assert (node.provision_state, node.power_state) == ("rescue", "power on")
    assert [name for name, _ in life.bound()] == ["rescuing"]

    life.ours.done(life.ours.call("lifecycle", "UnrescueInstance", unrescue), 300)
    node = life.ironic()
    assert (node.provision_state, node.power_state) == ("active", "power on")
    assert life.bound() == before
    assert life.told()[told:] == [
        "power.observed", "port.detach_requested", "port.detach_observed", "port.attach_requested",
        "port.attach_observed", "power.observed", "port.detach_requested", "port.detach_observed",
        "port.attach_requested", "port.attach_observed", "power.observed",
    ]  # fmt: skip


def test_a_stop_cuts_and_a_start_gives_back(life: Life) -> None:
    """
    Bound nowhere while it is stopped, and where it was afterwards.
    """
    before = life.bound()
    stop, start = (
        make(name=life.instance) for make in (instance_pb2.StopInstanceRequest, instance_pb2.StartInstanceRequest)
    )
    life.ours.done(life.ours.call("lifecycle", "StopInstance", stop), 120)
    assert life.bound() == []
    life.ours.done(life.ours.call("lifecycle", "StartInstance", start), 120)
    assert life.bound() == before


def test_given_back_it_is_cleaned_and_proved(life: Life) -> None:
    """
    Cut before its address rests, cleaned on Ironic's network, offered; nothing is bound, and no invariant is broken.
    """
    life.ours.done(
        life.ours.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=life.instance)), 300
    )

    def free() -> bool:
        status = life.status()
        return status.state == _State.STATE_AVAILABLE and not status.operation

    wait_for("it is offered again", free, 300, every=0.5)
    assert life.bound() == []
    assert list(life.admin.baremetal.list_node_vifs(life.node)) == []
    logs = read_logs(life.site)
    for service in ("lifecycle", "ipam"):
        reports = judged(service, logs.events[service])
        assert reports
        assert {stream: report.verdict for stream, report in reports.items()} == dict.fromkeys(reports, Verdict.PASS)
