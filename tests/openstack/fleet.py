# SPDX-License-Identifier: Apache-2.0
"""Servers of a site over an Ironic that fails, and what must be true of each in the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.longrunning import operations_pb2

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from bms.lifecycle.v1.audit_service_pb2 import AuditLeaksRequest
from bms.lifecycle.v1.audit_service_pb2_grpc import AuditServiceStub
from bms.network.v1 import attachment_pb2, network_pb2
from services.kernel.names import SERVER
from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from services.lifecycle.ports import NotNow
from services.verifier.verdict import Verdict
from tests.openstack.bed import digest_of
from tests.openstack.images import Images
from tests.site.audit import logs_are_whole, read_logs
from tests.site.client import Client, wait_for
from tests.site.furnish import lay_ground, statuses_of, wait_known
from tests.site.rig import Site
from tests.support.judging import judged

_State = server_status_pb2.ServerStatus
AVAILABLE, QUARANTINED, ACTIVE = _State.STATE_AVAILABLE, _State.STATE_QUARANTINED, _State.STATE_ACTIVE
IMAGE = b"an image of a system\n" * 5000

SETTINGS = {
    "BMS_LIFECYCLE_BACKEND": "ironic",
    "BMS_LIFECYCLE_POLL_SECONDS": "0.3",
    # A step of ten minutes is given up after one.
    "BMS_LIFECYCLE_LIMIT_SCALE": "0.1",
    # What is broken here on purpose has no common cause.
    "BMS_LIFECYCLE_BRAKE_MOST": "100",
    "BMS_LOG_LEVEL": "debug",
    "no_proxy": "127.0.0.1",
    "NO_PROXY": "127.0.0.1",
}
"""Of the site, beside which Ironic it works on."""


@dataclass(frozen=True, slots=True)
class Bmc:
    """How a server's BMC is reached.

    Attributes:
        macs: of the server's ports; made up if there are none.
    """

    port: int
    user: str
    password: str
    macs: tuple[str, ...] = ()


@dataclass(slots=True)
class Fleet:
    """A site over an Ironic, and servers by what will happen to them.

    Attributes:
        ironic: a client of the test's own.
        secrets: what must be nowhere in logs and events.
    """

    site: Site
    ironic: IronicApi
    admin: Client
    tenant: Client
    servers: dict[str, str]
    bmcs: dict[str, Bmc]
    secrets: list[str] = field(default_factory=list)

    def status(self, name: str) -> server_status_pb2.ServerStatus:
        """How lifecycle shows a server."""
        return next(each for each in statuses_of(self.admin) if each.server == self.servers[name])

    def moved(self, name: str, *states: int, seconds: float = 300.0) -> server_status_pb2.ServerStatus:
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
        """Its node, past everything; an Ironic that is too busy to answer is asked again."""

        def asked() -> Any:
            try:
                return self.ironic.node(self.uuid(name), Deadline()).data
            except NotNow:
                return None

        return wait_for(f"Ironic shows the node of {name}", asked)

    def uuid(self, name: str) -> str:
        """What Ironic calls it."""
        return str(SERVER.parse(self.servers[name])[0])

    def provide(self, *names: str) -> None:
        """Has them led to available, or begin to be."""
        for name in names:
            request = server_status_pb2.ProvideServerRequest(name=self.servers[name])
            self.admin.call("lifecycle", "ProvideServer", request)

    def create(self, name: str, flavor: str = "") -> operations_pb2.Operation:
        """Asks for an instance on it, or of another *flavor*."""
        instance = instance_pb2.Instance(
            flavor=f"flavors/{flavor or name}",
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


def furnish(site: Site, ironic: IronicApi, images: Images, bmcs: dict[str, Bmc]) -> Fleet:
    """A server for each of *bmcs*, registered and known, to be found by a flavor of its name."""
    admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
    lay_ground(admin, tenant, cool_down=1)
    images.contents["/debian.raw"] = IMAGE
    image = catalogue_pb2.Image(
        source_uri=f"{images.url}/debian.raw",
        checksum=digest_of(IMAGE),
        visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
    )
    admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id="genuine", image=image))
    for name in bmcs:
        flavor = catalogue_pb2.Flavor(resource_class=name)
        admin.call("inventory", "CreateFlavor", catalogue_pb2.CreateFlavorRequest(flavor_id=name, flavor=flavor))
    nodes = [
        {
            "name": name,
            "driver": "redfish",
            "resource_class": name,
            "driver_info": {
                "redfish_address": "127.0.0.1",
                "redfish_port": str(bmc.port),
                "redfish_username": bmc.user,
                "redfish_password": bmc.password,
            },
            "ports": [
                {
                    "name": f"ens{port}",
                    "mac_address": mac,
                    "switch_name": f"leaf{port}",
                    "port_name": f"xe-0/0/{number}",
                    "pxe_enabled": port == 0,
                }
                for port, mac in enumerate(bmc.macs or (f"52:54:00:fa:{number:02x}:01",))
            ],
        }
        for number, (name, bmc) in enumerate(bmcs.items())
    ]
    content = json.dumps({"nodes": nodes}).encode()
    request = server_pb2.ImportServersRequest(content=content, format=server_pb2.IMPORT_FORMAT_JSON)
    answer = admin.call("inventory", "ImportServers", request)
    servers = dict(zip(bmcs, (each.server for each in answer.servers), strict=True))
    wait_known(admin, list(servers.values()))
    return Fleet(site, ironic, admin, tenant, servers, bmcs, [bmc.password for bmc in bmcs.values()])


def nothing_is_left(fleet: Fleet, expected: Sequence[str] = ()) -> None:
    """No lease but resting ones, no port outside quarantine, no leak between services, nobody's hold in Ironic.

    Args:
        expected: the servers that count; all if empty.
    """
    for name in expected or fleet.servers:
        status = fleet.status(name)
        assert (status.state, status.instance, status.fault, status.isolated) == (AVAILABLE, "", "", True), status
    leases = fleet.admin.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/-"), "leases")
    assert lease_pb2.AddressLease.STATE_LEASED not in {lease.state for lease in leases}
    asked = attachment_pb2.ListPortAttachmentsRequest()
    ports = fleet.admin.pages("network", "ListPortAttachments", asked, "attachments")
    assert {port.observed.port_class for port in ports} == {network_pb2.PORT_CLASS_QUARANTINE}
    stub = AuditServiceStub(fleet.site.channel("lifecycle"))
    leaks = stub.AuditLeaks(AuditLeaksRequest(), timeout=30, metadata=fleet.site.metadata("admin"))
    assert not leaks.leaks, leaks
    assert json.loads(fleet.ironic.call("GET", "/allocations", Deadline()))["allocations"] == []
    nodes = {name: fleet.node(name) for name in expected or fleet.servers}
    held = {name: node["provision_state"] for name, node in nodes.items() if node["provision_state"] != "available"}
    assert not held, held


def logs_are_sound(fleet: Fleet) -> None:
    """By their logs, no server and no address broke an invariant whatever failed; and no secret stands anywhere."""
    logs = read_logs(fleet.site)
    logs_are_whole(logs)
    for service in ("lifecycle", "ipam"):
        for stream, report in judged(service, logs.events[service]).items():
            assert report.verdict in (Verdict.PASS, Verdict.UNKNOWN), (stream, report)
    said = [path.read_text() for path in fleet.site.data.logs.glob("*.log")]
    assert not [secret for text in (repr(logs), *said) for secret in fleet.secrets if secret in text]
