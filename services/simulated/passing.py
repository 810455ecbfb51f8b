# SPDX-License-Identifier: Apache-2.0
"""What comes to pass with time. Nothing runs in the background: whoever touches a server first lets happen what is due.

Changes of one server, its power, job and switch ports, happen in the order of their moments, whoever looks; each leaves
a line in the witness' book with the moment at which it happened, not at which it was noticed.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson

from services.simulated.faults import Fault, FaultKind, every, look, strike, targets_of
from services.simulated.file import Connection
from services.simulated.hardware import Disk
from services.simulated.manual import ran
from services.simulated.state import (
    Boot,
    DiskOutcome,
    Job,
    Machine,
    Outcome,
    Phase,
    PowerWish,
    SwitchPortState,
    Work,
    find_job,
    ports_of,
    save_job,
    save_machine,
    save_port,
    setting,
)

BLANK_SAMPLE = hashlib.sha256(bytes(4096)).hexdigest()
"""SHA-256 over 4,096 zero bytes: what sampled blocks of an erased disk read as."""


def settle(tx: Connection, server: str, machine: Machine | None, now: int) -> Machine | None:
    """Lets everything of *server* happen that is due at *now*; answers its machine as it is then."""
    ports = {(port.switch, port.port): port for port in ports_of(tx, server)} if server else {}
    hanging = False
    while True:
        due: list[tuple[int, str, tuple[str, str]]] = [
            (port.effective_at, "port", key)
            for key, port in ports.items()
            if port.effective_at is not None and port.effective_at <= now
        ]
        if machine and machine.power_due is not None and machine.power_due <= now:
            due.append((machine.power_due, "power", ("", "")))
        if machine and machine.job_due is not None and machine.job_due <= now and not hanging:
            due.append((machine.job_due, "job", ("", "")))
        if not due:
            return machine
        at, what, key = min(due)
        if what == "port":
            ports[key] = _take_effect(tx, ports[key])
            cause = f"switch {key[0]} {key[1]}"
        elif what == "power":
            assert machine is not None
            cause = f"power {machine.power_wish}"
            machine = power_changed(tx, machine, at)
        else:
            assert machine is not None
            cause = f"job {machine.job}"
            before, machine = machine, end_job(tx, machine, list(ports.values()), at)
            hanging = machine is before
            if hanging:
                continue
        book(tx, machine, server, list(ports.values()), cause, at)


def _take_effect(tx: Connection, port: SwitchPortState) -> SwitchPortState:
    port = replace(port, actual=port.written, effective_at=None)
    save_port(tx, port)
    return port


def power_changed(tx: Connection, machine: Machine, at: int) -> Machine:
    """The machine after the wish for its power came true at *at*."""
    wish = machine.power_wish
    if wish is PowerWish.OFF:
        machine = replace(machine, power=False, boot=Boot.NOTHING, power_wish=PowerWish.NONE, power_due=None)
        fault = look(tx, targets_of(machine.bmc, machine.server), at).get(FaultKind.POWER_RETURNS)
        if fault:
            strike(tx, fault)
            machine = replace(
                machine, power_wish=PowerWish.RETURN, power_due=at + max(1, int(fault.seconds * 1_000_000))
            )
    else:
        machine = booted(machine)
    machine = interrupted(tx, machine, at)
    save_machine(tx, machine)
    return machine


def booted(machine: Machine) -> Machine:
    """The machine after it was switched on or reset: it runs what is on its root disk, if anything is.

    A system that runs may write to every disk it sees, so from then on all of them hold its owner's data.
    """
    root = machine.disks[0] if machine.disks else None
    running = root is not None and root.content != "blank"
    disks = machine.disks
    if running and root is not None:
        disks = tuple(replace(disk, content="data", owner=root.owner) for disk in disks)
    return replace(
        machine,
        power=True,
        boot=Boot.DISK if running else Boot.NOTHING,
        disks=disks,
        power_wish=PowerWish.NONE,
        power_due=None,
    )


def interrupted(tx: Connection, machine: Machine, at: int) -> Machine:
    """The machine without its job, which a change of power or another job ended."""
    if not machine.job:
        return machine
    job = find_job(tx, machine.job)
    if job is not None:
        outcome = Outcome(reason="INTERRUPTED", message=f"the {job.kind} was ended from outside")
        save_job(tx, replace(job, due=at, phase=Phase.FAILED, outcome=outcome))
    return replace(machine, job="", job_due=None)


def end_job(tx: Connection, machine: Machine, ports: list[SwitchPortState], at: int) -> Machine:
    """The machine after its job ended at *at*; the same machine if the job hangs."""
    job = find_job(tx, machine.job)
    if job is None:
        machine = replace(machine, job="", job_due=None)
        save_machine(tx, machine)
        return machine
    faults = look(tx, targets_of(machine.bmc, machine.server), at)
    hanging = faults.get(FaultKind.JOB_HANGS)
    if job.hung:
        return machine
    if hanging:
        if hanging.remaining is not None:
            strike(tx, hanging)
            save_job(tx, replace(job, hung=True))
        return machine
    job, machine = _ended(tx, job, machine, ports, faults, at)
    machine = replace(machine, job="", job_due=None)
    if job.phase is Phase.PASSED and job.kind in {Work.CLEAN, Work.MANUAL_CLEAN, Work.INSPECT}:
        # As Ironic does; after a deploy it is lifecycle that switches off, and a failed server is left as it is.
        machine = replace(machine, power=False, boot=Boot.NOTHING)
    save_job(tx, job)
    save_machine(tx, machine)
    return machine


def has_network(tx: Connection, ports: list[SwitchPortState]) -> bool:
    """Whether the ramdisk would reach anybody: at least one linked switch port carries traffic."""
    return any(port.actual for port in ports) or setting(tx, "network_needed", "yes") == "no"


def no_network(kind: Work) -> Outcome:
    """The outcome of a job whose server is on no network."""
    return Outcome("NO_NETWORK", f"the {kind} needs a network, and none of the server's switch ports carries traffic")


def _ended(
    tx: Connection, job: Job, machine: Machine, ports: list[SwitchPortState], faults: dict[FaultKind, Fault], at: int
) -> tuple[Job, Machine]:
    if job.kind is Work.INSPECT:
        if fault := faults.get(FaultKind.INSPECT_FAILS):
            return _failed(tx, job, fault, "INSPECT_FAILED", "the ramdisk did not report the hardware"), machine
        found = tuple(DiskOutcome(disk.serial, disk.size) for disk in machine.disks)
        return replace(job, phase=Phase.PASSED, outcome=Outcome(disks=found)), machine
    if not has_network(tx, ports):
        return replace(job, phase=Phase.FAILED, outcome=no_network(job.kind)), machine
    if job.kind is Work.RESCUE:
        if fault := faults.get(FaultKind.RESCUE_FAILS):
            return _failed(tx, job, fault, "RESCUE_FAILED", "the rescue system did not come up"), machine
        return replace(job, phase=Phase.PASSED), replace(machine, power=True, boot=Boot.RESCUE)
    if job.kind is Work.CLEAN:
        return _cleaned(tx, job, machine, at)
    if job.kind is Work.MANUAL_CLEAN:
        return ran(tx, job, machine, at)
    return _deployed(tx, job, machine, faults)


def _failed(tx: Connection, job: Job, fault: Fault, reason: str, message: str) -> Job:
    strike(tx, fault)
    return replace(job, phase=Phase.FAILED, outcome=Outcome(reason, message))


def _cleaned(tx: Connection, job: Job, machine: Machine, at: int) -> tuple[Job, Machine]:
    targets = targets_of(machine.bmc, machine.server)
    bad = {fault.part: fault for fault in every(tx, targets, at) if fault.kind is FaultKind.DISK_ERASE_FAILS}
    present = {disk.serial for disk in machine.disks}
    missing = [serial for serial in job.wanted.disks if serial not in present]
    if missing:
        outcome = Outcome("DISK_MISSING", f"disk {missing[0]} is not there")
        return replace(job, phase=Phase.FAILED, outcome=outcome), machine
    wanted = [disk for disk in machine.disks if disk.serial in job.wanted.disks]
    share = (at - job.started) // max(1, len(wanted))
    erased: dict[str, Disk] = {}
    done = []
    for number, disk in enumerate(wanted):
        if fault := bad.get(disk.serial) or bad.get(""):
            machine = replace(machine, disks=tuple(erased.get(one.serial, one) for one in machine.disks))
            return _failed(tx, job, fault, "ERASE_FAILED", f"disk {disk.serial} reports an error"), machine
        start, end = job.started + share * number, job.started + share * (number + 1)
        erased[disk.serial] = replace(disk, content="blank", owner="", written="", erased=end)
        done.append(DiskOutcome(disk.serial, disk.size, disk.erase_method, start, end, BLANK_SAMPLE))
    machine = replace(machine, disks=tuple(erased.get(disk.serial, disk) for disk in machine.disks))
    # What it was not told to erase it names all the same: a disk that nobody inspected is for the caller to judge.
    done += [DiskOutcome(disk.serial, disk.size) for disk in machine.disks if disk.serial not in job.wanted.disks]
    return replace(job, phase=Phase.PASSED, outcome=Outcome(disks=tuple(done))), machine


def _deployed(tx: Connection, job: Job, machine: Machine, faults: dict[FaultKind, Fault]) -> tuple[Job, Machine]:
    if not machine.disks:
        return replace(job, phase=Phase.FAILED, outcome=Outcome("NO_DISK", "there is no disk to write to")), machine
    root = machine.disks[0]
    image = f"image:{job.wanted.image}"
    if fault := faults.get(FaultKind.IMAGE_WRITE_FAILS):
        # What was written until then is there all the same.
        machine = replace(machine, disks=(replace(root, content=image, owner=job.request_id), *machine.disks[1:]))
        return _failed(tx, job, fault, "IMAGE_WRITE_FAILED", f"disk {root.serial} does not take the image"), machine
    actual = job.wanted.checksum
    if fault := faults.get(FaultKind.IMAGE_CORRUPT):
        strike(tx, fault)
        name, _, digest = actual.partition(":")
        actual = f"{name}:{digest[::-1] if digest != digest[::-1] else '0' * len(digest)}"
    machine = replace(
        machine, disks=(replace(root, content=image, owner=job.request_id, written=actual), *machine.disks[1:])
    )
    there = tuple(DiskOutcome(disk.serial, disk.size) for disk in machine.disks)
    outcome = Outcome(disks=there, actual_checksum=actual, root_disk=root.serial)
    return replace(job, phase=Phase.PASSED, outcome=outcome), machine


def book(
    tx: Connection, machine: Machine | None, server: str, ports: list[SwitchPortState], cause: str, at: int
) -> None:
    """Writes into the witness' book how *server* truly stands at *at*."""
    tx.execute(
        "INSERT INTO witness (time, server, bmc, cause, power, boot, ports, disks) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            at,
            server,
            machine.bmc if machine else "",
            cause,
            ("on" if machine.power else "off") if machine else "unknown",
            machine.boot if machine else "",
            _text({f"{port.switch}/{port.port}": port.actual.seen for port in ports}),
            _text({disk.serial: [disk.content, disk.owner] for disk in machine.disks} if machine else {}),
        ),
    )


def _text(value: object) -> str:
    return orjson.dumps(value).decode()
