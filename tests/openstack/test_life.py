# SPDX-License-Identifier: Apache-2.0
"""One genuine life: a server of a genuine Ironic goes through ours, from registering to its second clean."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import pytest

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.clock import SystemClock
from services.kernel.names import SERVER
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node
from services.lifecycle.bmc import Bmc as BmcLogin
from services.lifecycle.ports import Target
from services.verifier.verdict import Verdict
from tests.openstack.bed import BMC_USER, SERIAL, Bed, Bmc, digest_of
from tests.openstack.images import Images
from tests.site.audit import logs_are_whole, read_logs
from tests.site.client import Client, wait_for
from tests.site.furnish import lay_ground, statuses_of, wait_known
from tests.site.rig import Site
from tests.support.judging import judged

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(900),
    # Of the SDK's own parts, in the test's client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

_State = server_status_pb2.ServerStatus
IMAGE = b"an image of a system\n" * 5000
USER_DATA = b"#cloud-config\n# lighthouse-keeper\n"
"""A tenant's secret: a word of it must be nowhere."""

WRONG = "not-the-password"


class OneLogin:
    """Knows the BMCs of the bed by server."""

    def __init__(self, bmcs: dict[str, Bmc]) -> None:
        self._bmcs = {SERVER.parse(server)[0]: bmc for server, bmc in bmcs.items()}

    def of(self, server: str) -> BmcLogin:
        bmc = self._bmcs[server]
        return BmcLogin("127.0.0.1", bmc.port, "redfish", BMC_USER, bmc.password)


def record(what: str, began: float) -> None:
    """Says how long *what* took; shown with -s or on failure."""
    sys.stdout.write(f"{what}: {time.monotonic() - began:.0f} s\n")


@dataclass(slots=True)
class Life:
    """What the tests share: each goes on where the one before it ended."""

    bed: Bed
    site: Site
    images: Images
    admin: Client
    tenant: Client
    servers: list[str]

    def status(self, server: str) -> server_status_pb2.ServerStatus:
        """How lifecycle shows *server*."""
        return next(status for status in statuses_of(self.admin) if status.server == server)

    def node(self, server: str) -> Node:
        """How Ironic shows it, asked by an API client of the test's own."""
        return self.ironic.node(SERVER.parse(server)[0], Deadline())

    @property
    def ironic(self) -> IronicApi:
        """A client without the product's process."""
        return IronicApi(cloud="bed")

    def events(self, server: str) -> list[tuple[event_pb2.EventHeader, event_pb2.EventBody]]:
        """Its log, whose chain is whole."""
        logs = read_logs(self.site)
        logs_are_whole(logs)
        found = []
        for event in logs.events["lifecycle"]:
            header = event_pb2.EventHeader.FromString(event.header)
            if header.stream == server:
                found.append((header, event_pb2.EventBody.FromString(event.body)))
        return found

    def moved(self, server: str, *states: int, seconds: float = 240.0) -> server_status_pb2.ServerStatus:
        """Waits until *server* is in one of *states* with nothing under way."""

        def there() -> server_status_pb2.ServerStatus | None:
            status = self.status(server)
            return status if status.state in states and not status.operation else None

        found = wait_for(f"{server} in {states}", there, seconds, every=0.5)
        assert isinstance(found, server_status_pb2.ServerStatus)
        return found


@pytest.fixture(scope="module")
def life(bed: Bed, site: Site, images: Images) -> Life:
    """Three servers of the bed, registered and nothing more: a good one, one with a wrong login, one that is silent."""
    admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
    lay_ground(admin, tenant, cool_down=3600)
    images.contents["/debian.raw"] = IMAGE
    image = catalogue_pb2.Image(
        source_uri=f"{images.url}/debian.raw",
        checksum=digest_of(IMAGE),
        visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
    )
    admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id="genuine", image=image))
    nodes = [
        {
            "name": f"server{number}",
            "driver": "redfish",
            "driver_info": {
                "redfish_address": "127.0.0.1",
                "redfish_port": str(bmc.port),
                "redfish_username": BMC_USER,
                "redfish_password": WRONG if number == 1 else bmc.password,
            },
            "ports": [
                {
                    "name": f"ens{port}",
                    "mac_address": mac,
                    "switch_name": f"leaf{port}",
                    "port_name": f"xe-0/0/{number}",
                    "pxe_enabled": port == 0,
                }
                for port, mac in enumerate(bmc.macs)
            ],
        }
        for number, bmc in enumerate(bed.bmcs)
    ]
    content = json.dumps({"nodes": nodes}).encode()
    answer = admin.call(
        "inventory",
        "ImportServers",
        server_pb2.ImportServersRequest(content=content, format=server_pb2.IMPORT_FORMAT_JSON),
    )
    servers = [each.server for each in answer.servers]
    wait_known(admin, servers)
    bed.bmcs[2].process.terminate()
    bed.bmcs[2].process.wait(10)
    return Life(bed, site, images, admin, tenant, servers)


@pytest.fixture(autouse=True)
def _cloud(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own client finds the cloud where the product does."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(bed.clouds))


def test_it_is_verified_inspected_and_cleaned(life: Life) -> None:
    """
    A server that Ironic had never heard of becomes its node, and available in both: its disk erased, power off.
    """
    server, disk = life.servers[0], life.bed.bmcs[0].disk
    assert any(disk.read_bytes())
    began = time.monotonic()
    for each in life.servers:
        life.admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=each))

    status = life.moved(server, _State.STATE_AVAILABLE, _State.STATE_QUARANTINED)

    assert status.state == _State.STATE_AVAILABLE, status
    assert status.power == _State.POWER_OFF
    assert status.isolated
    node = life.node(server)
    assert (node.state, node.text("power_state")) == ("available", "power off")
    assert not any(disk.read_bytes())
    record("registered to available", began)
    found = {body.evidence.disks[0].serial for _, body in life.events(server) if body.evidence.disks}
    assert found == {SERIAL}
    properties = life.admin.call("inventory", "GetServer", server_pb2.GetServerRequest(name=server)).properties
    assert (properties.cpu_arch, properties.memory_mb) == ("x86_64", 65536)


def test_a_refused_login_is_told_from_silence(life: Life) -> None:
    """
    Ironic says both in one field; a wrong password leads to quarantine by its own name, silence is waited out.
    """
    refused = life.moved(life.servers[1], _State.STATE_QUARANTINED)

    assert refused.fault == "BMC_LOGIN_REFUSED"
    silent = life.status(life.servers[2])
    assert silent.state == _State.STATE_VERIFYING
    assert silent.wait.code == "BMC_SILENT", silent.wait


def test_an_instance_gets_its_image_even_if_lifecycle_dies(life: Life) -> None:
    """
    Killed while Ironic deploys, lifecycle finds the deploy again and begins no other; the tenant's server runs at last.
    """
    server = life.servers[0]
    began = time.monotonic()
    instance = instance_pb2.Instance(
        flavor="flavors/any",
        image="images/genuine",
        networks=[instance_pb2.InstanceNetwork(network="projects/tenant-a/networks/blue")],
        user_data=USER_DATA,
    )
    operation = life.tenant.call(
        "lifecycle",
        "CreateInstance",
        instance_pb2.CreateInstanceRequest(parent="projects/tenant-a", instance_id="web", instance=instance),
    )
    wait_for("Ironic deploys", lambda: life.node(server).state == "deploying", 60)
    life.site.kill("lifecycle")
    life.tenant.done(operation, 300)

    record("asked for to active", began)
    assert life.images.fetched.count("/debian.raw") == 1
    assert life.bed.bmcs[0].disk.read_bytes() == IMAGE
    node = life.node(server)
    assert (node.state, node.text("power_state")) == ("active", "power on")
    types = [(header.type, body.cause.step) for header, body in life.events(server)]
    after = types[len(types) - 1 - types[::-1].index(("image.verified", "write_image")) :]
    order = [pair for pair in after if pair[0] in ("power.observed", "port.detach_observed", "port.attach_observed")]
    assert order == [
        ("power.observed", "power_off"),
        ("port.detach_observed", "detach_all"),
        ("port.attach_observed", "attach_tenant"),
        ("power.observed", "power_on"),
    ]


def test_the_image_never_ran_before_its_networks_were_there(life: Life) -> None:
    """
    Ironic's own last step, booting the image, was left out: the node was off from the image until we switched it on.
    """
    said = life.bed.log.read_text()
    node = SERVER.parse(life.servers[0])[0]

    steps = [line for line in said.splitlines() if "Executing" in line and node in line and "'deploy'" in line]
    assert any("tear_down_agent" in line for line in steps)
    assert any("switch_to_tenant_network" in line for line in steps)
    assert not [line for line in steps if "'step': 'boot_instance'" in line]


def test_given_back_it_is_cleaned_and_available_again(life: Life) -> None:
    """
    Power off is read back, then ports, then the address rests, then the disk is erased.
    """
    server, disk = life.servers[0], life.bed.bmcs[0].disk
    began = time.monotonic()
    before = len(life.events(server))
    operation = life.tenant.call(
        "lifecycle",
        "DeleteInstance",
        instance_pb2.DeleteInstanceRequest(name="projects/tenant-a/instances/web"),
    )
    life.tenant.done(operation, 120)
    status = life.moved(server, _State.STATE_AVAILABLE, _State.STATE_QUARANTINED)

    record("given back to available", began)
    assert status.state == _State.STATE_AVAILABLE, status
    assert not any(disk.read_bytes())
    assert life.node(server).state == "available"
    told = [header.type for header, _ in life.events(server)[before:]]
    order = [
        each for each in told if each in ("power.observed", "port.detach_observed", "address.cooling", "clean.passed")
    ]
    assert order[:4] == ["power.observed", "port.detach_observed", "address.cooling", "clean.passed"]


def test_the_verifier_finds_nothing(life: Life) -> None:
    """
    Judged by its log alone, nothing in this life broke an invariant: no server's stream, no address's.
    """
    logs = read_logs(life.site)
    for service in ("lifecycle", "ipam"):
        reports = judged(service, logs.events[service])
        assert reports
        assert {stream: report.verdict for stream, report in reports.items()} == dict.fromkeys(reports, Verdict.PASS)


def test_what_is_switched_on_behind_ironics_back_reads_on(life: Life) -> None:
    """
    Ironic shows "off" until it looks again; a reading tells the truth at once.

    The site's own look, which would switch the server off before we read, waits meanwhile.
    """
    server, bmc = life.servers[0], life.bed.bmcs[0]
    credentials = OneLogin({server: bmc})
    hardware = IronicHardware(life.ironic, credentials, SystemClock(), redfish_ca=str(life.bed.ca))
    target = Target(SERVER.parse(server)[0], fence=1)
    looking = life.site.processes()["lifecycle"]
    looking.suspend()
    try:
        before = hardware.read_power(target)
        life.bed.press(bmc)
        seen = hardware.read_power(target)
    finally:
        looking.resume()

    assert (before.power, seen.power) == ("off", "on")


def test_no_secret_left(life: Life) -> None:
    """
    No password, token or user data stands in a log, in an event or in what Ironic shows, at level debug.
    """
    bed = life.bed
    secrets = [bed.password, WRONG, "lighthouse-keeper", *(bmc.password for bmc in bed.bmcs)]
    shown = life.ironic.call("GET", "/nodes/detail", Deadline()).decode()
    places = {"ironic": shown, "events": repr(read_logs(life.site))}
    places |= {f"log of {path.stem}": path.read_text() for path in life.site.data.logs.glob("*.log")}

    assert "log of lifecycle" in places
    assert not [(name, secret) for name, text in places.items() for secret in secrets if secret in text]
