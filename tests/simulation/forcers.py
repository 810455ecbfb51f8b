# SPDX-License-Identifier: Apache-2.0
"""Two administrators who force what lacks its proof: one asks, the other approves, or does not."""

from __future__ import annotations

from typing import Any

from bms.lifecycle.v1 import forced_action_pb2, server_status_pb2
from services.simulated import control
from tests.simulation.admins import statuses
from tests.simulation.people import Person, Refused
from tests.simulation.tenants import Ledger

_KIND = forced_action_pb2.ForcedAction
_STATE = server_status_pb2.ServerStatus
_KINDS = {
    _STATE.STATE_CLEANING: (_KIND.KIND_SKIP_CLEAN,),
    _STATE.STATE_RELEASING: (_KIND.KIND_RELEASE, _KIND.KIND_ATTEST_POWER_OFF),
    _STATE.STATE_DETACHING: (_KIND.KIND_RELEASE, _KIND.KIND_ATTEST_POWER_OFF),
    _STATE.STATE_QUARANTINED: (_KIND.KIND_RELEASE, _KIND.KIND_AVAILABLE, _KIND.KIND_ATTEST_POWER_OFF),
}


class Forcers:
    """They look for servers that could be forced on, and force some of them."""

    def __init__(self, asking: Person, approving: Person, ledger: Ledger) -> None:
        self._asking = asking
        self._approving = approving
        self._ledger = ledger

    def work(self, every: float) -> None:
        """Goes on until the weather clears."""
        me = self._asking
        while True:
            me.sim.sleep(me.chance.expovariate(1 / every))
            if not me.site.weather.has("forced"):
                return
            could = [status for status in statuses(me) if status.state in _KINDS]
            if could:
                self._force(me.chance.choice(could))

    def _force(self, status: Any) -> None:
        chance = self._asking.chance
        kind = chance.choice(_KINDS[status.state])
        name = _KIND.Kind.Name(kind)
        if kind == _KIND.KIND_ATTEST_POWER_OFF:
            # What he attests he saw: he has pressed the button himself.
            site = self._asking.site
            control.press(site.rack, status.server.removeprefix("servers/"), self._asking.sim.now(), on=False)
        request = forced_action_pb2.CreateForcedActionRequest(
            parent=status.server, forced_action=_KIND(kind=kind, reason="rehearsal")
        )
        try:
            action = self._asking.call("lifecycle", "CreateForcedAction", request)
        except Refused as refused:
            self._ledger.count(f"{name} refused: {refused.reason}")
            return
        if chance.random() < 0.1:
            self._withdraw(action)
            return
        try:
            self._approving.call(
                "lifecycle", "ApproveForcedAction", forced_action_pb2.ApproveForcedActionRequest(name=action.name)
            )
            self._ledger.count(name)
        except Refused as refused:
            self._ledger.count(f"{name} not approved: {refused.reason}")
            self._withdraw(action)

    def _withdraw(self, action: Any) -> None:
        try:
            request = forced_action_pb2.DeleteForcedActionRequest(name=action.name)
            self._approving.call("lifecycle", "DeleteForcedAction", request)
        except Refused as refused:
            if refused.reason != "WRONG_STATE":
                raise
