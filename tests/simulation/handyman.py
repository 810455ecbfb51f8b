# SPDX-License-Identifier: Apache-2.0
"""An operator who works on servers that nobody holds: clean steps by hand, power, retirement and its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bms.lifecycle.v1 import clean_pb2, server_power_pb2, server_status_pb2
from tests.simulation.admins import statuses
from tests.simulation.people import Person, Refused

CLASS = "handyman"
_STEPS = ("raid.create_configuration", "deploy.erase_devices", "bios.factory_reset", "vendor.none_of_this_drivers")
_STATUS = server_status_pb2.ServerStatus


class Handyman:
    """Works on servers until the weather clears; then he only brings back what he had retired."""

    def __init__(self, person: Person, servers: Sequence[str]) -> None:
        self._me = person
        self._servers = servers

    def work(self, every: float) -> None:
        """Does something every now and then, seconds apart on average."""
        me = self._me
        while me.site.weather.has(CLASS):
            me.sim.sleep(me.chance.expovariate(1 / every))
            me.chance.choice((self._clean, self._switch, self._retire))(every)
        while True:
            self._bring_back()
            me.sim.sleep(60)

    def _clean(self, _every: float) -> None:
        chosen = [self._me.chance.choice(_STEPS).split(".") for _ in range(self._me.chance.randint(1, 3))]
        steps = [clean_pb2.CleanStep(interface=interface, step=step) for interface, step in chosen]
        self._ask("CleanServer", clean_pb2.CleanServerRequest(name=self._one(), steps=steps))
        self._bring_back()

    def _switch(self, _every: float) -> None:
        lying = statuses(self._me, "state = quarantined")
        if lying:
            power = self._me.chance.choice(server_power_pb2.SetServerPowerRequest.Power.values()[1:])
            name = self._me.chance.choice(lying).server
            self._ask("SetServerPower", server_power_pb2.SetServerPowerRequest(name=name, power=power))

    def _retire(self, every: float) -> None:
        name = self._one()
        self._ask("RetireServer", server_status_pb2.RetireServerRequest(name=name, reason="rehearsal"))
        self._me.sim.sleep(self._me.chance.expovariate(1 / every))
        self._ask("UnretireServer", server_status_pb2.UnretireServerRequest(name=name))
        self._bring_back()

    def _bring_back(self) -> None:
        """Whatever rests as enrolled, and is not retired, is provided again."""
        for status in statuses(self._me, "state = enrolled"):
            if status.retired:
                self._ask("UnretireServer", server_status_pb2.UnretireServerRequest(name=status.server))
            self._ask("ProvideServer", server_status_pb2.ProvideServerRequest(name=status.server))

    def _one(self) -> str:
        return self._me.chance.choice(self._servers)

    def _ask(self, method: str, request: Any) -> None:
        try:
            self._me.call("lifecycle", method, request)
        except Refused as refused:
            if refused.reason not in ("WRONG_STATE", "BUSY", "STALE"):
                raise
            return
        self._me.site.weather.count(CLASS)
