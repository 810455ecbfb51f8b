# SPDX-License-Identifier: Apache-2.0
"""The hardware of the simulated rack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import BmsError
from services.kernel.events import DiskSeen, ImageSeen, PowerSeen
from services.lifecycle.bmc import Bmc, RememberedCredentials
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
    ServerCard,
    TakenElsewhere,
    Target,
)
from services.simulated.hardware import bmc_key
from services.simulated.profiles import moment
from services.simulated.rack import JobAnswer, Rack
from services.simulated.state import DiskOutcome, Phase, Wanted, Work

_KNOWN_FOR = timedelta(seconds=10)
_MOST_KNOWN = 10_000


class SimulatedHardware:
    """`services.lifecycle.ports.Hardware` over a rack; may be called from any thread.

    Inspecting and cleaning end with the server off, as in Ironic; a deploy and a rescue leave it running their ramdisk.
    A corrupt image passes with another actual than expected checksum: judging is lifecycle's.
    """

    def __init__(self, rack: Rack, credentials: RememberedCredentials, clock: Clock) -> None:
        self._rack = rack
        self._credentials = credentials
        self._clock = clock
        self._known: dict[str, tuple[str, datetime]] = {}

    moves_ports = False
    """See `Hardware.moves_ports`."""

    def verify(self, target: Target) -> None:
        """See `Hardware.verify`. The login is fetched anew, whatever is remembered."""
        self._known.pop(target.server, None)
        bmc = self._bmc(target)
        with effect("hardware.verify"):
            self._not_taken(target, bmc)
            self._rack.verify(target.server, bmc, self._clock.now())

    def check_offer(self, target: Target, booking: Booking) -> None:
        """See `Hardware.check_offer`."""
        bmc = self._bmc(target)
        with effect("hardware.check_offer"):
            self._not_taken(target, bmc)

    def reserve(self, target: Target, instance: str, *, request_id: str) -> str:
        """See `Hardware.reserve`. Nobody else can ask the rack for servers, but for a fault that says so."""
        bmc = self._bmc(target)
        with effect("hardware.reserve"):
            self._not_taken(target, bmc)
        return ""

    def unreserve(self, target: Target) -> None:
        """See `Hardware.unreserve`. The rack holds nothing."""

    def _not_taken(self, target: Target, bmc: str) -> None:
        if self._rack.is_taken(target.server, bmc, self._clock.now()):
            msg = f"others have taken servers/{target.server} from the rack"
            raise TakenElsewhere(msg, subject=f"servers/{target.server}")

    def describe(self, target: Target, card: ServerCard, *, project: str) -> None:
        """See `Hardware.describe`. The rack tells nobody of its servers."""

    def adopt(self, target: Target, image: ImageOrder | None, *, project: str) -> None:
        """See `Hardware.adopt`. The rack does not ask who wrote a server's disks."""

    def read_power(self, target: Target) -> PowerSeen:
        """See `Hardware.read_power`. With a login that may have been remembered: it is read again and again."""
        bmc = self._bmc(target, self._credentials.remembered)
        try:
            with effect("hardware.read_power"):
                now = self._clock.now()
                answer = self._rack.read_power(target.server, bmc, now)
        except BmsError:
            # Whatever was remembered may be why.
            self._known.pop(target.server, None)
            self._credentials.forget(target.server)
            raise
        return PowerSeen("on" if answer.on else "off", now, answer.digest)

    def set_power(self, target: Target, *, on: bool, request_id: str) -> PowerSeen:
        """See `Hardware.set_power`. Asking for what is changes nothing, so no BMC needs to know the request's id."""
        bmc = self._bmc(target)
        with effect("hardware.set_power"):
            self._rack.set_power(target.server, bmc, self._clock.now(), on=on)
        return self.read_power(target)

    def reboot(self, target: Target, *, request_id: str) -> None:
        """See `Hardware.reboot`."""
        bmc = self._bmc(target)
        with effect("hardware.reboot"):
            self._rack.reboot(target.server, bmc, self._clock.now(), request_id=request_id)

    def reset_bmc(self, target: Target) -> None:
        """See `Hardware.reset_bmc`."""
        bmc = self._bmc(target)
        with effect("hardware.reset_bmc"):
            self._rack.reset_bmc(target.server, bmc, self._clock.now())

    def start_job(self, target: Target, order: JobOrder, *, request_id: str) -> None:
        """See `Hardware.start_job`. The config drive is not handed on: the rack's file is no place for secrets."""
        bmc = self._bmc(target)
        image = order.image
        steps = tuple(step.label for step in order.steps)
        wanted = Wanted(order.disks, image.image if image else "", image.checksum if image else "", steps)
        with effect("hardware.start_job"):
            self._rack.start_job(
                target.server, bmc, self._clock.now(), Work(order.kind.value), wanted, request_id=request_id
            )

    def read_job(self, target: Target, *, request_id: str) -> JobReading:
        """See `Hardware.read_job`."""
        bmc = self._bmc(target)
        with effect("hardware.read_job"):
            answer = self._rack.read_job(target.server, bmc, self._clock.now(), request_id=request_id)
        return JobReading(JobPhase.ABSENT) if answer is None else _reading(answer)

    def mark(self, target: Target, marks: Marks) -> None:
        """See `Hardware.mark`. Nobody else looks at the rack."""

    def console(self, target: Target) -> ConsoleSeen:
        """See `Hardware.console`. Nobody listens at the address."""
        bmc = self._bmc(target)
        with effect("hardware.console"):
            self._rack.read_power(target.server, bmc, self._clock.now())
        return ConsoleSeen("simulated", f"tcp://console.rack.invalid:10001/{target.server}")

    def forget(self, target: Target) -> None:
        """See `Hardware.forget`. It needs no login: the server's may be gone already."""
        with effect("hardware.forget"):
            self._rack.forget(target.server, self._clock.now())

    def _bmc(self, target: Target, login: Callable[[str], Bmc] | None = None) -> str:
        """Which BMC of the rack; where it is, is remembered for a moment. The login never is: the rack needs none."""
        now = self._clock.now()
        known = self._known.get(target.server)
        if known is not None and now < known[1]:
            return known[0]
        bmc = (login or self._credentials.of)(target.server)
        key = bmc_key(bmc.address, bmc.port, bmc.driver)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[target.server] = (key, now + _KNOWN_FOR)
        return key


def _reading(answer: JobAnswer) -> JobReading:
    job, chassis = answer.job, answer.machine.chassis
    passed = job.phase is Phase.PASSED
    facts = image = None
    if passed and job.kind is Work(JobKind.INSPECT.value):
        facts = HardwareFacts(
            cpu_arch=chassis.cpu_arch,
            cpus=chassis.cpus,
            memory_mb=chassis.memory_mb,
            local_gb=job.outcome.disks[0].size // 2**30 if job.outcome.disks else 0,
            manufacturer=chassis.manufacturer,
            model=chassis.model,
            serial_number=chassis.serial,
            capabilities=(("boot_mode", "uefi"),),
        )
    if passed and job.kind is Work(JobKind.DEPLOY.value):
        image = ImageSeen(job.wanted.image, job.wanted.checksum, job.outcome.actual_checksum, job.outcome.root_disk)
    return JobReading(
        phase=JobPhase(job.phase.value),
        percent=answer.percent,
        stage=answer.stage,
        reason=job.outcome.reason,
        message=job.outcome.message,
        facts=facts,
        disks=tuple(_disk(disk) for disk in job.outcome.disks),
        image=image,
    )


def _disk(disk: DiskOutcome) -> DiskSeen:
    if not disk.method:
        return DiskSeen(disk.serial, disk.size)
    return DiskSeen(
        disk.serial, disk.size, disk.method, moment(disk.start), moment(disk.end), bytes.fromhex(disk.sample)
    )
