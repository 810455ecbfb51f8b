# SPDX-License-Identifier: Apache-2.0
"""Steps that take a server in use over, or leave it as it was. They read, and ask nothing of it or of the fabric."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.errors import BmsError, DeadlineExceeded, PeerUnavailable, Stale, WrongState
from services.kernel.events import Evidence
from services.lifecycle.domain.adoption import disagreement
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Port, PortClass, Power, Report, Server
from services.lifecycle.peers import Inventory, Networks, Reading
from services.lifecycle.ports import Hardware, Target, wait_for
from services.lifecycle.steps.attaching import connected, port_seen
from services.lifecycle.steps.describing import described
from services.lifecycle.steps.identity import call_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting
from services.lifecycle.steps.power import with_power


@dataclass(frozen=True, slots=True)
class AdoptingSteps:
    """find_ports, take_over, forget_ports."""

    networks: Networks
    inventory: Inventory
    hardware: Hardware

    def find_ports(self, ctx: Context) -> Outcome:
        """Network knows every port that is plugged in, as it is, and all read on exactly the instance's networks."""
        server, instance = ctx.server, _instance(ctx)
        try:
            registered = self.inventory.server(server.uuid)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT", str(error))
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        if registered.deleting:
            return Failed(server, "PEER_REFUSED", "its deletion from inventory was asked for")
        told = replace(server, ports=registered.ports, display_name=registered.display_name)
        if not told.linked_ports:
            return Failed(told, "NO_PORTS", "no port is plugged in, as far as inventory knows")
        try:
            plugs = (f"{port.name} {port.switch_name} {port.switch_port}" for port in told.linked_ports)
            identity = call_id(ctx.intent, server.fence, server.uuid, *plugs)
            self.networks.register(server.uuid, told.linked_ports, server.fence, identity, as_found=True)
            readings = self.networks.read(server.uuid, server.fence)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "NETWORK_SILENT", str(error))
        except Stale:
            raise
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        return _judged(told, instance, readings) or Done(_with_ports(told, readings))

    def take_over(self, ctx: Context) -> Outcome:
        """Ports and power as they read now are where the server's evidence begins."""
        server, instance = ctx.server, _instance(ctx)
        try:
            power = self.hardware.read_power(Target(server.uuid, server.fence))
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        if power.power not in ("on", "off"):
            return Waiting(server, "POWER_UNKNOWN", "the BMC answers and cannot tell the power")
        try:
            readings = self.networks.read(server.uuid, server.fence)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "NETWORK_SILENT", str(error))
        if (refused := _judged(server, instance, readings)) is not None:
            return refused
        told = self._adopted(server, instance)
        if not isinstance(told, Server):
            return told
        taken = with_power(_with_ports(told, readings), power)
        seen = tuple(port_seen(reading) for reading in readings)
        adopted = note(
            server, taken, "server.adopted", ctx.now, evidence=Evidence(ports=seen, power=power),
            facts={"instance": server.instance, "image": instance.image},
        )  # fmt: skip
        attached = note(server, taken, "port.adopted", ctx.now, evidence=Evidence(ports=seen))
        return Done(taken, (adopted, attached), connected(instance, taken))

    def _adopted(self, server: Server, instance: Instance) -> Server | Failed | Waiting:
        """*server*, which its controller takes for one that it deployed with the instance's image."""
        target = Target(server.uuid, server.fence)
        try:
            registered = self.inventory.server(server.uuid)
            image = self.inventory.image(instance.image, instance.project)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT", str(error))
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        try:
            told = described(server, registered, self.hardware)
            self.hardware.adopt(target, image, project=instance.project)
        except PeerUnavailable as error:
            return Waiting(server, wait_for(error), str(error))
        except WrongState as error:
            return Failed(server, "PEER_REFUSED", str(error), cause=error)
        return told

    def forget_ports(self, ctx: Context) -> Outcome:
        """Network and inventory know nothing of the adoption any more, nor does the server."""
        server = ctx.server
        left = Report(available=False, reason="ENROLLED", held_by="")
        try:
            self.networks.register(server.uuid, (), server.fence, call_id(ctx.intent, server.fence, server.uuid))
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "NETWORK_SILENT", str(error))
        except Stale:
            raise
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", f"network refuses: {error}")
        try:
            self.inventory.report(server.uuid, server.version, left, None, (), closed=False)
            self.inventory.release_reservation(server.instance)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT", str(error))
        except Stale:
            raise
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", f"inventory refuses: {error}")
        ports = tuple(
            replace(port, observed=PortClass.UNKNOWN, networks=(), read_time=None, requested=None, wanted=())
            for port in server.ports
        )
        return Done(replace(server, ports=ports, isolated=False, power=Power.NEVER, power_time=None, reported=left))


def _judged(server: Server, instance: Instance, readings: tuple[Reading, ...]) -> Outcome | None:
    """What speaks against taking it over; None if nothing does."""
    by_port = {reading.port: reading for reading in readings}
    for port in server.linked_ports:
        reading = by_port.get(port.name)
        # A reading with a digest that tells no class was answered by the switch, and shows something strange.
        if reading is None or (reading.port_class is PortClass.UNKNOWN and not reading.digest):
            detail = reading.detail if reading else "network does not know the port"
            return Waiting(server, "FABRIC_SILENT", f"{port.name} cannot be read: {detail}")
    told = {name: reading.detail for name, reading in by_port.items()}
    if why := disagreement(_with_ports(server, readings).ports, instance.networks, told):
        return Failed(server, "NOT_AS_NAMED", why)
    return None


def _with_ports(server: Server, readings: tuple[Reading, ...]) -> Server:
    by_port = {reading.port: reading for reading in readings}

    def read(port: Port) -> Port:
        found = by_port.get(port.name)
        if found is None:
            return port
        return replace(port, observed=found.port_class, networks=found.networks, read_time=found.read_time)

    return replace(server, ports=tuple(read(port) for port in server.ports))


def _instance(ctx: Context) -> Instance:
    if ctx.instance is None:
        msg = f"{ctx.server.name} is adopted for no instance"
        raise AssertionError(msg)
    return ctx.instance
