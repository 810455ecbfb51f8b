# SPDX-License-Identifier: Apache-2.0
"""What a look at a server in use may find: its isolation at stake, or only its use lost."""

from __future__ import annotations

from dataclasses import dataclass

from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.nodes import Policy
from services.lifecycle.domain.server import Oddity, Port, PortClass, Power, Server
from services.lifecycle.domain.states import State


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was asked for.

    Attributes:
        code: registered in waits.py.
        backend: the switch that told so; "" where it was the BMC.
        message: a sentence.
        cut: isolation is at stake: it calls for quarantine.
    """

    code: str
    backend: str
    message: str
    cut: bool = False


NOTED = frozenset({"PORTS_LOST", "PORTS_IN_DOUBT", "POWER_LOST", "BRAKE_PULLED"})
"""The codes that a server at rest may stand under; the next look takes them away when they no longer hold."""

VIOLATED = "ISOLATION_VIOLATED"
"""The fault of a server whose log shows that an invariant of isolation was broken."""

IN_USE = frozenset({State.ACTIVE, State.RESCUED})
"""Where an instance has the use of its server."""

CONTROLLER = "controller"
"""Whoever tells of what others did there, to the brake."""


def found(server: Server, instance: Instance | None) -> Finding | None:
    """What is to be said of *server* as it was last read; the worst first. None: nothing, or nobody uses it."""
    if server.intent is None and server.state is not State.QUARANTINED and (told := _told(server)) is not None:
        return told
    if instance is None or server.intent is not None or server.state not in IN_USE:
        return None
    return _violated(server) or _astray(server, instance) or _lost(server, instance) or _in_doubt(server)


def _told(server: Server) -> Finding | None:
    """What its controller shows calls for quarantine."""
    trouble = server.trouble
    if trouble is None or trouble.policy is not Policy.SET_ASIDE:
        return None
    return Finding(trouble.code, CONTROLLER, trouble.message, cut=True)


def _violated(server: Server) -> Finding | None:
    """The judge found an invariant broken, and the brake held: no reading shows that, so the mark on the row does."""
    if server.fault != VIOLATED:
        return None
    return Finding(VIOLATED, "", server.fault_message, cut=True)


def _astray(server: Server, instance: Instance) -> Finding | None:
    """A port on a network that is none of the instance's, or of a class that nobody asked for."""
    own = {wish.network for wish in instance.networks}
    for port in server.linked_ports:
        if port.odd is not None and (odd := _odd(server, instance, port, port.odd)) is not None:
            return odd
        strange = sorted({tag.network for tag in port.networks} - own)
        if port.observed is PortClass.TENANT and strange:
            message = f"{port.name} was found on {strange[0]}, which is no network of {instance.name}"
            return Finding("PORTS_MOVED_UNPLANNED", port.switch_name, message, cut=True)
        if port.observed in (PortClass.TENANT, PortClass.QUARANTINE, PortClass.UNKNOWN):
            continue
        if port.observed is PortClass.RESCUE and server.state is State.RESCUED:
            continue
        message = f"{port.name} was found on a network of class {port.observed.value} while an instance has the server"
        return Finding("PORTS_MOVED_UNPLANNED", port.switch_name, message, cut=True)
    return None


def _odd(server: Server, instance: Instance, port: Port, odd: Oddity) -> Finding | None:
    """A reading that is no class, or of a network that was opened: whether the instance's isolation is at stake."""
    if odd.breach:
        code = "NETWORK_OPENED" if odd.opened else "PORTS_MOVED_UNPLANNED"
        return Finding(code, port.switch_name, f"{port.name}: {odd.breach}", cut=True)
    own = {wish.network for wish in instance.networks}
    if server.state is State.RESCUED and port.observed is PortClass.RESCUE:
        own |= {tag.network for tag in port.networks}
    strange = sorted({tag.network for tag in odd.networks} - own)
    if not strange:
        return None
    message = f"{port.name} may be on {strange[0]}, which is no network of {instance.name}: {odd.detail}"
    return Finding("PORTS_MOVED_UNPLANNED", port.switch_name, message, cut=True)


def _in_doubt(server: Server) -> Finding | None:
    """A port of which it is not certain how it is attached, on nothing but its instance's networks."""
    for port in server.linked_ports:
        if port.odd is not None:
            return Finding("PORTS_IN_DOUBT", port.switch_name, f"{port.name}: {port.odd.detail}")
    return None


def _lost(server: Server, instance: Instance) -> Finding | None:
    """A network or the power that a running instance should have and has not."""
    if server.state is not State.ACTIVE or instance.state is not InstanceState.ACTIVE:
        return None
    seen = {tag.network for port in server.linked_ports if port.observed is PortClass.TENANT for tag in port.networks}
    for wish in instance.networks:
        if wish.network not in seen:
            switch = next((port.switch_name for port in server.linked_ports if not port.networks), "")
            return Finding("PORTS_LOST", switch, f"no port was found on {wish.network}")
    if server.power is Power.OFF:
        return Finding("POWER_LOST", "", "it was found powered off, and nobody here asked for that")
    return None
