# SPDX-License-Identifier: Apache-2.0
"""The hardware around lifecycle, with state: BMCs and what they do. Each call is an effect point.

Faults are set as plain attributes. What the world looks like is asked of the fakes, never of lifecycle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import ConsoleNotOffered, PeerUnavailable, WrongState
from services.kernel.events import DiskSeen, ImageSeen, PowerSeen
from services.lifecycle.domain.server import PortClass
from services.lifecycle.ports import (
    Booking,
    ConsoleSeen,
    HardwareFacts,
    ImageOrder,
    JobKind,
    JobOrder,
    JobPhase,
    JobReading,
    Marks,
    NotNow,
    ServerCard,
    TakenElsewhere,
    Target,
)
from tests.lifecycle.fake_networks import RUNS_ON, FakeNetworks

KNOWN_STEPS = ("create_configuration", "erase_devices", "factory_reset")
"""The clean steps that the fake driver has."""


@dataclass
class Machine:
    """One server's hardware."""

    on: bool = False
    disks: dict[str, str] = field(default_factory=lambda: {"disk-1": "", "disk-2": ""})
    jobs: dict[str, tuple[JobOrder, JobReading]] = field(default_factory=dict)
    silent: bool = False
    hangs: bool = False
    resets: int = 0
    login_refused: bool = False
    stuck_on: bool = False
    fail_jobs: dict[JobKind, int] = field(default_factory=dict)
    corrupt: bool = False
    extra_disk: str = ""
    left_disk: str = ""
    twin: str = ""
    console: str = ""
    marks: Marks = field(default_factory=Marks)
    ran: list[tuple[str, str]] = field(default_factory=list)
    slow: bool = False
    taken: bool = False
    taken_by_then: bool = False
    holders: tuple[str, ...] = ()
    held_for: str = ""
    used: bool = False
    card: tuple[ServerCard, str] | None = None
    unadoptable: bool = False
    adopted_with: ImageOrder | None = None


class FakeHardware:
    """BMCs and what they do; jobs end at once unless slow.

    With a fabric that it moves ports on, a job lasts one look longer: it is on its network until then, and a clean is
    not any more when it has ended.
    """

    def __init__(self, clock: Clock) -> None:
        self.fabric: FakeNetworks | None = None
        self.unplugged = False
        self._looked: set[str] = set()
        self.machines: dict[str, Machine] = {}
        self.history: list[tuple[str, str]] = []
        self.deaf = False
        self.undescribable = False
        self._clock = clock

    @property
    def moves_ports(self) -> bool:
        return self.fabric is not None

    def machine(self, server: str) -> Machine:
        return self.machines.setdefault(server, Machine())

    def _answering(self, target: Target) -> Machine:
        machine = self.machine(target.server)
        if machine.silent or machine.hangs:
            msg = "the BMC does not answer"
            raise PeerUnavailable(msg)
        return machine

    def verify(self, target: Target) -> None:
        with effect("bmc.verify"):
            self._refuse_others(target)
            if self._answering(target).login_refused:
                msg = "the BMC refuses the login"
                raise WrongState(msg)

    def check_offer(self, target: Target, booking: Booking) -> None:
        with effect("controller.check_offer"):
            assert self._refuse_others(target).holders == (), "offered while it is held"

    def reserve(self, target: Target, instance: str, *, request_id: str) -> str:
        with effect("controller.reserve"):
            machine = self._refuse_others(target)
            assert machine.holders in ((), (request_id,)), "held twice over"
            machine.holders, machine.held_for = (request_id,), instance
            return request_id

    def unreserve(self, target: Target) -> None:
        with effect("controller.unreserve"):
            if machine := self.machines.get(target.server):
                machine.holders, machine.held_for = (), ""

    def _refuse_others(self, target: Target) -> Machine:
        machine = self.machine(target.server)
        if self.deaf:
            msg = "the controller does not answer"
            raise NotNow("CONTROLLER_SILENT", msg)
        if machine.taken:
            msg = "the controller holds it for somebody else"
            raise TakenElsewhere(msg)
        return machine

    def describe(self, target: Target, card: ServerCard, *, project: str) -> None:
        with effect("controller.describe"):
            if self.undescribable:
                msg = "the controller is at something else"
                raise NotNow("CONTROLLER_BUSY", msg)
            self.machine(target.server).card = (card, project)

    def adopt(self, target: Target, image: ImageOrder | None, *, project: str) -> None:
        with effect("controller.adopt"):
            machine = self._answering(target)
            if machine.unadoptable:
                msg = "the controller cannot adopt it"
                raise WrongState(msg)
            machine.adopted_with = image

    def read_power(self, target: Target) -> PowerSeen:
        with effect("bmc.read_power"):
            machine = self._answering(target)
            now = self._clock.now()
            return PowerSeen("on" if machine.on else "off", now, hashlib.sha256(f"{now}{machine.on}".encode()).digest())

    def set_power(self, target: Target, *, on: bool, request_id: str) -> PowerSeen:
        with effect("bmc.set_power"):
            machine = self._answering(target)
            machine.on = on or machine.stuck_on
            self.history.append((target.server, "on" if machine.on else "off"))
        return self.read_power(target)

    def reboot(self, target: Target, *, request_id: str) -> None:
        with effect("bmc.reboot"):
            machine = self._answering(target)
            if request_id not in machine.jobs:
                machine.jobs[request_id] = (JobOrder(JobKind.RESCUE), JobReading(JobPhase.PASSED))
                self.history.append((target.server, "reboot"))
            machine.on = True

    def reset_bmc(self, target: Target) -> None:
        with effect("bmc.reset"):
            machine = self.machine(target.server)
            machine.resets += 1
            machine.hangs = False
            self._answering(target)

    def start_job(self, target: Target, order: JobOrder, *, request_id: str) -> None:
        with effect(f"bmc.start_{order.kind.value}"):
            machine = self._answering(target)
            if request_id in machine.jobs:
                return
            if order.booking is not None:
                if machine.taken_by_then:
                    machine.taken, machine.taken_by_then = True, False
                self._refuse_others(target)
                assert machine.holders == (), "booked while it is held"
                machine.holders, machine.held_for = (request_id,), order.booking.instance
            self.history.append((target.server, order.kind.value))
            if self.fabric is not None and order.kind in RUNS_ON and not self.unplugged:
                self.fabric.moved(target.server, RUNS_ON[order.kind])
            machine.on = order.kind is not JobKind.INSPECT
            outcome = self._outcome(machine, order)
            hold = request_id if order.booking is not None else ""
            machine.jobs[request_id] = (order, replace(outcome, hold=hold))

    def _outcome(self, machine: Machine, order: JobOrder) -> JobReading:
        left = machine.fail_jobs.get(order.kind, 0)
        if left:
            machine.fail_jobs[order.kind] = left - 1
            return JobReading(JobPhase.FAILED, message=f"{order.kind.value} failed on the hardware")
        now = self._clock.now()
        if order.kind is JobKind.INSPECT:
            disks = tuple(DiskSeen(serial, 10**12) for serial in sorted(machine.disks))
            return JobReading(JobPhase.PASSED, facts=HardwareFacts(cpus=16, memory_mb=65536), disks=disks)
        if order.kind is JobKind.CLEAN:
            if machine.extra_disk:
                machine.disks[machine.extra_disk] = "somebody's"
            erased = [serial for serial in machine.disks if serial != machine.left_disk]
            twins = (DiskSeen(machine.twin, 10**12),) if machine.twin else ()
            for serial in erased:
                machine.disks[serial] = ""
            return JobReading(
                JobPhase.PASSED,
                disks=(
                    *(DiskSeen(serial, 10**12, "nvme_format", now, now, b"\0" * 32) for serial in sorted(erased)),
                    *twins,
                ),
            )
        if order.kind is JobKind.DEPLOY and order.image is not None:
            root = min(machine.disks)
            machine.disks[root] = order.image.image
            actual = "sha256:" + "00" * 32 if machine.corrupt else order.image.checksum
            named = (machine.twin,) if machine.twin else ()
            there = tuple(DiskSeen(serial, 10**12) for serial in sorted((*machine.disks, *named)))
            seen = ImageSeen(order.image.image, order.image.checksum, actual, root)
            return JobReading(JobPhase.PASSED, image=seen, disks=there)
        if order.kind is JobKind.MANUAL_CLEAN:
            for step in order.steps:
                if step.step not in KNOWN_STEPS:
                    return JobReading(JobPhase.FAILED, message=f"no step {step.label}")
                machine.ran.append((step.label, step.args))
                machine.disks |= dict.fromkeys(machine.disks, "") if step.step == "erase_devices" else {}
        return JobReading(JobPhase.PASSED)

    def read_job(self, target: Target, *, request_id: str) -> JobReading:
        with effect("bmc.read_job"):
            machine = self._answering(target)
            known = machine.jobs.get(request_id)
            if known is None:
                return JobReading(JobPhase.ABSENT)
            if self.fabric is not None and not machine.slow and known[1].phase is JobPhase.PASSED:
                if request_id not in self._looked:
                    self._looked.add(request_id)
                    return JobReading(JobPhase.RUNNING, percent=50, stage="at work")
                if RUNS_ON.get(known[0].kind) is PortClass.CLEANING:
                    self.fabric.moved(target.server, PortClass.QUARANTINE)
            return JobReading(JobPhase.RUNNING, percent=50, stage="at work") if machine.slow else known[1]

    def mark(self, target: Target, marks: Marks) -> None:
        with effect("controller.mark"):
            self._answering(target).marks = marks

    def console(self, target: Target) -> ConsoleSeen:
        with effect("controller.console"):
            machine = self._answering(target)
            if not machine.console:
                msg = "there is none"
                raise ConsoleNotOffered(msg, remedy="Give it one.")
            return ConsoleSeen("socat", machine.console)

    def forget(self, target: Target) -> None:
        with effect("bmc.forget"):
            self.machines.pop(target.server, None)
