# SPDX-License-Identifier: Apache-2.0
"""Steps on a server's power and BMC."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.errors import PeerUnavailable, WrongState
from services.kernel.events import Evidence, PowerSeen
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import TAKEN, Power, Server
from services.lifecycle.ports import Hardware, TakenElsewhere, Target, wait_for
from services.lifecycle.steps.identity import call_id, request_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting

_SILENT = "BMC_SILENT"


def with_power(server: Server, seen: PowerSeen) -> Server:
    """*server* with its power as *seen*."""
    return replace(server, power=Power(seen.power), power_time=seen.read_time)


@dataclass(frozen=True, slots=True)
class PowerSteps:
    """verify_bmc, power_off, power_on, reboot."""

    hardware: Hardware

    def verify_bmc(self, ctx: Context) -> Outcome:
        """The BMC answers and takes the stored login."""
        server = ctx.server
        try:
            self.hardware.verify(_target(server))
        except PeerUnavailable as error:
            return self._silent(ctx, server, error)
        except TakenElsewhere as error:
            return Failed(server, TAKEN, str(error))
        except WrongState as error:
            return Failed(server, "BMC_LOGIN_REFUSED", str(error), may_retry=True)
        return Done(server, (note(server, server, "bmc.verified", ctx.now),))

    def power_off(self, ctx: Context) -> Outcome:
        """Power off, read back."""
        return self._to(ctx, Power.OFF, "POWER_NOT_OFF")

    def power_on(self, ctx: Context) -> Outcome:
        """Power on, read back."""
        return self._to(ctx, Power.ON, "POWER_NOT_ON")

    def reboot(self, ctx: Context) -> Outcome:
        """One power cycle, then power on read back."""
        server = ctx.server
        try:
            if not ctx.intent.acted:
                self.hardware.reboot(_target(server), request_id=request_id(ctx.intent, server.uuid))
                return Waiting(
                    replace(server, intent=replace(ctx.intent, acted=True)), "POWER_NOT_ON", "rebooting", at_once=True
                )
            seen = self.hardware.read_power(_target(server))
        except PeerUnavailable as error:
            return self._silent(ctx, server, error)
        read = with_power(server, seen)
        if read.power is Power.ON:
            return Done(read, (note(server, read, "power.observed", ctx.now, evidence=Evidence(power=seen)),))
        return Waiting(read, "POWER_NOT_ON", f"the BMC reads {seen.power} after the reboot")

    def _silent(self, ctx: Context, server: Server, error: PeerUnavailable) -> Waiting:
        """Waits for a BMC that does not answer, and restarts it if that is what this look is to try."""
        reason, code = str(error), wait_for(error)
        if code != _SILENT:
            return Waiting(server, code, reason)
        if ctx.intent.cure == _SILENT:
            try:
                self.hardware.reset_bmc(_target(server))
                reason = f"{reason}; it was restarted"
            except (PeerUnavailable, WrongState) as refused:
                reason = f"{reason}; it cannot be restarted: {refused}"
        elif any(one.code == _SILENT for one in ctx.intent.tried):
            reason = f"{reason}; restarting it did not help"
        return Waiting(server, _SILENT, reason)

    def _to(self, ctx: Context, wanted: Power, code: str) -> Outcome:
        server = ctx.server
        try:
            if not ctx.intent.acted or ctx.intent.cure == code:
                # Once in a step, and without looking first: asking for what is changes nothing, and reads it as well.
                # That a BMC may lose a command is what the step's remedy is for, which is counted.
                seen = self.hardware.set_power(
                    _target(server), on=wanted is Power.ON, request_id=call_id(ctx.intent, server.fence, server.uuid)
                )
                server = replace(server, intent=replace(ctx.intent, acted=True))
            else:
                seen = self.hardware.read_power(_target(server))
        except PeerUnavailable as error:
            return self._silent(ctx, replace(server, power=Power.UNKNOWN), error)
        read = with_power(server, seen)
        if read.power is wanted:
            return Done(read, (note(server, read, "power.observed", ctx.now, evidence=Evidence(power=seen)),))
        if read.power is Power.UNKNOWN:
            return Waiting(read, "POWER_UNKNOWN", "the BMC answers and cannot tell the power")
        return Waiting(read, code, f"power {wanted.value} was asked for, the BMC reads {seen.power}")


def _target(server: Server) -> Target:
    return Target(server.uuid, server.fence)
