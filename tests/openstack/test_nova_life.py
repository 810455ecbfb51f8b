# SPDX-License-Identifier: Apache-2.0
"""One life of a server that a genuine Nova deploys, with ports and addresses of a genuine Neutron's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import prefix_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from services.cli.ironic_nodes import read, rows_of
from services.verifier.verdict import Verdict
from tests.openstack.cloud.fixture import Cloud
from tests.openstack.cloud.nodes import offered
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

HELD, CLASS, NAMED = "CUSTOM_BMS_HELD", "bms.booked", "nova-life"
KEYS = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA first", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB second")
SECRET = b"#!/bin/sh\n# lighthouse-keeper\n"
_State = server_status_pb2.ServerStatus


@dataclass(slots=True)
class Life:
    """What the tests share: each goes on where the one before it ended.

    Attributes:
        admin, tenant: of the cloud.
        ours: a caller of our services.
        project: Keystone's id of the tenant's.
        node: the server's UUID.
    """

    site: Site
    admin: Any
    tenant: Any
    ours: Client
    project: str
    node: str

    @property
    def instance(self) -> str:
        """The instance's name."""
        return f"projects/{self.project}/instances/web"

    def status(self) -> server_status_pb2.ServerStatus:
        """How lifecycle shows the server."""
        (found,) = statuses_of(self.ours)
        return found

    def servers(self) -> list[Any]:
        """The tenant's servers in Nova."""
        return list(self.tenant.compute.servers())

    def has_power(self, power: int) -> bool:
        """Whether Nova shows that power: 1 on, 4 off."""
        return bool(self.servers()[0].power_state == power)

    def ironic(self) -> Any:
        """The node as Ironic shows it."""
        return self.admin.baremetal.get_node(self.node)

    def bound(self) -> list[Any]:
        """Neutron's ports that are bound for the server."""
        return [
            port for port in self.admin.network.ports() if port.binding_host_id == self.node and port.binding_profile
        ]


@pytest.fixture(scope="module")
def node(cloud: Cloud) -> Iterator[str]:
    """A node of its own class whose ports nobody but us moves, with a template that leaves out booting."""
    admin, system, ident = cloud.connect(), cloud.connect("admin-system"), str(uuid.uuid4())
    kinds = {f"{kind}_interface": "bms-steered" for kind in ("deploy", "inspect", "rescue", "power")}
    body = {"name": HELD, "steps": [{"interface": "deploy", "step": "boot_instance", "args": {}, "priority": 0}]}
    made = system.baremetal.post("/deploy_templates", json=body, microversion="1.81")
    assert made.status_code in (201, 409), made.text
    admin.baremetal.create_node(
        id=ident, name=f"booked-{ident[:8]}", driver="fake-hardware", resource_class=CLASS, provision_state="enroll",
        network_interface="noop",
        properties={"cpus": 4, "memory_mb": 8192, "local_gb": 10, "capabilities": f"{HELD}:true"}, **kinds,
    )  # fmt: skip
    for number in (1, 2):
        admin.baremetal.create_port(
            node_id=ident, address=f"52:54:01:{ident[:2]}:{ident[2:4]}:{number:02x}", is_pxe_enabled=number == 1,
            physical_network="physnet1", local_link_connection={
                "switch_id": f"00:00:5e:00:53:{number:02x}", "port_id": f"Ethernet1/{ident[:8]}",
                "switch_info": f"leaf{number}",
            },
        )  # fmt: skip
    try:
        yield ident
    finally:
        admin.baremetal.set_node_maintenance(ident)
        admin.baremetal.delete_node(ident)
        system.baremetal.delete(f"/deploy_templates/{HELD}", microversion="1.81")


@pytest.fixture(scope="module")
def life(cloud: Cloud, node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Our five processes on that cloud, and the node as a server of theirs."""
    clouds = cloud.place.clouds
    settings = {
        "BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "site", "BMS_LIFECYCLE_NOVA_CLOUD": "site",
        "BMS_INVENTORY_NOVA_CLOUD": "site", "BMS_INVENTORY_GLANCE_CLOUD": "site", "BMS_INVENTORY_MIRROR_SECONDS": "1",
        "BMS_NETWORK_BACKEND": "neutron", "BMS_NETWORK_NEUTRON_CLOUD": "site",
        "BMS_IPAM_BACKEND": "neutron", "BMS_IPAM_NEUTRON_CLOUD": "site", "BMS_LIFECYCLE_POLL_SECONDS": "1",
        "BMS_LOG_LEVEL": "debug", "OS_CLIENT_CONFIG_FILE": str(clouds),
        "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    admin, tenant = cloud.connect(), cloud.connect("tenant-a")
    project = tenant.session.get_project_id()
    user, role = admin.identity.find_user("bms"), admin.identity.find_role("admin")
    admin.identity.assign_project_role_to_user(project, user, role)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        try:
            with running_site(tmp_path_factory.mktemp("site"), settings=settings) as running:
                ours = Client(running, "admin")
                _lay_ground(ours, project)
                _bring_in(ours, node)
                yield Life(running, admin, tenant, ours, project, node)
        finally:
            _clear(admin)


def _lay_ground(ours: Client, project: str) -> None:
    kinds = network_pb2.PortClass
    for parent, name in (*(("site", kind) for kind in ("provisioning", "cleaning", "rescue")), (project, "blue")):
        kind = kinds.Value("PORT_CLASS_TENANT" if name == "blue" else f"PORT_CLASS_{name.upper()}")
        network = network_pb2.Network(network_class=kind, display_name=NAMED)
        request = network_pb2.CreateNetworkRequest(parent=f"projects/{parent}", network_id=name, network=network)
        ours.call("network", "CreateNetwork", request)
    prefix = prefix_pb2.Prefix(cidr="10.97.0.0/24", network=f"projects/{project}/networks/blue")
    prefix.cool_down.FromSeconds(3600)
    ours.call(
        "ipam",
        "CreatePrefix",
        prefix_pb2.CreatePrefixRequest(parent=f"projects/{project}", prefix_id="blue-v4", prefix=prefix),
    )
    # Nova lets nobody but administrators boot an image on a flavor without a disk.
    flavor = catalogue_pb2.Flavor(resource_class=CLASS, min_cpus=2, min_local_gb=5, capabilities={HELD: "true"})
    ours.call("inventory", "CreateFlavor", catalogue_pb2.CreateFlavorRequest(flavor_id="bm.booked", flavor=flavor))


def _bring_in(ours: Client, node: str) -> None:
    """Imports the node as `bms server import --from-ironic` does, and no other."""
    found = rows_of(read("site"))
    rows = [row for row in found.rows if row.get("uuid") == node]
    assert len(rows) == 1, found
    request = server_pb2.ImportServersRequest(
        content=json.dumps({"nodes": rows}).encode(), format=server_pb2.IMPORT_FORMAT_JSON
    )
    answer = ours.call("inventory", "ImportServers", request)
    wait_known(ours, [each.server for each in answer.servers])


def _clear(admin: Any) -> None:
    for one in admin.network.networks(name=NAMED):
        for port in admin.network.ports(network_id=one.id):
            admin.network.delete_port(port.id)
        admin.network.delete_network(one.id)
    if flavor := admin.compute.find_flavor("bm.booked"):
        admin.compute.delete_flavor(flavor)


def image_of(ours: Client, name: str) -> str:
    """The image of Glance's called *name*, as it is with us."""

    def found() -> str:
        images = ours.pages("inventory", "ListImages", catalogue_pb2.ListImagesRequest(), "images")
        return next((one.name for one in images if one.mirror.remote_name == name), "")

    return str(wait_for("the image is mirrored", found, 60, every=0.5))


def test_it_is_cleaned_and_offered(life: Life) -> None:
    """
    Imported from Ironic, inspected, cleaned on our network, offered by Placement with the trait; bound nowhere.
    """
    provide(life.ours, [f"servers/{life.node}"], 300)
    assert life.status().state == _State.STATE_AVAILABLE
    assert life.bound() == []
    wait_for("Placement offers it", lambda: offered(life.admin, life.node), 60, every=0.5)


def test_nova_deploys_it_on_our_ports(life: Life) -> None:
    """
    The tenant's server in Nova is on that node, with the address that ipam leased; it runs on the tenant's network, and
    was off there until it was bound.
    """
    instance = instance_pb2.Instance(
        flavor="flavors/bm.booked",
        image=image_of(life.ours, "tiny"),
        hostname="web",
        networks=[instance_pb2.InstanceNetwork(network=f"projects/{life.project}/networks/blue")],
        ssh_public_keys=KEYS,
        user_data=SECRET,
    )
    request = instance_pb2.CreateInstanceRequest(
        parent=f"projects/{life.project}", instance_id="web", instance=instance
    )
    life.ours.done(life.ours.call("lifecycle", "CreateInstance", request), 300)

    (server,) = life.servers()
    node = life.ironic()
    assert (server.status, node.instance_id, node.provision_state) == ("ACTIVE", server.id, "active")
    assert node.power_state == "power on"
    shown = life.ours.call("lifecycle", "GetInstance", instance_pb2.GetInstanceRequest(name=life.instance))
    (interface,) = shown.interfaces
    assert [each["addr"] for each in next(iter(server.addresses.values()))] == [interface.address]
    (port,) = life.bound()
    assert (port.device_id, port.mac_address, port.status) == (server.id, interface.mac_address, "ACTIVE")
    assert [each["ip_address"] for each in port.fixed_ips] == [interface.address]
    wait_for("Nova follows the power", partial(life.has_power, 1), 60, every=0.5)


def test_its_verbs_are_the_same(life: Life) -> None:
    """
    Stop, start and rebuild go by Ironic; Nova shows what became of it.
    """
    for verb, power in (("StopInstance", 4), ("StartInstance", 1), ("RebuildInstance", 1)):
        request = getattr(instance_pb2, f"{verb}Request")(name=life.instance)
        life.ours.done(life.ours.call("lifecycle", verb, request), 300)
        wait_for(f"Nova follows {verb}", partial(life.has_power, power), 60, every=0.5)
    (server,) = life.servers()
    assert life.ironic().instance_id == server.id


def test_given_back_it_is_clean_before_nova_lets_go(life: Life) -> None:
    """
    Nova's server is there until the server is clean, so that Placement offers it to nobody; then all is gone but the
    address, which rests.
    """
    request = instance_pb2.DeleteInstanceRequest(name=life.instance)
    life.ours.done(life.ours.call("lifecycle", "DeleteInstance", request), 300)
    seen: set[tuple[str, int]] = set()

    def available() -> bool:
        seen.add((str(life.ironic().provision_state), len(life.servers())))
        return life.status().state == _State.STATE_AVAILABLE and not life.status().operation

    wait_for("it is offered again", available, 300, every=0.5)
    assert ("cleaning", 1) in seen or ("available", 1) in seen, seen
    assert (life.servers(), life.ironic().instance_id, life.bound()) == ([], None, [])
    leased = [
        port for port in life.admin.network.ports() if "bms-lease" in port.tags and port.project_id == life.project
    ]
    assert len(leased) == 1, "the address rests"
    wait_for("Placement offers it again", lambda: offered(life.admin, life.node), 60, every=0.5)


def asked_in_vain(life: Life, name: str, told: str) -> None:
    """Asks for an instance, whose operation fails and says *told*; nothing of it is left."""
    network = instance_pb2.InstanceNetwork(network=f"projects/{life.project}/networks/blue")
    instance = instance_pb2.Instance(flavor="flavors/bm.booked", image=image_of(life.ours, "tiny"), networks=[network])
    request = instance_pb2.CreateInstanceRequest(parent=f"projects/{life.project}", instance_id=name, instance=instance)
    with pytest.raises(AssertionError, match=told):
        life.ours.done(life.ours.call("lifecycle", "CreateInstance", request), 120)
    assert (life.servers(), life.ironic().instance_id, life.bound()) == ([], None, [])
    wait_for("it is offered", lambda: life.status().state == _State.STATE_AVAILABLE, 60, every=0.5)


def test_a_quota_of_novas_is_told_before_anything_is_done(life: Life) -> None:
    """
    The tenant hears which quota it is; the server was not touched, and is free for others at once.
    """
    life.admin.set_compute_quotas(life.project, instances=0)
    try:
        asked_in_vain(life, "too-many", "quota of .* allows 0 instances")
    finally:
        life.admin.delete_compute_quotas(life.project)


def test_a_host_that_nova_has_switched_off_is_waited_for(life: Life) -> None:
    """
    Nova's scheduler would find no valid host: the server is waited for by its reason, and had when Nova offers it.
    """
    (service,) = [one for one in life.admin.compute.services() if one.binary == "nova-compute"]
    life.admin.compute.disable_service(service.id)
    try:
        network = instance_pb2.InstanceNetwork(network=f"projects/{life.project}/networks/blue")
        instance = instance_pb2.Instance(
            flavor="flavors/bm.booked", image=image_of(life.ours, "tiny"), networks=[network]
        )
        parent = f"projects/{life.project}"
        request = instance_pb2.CreateInstanceRequest(parent=parent, instance_id="web", instance=instance)
        operation = life.ours.call("lifecycle", "CreateInstance", request)
        wait_for("it is told", lambda: "is disabled" in life.status().wait.reason, 60, every=0.5)
        assert life.servers() == []
    finally:
        life.admin.compute.enable_service(service.id)
    life.ours.done(operation, 300)
    gone = instance_pb2.DeleteInstanceRequest(name=life.instance)
    life.ours.done(life.ours.call("lifecycle", "DeleteInstance", gone), 300)

    def free() -> bool:
        return life.status().state == _State.STATE_AVAILABLE and not life.status().operation

    wait_for("it is offered again", free, 300, every=0.5)


def test_the_verifier_finds_nothing(life: Life) -> None:
    """
    Nova's part changed nothing of the order that the log proves.
    """
    logs = read_logs(life.site)
    for service in ("lifecycle", "ipam"):
        reports = judged(service, logs.events[service])
        assert reports
        assert {stream: report.verdict for stream, report in reports.items()} == dict.fromkeys(reports, Verdict.PASS)


def test_no_secret_left(life: Life) -> None:
    """
    User data stand in no log of ours and no event, nor in what Ironic shows.
    """
    places = {"events": repr(read_logs(life.site)), "ironic": repr(life.ironic())}
    places |= {f"log of {path.stem}": path.read_text() for path in life.site.data.logs.glob("*.log")}
    assert "log of lifecycle" in places
    assert not [name for name, text in places.items() if "lighthouse-keeper" in text]
