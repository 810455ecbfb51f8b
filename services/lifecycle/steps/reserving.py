# SPDX-License-Identifier: Apache-2.0
"""Steps that have a server's controller hold it for an instance, and let it go: who else asks there is told no."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.errors import PeerUnavailable
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import TAKEN
from services.lifecycle.ports import Hardware, TakenElsewhere, Target, wait_for
from services.lifecycle.steps.identity import request_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class ReservingSteps:
    """reserve_node, unreserve_node."""

    hardware: Hardware

    def reserve_node(self, ctx: Context) -> Outcome:
        """The controller holds the server for the instance; or somebody else was first, and nothing was done to it."""
        server, identity = ctx.server, request_id(ctx.intent, ctx.server.uuid)
        try:
            hold = self.hardware.reserve(Target(server.uuid, server.fence), server.instance, request_id=identity)
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        except TakenElsewhere as error:
            return Failed(server, TAKEN, str(error))
        if not hold:
            return Done(server)
        return Done(server, (note(server, server, "server.held", ctx.now, facts={"hold": hold}),))

    def unreserve_node(self, ctx: Context) -> Outcome:
        """The controller holds it for nobody, as far as it did for us."""
        try:
            self.hardware.unreserve(Target(ctx.server.uuid, ctx.server.fence))
        except PeerUnavailable as error:
            return Waiting(ctx.server, wait_for(error), str(error))
        return Done(ctx.server)
