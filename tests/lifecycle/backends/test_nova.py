# SPDX-License-Identifier: Apache-2.0
"""Servers that Nova deploys: what it is asked for, once and no more; what holds, and what is left when it ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.kernel.errors import Exhausted, PeerUnavailable, WrongState
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.backends.nova import NovaHardware
from services.lifecycle.backends.nova_servers import NovaServers
from services.lifecycle.ports import Booking, JobKind, JobOrder, JobPhase, NotNow, TakenElsewhere, wait_for
from tests.lifecycle.backends.fake_ironic import Fake, serving
from tests.lifecycle.backends.fake_nova import FakeNova, FakePorts
from tests.lifecycle.backends.ironic_rig import IMAGE, SERVER, TARGET, Login, StepClock, impatient

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

TRAIT = "CUSTOM_BMS_HELD"
WEB, LEASE = "projects/demo/instances/web", "projects/demo/leases/l1"
FIRST, SECOND = (f"{number:08d}-0000-4000-8000-00000000000a" for number in (1, 2))
BOOKING = Booking(WEB, "demo", "f-1", "g-1", (LEASE,))
SECRET = "#!/bin/sh tenant-secret"
DRIVE = {
    "meta_data": {"hostname": "web.example.org", "public_keys": {"0": "ssh-ed25519 AAAA me"}},
    "user_data": base64.b64encode(SECRET.encode()).decode(),
}
ORDER = JobOrder(JobKind.DEPLOY, image=IMAGE, config_drive=json.dumps(DRIVE).encode(), booking=BOOKING)


@pytest.fixture
def ironic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic with one node that is offered, and a template; patience is short."""
    impatient(monkeypatch, locked=0.2)
    with serving() as running:
        running.add(SERVER, "available", provision_updated_at="2026-01-01T00:00:00+00:00")
        running.templates[TRAIT] = [{"interface": "deploy", "step": "boot_instance", "args": {}, "priority": 0}]
        yield running


@pytest.fixture
def nova(ironic: Fake) -> FakeNova:
    return FakeNova(ironic)


@pytest.fixture
def ports() -> FakePorts:
    return FakePorts()


@pytest.fixture
def hardware(ironic: Fake, nova: FakeNova, ports: FakePorts) -> NovaHardware:
    servers = NovaServers(nova.compute, nova, lambda project: f"keystone's {project}")
    return NovaHardware(IronicApi(endpoint=ironic.url), Login(), StepClock(), servers, ports, trait=TRAIT)


def posts(nova: FakeNova) -> int:
    """How often a server was asked for."""
    return sum(method == "POST" for method, _ in nova.asked)


def run(hardware: NovaHardware, request_id: str = FIRST) -> JobPhase:
    """The job's end, however many looks it takes."""
    for _ in range(20):
        phase = hardware.read_job(TARGET, request_id=request_id).phase
        if phase is not JobPhase.RUNNING:
            return phase
    return JobPhase.RUNNING


def test_a_server_is_deployed_held_and_given_back(ironic: Fake, nova: FakeNova, hardware: NovaHardware) -> None:
    """
    Nova is asked once, for that node, with our ports, in the tenant's project; the node is ours while Nova holds it;
    given back, neither Nova nor the node knows of it any more.
    """
    hardware.check_offer(TARGET, BOOKING)
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert posts(nova) == 1
    assert nova.project == "keystone's demo"
    ((ident, server),) = nova.servers.items()
    wanted = dict(server["wanted"])
    data = base64.b64decode(wanted.pop("user_data")).decode()
    assert wanted == {
        "name": "web", "flavorRef": "f-1", "imageRef": "g-1", "networks": [{"port": f"port of {LEASE}"}],
        "config_drive": True, "hypervisor_hostname": SERVER, "hostname": "web",
        "metadata": {"bms_request": FIRST, "bms_instance": WEB},
    }  # fmt: skip
    assert "multipart/mixed" in data
    assert base64.b64encode(SECRET.encode()).decode() in data

    assert run(hardware) is JobPhase.PASSED
    reading = hardware.read_job(TARGET, request_id=FIRST)
    assert reading.hold == ident == ironic.nodes[SERVER]["instance_uuid"]
    assert reading.image is not None
    assert reading.image.actual_checksum == reading.image.expected_checksum == IMAGE.checksum
    assert not any(path.endswith("/states/provision") for _, path, _ in ironic.asked), "Ironic is asked by Nova alone"
    assert SECRET not in str(ironic.asked)

    hardware.unreserve(TARGET)
    node = ironic.nodes[SERVER]
    assert (nova.servers, node["instance_uuid"]) == ({}, None)
    assert not {"nova", "hold"} & node["extra"]["bms"].keys()
    assert not node["automated_clean"], "Nova undeploys it, and its ports are not where it could be cleaned"


@pytest.mark.parametrize("lost", ["answer", "process"])
def test_a_lost_answer_makes_no_second_server(
    ironic: Fake, nova: FakeNova, hardware: NovaHardware, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever does not know whether Nova heard looks for the server that names his request.
    """
    if lost == "answer":
        nova.lost = ["POST"]
        with pytest.raises(PeerUnavailable) as refused:
            hardware.start_job(TARGET, ORDER, request_id=FIRST)
        assert wait_for(refused.value) == "CONTROLLER_SILENT"
    else:
        with monkeypatch.context() as patch:
            patch.setattr(NovaHardware, "_hold", _dies)
            with pytest.raises(_Killed):
                hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert hardware.read_job(TARGET, request_id=FIRST).phase is JobPhase.ABSENT
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert posts(nova) == 1
    assert run(hardware) is JobPhase.PASSED

    ironic.nodes[SERVER]["extra"]["bms"]["nova"]["server"] = ""
    hardware.unreserve(TARGET)
    assert nova.servers == {}


class _Killed(BaseException):
    """The process ended."""


def _dies(*_: object) -> None:
    raise _Killed


def test_nothing_is_asked_of_a_server_that_was_never_asked_for(
    ironic: Fake, nova: FakeNova, hardware: NovaHardware
) -> None:
    """
    Killed between the note and the request: the next one asks.
    """
    nova.refusing = (503, "later")
    with pytest.raises(NotNow):
        hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert nova.servers == {}
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert run(hardware) is JobPhase.PASSED
    assert ironic.nodes[SERVER]["extra"]["bms"]["hold"]["instance"] == WEB


def test_an_earlier_try_of_ours_goes_first(nova: FakeNova, hardware: NovaHardware) -> None:
    """
    Another request for the same server: what the one before had made is deleted, and only then Nova is asked.
    """
    nova.failing = "No valid host was found."
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    reading = hardware.read_job(TARGET, request_id=FIRST)
    assert (reading.phase, reading.reason) == (JobPhase.FAILED, "NOVA_FAILED")
    hardware.start_job(TARGET, ORDER, request_id=SECOND)
    assert [one["metadata"]["bms_request"] for one in nova.servers.values()] == [SECOND]
    assert run(hardware, SECOND) is JobPhase.PASSED


def test_what_nova_has_not_begun_yet_is_not_begun_by_us(ironic: Fake, nova: FakeNova, hardware: NovaHardware) -> None:
    """
    The step that waits for the image asks for the same job, without a booking: it is Nova's, however long that takes.
    """
    nova.slow = 3
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    hardware.start_job(TARGET, replace(ORDER, booking=None), request_id=FIRST)
    assert ironic.verbs() == []
    assert run(hardware) is JobPhase.PASSED
    assert ironic.verbs() == []


@pytest.mark.parametrize(
    ("reserved", "more", "why"),
    [
        (1, [], "Placement still shows the node as reserved"),
        (0, ["COMPUTE_STATUS_DISABLED"], "is disabled (openstack compute service list)"),
        (0, [], "so Nova's flavor asks for what it has not: openstack flavor show f-1"),
    ],
)
def test_no_valid_host_is_explained(
    nova: FakeNova, hardware: NovaHardware, reserved: int, more: list[str], why: str
) -> None:
    """
    Nova was asked for one host: what keeps Placement from offering that, or that it is the flavor's fault.
    """
    nova.failing = "No valid host was found."
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    nova.reserved, nova.traits = reserved, [*nova.traits, *more]
    reading = hardware.read_job(TARGET, request_id=FIRST)

    assert reading.phase is JobPhase.FAILED
    assert reading.message.startswith("No valid host was found.; ")
    assert reading.message.endswith(why)


def test_who_was_quicker_has_it(ironic: Fake, nova: FakeNova, hardware: NovaHardware) -> None:
    """
    Held by others before Nova was asked: nothing is asked. Held by others when Nova's driver comes: the job fails as
    taken, and giving back leaves theirs alone.
    """
    ironic.nodes[SERVER]["instance_uuid"] = SECOND
    with pytest.raises(TakenElsewhere, match=SECOND):
        hardware.check_offer(TARGET, BOOKING)
    with pytest.raises(TakenElsewhere, match=SECOND):
        hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert posts(nova) == 0

    ironic.nodes[SERVER]["instance_uuid"] = None
    nova.slow = 1
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    ironic.nodes[SERVER]["instance_uuid"] = SECOND
    assert hardware.read_job(TARGET, request_id=FIRST).phase is JobPhase.RUNNING
    reading = hardware.read_job(TARGET, request_id=FIRST)
    assert (reading.phase, reading.reason, reading.hold) == (JobPhase.FAILED, "TAKEN_ELSEWHERE", "")
    ironic.nodes[SERVER]["provision_state"] = "active"
    hardware.unreserve(TARGET)
    assert nova.servers == {}
    assert ironic.nodes[SERVER]["automated_clean"], "it is cleaned after whoever has it"
    assert ironic.nodes[SERVER]["instance_uuid"] == SECOND


def test_a_node_that_was_used_since_is_not_asked_for(ironic: Fake, hardware: NovaHardware) -> None:
    """
    It moved since it was last offered by us: it is free, and not as our log has it.
    """
    ironic.nodes[SERVER]["extra"] = {"bms": {"offered": "2025-01-01T00:00:00+00:00"}}
    with pytest.raises(TakenElsewhere, match="used since"):
        hardware.check_offer(TARGET, BOOKING)


def test_what_placement_does_not_offer_yet_is_waited_for(nova: FakeNova, hardware: NovaHardware) -> None:
    """
    Nova sees only now and then what became free.
    """
    nova.reserved = 1
    with pytest.raises(NotNow, match="reserved") as refused:
        hardware.check_offer(TARGET, BOOKING)
    assert refused.value.code == "CONTROLLER_BUSY"
    nova.reserved, traits = 0, nova.traits
    nova.traits = []
    with pytest.raises(NotNow, match=f"{TRAIT}.*capability"):
        hardware.check_offer(TARGET, BOOKING)
    nova.traits = [*traits, "COMPUTE_STATUS_DISABLED"]
    with pytest.raises(NotNow, match="disabled"):
        hardware.check_offer(TARGET, BOOKING)
    nova.traits = traits
    hardware.check_offer(TARGET, BOOKING)


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"maxTotalInstances": 2, "totalInstancesUsed": 2}, "instances"),
        ({"maxTotalCores": 9, "totalCoresUsed": 2}, "cores"),
        ({"maxTotalRAMSize": 1023}, "memory"),
    ],
)
def test_a_quota_is_told_before_anything_is_done(
    nova: FakeNova, hardware: NovaHardware, limits: dict[str, int], what: str
) -> None:
    """
    It names what is too little; without limits (-1) there is none.
    """
    nova.limits = limits
    with pytest.raises(Exhausted, match=what):
        hardware.check_offer(TARGET, BOOKING)
    nova.limits = dict.fromkeys(limits, -1)
    hardware.check_offer(TARGET, BOOKING)


@pytest.mark.parametrize("steps", [[], [{"interface": "deploy", "step": "boot_instance", "priority": 100}]])
def test_without_the_template_nothing_is_deployed(
    ironic: Fake, hardware: NovaHardware, steps: list[dict[str, object]]
) -> None:
    """
    Where nothing says that the image is not booted on the provisioning network, it is not written; the refusal has the
    command.
    """
    ironic.templates[TRAIT] = steps
    with pytest.raises(WrongState, match=TRAIT) as refused:
        hardware.check_offer(TARGET, BOOKING)
    assert "deploy template create" in refused.value.remedy


@pytest.mark.parametrize(
    ("drive", "missing", "refusing", "said"),
    [
        (DRIVE, {LEASE}, (0, ""), "no port"),
        ({**DRIVE, "user_data": base64.b64encode(b"x" * 60_000).decode()}, set(), (0, ""), "65535"),
        (DRIVE, set(), (400, "Invalid imageRef provided."), "Invalid imageRef"),
        (DRIVE, set(), (403, "Quota exceeded for instances"), "Quota exceeded"),
    ],
)
def test_what_nova_will_not_have_fails_the_job(
    nova: FakeNova,
    ports: FakePorts,
    hardware: NovaHardware,
    drive: dict[str, object],
    missing: set[str],
    refusing: tuple[int, str],
    said: str,
) -> None:
    """
    A refusal is the job's end, and is not asked for again.
    """
    ports.missing, nova.refusing = missing, refusing
    order = JobOrder(JobKind.DEPLOY, image=IMAGE, config_drive=json.dumps(drive).encode(), booking=BOOKING)
    for _ in range(2):
        hardware.start_job(TARGET, order, request_id=FIRST)
        reading = hardware.read_job(TARGET, request_id=FIRST)
        assert reading.phase is JobPhase.FAILED
        assert said in reading.message
    assert nova.servers == {}
    assert posts(nova) <= 1
    assert "tenant-secret" not in reading.message


def test_a_login_that_may_not_is_told_what_to_give(nova: FakeNova, hardware: NovaHardware) -> None:
    """
    403 for a target node is a role that our login lacks, and nothing that the tenant did.
    """
    nova.refusing = (403, "Policy doesn't allow os_compute_api:servers:create:requested_destination to be performed.")
    with pytest.raises(NotNow, match="requested_destination") as refused:
        hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert "role add" in refused.value.remedy


def test_a_server_that_somebody_deleted_ends_the_job(nova: FakeNova, hardware: NovaHardware) -> None:
    """
    An operator or the tenant deleted Nova's server while it was deployed.
    """
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    nova.servers.clear()
    reading = hardware.read_job(TARGET, request_id=FIRST)
    assert (reading.phase, reading.reason) == (JobPhase.FAILED, "NOVA_SERVER_GONE")


def test_a_deploy_that_fails_says_why(ironic: Fake, nova: FakeNova, hardware: NovaHardware) -> None:
    """
    Nova says no more than that it gave up; what Ironic said stands beside it.
    """
    ironic.failing = {"deploying"}
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert run(hardware) is JobPhase.FAILED
    message = hardware.read_job(TARGET, request_id=FIRST).message
    assert "the ramdisk failed" in message
    assert "hunter2" not in message
    assert len(nova.servers) == 1


def test_giving_back_waits_until_nova_has(nova: FakeNova, hardware: NovaHardware) -> None:
    """
    As long as Nova is deleting, the server is not offered.
    """
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert run(hardware) is JobPhase.PASSED
    nova.slow = 60
    with pytest.raises(NotNow, match="still deleting"):
        hardware.unreserve(TARGET)
    next(iter(nova.servers.values()))["left"] = 0
    hardware.unreserve(TARGET)
    assert nova.servers == {}
    asked = len(nova.asked)
    hardware.unreserve(TARGET)
    assert len(nova.asked) == asked


def test_other_jobs_are_ironics(ironic: Fake, nova: FakeNova, hardware: NovaHardware) -> None:
    """
    A rebuild of what Nova deployed goes to Ironic, and Nova is not asked.
    """
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert run(hardware) is JobPhase.PASSED
    asked = len(nova.asked)
    hardware.start_job(TARGET, JobOrder(JobKind.DEPLOY, image=IMAGE), request_id=SECOND)
    assert run(hardware, SECOND) is JobPhase.PASSED
    assert ironic.verbs() == ["rebuild"]
    assert len(nova.asked) == asked


def test_nova_knows_that_it_is_off_before_it_is_switched_on(
    ironic: Fake, nova: FakeNova, hardware: NovaHardware
) -> None:
    """
    Deployed without booting it is running to Nova, whose look at powers would stop it: it is stopped there first, once.
    """
    hardware.start_job(TARGET, ORDER, request_id=FIRST)
    assert run(hardware) is JobPhase.PASSED
    (server,) = nova.servers.values()
    assert server["status"] == "ACTIVE"
    hardware.set_power(TARGET, on=False, request_id="off")
    assert server["status"] == "ACTIVE"
    nova.slow = 60
    with pytest.raises(NotNow, match="for running"):
        hardware.set_power(TARGET, on=True, request_id="on")
    assert ironic.power == "power off"
    server["left"] = 0
    hardware.set_power(TARGET, on=True, request_id="on")
    assert (server["status"], ironic.power) == ("SHUTOFF", "power on")
    assert sum(path.endswith("/action") for _, path in nova.asked) == 1


@pytest.mark.parametrize("status", [400, 409, 500])
def test_what_nova_refuses_is_nobody_elses_silence(nova: FakeNova, hardware: NovaHardware, status: int) -> None:
    """
    A wait names Nova, not Ironic and not the server's BMC.
    """
    nova.broken = (status, "out of order")
    with pytest.raises(NotNow, match="Nova") as refused:
        hardware.check_offer(TARGET, BOOKING)
    assert refused.value.code == ("REFUSED_BY_PEER" if status < 500 else "CONTROLLER_SILENT")
