# SPDX-License-Identifier: Apache-2.0
"""Looking at servers at rest: power and ports are read, and what should not be is acted on.

A server that nobody holds and that is found powered on, or on a network, is no longer clean: it goes to quarantine by
itself. A server that an instance holds is only recorded: taking it from its tenant is an administrator's decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.kernel.errors import BmsError
from services.kernel.events import Event, Evidence, PowerSeen
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.plans import IntentKind
from services.lifecycle.domain.server import Intent, PortClass, Power, Server, isolated
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.walk import Change
from services.lifecycle.peers import Networks, Reading
from services.lifecycle.ports import Hardware, Target
from services.lifecycle.steps.attaching import port_seen
from services.lifecycle.steps.power import with_power

_UNTOUCHED = frozenset({State.ENROLLED, State.UNEXPECTED})


@dataclass(frozen=True, slots=True)
class Patrol:
    """Looks at servers at rest."""

    hardware: Hardware
    networks: Networks
    new_id: Callable[[], str]

    def visit(self, server: Server, instance: Instance | None, now: datetime) -> Change:
        """One look at a server at rest; what is found off its plan is recorded or acted on."""
        if server.state in _UNTOUCHED or server.unmanaged:
            return Change(server)
        looked, events = self.look(server, now, "server.patrolled")
        changed = looked.power is not server.power or any(
            (new.observed, new.networks) != (old.observed, old.networks)
            for new, old in zip(looked.ports, server.ports, strict=True)
        )
        if not changed:
            return Change(looked)
        if server.state is State.AVAILABLE:
            if looked.power is Power.ON:
                return self._set_aside(
                    looked, events, now, "POWER_ON_UNPLANNED", "it was found powered on though nobody held it"
                )
            if any(port.linked and port.observed is not PortClass.QUARANTINE for port in looked.ports):
                message = "a port was found on a network though nobody held the server"
                return self._set_aside(looked, events, now, "PORTS_MOVED_UNPLANNED", message)
        return Change(looked, events)

    def look(self, server: Server, now: datetime, type_: str) -> tuple[Server, tuple[Event, ...]]:
        """Reads power and ports afresh, as far as they can be read, and records what was seen as one event."""
        seen: PowerSeen | None = None
        looked = server
        try:
            seen = self.hardware.read_power(Target(server.uuid, server.fence))
            looked = with_power(looked, seen)
        except BmsError:
            looked = replace(looked, power=Power.UNKNOWN)
        readings: tuple[Reading, ...] = ()
        try:
            readings = self.networks.read(server.uuid, server.fence)
        except BmsError as error:
            message = f"the ports cannot be read: {error}"
            return looked, (note(server, looked, type_, now, evidence=Evidence(power=seen), message=message),)
        known = {reading.port: reading for reading in readings if reading.port_class is not PortClass.UNKNOWN}
        ports = tuple(
            replace(
                port,
                observed=known[port.name].port_class,
                networks=known[port.name].networks,
                read_time=known[port.name].read_time,
            )
            if port.name in known
            else port
            for port in looked.ports
        )
        looked = replace(looked, ports=ports, isolated=isolated(ports))
        evidence = Evidence(ports=tuple(port_seen(reading) for reading in readings), power=seen)
        return looked, (note(server, looked, type_, now, evidence=evidence),)

    def _set_aside(self, server: Server, events: tuple[Event, ...], now: datetime, reason: str, message: str) -> Change:
        intent = Intent(self.new_id(), IntentKind.QUARANTINE, "", "lifecycle", now, now)
        marked = replace(server, fault=reason, fault_message=message, clean_time=None)
        change = walk.begin(marked, None, intent, now, trigger=Trigger.QUARANTINE)
        found = note(server, server, "server.failed", now, reason=reason, message=message)
        return replace(change, events=(*events, found, *change.events))
