# SPDX-License-Identifier: Apache-2.0
"""Steps on a server's ports: what was asked for is read back from the fabric before anything goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from services.kernel.errors import BmsError, DeadlineExceeded, PeerUnavailable, Stale, WrongState
from services.kernel.events import Evidence, PortSeen
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note, project_of
from services.lifecycle.domain.plugging import replugged
from services.lifecycle.domain.server import Oddity, Port, PortClass, Server, Tag, isolated
from services.lifecycle.domain.step import StepName
from services.lifecycle.peers import Inventory, Networks, PortWish, Purpose, Reading
from services.lifecycle.ports import Hardware, wait_for
from services.lifecycle.steps.describing import described
from services.lifecycle.steps.identity import call_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting

CUTTING = frozenset({StepName.DETACH_ALL, StepName.REGISTER_PORTS, StepName.SETTLE_LINKS})
"""Steps that take a server off every network."""
_ASIDE = frozenset({
    IntentKind.QUARANTINE, IntentKind.RELEASE_SILENT, IntentKind.FORCE_RELEASE, IntentKind.PUT_BACK, IntentKind.CLOSE,
})  # fmt: skip
"""What takes a server off whatever it is on, whoever put it there."""
_PRIVATE = frozenset({PortClass.PROVISIONING, PortClass.CLEANING, PortClass.RESCUE})
_FOR_A_JOB = frozenset({StepName.ATTACH_PROVISIONING, StepName.ATTACH_CLEANING, StepName.ATTACH_RESCUE})
_TO_RUN = frozenset({IntentKind.ATTACH, IntentKind.ATTACH_RESTART})
"""What brings an instance onto one more network than its controller knows of."""


@dataclass(frozen=True, slots=True)
class AttachingSteps:
    """register_ports, attach_*, detach_all, detach_network.

    Attributes:
        look_every: how often the ports of a server are read while a job runs on it.
    """

    networks: Networks
    inventory: Inventory
    hardware: Hardware
    look_every: timedelta

    def register_ports(self, ctx: Context) -> Outcome:
        """Network knows every port that is plugged in, and every one was read in quarantine; so does the controller."""
        server = ctx.server
        try:
            registered = self.inventory.server(server.uuid)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT", str(error))
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        ports, _ = replugged(server.ports, registered.ports)
        asked = tuple(_to_quarantine(port) if port.linked and port not in server.ports else port for port in ports)
        told = replace(server, ports=asked, display_name=registered.display_name)
        if not told.linked_ports:
            return Failed(told, "NO_PORTS", "no port is plugged in, as far as inventory knows")
        settled = self._settle(replace(ctx, server=told), register=True)
        if not isinstance(settled, Done):
            return settled
        try:
            return replace(settled, server=described(settled.server, registered, self.hardware))
        except PeerUnavailable as error:
            # What was read is told once: the controller may be away for days, and each look reads it again.
            events = () if _as_told(server, settled.server) else settled.events
            return Waiting(settled.server, wait_for(error), str(error), events, settled.instance)

    def attach(self, ctx: Context) -> Outcome:
        """The ports are what the step asked for, read back; every other port is what it was.

        What a job is to run on is only asked for where the controller moves the ports within it: see `seen_within`.
        """
        settled = self._settle(ctx)
        if self.hardware.moves_ports and ctx.intent.step.name in _FOR_A_JOB and _is_late(settled):
            return Done(settled.server)
        return settled

    def seen_within(self, ctx: Context) -> Outcome | None:
        """The ports as a job is under way whose controller moves them: Done when they are first read where they shall.

        What was asked for before the job is out until then. None: it is not, or nobody but network moves ports.
        """
        server = ctx.server
        if not self.hardware.moves_ports or all(port.requested is None for port in server.ports):
            return None
        try:
            readings = self.networks.read(server.uuid, server.fence)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "NETWORK_SILENT", str(error))
        within = judge(ctx, {reading.port: reading for reading in readings})
        if _is_late(within) and all(port.requested in (None, port.observed) for port in server.ports):
            # Whoever took over from a worker that died read them there, which the log has; now they are gone.
            ports = tuple(replace(port, requested=None, wanted=()) for port in within.server.ports)
            return Done(replace(within.server, ports=ports))
        return within

    def looked_again(self, ctx: Context) -> Failed | Server:
        """The server with its ports looked at, if that is due while a job runs on it; Failed: one was moved, or opened.

        Who lost its network is exposed to nobody, and its job ends by itself. What cannot be read is read later. Where
        a controller moves ports within its job, only what was opened counts.
        """
        server = ctx.server
        times = [port.read_time for port in server.linked_ports if port.read_time is not None]
        if not times or ctx.now - max(times) < self.look_every:
            return server
        try:
            found = {one.port: one for one in self.networks.read(server.uuid, server.fence) if one.digest}
        except (PeerUnavailable, DeadlineExceeded):
            return server
        seen = replace(
            server,
            ports=tuple(
                replace(port, read_time=found[port.name].read_time) if port.name in found else port
                for port in server.ports
            ),
        )
        for port in server.linked_ports:
            reading = found.get(port.name)
            if reading is None or (why := _drifted(port, reading)) is None:
                continue
            if self.hardware.moves_ports and why[0] != "NETWORK_OPENED":
                continue  # it may be at that just now
            code, message = why
            evidence = Evidence(ports=tuple(port_seen(one) for one in found.values()))
            event = note(server, server, "server.patrolled", ctx.now, evidence=evidence, message=message)
            return Failed(seen, code, message, (event,))
        return seen

    def _settle(self, ctx: Context, *, register: bool = False) -> Outcome:
        server = ctx.server
        linked = server.linked_ports
        if not linked:
            return judge(ctx, {})
        asked = [port for port in server.ports if port.requested is not None]
        never_fails = ctx.intent.step.limit is None
        try:
            if register or ctx.intent.cure or any(port.read_time is None for port in linked):
                # Network may never have heard of a port that was never read: it is new, or plugged in anew.
                plugs = (f"{port.name} {port.switch_name} {port.switch_port}" for port in linked)
                identity = call_id(ctx.intent, server.fence, server.uuid, *plugs)
                try:
                    self.networks.register(server.uuid, linked, server.fence, identity)
                except WrongState as error:
                    if ctx.intent.step.name not in CUTTING:
                        raise
                    return self._cut_where_it_was(ctx, error)
            if asked:
                wishes = []
                for port in asked:
                    wish = self._wish(port, server)
                    if wish is None:
                        return Waiting(
                            server, "PRIVATE_NETWORK_MISSING", f"the site has no private network for {port.requested}"
                        )
                    wishes.append(wish)
                # What is cut may be found elsewhere at the next look: then it is another request.
                whole = (one.port if one.purpose is Purpose.STEP else f"{one.port} {one.purpose}" for one in wishes)
                identity = call_id(ctx.intent, server.fence, server.uuid, *whole)
                self.networks.attach(server.uuid, tuple(wishes), project_of(server.instance), server.fence, identity)
            readings = self.networks.read(server.uuid, server.fence)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "NETWORK_SILENT", str(error))
        except Stale:
            raise
        except BmsError as error:
            if never_fails:
                return Waiting(server, "REFUSED_BY_PEER", f"network refuses: {error}")
            return Failed(server, "PEER_REFUSED", f"network refuses: {error}", cause=error)
        return judge(ctx, {reading.port: reading for reading in readings})

    def _cut_where_it_was(self, ctx: Context, refused: WrongState) -> Waiting:
        """Whatever network still knows of the server goes into quarantine there and is read, so that it may be let go.

        Raises:
            BmsError: network does not answer, or refuses.
        """
        server = ctx.server
        readings = cut_as_known(self.networks, ctx)
        silent = next((one for one in readings if one.port_class is PortClass.UNKNOWN), None)
        if silent is not None:
            return Waiting(server, "FABRIC_SILENT", f"{refused}; it cannot be read there: {silent.detail}")
        if any(one.port_class is not PortClass.QUARANTINE for one in readings):
            return Waiting(server, "PORTS_NOT_SETTLED", str(refused))
        seen = Evidence(ports=tuple(port_seen(one) for one in readings))
        event = note(server, server, "port.detach_observed", ctx.now, evidence=seen, message="where they were")
        return Waiting(server, "PORTS_NOT_SETTLED", str(refused), (event,))

    def _wish(self, port: Port, server: Server) -> PortWish | None:
        if port.requested in _PRIVATE:
            network = self.networks.private(port.requested)
            return PortWish(port.name, port.requested, (Tag(network),)) if network else None
        wanted = port.requested or PortClass.QUARANTINE
        return PortWish(port.name, wanted, port.wanted, purpose_of(server, wanted))


def purpose_of(server: Server, wanted: PortClass) -> Purpose:
    """Whom it is meant for that ports of *server* shall be *wanted*, where a controller moves ports too.

    What a tenant's server is on is cut by network, and given back by it before the server is powered on: the only
    controller that would do either by itself does both in one, with no quarantine between that could be read. What a
    clean put on a private network its controller takes off again; what a deployment or a rescue did stays there.
    """
    intent = server.task
    if intent.kind is IntentKind.PLACE_ANEW:
        # Somebody else's controller has it by now.
        return Purpose.STEP
    if intent.step.name is StepName.DETACH_ALL and wanted is PortClass.QUARANTINE:
        left = any(port.observed not in (PortClass.QUARANTINE, PortClass.CLEANING) for port in server.linked_ports)
        return Purpose.CUT if left or intent.kind in _ASIDE else Purpose.STEP
    return Purpose.RESTORE if wanted is PortClass.TENANT and intent.kind not in _TO_RUN else Purpose.STEP


def _is_late(outcome: Outcome) -> bool:
    return isinstance(outcome, Waiting) and outcome.code == "PORTS_NOT_SETTLED"


def cut_as_known(networks: Networks, ctx: Context) -> tuple[Reading, ...]:
    """Every port that network knows of the server is asked into quarantine and read, wherever it is plugged in now."""
    server = ctx.server
    known = networks.read(server.uuid, server.fence)
    wishes = tuple(PortWish(one.port, PortClass.QUARANTINE, purpose=Purpose.CUT) for one in known)
    if not wishes:
        return ()
    identity = call_id(ctx.intent, server.fence, server.uuid, "as known", *(one.port for one in known))
    networks.attach(server.uuid, wishes, project_of(server.instance), server.fence, identity)
    return networks.read(server.uuid, server.fence)


def judge(ctx: Context, readings: Mapping[str, Reading]) -> Outcome:
    """What *readings* mean for the step: settled, not yet, or moved by somebody else."""
    server = ctx.server
    ports = tuple(_read(port, readings.get(port.name)) for port in server.ports)
    read = replace(server, ports=ports)
    for before, port in zip(server.ports, ports, strict=True):
        reading = readings.get(port.name)
        if not port.linked:
            continue
        if reading is None or reading.port_class is PortClass.UNKNOWN:
            detail = reading.detail if reading else "network does not know the port"
            return Waiting(read, "FABRIC_SILENT", f"{port.name} cannot be read: {detail}")
        if reading.breach and ctx.intent.step.name not in CUTTING:
            return Failed(read, "NETWORK_OPENED", f"{port.name}: {reading.breach}")
        moved = (port.observed, set(port.networks)) != (before.observed, set(before.networks))
        if before.requested is None and moved and before.observed is not PortClass.UNKNOWN:
            message = (
                f"{port.name} was {before.observed.value} and reads {port.observed.value}, which nobody here asked for"
            )
            if ctx.intent.step.limit is None:
                return Waiting(read, "PORTS_NOT_SETTLED", message)
            return Failed(read, "PORTS_MOVED_UNPLANNED", message)
    if any(port.requested is not None for port in ports):
        late = ", ".join(f"{port.name} reads {port.observed.value}" for port in ports if port.requested is not None)
        return Waiting(read, "PORTS_NOT_SETTLED", f"asked for and not read back yet: {late}")
    settled = replace(read, isolated=isolated(ports))
    instance = connected(ctx.instance, settled) if ctx.instance else None
    out = ctx.intent.step.name in CUTTING or ctx.intent.step.name is StepName.DETACH_NETWORK
    type_ = "port.detach_observed" if out else "port.attach_observed"
    seen = Evidence(ports=tuple(port_seen(readings[port.name]) for port in ports if port.name in readings))
    # Of a server without ports nothing was observed, and nothing says so.
    events = (note(server, settled, type_, ctx.now, evidence=seen),) if seen.ports else ()
    return Done(settled, events, instance)


def _drifted(port: Port, reading: Reading) -> tuple[str, str] | None:
    """What is wrong with *reading* of a port that nobody moves just now: its code and a sentence; None: nothing."""
    if reading.breach:
        opened = reading.port_class is not PortClass.UNKNOWN
        return "NETWORK_OPENED" if opened else "PORTS_MOVED_UNPLANNED", f"{port.name}: {reading.breach}"
    if port.requested is not None or reading.port_class is PortClass.QUARANTINE:
        return None
    strange = sorted({tag.network for tag in reading.networks} - {tag.network for tag in port.networks})
    if not strange:
        return None
    return "PORTS_MOVED_UNPLANNED", f"{port.name} was found on {strange[0]}, which nobody here asked for"


def _as_told(before: Server, after: Server) -> bool:
    """Whether the ports read as they did before, with nothing out."""

    def shown(server: Server) -> list[tuple[object, ...]]:
        return [
            (port.name, port.observed, port.networks, port.requested, port.read_time is None) for port in server.ports
        ]

    return before.isolated == after.isolated and shown(before) == shown(after)


def port_seen(reading: Reading) -> PortSeen:
    """*reading* as evidence."""
    networks = tuple(tag.network for tag in reading.networks)
    return PortSeen(reading.port, reading.port_class.value, networks, reading.read_time, reading.digest)


def as_read(port: Port, reading: Reading) -> Port:
    """*port* as a *reading* shows it that was answered; what is no class leaves what was read before."""
    certain = reading.port_class is not PortClass.UNKNOWN
    odd = None
    if not certain or reading.breach:
        odd = Oddity(reading.networks, reading.breach, reading.detail, opened=certain)
    if not certain:
        return replace(port, odd=odd, read_time=reading.read_time)
    return replace(port, observed=reading.port_class, networks=reading.networks, read_time=reading.read_time, odd=odd)


def _read(port: Port, reading: Reading | None) -> Port:
    if reading is None or reading.port_class is PortClass.UNKNOWN:
        return port
    read = as_read(port, reading)
    if port.requested is None or port.requested is not reading.port_class:
        return read
    if port.requested is PortClass.TENANT and set(port.wanted) != set(reading.networks):
        return read
    return replace(read, requested=None, wanted=())


def _to_quarantine(port: Port) -> Port:
    return replace(port, requested=PortClass.QUARANTINE, wanted=())


def connected(instance: Instance, server: Server) -> Instance:
    """*instance* with its interfaces' ports and whether they were read on their networks."""
    where: dict[tuple[str, int], Port] = {}
    for port in server.ports:
        if port.observed is PortClass.TENANT:
            for tag in port.networks:
                where.setdefault((tag.network, tag.vlan_tag), port)
    faces = []
    for face in instance.interfaces:
        found = where.get((face.network, face.vlan_tag))
        if found is None:
            faces.append(replace(face, connected=False))
        else:
            faces.append(replace(face, connected=True, port=found.name, mac_address=found.mac_address))
    return replace(instance, interfaces=tuple(faces))
