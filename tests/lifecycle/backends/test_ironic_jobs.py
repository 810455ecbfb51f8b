# SPDX-License-Identifier: Apache-2.0
"""Jobs over Ironic: begun once, found again, failed with a reason; and what they leave alone."""

from __future__ import annotations

import base64
import json
import time

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends import ironic_api
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.ports import JobKind, JobOrder, JobPhase, NotNow, ServerCard, wait_for
from tests.lifecycle.backends.fake_ironic import Fake
from tests.lifecycle.backends.ironic_rig import IMAGE, ORDERS, SERVER, TARGET, USER_DATA, Login, StepClock, done

# Of the SDK and what it stands on, none of it ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


def test_a_whole_life(fake: Fake, hardware: IronicHardware) -> None:
    """
    A server unknown to Ironic is made a node, verified, inspected, cleaned, deployed, and cleaned when given back.
    """
    hardware.verify(TARGET)
    inspected = done(fake, hardware, JobKind.INSPECT, "j1")
    cleaned = done(fake, hardware, JobKind.CLEAN, "j2")
    deployed = done(fake, hardware, JobKind.DEPLOY, "j3")
    again = done(fake, hardware, JobKind.CLEAN, "j4")

    assert inspected.facts is not None
    assert (inspected.facts.cpus, inspected.facts.memory_mb, inspected.facts.model) == (32, 65536, "X1")
    assert [disk.serial for disk in inspected.disks] == ["S1"]
    assert [(disk.serial, disk.method) for disk in cleaned.disks] == [("S1", "overwrite")]
    assert deployed.image is not None
    assert deployed.image.actual_checksum == IMAGE.checksum
    assert again.phase is JobPhase.PASSED
    assert fake.verbs() == ["manage", "inspect", "provide", "active", "deleted"]


def test_an_inspection_that_leaves_no_inventory(fake: Fake, hardware: IronicHardware) -> None:
    """
    An Ironic of old inspects and names no disk: then nothing could prove that any was erased, and the job says so.
    """
    fake.keeps_inventory = False
    hardware.verify(TARGET)

    inspected = done(fake, hardware, JobKind.INSPECT, "j1")

    assert (inspected.phase, inspected.reason) == (JobPhase.FAILED, "INSPECTION_FAILED")
    assert "no inventory" in inspected.message


def test_a_deploy_leaves_out_the_step_that_boots(fake: Fake, hardware: IronicHardware) -> None:
    """
    Ironic is never asked to boot the image: the ports are not the tenant's yet.
    """
    fake.add(SERVER, "available")

    done(fake, hardware, JobKind.DEPLOY, "j1")

    (body,) = [body for _, path, body in fake.asked if path.endswith("/states/provision")]
    assert body["deploy_steps"] == [{"interface": "deploy", "step": "boot_instance", "args": {}, "priority": 0}]
    assert body["configdrive"]["user_data"] == USER_DATA.decode()


@pytest.mark.parametrize("kind", list(JobKind))
def test_an_act_may_be_repeated(fake: Fake, hardware: IronicHardware, kind: JobKind) -> None:
    """
    A job that was started is left as it is, while it runs and after, by whoever comes next.
    """
    fake.looks = 3
    fake.add(SERVER, {JobKind.DEPLOY: "available", JobKind.RESCUE: "active"}.get(kind, "manageable"))
    hardware.start_job(TARGET, ORDERS[kind], request_id="j1")
    successor = IronicHardware(IronicApi(endpoint=fake.url), Login(), StepClock())

    successor.start_job(TARGET, ORDERS[kind], request_id="j1")
    reading = done(fake, successor, kind, "j1")
    successor.start_job(TARGET, ORDERS[kind], request_id="j1")

    assert reading.phase is JobPhase.PASSED
    assert len(fake.verbs()) == 1


def test_a_crash_between_note_and_wish_is_made_good(fake: Fake, hardware: IronicHardware) -> None:
    """
    A job that was noted and never asked for reads absent, and is asked for by the next start.
    """
    node = fake.add(SERVER, "manageable")
    seen = ["manageable", "", ""]
    node["extra"] = {"bms": {"job": {"id": "j1", "kind": "clean", "seen": seen}}}

    before = hardware.read_job(TARGET, request_id="j1")
    after = done(fake, hardware, JobKind.CLEAN, "j1")

    assert before.phase is JobPhase.ABSENT
    assert after.phase is JobPhase.PASSED
    assert fake.verbs() == ["provide"]


def test_another_job_is_not_this_one(fake: Fake, hardware: IronicHardware) -> None:
    """
    What another request erased proves nothing about this one.
    """
    fake.add(SERVER, "manageable")
    done(fake, hardware, JobKind.CLEAN, "j1")
    told = fake.nodes[SERVER]["driver_internal_info"]["bms_erased"]

    hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j2")
    hardware.read_job(TARGET, request_id="j2")
    fake.nodes[SERVER]["driver_internal_info"]["bms_erased"] = told
    reading = hardware.read_job(TARGET, request_id="j2")

    assert hardware.read_job(TARGET, request_id="j1").phase is JobPhase.ABSENT
    assert reading.phase is JobPhase.PASSED
    assert reading.disks == ()


@pytest.mark.parametrize(
    ("kind", "state", "transient"),
    [
        (JobKind.INSPECT, "manageable", "inspecting"),
        (JobKind.CLEAN, "manageable", "cleaning"),
        (JobKind.MANUAL_CLEAN, "manageable", "cleaning"),
        (JobKind.DEPLOY, "available", "deploying"),
        (JobKind.RESCUE, "active", "rescuing"),
    ],
)
def test_what_failed_can_be_begun_anew(
    fake: Fake, hardware: IronicHardware, kind: JobKind, state: str, transient: str
) -> None:
    """
    A failed job says why without secrets; another request gets through, out of the maintenance a failed clean leaves.
    """
    fake.add(SERVER, state)
    fake.failing = {transient}
    failed = done(fake, hardware, kind, "j1")
    fake.failing = set()
    passed = done(fake, hardware, kind, "j2")

    assert failed.phase is JobPhase.FAILED
    assert "the ramdisk failed" in failed.message
    assert "hunter2" not in failed.message
    assert passed.phase is JobPhase.PASSED
    assert not fake.nodes[SERVER]["maintenance"]


def test_inspecting_what_was_deployed_does_not_clean_it(fake: Fake, hardware: IronicHardware) -> None:
    """
    A recovered server's ports are in quarantine when it is inspected: the way there leaves cleaning for its own step.
    """
    fake.add(SERVER, "active")

    assert done(fake, hardware, JobKind.INSPECT, "j1").phase is JobPhase.PASSED
    assert "bms_erased" not in fake.nodes[SERVER]["driver_internal_info"]
    assert done(fake, hardware, JobKind.CLEAN, "j2").disks
    assert fake.verbs() == ["deleted", "manage", "inspect", "provide"]


def test_what_waits_for_a_ramdisk_is_ended_first(fake: Fake, hardware: IronicHardware) -> None:
    """
    Another's job that Ironic can abort is, before ours starts.
    """
    fake.add(SERVER, "clean wait")

    assert done(fake, hardware, JobKind.CLEAN, "j1").phase is JobPhase.PASSED
    assert fake.verbs() == ["abort", "manage", "provide"]


def test_what_ironic_refuses_fails_the_job(fake: Fake, hardware: IronicHardware) -> None:
    """
    A refusal is kept with the node, so that the step fails instead of asking for ever; what it quotes is not told.
    """
    fake.add(SERVER, "available")
    fake.refusing = "active"

    reading = done(fake, hardware, JobKind.DEPLOY, "j1")

    assert (reading.phase, reading.message) == (JobPhase.FAILED, "Ironic refuses to deploy (400)")
    assert hardware.read_job(TARGET, request_id="j1") == reading


@pytest.mark.parametrize("state", ["manageable", "clean failed", "rescue"])
def test_a_deploy_begins_nowhere_else(fake: Fake, hardware: IronicHardware, state: str) -> None:
    """
    A node that somebody else led away from where we left it fails the deploy and says where it is.
    """
    fake.add(SERVER, state)

    reading = done(fake, hardware, JobKind.DEPLOY, "j1")

    assert reading.phase is JobPhase.FAILED
    assert state in reading.message
    assert fake.verbs() == []


def test_user_data_that_is_no_text_fails_the_deploy(fake: Fake, hardware: IronicHardware) -> None:
    """
    Ironic's form of a config drive cannot carry it, and what cannot be carried is not left out.
    """
    fake.add(SERVER, "available")
    drive = json.dumps({"user_data": base64.b64encode(b"\xff\xfe").decode()}).encode()
    hardware.start_job(TARGET, JobOrder(JobKind.DEPLOY, image=IMAGE, config_drive=drive), request_id="j1")

    assert hardware.read_job(TARGET, request_id="j1").phase is JobPhase.FAILED
    assert fake.verbs() == []


@pytest.mark.parametrize(
    ("fault", "words"), [(None, "somebody set the node into maintenance"), ("power failure", "does not answer")]
)
def test_maintenance_is_not_ours_to_end(fake: Fake, hardware: IronicHardware, fault: str | None, words: str) -> None:
    """
    A job waits for whoever set it, and for a BMC that Ironic has given up.
    """
    fake.add(SERVER, "manageable", maintenance=True, fault=fault, maintenance_reason="disk swap")

    with pytest.raises(PeerUnavailable, match=words):
        hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1")

    assert fake.nodes[SERVER]["maintenance"]
    assert fake.verbs() == []


@pytest.mark.parametrize("kind", list(JobKind))
def test_what_is_kept_apart_from_nobody_is_worked_on_for_nobody(
    fake: Fake, hardware: IronicHardware, kind: JobKind
) -> None:
    """
    With network interface flat no job starts and no server in use is taken over: nothing of it could be proved.
    """
    state = {JobKind.RESCUE: "active", JobKind.DEPLOY: "available"}.get(kind, "manageable")
    fake.add(SERVER, state, network_interface="flat")

    with pytest.raises(NotNow, match="apart from nobody") as caught:
        hardware.start_job(TARGET, ORDERS[kind], request_id="j1")
    with pytest.raises(NotNow, match="apart from nobody"):
        hardware.adopt(TARGET, IMAGE, project="")

    assert (caught.value.code, wait_for(caught.value)) == ("CONTROLLER_FLAT", "CONTROLLER_FLAT")
    assert fake.verbs() == []
    fake.nodes[SERVER]["network_interface"] = "noop"
    hardware.start_job(TARGET, ORDERS[kind], request_id="j1")
    assert fake.verbs()


def test_a_lock_is_waited_out(fake: Fake, hardware: IronicHardware) -> None:
    """
    409 while a conductor holds the node is no refusal: it is asked again, and unavailable if that lasts.
    """
    fake.add(SERVER, "manageable")
    fake.locked = 1
    hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1")
    assert fake.nodes[SERVER]["provision_state"] == "cleaning"

    fake.add(SERVER, "manageable")
    fake.locked = 1000
    began = time.monotonic()
    with pytest.raises(PeerUnavailable, match="holds the node"):
        hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j2")
    assert time.monotonic() - began < ironic_api.CALL_SECONDS


def test_the_lessee_goes_with_the_note_of_the_clean(fake: Fake, hardware: IronicHardware) -> None:
    """
    One request does both, and what we keep says so: when the server rests there is nothing left to write.
    """
    node = fake.add(SERVER, "active")
    hardware.describe(TARGET, ServerCard(), project="demo")
    assert node["lessee"] == "demo"
    fake.asked.clear()
    hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1")
    assert [method for method, _, _ in fake.asked] == ["PATCH", "PUT"]
    assert not node["lessee"]

    while hardware.read_job(TARGET, request_id="j1").phase is JobPhase.RUNNING:
        pass
    fake.asked.clear()
    hardware.describe(TARGET, ServerCard(), project="")
    assert fake.asked == []


def test_a_job_that_is_under_way_is_seen_at_once(fake: Fake, hardware: IronicHardware) -> None:
    """
    Started again, nobody waits until Ironic lets go of the node.
    """
    node = fake.add(SERVER, "available")
    fake.looks = 1000
    for _ in range(2):
        hardware.start_job(TARGET, ORDERS[JobKind.DEPLOY], request_id="j1")

    assert node["reservation"]
    assert fake.verbs() == ["active"]
    assert fake.pending[SERVER][0] > 990


def test_forgetting(fake: Fake, hardware: IronicHardware) -> None:
    """
    A node that we made goes with its login; one that was there before stays, without our notes; none is no error.
    """
    hardware.verify(TARGET)
    hardware.forget(TARGET)
    assert fake.nodes == {}
    hardware.forget(TARGET)

    node = fake.add(SERVER, "available", extra={"site": "kept", "bms": {"reboots": ["r1"]}})
    hardware.forget(TARGET)
    assert node["extra"] == {"site": "kept", "bms": {}}
