# SPDX-License-Identifier: Apache-2.0
"""What is done for a server that is set aside while its ports do not answer: nobody else may get it, and it is off.

Ports come first; only what they keep waiting is done meanwhile, as far as it can be, and the plan's own steps for it
follow all the same. A switch that is silent for a day would else leave a server running on its networks for a day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.errors import PeerUnavailable
from services.kernel.events import Evidence
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Power
from services.lifecycle.peers import Inventory
from services.lifecycle.ports import Hardware, Target
from services.lifecycle.steps.attaching import AttachingSteps
from services.lifecycle.steps.ending import tell
from services.lifecycle.steps.identity import call_id
from services.lifecycle.steps.outcomes import Context, Done, Outcome, Waiting
from services.lifecycle.steps.power import with_power

_SETTING_ASIDE = frozenset({IntentKind.QUARANTINE, IntentKind.RELEASE_SILENT, IntentKind.FORCE_RELEASE})


@dataclass(frozen=True, slots=True)
class MeanwhileSteps:
    """detach_all."""

    attaching: AttachingSteps
    inventory: Inventory
    hardware: Hardware

    def detach_all(self, ctx: Context) -> Outcome:
        """All ports in quarantine, read back; a server to be set aside is reported and powered off while that waits."""
        outcome = self.attaching.attach(ctx)
        if not isinstance(outcome, Waiting) or ctx.intent.kind not in _SETTING_ASIDE:
            return outcome
        return self._power_off(ctx, self._report(outcome))

    def _report(self, waiting: Waiting) -> Waiting:
        server = waiting.server
        if server.wanted_report() == server.reported:
            return waiting
        told = tell(server, self.inventory)
        if isinstance(told, Done):
            return replace(waiting, server=told.server)
        return waiting  # the plan's own step waits for inventory, and says so

    def _power_off(self, ctx: Context, waiting: Waiting) -> Waiting:
        server, intent = waiting.server, waiting.server.task
        if server.power is Power.OFF:
            return waiting
        if not intent.acted:
            # Recorded before it is done.
            asked = replace(server, intent=replace(intent, acted=True))
            event = note(server, asked, "power.requested", ctx.now, facts={"power": Power.OFF.value})
            return replace(waiting, server=asked, events=(*waiting.events, event), at_once=True)
        target = Target(server.uuid, server.fence)
        try:
            seen = self.hardware.read_power(target)
            if seen.power != Power.OFF.value:
                wish = call_id(intent, server.fence, server.uuid, "off")
                seen = self.hardware.set_power(target, on=False, request_id=wish)
        except PeerUnavailable as error:
            unknown = replace(server, power=Power.UNKNOWN)
            return replace(waiting, server=unknown, reason=f"{waiting.reason}; nor can it be powered off: {error}")
        read = with_power(server, seen)
        if read.power is not Power.OFF:
            return replace(waiting, server=read, reason=f"{waiting.reason}; power reads {read.power.value}")
        event = note(server, read, "power.observed", ctx.now, evidence=Evidence(power=seen))
        return replace(
            waiting, server=read, events=(*waiting.events, event), reason=f"{waiting.reason}; it was powered off"
        )
