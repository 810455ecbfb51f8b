# SPDX-License-Identifier: Apache-2.0
"""Looking at servers at rest: power and ports are read, and what should not be is acted on.

A server that nobody holds and that is found powered on, or on a network, is no longer clean: it goes to quarantine by
itself, and one in quarantine that is found on a network is cut off anew. One that an instance holds goes there only if
its isolation is at stake, a port on a network that is none of the instance's, and only as far as the brake allows. What
merely costs its tenant the use of it is recorded and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.kernel.errors import BmsError
from services.kernel.events import Event, Evidence, PowerSeen
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain import findings
from services.lifecycle.domain.aside import brake_pulled, set_aside
from services.lifecycle.domain.blocker import Kind
from services.lifecycle.domain.brake import Held, Sign
from services.lifecycle.domain.findings import NOTED, Finding
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Port, PortClass, Power, Server, Wait, isolated
from services.lifecycle.domain.states import State
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.domain.walk import Change
from services.lifecycle.peers import Networks, Reading
from services.lifecycle.ports import Hardware, Target
from services.lifecycle.steps.attaching import CUTTING, as_read, port_seen
from services.lifecycle.steps.power import with_power
from services.runtime.database import Transaction

_UNTOUCHED = frozenset({State.ENROLLED, State.UNEXPECTED})


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a server at rest led to.

    Attributes:
        change: what is to be written, if nothing was found or the brake has no say.
        instance: the instance that holds it.
        finding: what was found of a server in use.
    """

    change: Change
    instance: Instance | None = None
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Patrol:
    """Looks at servers at rest."""

    hardware: Hardware
    networks: Networks
    new_id: Callable[[], str]
    brakes: Brakes = field(default_factory=Brakes)

    def visit(self, server: Server, instance: Instance | None, now: datetime) -> Look:
        """One look at a server at rest; what is found off its plan is recorded, or acted on by `conclude`."""
        if left_alone(server):
            return Look(Change(server))
        looked, events = self.look(server, now, "server.patrolled")
        written = events if _changed(server, looked) else ()
        finding = findings.found(looked, instance)
        if finding is not None:
            return Look(Change(looked, written), instance, finding)
        if looked.wait is not None and looked.wait.code in NOTED:
            looked = replace(looked, wait=None)
        unplanned = _unplanned(looked)
        if unplanned is not None:
            return Look(self._set_aside(looked, None, written, now, *unplanned))
        return Look(Change(looked, written))

    def conclude(self, tx: Transaction, look: Look, now: datetime) -> Change:
        """What is written after *look*: a server in use is set aside if the brake allows it, else shown with its code.

        In the transaction that writes it.
        """
        finding, server, events = look.finding, look.change.server, look.change.events
        if finding is None:
            return look.change
        verdict = self.brakes.ask(tx, Sign(server.uuid, finding.code, finding.backend, now, cut=finding.cut))
        if not isinstance(verdict, Held):
            if finding.cut:
                return self._set_aside(server, look.instance, events, now, finding.code, finding.message)
            return _noted(server, events, now, finding.code, finding.message)
        if verdict.pulls:
            pulled = brake_pulled(server, verdict, finding.code, finding.backend, finding.message, now)
            events = (*events, pulled)
        if finding.cut:
            return _noted(server, events, now, "BRAKE_PULLED", f"{finding.message}; {verdict.why}")
        return _noted(server, events, now, finding.code, finding.message)

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
        looked = _with_ports(looked, readings)
        evidence = Evidence(ports=tuple(port_seen(reading) for reading in readings), power=seen)
        message = "; ".join(f"{port.name}: {port.odd.breach or port.odd.detail}" for port in looked.ports if port.odd)
        return looked, (note(server, looked, type_, now, evidence=evidence, message=message),)

    def _set_aside(
        self,
        server: Server,
        instance: Instance | None,
        events: tuple[Event, ...],
        now: datetime,
        reason: str,
        message: str,
    ) -> Change:
        found = note(server, server, "server.failed", now, reason=reason, message=message)
        return set_aside(server, instance, (*events, found), now, reason, message, new_id=self.new_id)


def left_alone(server: Server) -> bool:
    """Whether *server* is none of the patrol's business: it was never taken up, or is somebody else's."""
    return server.state in _UNTOUCHED or server.unmanaged or server.taken_elsewhere


def nothing_new(
    server: Server, instance: Instance | None, seen: PowerSeen, readings: Sequence[Reading]
) -> Server | None:
    """*server* with when it was read, if that shows what is recorded and nothing is to be said; else None.

    Then `Patrol.visit` is for it, which reads afresh and records.
    """
    looked = _with_ports(with_power(server, seen), readings)
    if _changed(server, looked) or looked.isolated is not server.isolated or looked.wait is not None:
        return None
    if findings.found(looked, instance) is not None or _unplanned(looked) is not None:
        return None
    return looked


def _changed(before: Server, after: Server) -> bool:
    return after.power is not before.power or any(
        (new.observed, new.networks, new.odd) != (old.observed, old.networks, old.odd)
        for new, old in zip(after.ports, before.ports, strict=True)
    )


def _with_ports(server: Server, readings: Sequence[Reading]) -> Server:
    # A switch that did not answer says nothing; one whose answer is no class says a lot.
    known = {reading.port: reading for reading in readings if reading.digest}
    ports = tuple(
        as_read(port, known[port.name])
        # One never read where it is plugged in now: network may have it where it was before.
        if port.name in known and port.read_time is not None
        else port
        for port in server.ports
    )
    # Ports that are being cut were perhaps read one by one so far, and no event says that all were in quarantine: the
    # step does, once it is through.
    cutting = server.intent is not None and server.intent.step.name in CUTTING
    return replace(server, ports=ports, isolated=isolated(ports) and (server.isolated or not cutting))


def _unplanned(server: Server) -> tuple[str, str] | None:
    """Why a server that nobody holds is set aside: the reason and a sentence; None: it is as it should be."""
    if server.state is State.AVAILABLE:
        if server.power is Power.ON:
            return "POWER_ON_UNPLANNED", "it was found powered on though nobody held it"
        if any(port.observed is not PortClass.QUARANTINE or _is_somewhere(port) for port in server.linked_ports):
            return "PORTS_MOVED_UNPLANNED", "a port was found on a network though nobody held the server"
    if server.state is State.QUARANTINED and not server.isolated:
        # Nothing leads out before it was read there again.
        return "PORTS_MOVED_UNPLANNED", "a port was found elsewhere though the server is in quarantine"
    return None


def _is_somewhere(port: Port) -> bool:
    """Whether what is odd about *port* is that it may be on a network."""
    return port.odd is not None and bool(port.odd.networks or port.odd.breach)


def _noted(server: Server, events: tuple[Event, ...], now: datetime, code: str, message: str) -> Change:
    """*server*, standing at rest under *code*; what somebody should look at is told once."""
    before = server.wait
    same = before is not None and before.code == code
    since = before.since if before is not None and same else now
    noted = replace(server, wait=Wait(code, message, since, alarmed=True))
    if not same and BLOCKERS[code].kind is Kind.WAIT:
        events = (*events, note(server, noted, "server.waiting", now, reason=code, message=message))
    return Change(noted, events)
