# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.kernel.errors import BmsError, PeerUnavailable, WrongState
from services.lifecycle.backends import ironic_api
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import (
    CleanStep,
    ImageOrder,
    JobKind,
    JobOrder,
    JobPhase,
    JobReading,
    NotNow,
    ServerCard,
    Target,
    wait_for,
)
from tests.lifecycle.backends.fake_ironic import Fake, serving

# Of the SDK and what it stands on, none of it ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

SERVER = "00000000-0000-4000-8000-000000000001"
TARGET = Target(SERVER, fence=1)
PASSWORD, USER_DATA = "correct-horse", b"#cloud-config tenant-secret"
IMAGE = ImageOrder("images/debian", "http://images.example/debian.raw", "sha256:" + "ab" * 32)
DRIVE = json.dumps(
    {"meta_data": {"hostname": "web"}, "network_data": {}, "user_data": base64.b64encode(USER_DATA).decode()}
).encode()
ORDERS = {
    JobKind.INSPECT: JobOrder(JobKind.INSPECT),
    JobKind.CLEAN: JobOrder(JobKind.CLEAN, disks=("S1",)),
    JobKind.MANUAL_CLEAN: JobOrder(JobKind.MANUAL_CLEAN, steps=(CleanStep("raid", "create", '{"a": [1]}'),)),
    JobKind.DEPLOY: JobOrder(JobKind.DEPLOY, image=IMAGE, config_drive=DRIVE),
    JobKind.RESCUE: JobOrder(JobKind.RESCUE, config_drive=DRIVE),
}


class Login:
    """Knows one BMC."""

    def of(self, server: str) -> Bmc:
        return Bmc("192.0.2.7", 0, "redfish", "root", PASSWORD)


class StepClock:
    """Goes on a second at each look."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic that has never heard of the server; patience is short, so that its end is seen soon."""
    import openstack  # noqa: F401 -- it takes seconds, which are none of the call's here

    monkeypatch.setattr(ironic_api, "CALL_SECONDS", 3.0)
    monkeypatch.setattr(ironic_api, "_LOCKED_SECONDS", 0.4)
    with serving() as running:
        yield running


@pytest.fixture
def hardware(fake: Fake) -> IronicHardware:
    return IronicHardware(IronicApi(endpoint=fake.url), Login(), StepClock())


def done(fake: Fake, hardware: IronicHardware, kind: JobKind, request_id: str) -> JobReading:
    """Starts a job as the worker does, and looks until it stands."""
    hardware.start_job(TARGET, ORDERS[kind], request_id=request_id)
    for _ in range(20):
        reading = hardware.read_job(TARGET, request_id=request_id)
        if reading.phase is not JobPhase.RUNNING:
            return reading
    pytest.fail("it never ends")


def test_an_inspection_that_leaves_no_inventory(fake: Fake, hardware: IronicHardware) -> None:
    """
    An Ironic of old inspects and names no disk: then nothing could prove that any was erased, and the job says so.
    """
    fake.keeps_inventory = False
    hardware.verify(TARGET)

    inspected = done(fake, hardware, JobKind.INSPECT, "j1")

    assert (inspected.phase, inspected.reason) == (JobPhase.FAILED, "INSPECTION_FAILED")
    assert "no inventory" in inspected.message


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


def test_a_refused_login_and_silence(fake: Fake, hardware: IronicHardware) -> None:
    """
    Verifying tells them apart by Ironic's words, of new nodes and of old ones, and may be repeated after either.
    """
    fake.bmc = "refuses"
    with pytest.raises(WrongState) as refused:
        hardware.verify(TARGET)
    fake.bmc = "silent"
    with pytest.raises(PeerUnavailable, match="does not answer"):
        hardware.verify(TARGET)
    fake.bmc = "answers"
    hardware.verify(TARGET)

    assert refused.value.facts["reason"] == "BMC_LOGIN_REFUSED"
    assert fake.verbs() == ["manage"] * 3
    fake.bmc = "refuses"
    with pytest.raises(WrongState):
        hardware.verify(TARGET)
    fake.bmc = "silent"
    with pytest.raises(PeerUnavailable):
        hardware.verify(TARGET)


def test_a_slow_verification_is_found_again(fake: Fake, hardware: IronicHardware) -> None:
    """
    While Ironic still asks the BMC the call says so; the next one hears the end of the same asking.
    """
    fake.looks, fake.bmc = 1_000_000, "refuses"
    with pytest.raises(PeerUnavailable, match="still asking"):
        hardware.verify(TARGET)
    fake.finish(SERVER)
    with pytest.raises(WrongState):
        hardware.verify(TARGET)

    assert fake.verbs() == ["manage"]


def test_off_is_asked_for_again_and_on_is_not(fake: Fake, hardware: IronicHardware) -> None:
    """
    "Off" is an answer of the BMC in this call; no reading can switch a server on.
    """
    node = fake.add(SERVER, "available")
    off = hardware.read_power(TARGET)
    assert [body for _, _, body in fake.asked] == [{"target": "power off"}]

    fake.asked.clear()
    node["power_state"] = "power on"
    on = hardware.read_power(TARGET)

    assert (off.power, on.power) == ("off", "on")
    assert off.digest != on.digest
    assert off.read_time < on.read_time
    assert len(off.digest) == 32
    assert fake.asked == []


@pytest.mark.parametrize("state", ["clean failed", "deploy failed", "manageable"])
def test_off_is_known_after_a_failure(fake: Fake, hardware: IronicHardware, state: str) -> None:
    """
    A clean that failed has ended: the BMC can be asked, or the server would stay in quarantine for ever.
    """
    fake.add(SERVER, state, power_state="power off", maintenance=True, fault="clean failure")

    assert hardware.read_power(TARGET).power == "off"


def test_a_server_found_on_is_read_as_on(fake: Fake, hardware: IronicHardware) -> None:
    """
    Switched on behind Ironic's back, it is on, though Ironic shows "off", and though asking switches it off.
    """
    fake.add(SERVER, "available", power_state="power off")
    fake.power = "power on"

    assert [hardware.read_power(TARGET).power for _ in range(2)] == ["on", "off"]


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


def test_a_wish_is_a_reading(fake: Fake, hardware: IronicHardware) -> None:
    """
    The conductor asked the BMC for it, and so what it shows then is fresh; a reading of "off" is a wish of its own.
    """
    fake.add(SERVER, "active", power_state="power off")
    fake.power = "power on"
    seen = [hardware.set_power(TARGET, on=on, request_id="p") for on in (False, True, False)]
    wishes = [len(fake.asked)]
    seen.append(hardware.read_power(TARGET))
    wishes.append(len(fake.asked))

    assert [each.power for each in seen] == ["off", "on", "off", "off"]
    assert wishes == [3, 4]


@pytest.mark.parametrize("on", [True, False])
def test_a_wish_that_takes_longer_than_a_call_proves_nothing(fake: Fake, hardware: IronicHardware, on: bool) -> None:
    """
    While Ironic is still on its way there, or somebody else holds the node, power is not known.
    """
    there = "power on" if on else "power off"
    fake.add(SERVER, "active", power_state=there, target_power_state=there, reservation="other")

    assert hardware.set_power(TARGET, on=on, request_id="p").power == "unknown"


def test_a_server_that_comes_back_on_after_the_wish_reads_on(fake: Fake, hardware: IronicHardware) -> None:
    """
    What was asked for is proven only while Ironic shows it.
    """
    node = fake.add(SERVER, "active", power_state="power on")
    hardware.set_power(TARGET, on=False, request_id="p")
    node["power_state"] = "power on"

    assert hardware.read_power(TARGET).power == "on"


@pytest.mark.parametrize(
    ("row", "power"),
    [
        ({"power_state": None}, "unknown"),
        ({"power_state": "power off", "provision_state": "cleaning"}, "unknown"),
        ({"power_state": "power off", "reservation": "other"}, "unknown"),
        ({"power_state": "power on", "target_power_state": "power on"}, "unknown"),
        ({"power_state": "power on", "target_power_state": "power off"}, "on"),
    ],
)
def test_what_cannot_be_asked_is_not_known(
    fake: Fake, hardware: IronicHardware, row: dict[str, str | None], power: str
) -> None:
    """
    Where Ironic holds the node, its row proves no "off", and no "on" that is still to come.
    """
    fake.add(SERVER, "active", **row) if "provision_state" not in row else fake.add(
        SERVER, "cleaning", power_state="power off"
    )

    assert hardware.read_power(TARGET).power == power
    assert fake.asked == []


def test_a_silent_bmc_is_no_reading(fake: Fake, hardware: IronicHardware) -> None:
    """
    Neither asking for power nor reading "off" succeeds while the BMC does not answer; nor once Ironic gave it up.
    """
    node = fake.add(SERVER, "active")
    fake.bmc = "silent"
    calls: tuple[Callable[[], object], ...] = (
        lambda: hardware.read_power(TARGET),
        lambda: hardware.set_power(TARGET, on=False, request_id="p"),
        lambda: hardware.set_power(TARGET, on=True, request_id="q"),
    )
    for call in calls:
        with pytest.raises(PeerUnavailable, match="does not answer"):
            call()
    node |= {"maintenance": True, "fault": "power failure", "power_state": None}
    with pytest.raises(PeerUnavailable, match="does not answer"):
        hardware.read_power(TARGET)


def test_one_reboot_for_a_request(fake: Fake, hardware: IronicHardware) -> None:
    """
    A repeated request reboots nothing.
    """
    fake.add(SERVER, "active")
    for request_id in ("r1", "r1", "r2"):
        hardware.reboot(TARGET, request_id=request_id)

    assert [body["target"] for _, path, body in fake.asked if path.endswith("/states/power")] == ["rebooting"] * 2


def test_switching_on_ends_a_rescue(fake: Fake, hardware: IronicHardware) -> None:
    """
    A rescued node switched on would boot the rescue system again.
    """
    fake.add(SERVER, "rescue")
    hardware.set_power(TARGET, on=True, request_id="p")

    assert fake.verbs() == ["unrescue"]


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


def test_an_unknown_node(fake: Fake, hardware: IronicHardware) -> None:
    """
    404: there is no job, and power cannot be read or set.
    """
    assert hardware.read_job(TARGET, request_id="j1").phase is JobPhase.ABSENT
    for call in (
        lambda: hardware.read_power(TARGET),
        lambda: hardware.set_power(TARGET, on=True, request_id="p"),
        lambda: hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1"),
    ):
        with pytest.raises(PeerUnavailable, match="has no node"):
            call()


def test_ironic_refuses_us(fake: Fake, hardware: IronicHardware) -> None:
    """
    401 is our login, not the BMC's: unavailable, and never taken for a verdict about the server.
    """
    fake.unknown = True
    with pytest.raises(PeerUnavailable, match="refuses our login"):
        hardware.verify(TARGET)


def test_ironic_is_away() -> None:
    """
    Nobody listening is unavailable, and found again when somebody does.
    """
    with serving() as fake:
        url = fake.url
    hardware = IronicHardware(IronicApi(endpoint=url), Login(), StepClock())

    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        hardware.read_power(TARGET)


def test_ironic_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call ends in time though something listens and says nothing, also for those who wait behind the first.
    """
    import openstack  # noqa: F401 -- it takes seconds, which are none of the call's here

    monkeypatch.setattr(ironic_api, "CALL_SECONDS", 2.0)
    monkeypatch.setattr(ironic_api, "_ONE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = IronicApi(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        hardware = IronicHardware(api, Login(), StepClock())
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(hardware.read_power, TARGET) for _ in range(4)]
            told = [call.exception(timeout=30) for call in calls]

    assert [wait_for(each) for each in told if isinstance(each, PeerUnavailable)] == ["CONTROLLER_SILENT"] * 4


def test_a_cloud_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A name that clouds.yaml does not have is told as that.
    """
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    (tmp_path / "clouds.yaml").write_text("clouds: {}")

    with pytest.raises(PeerUnavailable, match="has no cloud 'elsewhere'"):
        IronicHardware(IronicApi(cloud="elsewhere"), Login(), StepClock()).read_power(TARGET)


def test_secrets_stay_where_they_belong(fake: Fake, hardware: IronicHardware, caplog: pytest.LogCaptureFixture) -> None:
    """
    Password and config drive go to Ironic and to nothing else: no log at any level, no error, no note in ``extra``.
    """
    told = []
    with caplog.at_level(logging.DEBUG):
        fake.bmc = "refuses"
        for _ in range(2):
            with pytest.raises(BmsError) as error:
                hardware.verify(TARGET)
            told.append(f"{error.value!r} {error.value.facts} {error.value.remedy}")
            fake.bmc = "silent"
        fake.bmc = "answers"
        hardware.verify(TARGET)
        fake.nodes[SERVER]["provision_state"] = "available"
        fake.refusing = "active"
        told.append(repr(done(fake, hardware, JobKind.DEPLOY, "j1")))

    assert PASSWORD in json.dumps(fake.asked)
    assert USER_DATA.decode() in json.dumps(fake.asked)
    for text in (caplog.text, *told, json.dumps(fake.nodes[SERVER]["extra"])):
        assert PASSWORD not in text
        assert "tenant-secret" not in text
