# SPDX-License-Identifier: Apache-2.0
"""Steps that a controller does by itself once started: inspecting, writing, erasing, booting a rescue system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.kernel.errors import BmsError, DeadlineExceeded, PeerUnavailable
from services.kernel.events import Evidence
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.kinds import DEPLOYS
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Power, Server
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.peers import Inventory
from services.lifecycle.ports import Hardware, JobKind, JobOrder, JobPhase, JobReading, Marks, Target, wait_for
from services.lifecycle.steps.attaching import AttachingSteps
from services.lifecycle.steps.identity import request_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting
from services.lifecycle.steps.power import with_power

ConfigDrive = Callable[[Instance], bytes]
"""Makes the secret document with host name, keys, user data and addresses; opens what is sealed at rest."""


@dataclass(frozen=True, slots=True)
class JobSteps:
    """inspect, write_image, clean, run_steps, boot_rescue."""

    hardware: Hardware
    inventory: Inventory
    config_drive: ConfigDrive
    ports: AttachingSteps

    def inspect(self, ctx: Context) -> Outcome:
        """What the hardware is, and all its disks."""
        return self._job(ctx, lambda: JobOrder(JobKind.INSPECT), self._inspected, "INSPECTION_FAILED")

    def clean(self, ctx: Context) -> Outcome:
        """Every inspected disk erased; no other disk there."""
        order = JobOrder(JobKind.CLEAN, disks=tuple(disk.serial for disk in ctx.server.disks))
        return self._job(ctx, lambda: order, self._cleaned, "DISK_ERASE_FAILED")

    def run_steps(self, ctx: Context) -> Outcome:
        """The clean steps that an administrator named, in his order; run once, whatever becomes of them."""
        order = JobOrder(JobKind.MANUAL_CLEAN, steps=ctx.intent.steps)
        return self._job(ctx, lambda: order, self._ran, "CLEAN_STEP_FAILED")

    def write_image(self, ctx: Context) -> Outcome:
        """The instance's image on the root disk, read back and compared with its checksum."""
        instance = holder(ctx)

        def order() -> JobOrder:
            image = self.inventory.image(instance.image, instance.project)
            drive, leases = self.config_drive(instance), untagged_leases(ctx.server, instance)
            return JobOrder(JobKind.DEPLOY, image=image, config_drive=drive, instance=instance.name, leases=leases)

        return self._job(ctx, order, self._written, "IMAGE_WRITE_FAILED")

    def boot_rescue(self, ctx: Context) -> Outcome:
        """The rescue system runs."""
        instance = holder(ctx)
        return self._job(
            ctx,
            lambda: JobOrder(JobKind.RESCUE, config_drive=self.config_drive(instance)),
            self._rescued,
            "RESCUE_FAILED",
        )

    def _job(
        self, ctx: Context, order: Callable[[], JobOrder], passed: Callable[[Context, JobReading], Outcome], failed: str
    ) -> Outcome:
        server, intent = ctx.server, ctx.intent
        target, identity = Target(server.uuid, server.fence), request_id(intent, server.uuid)
        wanted = None if intent.acted else _ordered(ctx, order)
        try:
            if isinstance(wanted, JobOrder):
                # One that was started already is left as it is, so nobody needs to look first.
                self.hardware.start_job(target, wanted, request_id=identity)
            reading = self.hardware.read_job(target, request_id=identity)
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        if reading.phase is JobPhase.ABSENT and not isinstance(wanted, JobOrder):
            lost = Failed(server, "JOB_LOST", "the controller forgot the work it was given", may_retry=True)
            return wanted or lost
        started = replace(server, intent=replace(intent, acted=True, within=reading.percent))
        if reading.phase is JobPhase.FAILED:
            reason = reading.reason if reading.reason in BLOCKERS else failed
            return Failed(started, reason, reading.message or reading.reason, may_retry=True)
        running = Waiting(started, "JOB_RUNNING", reading.stage or intent.step.description, least=reading.again)
        over = reading.phase is JobPhase.PASSED
        if (within := self.ports.seen_within(replace(ctx, server=started))) is not None:
            return _on_its_network(within, running, over=over)
        if not over:
            looked = self.ports.looked_again(replace(ctx, server=started))
            return looked if isinstance(looked, Failed) else replace(running, server=looked)
        return passed(replace(ctx, server=started), reading)

    def _inspected(self, ctx: Context, reading: JobReading) -> Outcome:
        if not reading.disks:
            return Failed(ctx.server, "NO_DISKS", "inspection found no disk")
        server = replace(ctx.server, disks=reading.disks, facts=reading.facts, clean_time=None)
        return Done(
            server, (note(ctx.server, server, "disks.inspected", ctx.now, evidence=Evidence(disks=reading.disks)),)
        )

    def _cleaned(self, ctx: Context, reading: JobReading) -> Outcome:
        server = ctx.server
        # Counted: two disks may say that they are the same one.
        inspected = Counter(disk.serial for disk in server.disks)
        covered = Counter(disk.serial for disk in reading.disks if disk.method and disk.end_time)
        if strange := sorted(Counter(disk.serial for disk in reading.disks) - inspected):
            return Failed(server, "DISK_APPEARED", f"disks that inspection had not found: {', '.join(strange)}")
        if missing := sorted(inspected - covered):
            return Failed(server, "CLEAN_INCOMPLETE", f"disks that were not erased: {', '.join(missing)}")
        ended = max(disk.end_time for disk in reading.disks if disk.end_time)
        clean = replace(server, clean_time=ended, tainted_since=None, tainted_by="", marked=Marks())
        return Done(clean, (note(server, clean, "clean.passed", ctx.now, evidence=Evidence(disks=reading.disks)),))

    def _ran(self, ctx: Context, _reading: JobReading) -> Outcome:
        steps = ", ".join(step.label for step in ctx.intent.steps)
        return Done(ctx.server, (note(ctx.server, ctx.server, "manual_clean.passed", ctx.now, facts={"steps": steps}),))

    def _written(self, ctx: Context, reading: JobReading) -> Outcome:
        server, image = ctx.server, reading.image
        if ctx.intent.kind in DEPLOYS and server.disks:
            inspected = Counter(disk.serial for disk in server.disks)
            if strange := sorted(Counter(disk.serial for disk in reading.disks) - inspected):
                # Whatever is on it, no clean pass has seen it; a tenant's own later disks are his.
                return Failed(server, "DISK_APPEARED", f"disks that no clean pass covered: {', '.join(strange)}")
        if image is None or image.actual_checksum != image.expected_checksum:
            found = image.actual_checksum if image else "nothing"
            return Failed(server, "IMAGE_CORRUPT", f"read back {found} from the disk", may_retry=True)
        voided = replace(server, clean_time=None)
        evidence = Evidence(image=image, disks=reading.disks)
        return Done(voided, (note(server, voided, "image.verified", ctx.now, evidence=evidence),))

    def _rescued(self, ctx: Context, _reading: JobReading) -> Outcome:
        server = ctx.server
        try:
            seen = self.hardware.read_power(Target(server.uuid, server.fence))
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        read = with_power(server, seen)
        if read.power is not Power.ON:
            return Waiting(read, "POWER_NOT_ON", f"the rescue system was started, the BMC reads {seen.power}")
        return Done(read, (note(server, read, "rescue.booted", ctx.now, evidence=Evidence(power=seen)),))


def _on_its_network(within: Outcome, running: Waiting, *, over: bool) -> Outcome:
    """What the ports were read to be, with the job under way or just over, on which they were to be moved.

    One that is over and was never read where it was to run proves nothing of where it ran.
    """
    if isinstance(within, Failed):
        return within
    if isinstance(within, Done):
        return replace(running, server=within.server, events=within.events, instance=within.instance, at_once=over)
    if not over:
        return replace(running, server=within.server)
    if within.code != "PORTS_NOT_SETTLED":
        return within
    unseen = f"it is over, and was never read on its network: {within.reason}"
    return Failed(within.server, "PORTS_UNSEEN", unseen, may_retry=True)


def _ordered(ctx: Context, order: Callable[[], JobOrder]) -> JobOrder | Waiting | Failed:
    """What to start; or why that cannot be said, which is for him whose job was not started before either."""
    try:
        return order()
    except (PeerUnavailable, DeadlineExceeded) as error:
        return Waiting(ctx.server, "INVENTORY_SILENT", str(error))
    except BmsError as error:
        return Failed(ctx.server, "PEER_REFUSED", str(error), cause=error)


def untagged_leases(server: Server, instance: Instance) -> tuple[str, ...]:
    """The names of the server's leases on the networks that *instance* is on without a tag."""
    untagged = {wish.network for wish in instance.networks if not wish.vlan_tag}
    return tuple(lease.name for lease in server.leases if lease.network in untagged)


def holder(ctx: Context) -> Instance:
    """The instance that the step is for, where there must be one."""
    if ctx.instance is None:
        msg = f"{ctx.server.name} has no instance"
        raise AssertionError(msg)
    return ctx.instance
