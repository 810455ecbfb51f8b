# SPDX-License-Identifier: Apache-2.0
"""Clean steps that are run by hand: the few that the simulated driver knows, and what they leave on the disks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.simulated.faults import FaultKind, every, strike, targets_of
from services.simulated.file import Connection
from services.simulated.hardware import Disk
from services.simulated.state import Job, Machine, Outcome, Phase


def _blank(disk: Disk, at: int) -> Disk:
    return replace(disk, content="blank", owner="", written="", erased=at)


def _left(disk: Disk, _at: int) -> Disk:
    return disk


STEPS: dict[str, Callable[[Disk, int], Disk]] = {
    "bios.apply_configuration": _left,
    "bios.factory_reset": _left,
    "deploy.erase_devices": _blank,
    "deploy.erase_devices_metadata": _left,
    "firmware.update": _left,
    "management.clear_job_queue": _left,
    "raid.create_configuration": _left,
    "raid.delete_configuration": _left,
}
"""Step -> what a disk is afterwards. Any other fails, as it does with a driver that does not have it."""

_ERASING = "deploy.erase_devices"


def ran(tx: Connection, job: Job, machine: Machine, at: int) -> tuple[Job, Machine]:
    """*job* after its steps were run, one after the other, and the machine as they left it."""
    faults = every(tx, targets_of(machine.bmc, machine.server), at)
    broken = next((fault for fault in faults if fault.kind is FaultKind.DISK_ERASE_FAILS), None)
    for number, step in enumerate(job.wanted.steps, 1):
        if step not in STEPS:
            message = f"step {number}, {step}, is none of this driver's"
            return _failed(job, message), machine
        if step == _ERASING and broken is not None:
            strike(tx, broken)
            return _failed(job, f"step {number}, {step}: a disk reports an error"), machine
        machine = replace(machine, disks=tuple(STEPS[step](disk, at) for disk in machine.disks))
    return replace(job, phase=Phase.PASSED), machine


def _failed(job: Job, message: str) -> Job:
    return replace(job, phase=Phase.FAILED, outcome=Outcome("CLEAN_STEP_FAILED", message))
