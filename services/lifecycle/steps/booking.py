# SPDX-License-Identifier: Apache-2.0
"""Steps by which Nova gets to deploy a server for an instance: that alone is how Nova holds one."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.errors import BmsError, DeadlineExceeded, PeerUnavailable, WrongState
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import TAKEN
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.peers import Inventory
from services.lifecycle.ports import (
    Booking,
    Hardware,
    ImageOrder,
    JobKind,
    JobOrder,
    JobPhase,
    TakenElsewhere,
    Target,
    wait_for,
)
from services.lifecycle.steps.identity import image_job
from services.lifecycle.steps.jobs import ConfigDrive, holder, untagged_leases
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class BookingSteps:
    """check_offer, book_server."""

    hardware: Hardware
    inventory: Inventory
    config_drive: ConfigDrive

    def check_offer(self, ctx: Context) -> Outcome:
        """Nova has all that it will be asked with and offers the server; or somebody has it, and nothing was done."""
        server = ctx.server
        try:
            booking, _ = self._booking(ctx, holder(ctx))
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT", str(error))
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        try:
            self.hardware.check_offer(Target(server.uuid, server.fence), booking)
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        except TakenElsewhere as error:
            return Failed(server, TAKEN, str(error))
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        return Done(server)

    def book_server(self, ctx: Context) -> Outcome:
        """Nova began what the next step waits for, and the controller holds the server for Nova's."""
        server, instance = ctx.server, holder(ctx)
        target, identity = Target(server.uuid, server.fence), image_job(ctx.intent, server.uuid)
        try:
            reading = self.hardware.read_job(target, request_id=identity)
            if reading.phase is JobPhase.ABSENT:
                try:
                    order = self._order(ctx, instance)
                except (PeerUnavailable, DeadlineExceeded) as error:
                    return Waiting(server, "INVENTORY_SILENT", str(error))
                except BmsError as error:
                    return Failed(server, "PEER_REFUSED", str(error), cause=error)
                self.hardware.start_job(target, order, request_id=identity)
                reading = self.hardware.read_job(target, request_id=identity)
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        except TakenElsewhere as error:
            return Failed(server, TAKEN, str(error))
        if reading.hold:
            return Done(server, (note(server, server, "server.held", ctx.now, facts={"hold": reading.hold}),))
        if reading.phase is JobPhase.FAILED:
            reason = reading.reason if reading.reason in BLOCKERS else "IMAGE_WRITE_FAILED"
            return Failed(server, reason, reading.message or reading.reason)
        return Waiting(server, "JOB_RUNNING", reading.stage or ctx.intent.step.description, least=reading.again)

    def _order(self, ctx: Context, instance: Instance) -> JobOrder:
        booking, image = self._booking(ctx, instance)
        return JobOrder(JobKind.DEPLOY, image=image, config_drive=self.config_drive(instance), booking=booking)

    def _booking(self, ctx: Context, instance: Instance) -> tuple[Booking, ImageOrder]:
        """What Nova is asked with.

        Raises:
            WrongState: flavor or image is not in the cloud.
        """
        image, flavor = self.inventory.image(instance.image, instance.project), self.inventory.flavor(instance.flavor)
        for name, ident, place in ((flavor.name, flavor.nova_id, "Nova"), (image.image, image.glance_id, "Glance")):
            if not ident:
                msg = f"{name} is not in {place}, through which it would be deployed"
                remedy = f"Its mirror says why it is not in {place}: bms {name.split('/')[0][:-1]} show {name}."
                raise WrongState(msg, remedy=remedy, subject=name)
        leases = untagged_leases(ctx.server, instance)
        return Booking(instance.name, instance.project, flavor.nova_id, image.glance_id, leases), image
