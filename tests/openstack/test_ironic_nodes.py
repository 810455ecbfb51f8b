# SPDX-License-Identifier: Apache-2.0
"""Nodes of a genuine Ironic that knows no login: described, adopted, held, and held back by people's marks."""

from __future__ import annotations

import json
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.cli.ironic_nodes import read, rows_of
from services.kernel.clock import SystemClock
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import OLDEST, Deadline, IronicApi, Version
from services.lifecycle.backends.ironic_gates import REWIRING
from services.lifecycle.bmc import Bmc
from services.lifecycle.config_drive import network_data
from services.lifecycle.domain.instance import Instance, Interface, NetworkWish
from services.lifecycle.domain.server import Port
from services.lifecycle.ports import (
    CardPort,
    HardwareFacts,
    ImageOrder,
    JobKind,
    JobOrder,
    JobPhase,
    NotNow,
    ServerCard,
    Target,
    wait_for,
)
from tests.lifecycle.audited import Auditor
from tests.lifecycle.rig import WEB
from tests.openstack.auditing import Book, Leak, Looks, lifecycle, offered
from tests.openstack.bed import BMC_USER, RELEASE, Bed, running_bed
from tests.openstack.bed import Bmc as BedBmc

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

OF_DEBIAN = os.environ.get(RELEASE) == "debian"
ZED: Version = (1, 80)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = "0123456789abcdef0123456789abcdef"
IMAGE = ImageOrder("images/debian", "http://127.0.0.1:1/debian.raw", "sha256:" + "ab" * 32)
CARD = ServerCard(
    "rack1-node1",
    "gold",
    (),
    HardwareFacts("x86_64", 4, 2048, 10, capabilities=(("CUSTOM_GPU", "true"), ("boot_mode", "uefi"))),
    (("serial", "S1"), ("size", ">= 4")),
    (
        CardPort("52:54:00:99:00:01", "leaf1", "Eth1", "00:00:5e:00:53:01", pxe_enabled=True, physical_network="a"),
        CardPort("52:54:00:99:00:02", "leaf1", "Eth2", "00:00:5e:00:53:01", port_group="bond0"),
        CardPort("52:54:00:99:00:03", "leaf2", "Eth2", port_group="bond0"),
    ),
    (("bond0", "802.3ad"),),
)


THEIRS: dict[str, Any] = {
    "extra": {"site": "s"},
    "properties": {"theirs": "x", "memory_mb": "1", "capabilities": "boot_mode:bios,z:1"},
}
THEIRS_TOLD = {"/properties": THEIRS["properties"], "/extra": THEIRS["extra"]}


class Patient:
    """The hardware as the worker has it: what Ironic or the BMC has no time for now is asked for again."""

    def __init__(self, hardware: IronicHardware) -> None:
        self._hardware = hardware

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The method *name*, tried for two minutes."""

        def call(*args: Any, **more: Any) -> Any:
            until = time.monotonic() + 120
            while True:
                try:
                    return getattr(self._hardware, name)(*args, **more)
                except PeerUnavailable as error:
                    if wait_for(error) not in _LATER or time.monotonic() > until:
                        raise

        return call


_LATER = ("CONTROLLER_BUSY", "CONTROLLER_SILENT", "BMC_SILENT")


class Kept:
    """A login that Ironic keeps."""

    def of(self, server: str) -> Bmc:
        return Bmc("", 0, "redfish", "", "", kept=True)


@pytest.fixture(scope="module")
def open_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """An Ironic that lets anybody in, with a BMC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        with running_bed(tmp_path_factory.mktemp("open-bed"), 1, login=False) as running:
            patch.setenv("OS_CLIENT_CONFIG_FILE", str(running.clouds))
            yield running


@pytest.fixture
def api(open_bed: Bed) -> IronicApi:
    return IronicApi(cloud="bed")


@pytest.fixture
def hardware(api: IronicApi) -> Patient:
    return Patient(IronicHardware(api, Kept(), SystemClock()))


@pytest.fixture(scope="module")
def registered(open_bed: Bed) -> Iterator[Target]:
    """A node that somebody else registered, with what is his, verified by us."""
    api, server = IronicApi(cloud="bed"), str(uuid.uuid4())
    (bmc,) = open_bed.bmcs
    body = {"uuid": server, "driver": "redfish", "driver_info": _login(open_bed, bmc), **THEIRS}
    api.call("POST", "/nodes", Deadline(), body)
    Patient(IronicHardware(api, Kept(), SystemClock())).verify(Target(server, 1))
    yield Target(server, 1)
    api.call("PUT", f"/nodes/{server}/maintenance", Deadline(), {"reason": "the tests are over"})
    api.call("DELETE", f"/nodes/{server}", Deadline())


@pytest.fixture
def target(api: IronicApi, hardware: Patient, registered: Target) -> Iterator[Target]:
    """The node, manageable; whatever a test did to it is undone."""
    yield registered
    server = registered.server
    left_there = node(api, registered)
    if left_there["maintenance"]:
        api.call("DELETE", f"/nodes/{server}/maintenance", Deadline())
    if left_there["instance_uuid"] and left_there["provision_state"] != "active":
        api.call("PATCH", f"/nodes/{server}", Deadline(), [{"op": "remove", "path": "/instance_uuid"}])
    left = {"/protected": False, "/retired": False, "/automated_clean": False, "/extra": THEIRS["extra"]}
    api.patch(server, left, Deadline())
    until = time.monotonic() + 120
    while (state := api.node(server, Deadline()).state) != "manageable":
        if verb := {"active": "deleted", "available": "manage", "adopt failed": "manage"}.get(state):
            api.provision(server, verb, Deadline())
        assert time.monotonic() < until, state
        time.sleep(0.3)
    hardware.describe(registered, CARD, project="")
    hardware.describe(registered, ServerCard(), project="")
    api.patch(server, THEIRS_TOLD, Deadline())


def _login(bed: Bed, bmc: BedBmc) -> dict[str, object]:
    return {
        "redfish_address": f"https://127.0.0.1:{bmc.port}", "redfish_username": BMC_USER,
        "redfish_password": bmc.password, "redfish_verify_ca": str(bed.ca),
    }  # fmt: skip


def node(api: IronicApi, target: Target) -> Any:
    return api.get(f"/nodes/{target.server}", Deadline())


def ports(api: IronicApi, target: Target) -> dict[str, Any]:
    """Those of the card, by the last digit of their addresses; inspection found others."""
    found = api.pages(f"/nodes/{target.server}/ports/detail?limit=1", "ports", Deadline())
    return {port["address"][-1]: port for port in found if ":99:" in port["address"]}


def through(hardware: Patient, target: Target, order: JobOrder) -> JobPhase:
    """Starts a job and waits for its end."""
    identity, until = secrets.token_hex(8), time.monotonic() + 120
    hardware.start_job(target, order, request_id=identity)
    while (reading := hardware.read_job(target, request_id=identity)).phase is JobPhase.RUNNING:
        assert time.monotonic() < until, reading
        time.sleep(0.3)
    ended: JobPhase = reading.phase
    return ended


def test_a_node_is_described_and_keeps_what_others_wrote(api: IronicApi, hardware: Patient, target: Target) -> None:
    """
    Class, traits, properties, name, lessee, ports and groups as on the card; again changes nothing; taken away, theirs
    stays.
    """
    hardware.describe(target, CARD, project=PROJECT)
    told = node(api, target)
    wired = ports(api, target)
    hardware.describe(target, CARD, project=PROJECT)

    assert node(api, target) == told
    assert (told["name"], told["resource_class"], told["traits"]) == ("rack1-node1", "gold", ["CUSTOM_GPU"])
    assert told["lessee"] == PROJECT
    assert {key: value for key, value in told["properties"].items() if key != "vendor"} == {
        "theirs": "x", "capabilities": "boot_mode:uefi,z:1", "cpu_arch": "x86_64", "cpus": 4, "memory_mb": 2048,
        "local_gb": 10, "root_device": {"serial": "S1", "size": ">= 4"},
    }  # fmt: skip
    assert (told["extra"]["site"], told["provision_state"]) == ("s", "manageable")
    link = {"switch_id": "00:00:5e:00:53:01", "port_id": "Eth1", "switch_info": "leaf1"}
    assert (wired["1"]["pxe_enabled"], wired["1"]["local_link_connection"]) == (True, link)
    assert (wired["1"]["physical_network"], wired["1"]["portgroup_uuid"]) == ("a", None)
    assert wired["2"]["portgroup_uuid"] == wired["3"]["portgroup_uuid"] is not None
    # Without the switch's id Ironic takes no link.
    assert wired["3"]["local_link_connection"] == {}

    hardware.describe(target, replace(CARD, ports=CARD.ports[:1], port_groups=()), project="")
    assert node(api, target)["lessee"] is None
    assert list(ports(api, target)) == ["1"]
    hardware.describe(target, ServerCard(), project="")
    left = node(api, target)
    assert (left["properties"]["theirs"], left["properties"]["capabilities"]) == ("x", "z:1")
    assert not left["properties"].keys() & {"cpu_arch", "cpus", "memory_mb", "local_gb", "root_device"}
    assert (left["resource_class"], left["traits"], left["extra"]["site"]) == (None, [], "s")
    assert ports(api, target) == {}


def test_a_server_in_use_is_adopted(api: IronicApi, hardware: Patient, target: Target) -> None:
    """
    The node becomes active without its power being touched, once, and may be given back; its wiring waits for that.
    """
    hardware.describe(target, CARD, project=PROJECT)
    hardware.set_power(target, on=True, request_id="on")
    changed = node(api, target)["driver_internal_info"].get("last_power_state_change")

    for _ in range(2):
        hardware.adopt(target, IMAGE, project=PROJECT)

    adopted = node(api, target)
    assert (adopted["provision_state"], adopted["power_state"]) == ("active", "power on")
    assert adopted["driver_internal_info"].get("last_power_state_change") == changed
    assert adopted["instance_info"]["image_source"] == IMAGE.source_uri
    fewer = replace(CARD, ports=CARD.ports[:1], port_groups=(), resource_class="silver")
    hardware.describe(target, fewer, project=PROJECT)
    assert (len(ports(api, target)), node(api, target)["resource_class"]) == (3, "gold")

    # Debian's inspects, and keeps no inventory of what it found.
    assert through(hardware, target, JobOrder(JobKind.INSPECT)) is (JobPhase.FAILED if OF_DEBIAN else JobPhase.PASSED)
    assert node(api, target)["lessee"] is None
    assert through(hardware, target, JobOrder(JobKind.CLEAN)) is JobPhase.PASSED
    hardware.describe(target, fewer, project="")
    free = node(api, target)
    assert "1" in ports(api, target)
    assert {"2", "3"}.isdisjoint(ports(api, target))
    assert (free["provision_state"], free["resource_class"], free["maintenance"]) == ("available", "silver", False)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("maintenance", "CONTROLLER_MAINTENANCE", "disk swap"),
        ("protected", "CONTROLLER_PROTECTED", "by law"),
        ("retired", "CONTROLLER_RETIRED", "lease ends"),
    ],
)
def test_what_people_marked_is_respected(
    api: IronicApi, hardware: Patient, target: Target, kind: str, code: str, words: str
) -> None:
    """
    A clean waits under a code of its own, says why in their words, asks nothing of Ironic; and goes on when it is gone.
    """
    hardware.adopt(target, IMAGE, project=PROJECT)
    if kind == "maintenance":
        api.call("PUT", f"/nodes/{target.server}/maintenance", Deadline(), {"reason": words})
    else:
        api.patch(target.server, {f"/{kind}": True, f"/{kind}_reason": words}, Deadline())

    with pytest.raises(NotNow, match=words) as caught:
        hardware.start_job(target, JobOrder(JobKind.CLEAN), request_id="c")

    assert (caught.value.code, node(api, target)["provision_state"]) == (code, "active")
    if kind == "maintenance":
        api.call("DELETE", f"/nodes/{target.server}/maintenance", Deadline())
    else:
        api.patch(target.server, {f"/{kind}": False}, Deadline())
    assert through(hardware, target, JobOrder(JobKind.CLEAN)) is JobPhase.PASSED


def test_a_crash_while_rewiring_is_made_good(api: IronicApi, hardware: Patient, target: Target) -> None:
    """
    The maintenance that we set for a moment is ended by whoever describes the node next.
    """
    api.call("PUT", f"/nodes/{target.server}/maintenance", Deadline(), {"reason": REWIRING})

    hardware.describe(target, CARD, project="")

    assert (node(api, target)["maintenance"], len(ports(api, target))) == (False, 3)


@pytest.mark.parametrize("spoken", [OLDEST, ZED])
def test_older_releases(target: Target, spoken: Version) -> None:
    """
    With what they speak, nodes are verified, described, adopted and cleaned; what they cannot is said.
    """
    old = IronicApi(cloud="bed", newest=spoken)
    hardware = Patient(IronicHardware(old, Kept(), SystemClock()))
    hardware.describe(target, CARD, project=PROJECT)
    hardware.adopt(target, IMAGE, project=PROJECT)
    hardware.start_job(target, JobOrder(JobKind.INSPECT), request_id="i")
    while (reading := hardware.read_job(target, request_id="i")).phase is JobPhase.RUNNING:
        time.sleep(0.3)

    assert old.version(Deadline()) == spoken
    assert (reading.phase, reading.reason) == (JobPhase.FAILED, "INSPECTION_FAILED")
    assert f"from Ironic's API 1.81 on, and this one speaks {spoken[0]}.{spoken[1]}" in reading.message
    assert through(hardware, target, JobOrder(JobKind.CLEAN)) is JobPhase.PASSED


def test_the_nodes_are_imported_with_what_ironic_knows(
    open_bed: Bed, api: IronicApi, hardware: Patient, target: Target
) -> None:
    """
    By the name of a cloud and by a URL alike; once lifecycle works with the node it is left out.
    """
    api.patch(target.server, {"/extra": {}}, Deadline())
    by_name, by_url = rows_of(read("bed")), rows_of(read(open_bed.endpoint))
    hardware.describe(target, CARD, project="")

    (row,) = by_name.rows
    assert by_name == by_url
    assert (row["uuid"], row["driver"], row["bmc_kept_by_controller"]) == (target.server, "redfish", "true")
    assert row["driver_info"] == {"address": "127.0.0.1", "port": str(open_bed.bmcs[0].port)}
    assert open_bed.bmcs[0].password not in json.dumps(row)
    assert rows_of(read("bed")).skipped == {"rack1-node1": "lifecycle works with it already"}


def test_ironic_takes_our_network_data(api: IronicApi, target: Target) -> None:
    """
    Links, bonds, VLANs and addresses of both families are by OpenStack's schema, to which Ironic holds them.
    """
    names = [f"projects/demo/networks/{name}" for name in "abc"]
    plugged = (
        Port("servers/s/ports/1", "52:54:00:00:00:01", "leaf1", "1", True),
        Port("servers/s/ports/2", "52:54:00:00:00:02", "leaf1", "2", port_group="bond0"),
        Port("servers/s/ports/3", "52:54:00:00:00:03", "leaf2", "2", port_group="bond0"),
    )
    instance = Instance(
        "projects/demo/instances/web", "demo", "flavors/f", "images/i",
        (NetworkWish(names[0]), NetworkWish(names[1]), NetworkWish(names[2], (), 7)), NOW, NOW,
        interfaces=(
            Interface(names[0], 0, "", "", "10.0.0.5", 24, "10.0.0.1", dns_servers=("10.0.0.2",)),
            Interface(names[1], 0, "", "", "fd00::5", 64, "fd00::1", dns_servers=("fd00::2",)),
            Interface(names[2], 7, "", "", "10.7.0.5", 20, "10.7.0.1"),
        ),
    )  # fmt: skip
    # Debian's has the standard's name wrong in its schema.
    data = network_data(instance, plugged, {"bond0": "balance-xor" if OF_DEBIAN else "802.3ad"})

    api.patch(target.server, {"/network_data": data}, Deadline())

    assert node(api, target)["network_data"] == data


# -- holds that audits find


@pytest.fixture
def looks(api: IronicApi) -> Looks:
    return Looks(api)


@pytest.fixture
def book(api: IronicApi, hardware: Patient, target: Target, looks: Looks, tmp_path: Path) -> Iterator[Book]:
    """The book of a lifecycle to which the node is available, for long; Ironic offers it as we did last."""
    led(api, target, "provide", "available")
    hardware.unreserve(target)
    with lifecycle(tmp_path) as rig:
        offered(rig, target.server)
        rig.clock.advance(300)
        yield Book(Auditor(rig, looks, IronicHardware(api, Kept(), SystemClock())), "node_holds", target.server)


def led(api: IronicApi, target: Target, verb: str, state: str) -> None:
    """Somebody leads the node to *state*."""
    api.provision(target.server, verb, Deadline())
    until = time.monotonic() + 60
    while (now := api.node(target.server, Deadline())).state != state or now.busy:
        assert time.monotonic() < until, now.state
        time.sleep(0.3)


def test_a_hold_of_nobody_is_let_go_by_a_repair(api: IronicApi, hardware: Patient, target: Target, book: Book) -> None:
    """
    A reservation that came after its worker had given up: told after two looks, gone at Ironic after the repair, and
    the node offered as before; what others keep with it stays.
    """
    assert book.told(page_size=1) == []
    hold = hardware.reserve(target, WEB, request_id=str(uuid.uuid4()))
    assert book.told() == [("node_hold_of_nobody", target.server)]
    (leak,) = book.leaks()
    assert (leak.owner, leak.server, leak.repairable) == (WEB, f"servers/{target.server}", True)
    book.audit.wire.ok("RepairLeak", book.audit.request(leak, validate_only=True))
    assert node(api, target)["instance_uuid"] == hold

    assert "for nobody" in book.audit.wire.ok("RepairLeak", book.audit.request(leak)).done

    free = node(api, target)
    assert (free["instance_uuid"], free["provision_state"], free["extra"]["site"]) == (None, "available", "s")
    assert "hold" not in free["extra"]["bms"]
    assert book.told() == []
    assert book.audit.rig.types(target.server)[-2:] == ["audit.repair_requested", "audit.repaired"]
    assert book.refused(leak)[0] is grpc.StatusCode.NOT_FOUND
    assert hardware.reserve(target, WEB, request_id=hold) == hold
    hardware.unreserve(target)


def test_a_hold_that_is_anothers_by_now_is_left(
    api: IronicApi, hardware: Patient, target: Target, book: Book, looks: Looks
) -> None:
    """
    Between the two looks: not told. Since it was told, and between the claim and the last look: refused, and the other
    keeps the node.
    """
    another, mine = str(uuid.uuid4()), str(uuid.uuid4())

    def taken(holder: str = another) -> None:
        operations = [
            {"op": "remove", "path": "/instance_uuid"}, {"op": "add", "path": "/instance_uuid", "value": holder},
        ]  # fmt: skip
        for one in operations:
            api.call("PATCH", f"/nodes/{target.server}", Deadline(), [one])

    hardware.reserve(target, WEB, request_id=mine)
    book.audit.between = taken
    assert book.told() == []
    book.audit.between = lambda: None
    taken(mine)
    (leak,) = book.leaks()
    taken()
    assert book.refused(leak)[0] is grpc.StatusCode.NOT_FOUND
    taken(mine)
    (leak,) = book.leaks()
    # The audit is repeated, the hold is looked at, and, under the claim, once more.
    looks.number, looks.before = 0, {3: taken}
    assert book.refused(leak)[0] is grpc.StatusCode.ABORTED
    assert book.audit.rig.types(target.server)[-1] == "audit.repair_requested"
    assert node(api, target)["instance_uuid"] == another
    hardware.unreserve(target)
    assert node(api, target)["instance_uuid"] == another


def test_a_hold_of_a_node_in_use_is_told_and_left(
    api: IronicApi, hardware: Patient, target: Target, book: Book
) -> None:
    """
    Led away and back by somebody, or active: not as our log has it, so it is not let go; what an instance of ours has
    is no leak.
    """
    hold = hardware.reserve(target, WEB, request_id=str(uuid.uuid4()))
    led(api, target, "manage", "manageable")
    led(api, target, "provide", "available")
    assert book.told() == [("node_hold_used", target.server)]
    (leak,) = book.leaks()
    assert book.refused(leak)[0] is grpc.StatusCode.FAILED_PRECONDITION
    led(api, target, "manage", "manageable")
    hardware.adopt(target, IMAGE, project=PROJECT)
    (leak,) = book.leaks()
    assert "active" in leak.why
    assert book.refused(leak)[0] is grpc.StatusCode.FAILED_PRECONDITION

    book.audit.rig.create()
    book.audit.rig.settle()
    book.audit.rig.clock.advance(300)
    assert book.audit.rig.server(target.server).instance == WEB
    assert book.told() == []
    leak.kind = Leak.KIND_NODE_HOLD_OF_NOBODY
    assert book.refused(leak)[0] is grpc.StatusCode.NOT_FOUND
    assert (node(api, target)["instance_uuid"], node(api, target)["provision_state"]) == (hold, "active")
