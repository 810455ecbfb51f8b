# SPDX-License-Identifier: Apache-2.0
"""What fails on a genuine Ironic ends active, released or in quarantine with a reason, and leaves nothing behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.lifecycle.v1.audit_service_pb2 import AuditLeaksRequest
from bms.lifecycle.v1.audit_service_pb2_grpc import AuditServiceStub
from bms.network.v1 import attachment_pb2, network_pb2
from services.kernel.names import SERVER
from services.lifecycle.backends.ironic_api import Deadline
from services.verifier.verdict import Verdict
from tests.openstack.bed import digest_of
from tests.openstack.faults import STORM, FaultyIronic, running_faulty
from tests.openstack.images import Images, serving
from tests.site.audit import logs_are_whole, read_logs
from tests.site.client import Client, wait_for
from tests.site.furnish import lay_ground, statuses_of, wait_known
from tests.site.rig import Site, running_site
from tests.support.judging import judged

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(600),
    # Of the SDK's own parts, in the test's client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

_State = server_status_pb2.ServerStatus
AVAILABLE, QUARANTINED, ACTIVE = _State.STATE_AVAILABLE, _State.STATE_QUARANTINED, _State.STATE_ACTIVE
IMAGE = b"an image of a system\n" * 5000
NAMES = ("deploy", "clean", "rescue", "inspect", "power", "crash", "storm", "teardown")
"""A server for each fault, found by a flavor of its own."""

PASSWORD = "a-bmc's-password"


@dataclass(slots=True)
class Fleet:
    """A site over an Ironic, and servers by what will happen to them."""

    site: Site
    ironic: FaultyIronic
    admin: Client
    tenant: Client
    servers: dict[str, str]
    ports: dict[str, int]

    def status(self, name: str) -> server_status_pb2.ServerStatus:
        """How lifecycle shows a server."""
        return next(each for each in statuses_of(self.admin) if each.server == self.servers[name])

    def moved(self, name: str, *states: int, seconds: float = 180.0) -> server_status_pb2.ServerStatus:
        """Waits until it is in one of *states* with nothing under way."""

        def there() -> server_status_pb2.ServerStatus | None:
            status = self.status(name)
            return status if status.state in states and not status.operation else None

        try:
            found = wait_for(f"{name} in {states}", there, seconds, every=0.2)
        except AssertionError:
            said = self.diagnosis(name)
            raise AssertionError(f"{name}: {self.status(name)}\n{said}\n{self.node(name)}") from None
        assert isinstance(found, server_status_pb2.ServerStatus)
        return found

    def diagnosis(self, name: str) -> Any:
        """Why it does not move, as people are told."""
        request = server_status_pb2.DiagnoseServerRequest(name=self.servers[name])
        return self.admin.call("lifecycle", "DiagnoseServer", request)

    def node(self, name: str) -> Any:
        """Its node, past everything."""
        return self.ironic.node(SERVER.parse(self.servers[name])[0])

    def provide(self, *names: str) -> None:
        """Has them led to available, or begin to be."""
        for name in names:
            request = server_status_pb2.ProvideServerRequest(name=self.servers[name])
            self.admin.call("lifecycle", "ProvideServer", request)

    def create(self, name: str) -> Any:
        """Asks for an instance on it."""
        instance = instance_pb2.Instance(
            flavor=f"flavors/{name}",
            image="images/genuine",
            networks=[instance_pb2.InstanceNetwork(network="projects/tenant-a/networks/blue")],
        )
        request = instance_pb2.CreateInstanceRequest(parent="projects/tenant-a", instance_id=name, instance=instance)
        return self.tenant.call("lifecycle", "CreateInstance", request)

    def delete(self, name: str) -> Any:
        """Gives it back."""
        request = instance_pb2.DeleteInstanceRequest(name=f"projects/tenant-a/instances/{name}")
        return self.tenant.call("lifecycle", "DeleteInstance", request)

    def quarantined(self, name: str, *faults: str) -> None:
        """It ends in quarantine for one of these reasons, which are told with what to do; nothing of it is lost."""
        status = self.moved(name, QUARANTINED)
        told = self.diagnosis(name)

        assert status.fault in faults, (status.fault, told)
        # While a failed instance still has it, it is for the tenant to give that back.
        assert told.blocked_on == ("INSTANCE_FAILED" if status.instance else status.fault)
        assert told.meaning
        assert told.who_must_act
        sys.stdout.write(f"{name}: {status.fault}: {status.fault_message}\n")

    def recovered(self, *names: str) -> None:
        """An administrator leads them out of quarantine, once nothing hinders any more."""
        for name in names:
            status = self.moved(name, QUARANTINED, AVAILABLE)
            if status.state == QUARANTINED:
                request = server_status_pb2.RecoverServerRequest(name=self.servers[name])
                self.admin.call("lifecycle", "RecoverServer", request)
        for name in names:
            status = self.moved(name, AVAILABLE, QUARANTINED)
            assert status.state == AVAILABLE, (status, self.node(name))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Servers that were provided, but for those whose providing is to fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        with running_faulty(tmp_path_factory.mktemp("faulty")) as ironic, serving() as images:
            settings = {
                "BMS_LIFECYCLE_BACKEND": "ironic",
                "BMS_LIFECYCLE_IRONIC_ENDPOINT": ironic.endpoint,
                "BMS_LIFECYCLE_POLL_SECONDS": "0.3",
                # A step of ten minutes is given up after one.
                "BMS_LIFECYCLE_LIMIT_SCALE": "0.1",
                # What is broken here on purpose has no common cause.
                "BMS_LIFECYCLE_BRAKE_MOST": "100",
                "BMS_LOG_LEVEL": "debug",
            }
            with running_site(tmp_path_factory.mktemp("site"), settings=settings) as site:
                made = _furnish(site, ironic, images)
                ironic.steer(made.ports["clean"], clean="fail")
                ironic.steer(made.ports["inspect"], inspect="wait")
                made.provide(*NAMES)
                for name in NAMES:
                    if name not in ("clean", "inspect"):
                        made.moved(name, AVAILABLE)
                yield made


def _furnish(site: Site, ironic: FaultyIronic, images: Images) -> Fleet:
    admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
    lay_ground(admin, tenant, cool_down=1)
    images.contents["/debian.raw"] = IMAGE
    image = catalogue_pb2.Image(
        source_uri=f"{images.url}/debian.raw",
        checksum=digest_of(IMAGE),
        visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
    )
    admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id="genuine", image=image))
    ports = {name: 1001 + number for number, name in enumerate(NAMES)}
    for name in NAMES:
        flavor = catalogue_pb2.Flavor(resource_class=name)
        admin.call("inventory", "CreateFlavor", catalogue_pb2.CreateFlavorRequest(flavor_id=name, flavor=flavor))
    nodes = [
        {
            "name": name,
            "driver": "redfish",
            "resource_class": name,
            "driver_info": {
                "redfish_address": "127.0.0.1",
                "redfish_port": str(ports[name]),
                "redfish_username": "root",
                "redfish_password": PASSWORD,
            },
            "ports": [
                {
                    "name": "ens0",
                    "mac_address": f"52:54:00:fa:{number:02x}:01",
                    "switch_name": "leaf0",
                    "port_name": f"xe-0/0/{number}",
                    "pxe_enabled": True,
                }
            ],
        }
        for number, name in enumerate(NAMES)
    ]
    content = json.dumps({"nodes": nodes}).encode()
    request = server_pb2.ImportServersRequest(content=content, format=server_pb2.IMPORT_FORMAT_JSON)
    answer = admin.call("inventory", "ImportServers", request)
    servers = dict(zip(NAMES, (each.server for each in answer.servers), strict=True))
    for name, server in servers.items():
        # What the stand-in's inspection tells of disks.
        ironic.plug(ports[name], f"S{SERVER.parse(server)[0][:8]}")
    wait_known(admin, list(servers.values()))
    return Fleet(site, ironic, admin, tenant, servers, ports)


def test_what_fails_on_the_way_to_available(fleet: Fleet) -> None:
    """
    A clean that fails, an inspection that somebody aborts in Ironic: each is told by its own name.
    """
    wait_for("it waits", lambda: fleet.node("inspect")["provision_state"] == "inspect wait", 60)
    fleet.ironic.api.provision(SERVER.parse(fleet.servers["inspect"])[0], "abort", Deadline())

    fleet.quarantined("inspect", "INSPECTION_FAILED")
    fleet.quarantined("clean", "DISK_ERASE_FAILED")


def test_what_fails_on_the_way_to_active(fleet: Fleet) -> None:
    """
    An image that cannot be written, and a BMC that falls silent meanwhile: instances fail, servers are set aside.
    """
    fleet.ironic.steer(fleet.ports["deploy"], deploy="fail")
    fleet.ironic.steer(fleet.ports["power"], deploy="sleep:3")
    for name in ("deploy", "power", "rescue", "teardown"):
        fleet.create(name)
    wait_for("it is deployed", lambda: fleet.node("power")["provision_state"] == "deploying", 60)
    fleet.ironic.steer(fleet.ports["power"], power="fail")

    fleet.quarantined("deploy", "IMAGE_WRITE_FAILED")
    fleet.quarantined("power", "IMAGE_WRITE_FAILED", "BMC_SILENT", "POWER_UNKNOWN", "STEP_OVERDUE")
    for name in ("rescue", "teardown"):
        fleet.moved(name, ACTIVE)


def test_what_fails_afterwards(fleet: Fleet) -> None:
    """
    A rescue that fails, and an undeploy that fails in Ironic.
    """
    fleet.ironic.steer(fleet.ports["rescue"], rescue="fail")
    fleet.ironic.steer(fleet.ports["teardown"], teardown="fail")
    request = instance_pb2.RescueInstanceRequest(name="projects/tenant-a/instances/rescue")
    fleet.tenant.call("lifecycle", "RescueInstance", request)
    fleet.delete("teardown")

    fleet.quarantined("rescue", "RESCUE_FAILED")
    fleet.quarantined("teardown", "DISK_ERASE_FAILED", "CLEAN_INCOMPLETE")


def test_a_conductor_that_dies(fleet: Fleet) -> None:
    """
    Killed while it writes an image and started again, Ironic gives the deploy up; we begin it anew, and it ends well.
    """
    fleet.ironic.steer(fleet.ports["crash"], deploy="sleep:60")
    fleet.create("crash")
    wait_for("it is deployed", lambda: fleet.node("crash")["provision_state"] == "deploying", 60)
    fleet.ironic.kill()
    fleet.ironic.steer(fleet.ports["crash"])
    fleet.ironic.start()

    status = fleet.moved("crash", ACTIVE, QUARANTINED)
    assert status.state == ACTIVE, status


def test_all_recover(fleet: Fleet) -> None:
    """
    Once nothing hinders any more, instances are given back and every server is led out: cleaned, and available.
    """
    for name in ("deploy", "power", "rescue", "crash"):
        fleet.ironic.steer(fleet.ports[name])
        fleet.delete(name)
    aside = [name for name in NAMES if name != "storm"]
    for name in aside:
        fleet.ironic.steer(fleet.ports[name])
    fleet.recovered(*aside)


def test_a_life_in_a_storm(fleet: Fleet) -> None:
    """
    With every tenth request to Ironic refused or lost, before or after it was done, a life ends well or in quarantine.
    """
    fleet.ironic.way.share = 0.1
    fleet.create("storm")
    fleet.create("deploy")
    for name in ("storm", "deploy"):
        fleet.moved(name, ACTIVE, QUARANTINED)
        fleet.delete(name)
        fleet.moved(name, AVAILABLE, QUARANTINED)
    fleet.ironic.way.share = 0.0

    assert {fate for fate, _, _ in fleet.ironic.way.happened} == set(STORM)
    aside = [name for name in ("storm", "deploy") if fleet.status(name).state == QUARANTINED]
    for name in aside:
        fleet.quarantined(name, fleet.status(name).fault)
    fleet.recovered(*aside)


def test_nothing_is_left(fleet: Fleet) -> None:
    """
    No lease but resting ones, no port outside quarantine, no leak between services, nobody's hold in Ironic.
    """
    for status in statuses_of(fleet.admin):
        assert (status.state, status.instance, status.fault, status.isolated) == (AVAILABLE, "", "", True), status
    leases = fleet.admin.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/-"), "leases")
    assert lease_pb2.AddressLease.STATE_LEASED not in {lease.state for lease in leases}
    asked = attachment_pb2.ListPortAttachmentsRequest()
    ports = fleet.admin.pages("network", "ListPortAttachments", asked, "attachments")
    assert {port.observed.port_class for port in ports} == {network_pb2.PORT_CLASS_QUARANTINE}
    stub = AuditServiceStub(fleet.site.channel("lifecycle"))
    leaks = stub.AuditLeaks(AuditLeaksRequest(), timeout=30, metadata=fleet.site.metadata("admin"))
    assert not leaks.leaks, leaks
    assert json.loads(fleet.ironic.api.call("GET", "/allocations", Deadline()))["allocations"] == []
    nodes = {name: fleet.node(name) for name in NAMES}
    held = {name: node["provision_state"] for name, node in nodes.items() if node["provision_state"] != "available"}
    assert not held, held


def test_the_verifier_finds_nothing(fleet: Fleet) -> None:
    """
    Judged by its log, no server and no address broke an invariant whatever failed; and no secret stands anywhere.
    """
    logs = read_logs(fleet.site)
    logs_are_whole(logs)
    for service in ("lifecycle", "ipam"):
        for stream, report in judged(service, logs.events[service]).items():
            assert report.verdict in (Verdict.PASS, Verdict.UNKNOWN), (stream, report)
    said = [path.read_text() for path in fleet.site.data.logs.glob("*.log")]
    assert not [text for text in (repr(logs), *said) if PASSWORD in text]
