# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib

import pytest

from services.kernel.errors import PeerUnavailable, WrongState
from services.lifecycle.ports import JobKind, JobPhase
from services.simulated import control
from services.simulated.hardware import bmc_key, made_for
from tests.simulated.conftest import ADDRESS, PROVISIONING, QUARANTINE, SERVER, TARGET, TENANT, Bench


def test_the_same_address_is_the_same_machine() -> None:
    """
    Hardware follows from the BMC's address alone, whatever the protocol; every disk has a serial number of its own.
    """
    assert made_for("10.0.0.1:443") == made_for("10.0.0.1:623")
    assert made_for("10.0.0.1:443") != made_for("10.0.0.2:443")
    serials = [disk.serial for number in range(200) for disk in made_for(f"10.0.0.{number}:443")[1]]
    assert len(serials) == len(set(serials))
    assert (bmc_key("a", 0, "pxe_ipmitool"), bmc_key("a", 0, "redfish"), bmc_key("a", 7, "ipmi")) == (
        "a:623",
        "a:443",
        "a:7",
    )


def test_power_takes_its_time(bench: Bench) -> None:
    """
    A wish for power comes true after the profile's time, and not before.
    """
    bench.hardware.set_power(TARGET, on=True, request_id="1")
    bench.clock.move(4.9)
    assert bench.hardware.read_power(TARGET).power == "off"
    bench.clock.move(0.2)
    assert bench.hardware.read_power(TARGET).power == "on"


def test_readings_cite_their_own_time(bench: Bench) -> None:
    """
    Two readings of the same thing have different digests, since the time is part of what was read.
    """
    first = bench.hardware.read_power(TARGET)
    bench.clock.move(1)
    second = bench.hardware.read_power(TARGET)
    assert first.digest != second.digest
    assert len(first.digest) == 32


def test_the_fast_clock(bench: Bench) -> None:
    """
    At speed 100 a deploy of 15 minutes takes 9 seconds, and its progress is told by time.
    """
    control.set_settings(bench.rack, speed=100)
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(4.5)
    reading = bench.hardware.read_job(TARGET, request_id="d")
    assert (reading.phase, reading.percent, reading.stage) == (JobPhase.RUNNING, 50, "writing the image")
    bench.clock.move(4.5)
    assert bench.hardware.read_job(TARGET, request_id="d").phase is JobPhase.PASSED


def test_inspection_tells_the_hardware(bench: Bench) -> None:
    """
    An inspection needs no network; it answers the facts and every disk, and leaves the server off.
    """
    bench.job(JobKind.INSPECT, "i")
    assert bench.hardware.read_power(TARGET).power == "on"
    bench.clock.move(301)
    reading = bench.hardware.read_job(TARGET, request_id="i")
    assert reading.facts is not None
    assert (reading.facts.manufacturer, reading.facts.cpu_arch) == (
        made_for(f"{ADDRESS}:443")[0].manufacturer,
        "x86_64",
    )
    assert tuple(disk.serial for disk in reading.disks) == bench.serials()
    assert bench.hardware.read_power(TARGET).power == "off"


def test_a_whole_life_leaves_nothing(bench: Bench) -> None:
    """
    A deploy writes the image, running it makes every disk the tenant's, and a clean of every disk leaves nothing of it.
    """
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(901)
    image = bench.hardware.read_job(TARGET, request_id="d").image
    assert image is not None
    assert image.actual_checksum == image.expected_checksum
    assert "image:images/debian-12" in bench.contents()
    bench.power(on=False)
    bench.put(TENANT)
    bench.power(on=True)
    assert bench.contents() == {"data"}
    bench.power(on=False)
    bench.put(PROVISIONING)
    bench.job(JobKind.CLEAN, "c", disks=bench.serials())
    bench.clock.move(7201)
    reading = bench.hardware.read_job(TARGET, request_id="c")
    assert reading.phase is JobPhase.PASSED
    assert [disk.sample_digest for disk in reading.disks] == [hashlib.sha256(bytes(4096)).digest()] * len(
        bench.serials()
    )
    assert all(disk.start_time and disk.end_time and disk.start_time < disk.end_time for disk in reading.disks)
    assert bench.contents() == {"blank"}


def test_a_disk_that_was_not_named_is_not_erased(bench: Bench) -> None:
    """
    A clean erases the disks of its order and no other; a disk that appeared meanwhile keeps what is on it, and is
    named.
    """
    bench.put(PROVISIONING)
    bench.hardware.verify(TARGET)
    known = bench.serials()
    bench.inject("disk-appears")
    bench.job(JobKind.CLEAN, "c", disks=known)
    bench.clock.move(7201)
    disks = bench.hardware.read_job(TARGET, request_id="c").disks
    assert tuple(disk.serial for disk in disks if disk.method) == known
    assert [disk.end_time for disk in disks if disk.serial not in known] == [None]
    assert bench.contents() == {"blank", "data"}


def test_no_network_no_work(bench: Bench) -> None:
    """
    A deploy, clean or rescue of a server without a port that carries traffic fails at once with NO_NETWORK.
    """
    bench.put(QUARANTINE)
    for kind in (JobKind.DEPLOY, JobKind.CLEAN, JobKind.RESCUE):
        bench.job(kind, kind.value)
        reading = bench.hardware.read_job(TARGET, request_id=kind.value)
        assert (reading.phase, reading.reason) == (JobPhase.FAILED, "NO_NETWORK")
    assert bench.hardware.read_power(TARGET).power == "off"


def test_a_network_cut_on_the_way_fails_the_job(bench: Bench) -> None:
    """
    A job whose network is gone when it should end has failed.
    """
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d")
    bench.put(QUARANTINE)
    bench.clock.move(901)
    assert bench.hardware.read_job(TARGET, request_id="d").reason == "NO_NETWORK"


def test_jobs_are_started_once(bench: Bench) -> None:
    """
    A job of a known request is left as it is; another request ends it; an unknown one is ABSENT; power off ends a job.
    """
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d1")
    bench.clock.move(600)
    bench.job(JobKind.DEPLOY, "d1")
    assert bench.hardware.read_job(TARGET, request_id="d1").percent == 66
    bench.job(JobKind.DEPLOY, "d2")
    assert bench.hardware.read_job(TARGET, request_id="d1").reason == "INTERRUPTED"
    bench.power(on=False)
    assert bench.hardware.read_job(TARGET, request_id="d2").reason == "INTERRUPTED"
    assert bench.hardware.read_job(TARGET, request_id="d3").phase is JobPhase.ABSENT


def test_a_reboot_happens_once_per_request(bench: Bench) -> None:
    """
    The same reboot asked for twice is one power cycle, during which the BMC goes on saying on.
    """
    bench.power(on=True)
    for _ in range(2):
        bench.hardware.reboot(TARGET, request_id="r")
        bench.clock.move(6)
        assert bench.hardware.read_power(TARGET).power == "on"
    causes = [line.cause for line in control.witness(bench.rack, bench.clock.now(), server=SERVER)]
    assert causes.count("power cycle") == 1


def test_a_silent_bmc(bench: Bench) -> None:
    """
    A silent BMC answers nothing at all; a count says how often, then it answers again.
    """
    bench.inject("bmc-silent", count=2)
    for call in (lambda: bench.hardware.verify(TARGET), lambda: bench.hardware.read_power(TARGET)):
        with pytest.raises(PeerUnavailable) as caught:
            call()
        assert caught.value.facts["reason"] == "BMC_SILENT"
    bench.hardware.verify(TARGET)


def test_a_bmc_that_hangs_is_cured_by_a_restart(bench: Bench) -> None:
    """
    It answers nothing until it is restarted, which its machine does not notice; one that is silent stays so.
    """
    bench.hardware.set_power(TARGET, on=True, request_id="1")
    bench.clock.move(10)
    before = control.witness(bench.rack, bench.clock.now(), server=SERVER)
    bench.inject("bmc-hangs")
    for _ in range(2):
        with pytest.raises(PeerUnavailable):
            bench.hardware.read_power(TARGET)
    bench.hardware.reset_bmc(TARGET)
    bench.hardware.reset_bmc(TARGET)
    assert bench.hardware.read_power(TARGET).power == "on"
    assert control.witness(bench.rack, bench.clock.now(), server=SERVER) == before
    bench.inject("bmc-silent")
    with pytest.raises(PeerUnavailable):
        bench.hardware.reset_bmc(TARGET)
    with pytest.raises(PeerUnavailable):
        bench.hardware.read_power(TARGET)


def test_a_refused_login(bench: Bench) -> None:
    """
    A refused login is a wrong state when verifying, and an unavailable peer for everything else.
    """
    bench.inject("bmc-bad-login")
    with pytest.raises(WrongState) as caught:
        bench.hardware.verify(TARGET)
    assert caught.value.facts["reason"] == "BMC_LOGIN_REFUSED"
    with pytest.raises(PeerUnavailable):
        bench.hardware.read_power(TARGET)


def test_power_that_does_not_obey(bench: Bench) -> None:
    """
    Stuck on: off is accepted and never happens, until it is mended and asked for again. Lying: the BMC says off.
    """
    bench.power(on=True)
    bench.inject("power-stuck-on")
    bench.power(on=False)
    assert bench.hardware.read_power(TARGET).power == "on"
    bench.inject("power-lies-off")
    assert bench.hardware.read_power(TARGET).power == "off"
    assert control.server(bench.rack, ADDRESS, bench.clock.now()).power
    assert control.clear(bench.rack, server=ADDRESS) == 2
    bench.power(on=False)
    assert not control.server(bench.rack, ADDRESS, bench.clock.now()).power


def test_power_that_returns(bench: Bench) -> None:
    """
    Once off, the server comes on by itself after the given time, also when off is asked for again meanwhile.
    """
    bench.power(on=True)
    bench.inject("power-returns-by-itself", seconds=60, count=1)
    bench.power(on=False)
    bench.power(on=False)
    assert bench.hardware.read_power(TARGET).power == "off"
    bench.clock.move(60)
    assert bench.hardware.read_power(TARGET).power == "on"
    bench.power(on=False)
    bench.clock.move(600)
    assert bench.hardware.read_power(TARGET).power == "off"


def test_an_image_that_fails_twice(bench: Bench) -> None:
    """
    A counted fault strikes so many deploys; the next one passes.
    """
    bench.put(PROVISIONING)
    bench.inject("image-write-fails", count=2)
    phases = []
    for number in range(3):
        bench.job(JobKind.DEPLOY, str(number))
        bench.clock.move(901)
        phases.append(bench.hardware.read_job(TARGET, request_id=str(number)).reason)
    assert phases == ["IMAGE_WRITE_FAILED", "IMAGE_WRITE_FAILED", ""]


def test_a_corrupt_image_passes_with_another_checksum(bench: Bench) -> None:
    """
    What was written has another checksum than the image; the job says so and leaves the judgement to who asked.
    """
    bench.put(PROVISIONING)
    bench.inject("image-corrupt")
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(901)
    image = bench.hardware.read_job(TARGET, request_id="d").image
    assert image is not None
    assert image.actual_checksum != image.expected_checksum


@pytest.mark.parametrize("which", ["", "last"])
def test_a_disk_that_cannot_be_erased(bench: Bench, which: str) -> None:
    """
    A clean stops at the faulty disk and names it; a disk that is not there at all fails it too.
    """
    bench.put(PROVISIONING)
    bench.hardware.verify(TARGET)
    serials = bench.serials()
    part = serials[-1] if which else ""
    bench.inject("disk-erase-fails", part=part)
    bench.job(JobKind.CLEAN, "c", disks=serials)
    bench.clock.move(7201)
    reading = bench.hardware.read_job(TARGET, request_id="c")
    assert reading.reason == "ERASE_FAILED"
    assert (part or serials[0]) in reading.message
    control.clear(bench.rack)
    bench.job(JobKind.CLEAN, "c2", disks=("NONE",))
    bench.clock.move(7201)
    assert bench.hardware.read_job(TARGET, request_id="c2").reason == "DISK_MISSING"


@pytest.mark.parametrize(
    ("kind", "fault", "reason"),
    [(JobKind.INSPECT, "inspect-fails", "INSPECT_FAILED"), (JobKind.RESCUE, "rescue-fails", "RESCUE_FAILED")],
)
def test_other_work_that_fails(bench: Bench, kind: JobKind, fault: str, reason: str) -> None:
    """
    An inspection and a rescue fail with reasons of their own.
    """
    bench.put(PROVISIONING)
    bench.inject(fault)
    bench.job(kind, "j")
    bench.clock.move(301)
    reading = bench.hardware.read_job(TARGET, request_id="j")
    assert (reading.phase, reading.reason) == (JobPhase.FAILED, reason)


def test_a_job_that_hangs(bench: Bench) -> None:
    """
    A hanging job stays at 99 per cent until the fault is cleared; one of a counted fault for ever.
    """
    bench.put(PROVISIONING)
    bench.inject("job-hangs")
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(9001)
    reading = bench.hardware.read_job(TARGET, request_id="d")
    assert (reading.phase, reading.percent) == (JobPhase.RUNNING, 99)
    control.clear(bench.rack, kind="job-hangs")
    assert bench.hardware.read_job(TARGET, request_id="d").phase is JobPhase.PASSED
    bench.inject("job-hangs", count=1)
    bench.job(JobKind.DEPLOY, "d2")
    bench.clock.move(9001)
    assert bench.hardware.read_job(TARGET, request_id="d2").phase is JobPhase.RUNNING
    control.clear(bench.rack)
    assert bench.hardware.read_job(TARGET, request_id="d2").phase is JobPhase.RUNNING


def test_forgetting_erases_nothing(bench: Bench) -> None:
    """
    A forgotten server's jobs are unknown afterwards; its disks keep their content for whoever registers the BMC next.
    """
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(901)
    bench.hardware.forget(TARGET)
    assert bench.hardware.read_job(TARGET, request_id="d").phase is JobPhase.ABSENT
    assert "image:images/debian-12" in bench.contents()


def test_no_secret_reaches_the_file(bench: Bench) -> None:
    """
    Neither logins nor config drives are written into the rack's file.
    """
    bench.hardware.verify(TARGET)
    bench.power(on=True)
    bench.rack.close()
    assert b"calvin" not in b"".join(path.read_bytes() for path in bench.path.parent.iterdir())
