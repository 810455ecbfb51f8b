# SPDX-License-Identifier: Apache-2.0
"""What entering a step asks for, recorded before it is asked: from then on a port counts as both."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.kernel.events import DiskSeen, Event, Evidence
from services.lifecycle.domain.instance import Instance, InstanceState, lay_out
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import asked, note
from services.lifecycle.domain.server import Port, PortClass, Server, Tag
from services.lifecycle.domain.step import StepName


def entered(server: Server, instance: Instance | None, now: datetime) -> tuple[Server, list[Event]]:
    """The server with what the step just entered asks of its ports, and the ``*_requested`` events that say so.

    Raises:
        WrongState: the instance's networks do not fit on the ports.
    """
    wishes = wishes_of(server, instance)
    if wishes:
        ports = tuple(_asked(port, wishes[port.name]) if port.name in wishes else port for port in server.ports)
        asking = replace(server, ports=ports, isolated=False)
        out = all(wish[0] is PortClass.QUARANTINE for wish in wishes.values())
        type_ = "port.detach_requested" if out else "port.attach_requested"
        evidence = Evidence(ports=asked(port for port in ports if port.name in wishes))
        return asking, [note(server, asking, type_, now, evidence=evidence)]
    return server, _asked_of_hardware(server, instance, now)


_POWERS = {
    StepName.POWER_OFF: "off",
    StepName.POWER_ON: "on",
    StepName.SWITCH_ON: "on",
    StepName.REBOOT: "reboot",
}


def _asked_of_hardware(server: Server, instance: Instance | None, now: datetime) -> list[Event]:
    name = server.task.step.name
    if name in _POWERS:
        return [note(server, server, "power.requested", now, facts={"power": _POWERS[name]})]
    if name is StepName.WRITE_IMAGE and instance is not None:
        return [note(server, server, "image.write_requested", now, facts={"image": instance.image})]
    if name is StepName.CLEAN:
        disks = tuple(DiskSeen(disk.serial, disk.size_bytes) for disk in server.disks)
        return [note(server, server, "clean.requested", now, evidence=Evidence(disks=disks))]
    if name is StepName.RUN_STEPS:
        steps = ", ".join(step.label for step in server.task.steps)
        return [note(server, server, "manual_clean.requested", now, facts={"steps": steps})]
    if name is StepName.INSPECT:
        return [note(server, server, "inspection.requested", now)]
    if name is StepName.BOOT_RESCUE:
        return [note(server, server, "rescue.requested", now)]
    return []


Wishes = dict[str, tuple[PortClass, tuple[Tag, ...]]]

_BOOT_CLASSES = {
    StepName.ATTACH_PROVISIONING: PortClass.PROVISIONING,
    StepName.ATTACH_CLEANING: PortClass.CLEANING,
    StepName.ATTACH_RESCUE: PortClass.RESCUE,
}


def wishes_of(server: Server, instance: Instance | None) -> Wishes:
    """What the present step wants each port to be: port name -> class and networks; empty for steps that want nothing.

    Raises:
        WrongState: the instance's networks do not fit on the ports.
    """
    intent = server.task
    name = intent.step.name
    if name in _BOOT_CLASSES:
        boot = _with_groups(server, {port.name: () for port in server.boot_ports})
        return dict.fromkeys(boot, (_BOOT_CLASSES[name], ()))
    if name in (StepName.DETACH_ALL, StepName.REGISTER_PORTS, StepName.SETTLE_LINKS):
        return {port.name: (PortClass.QUARANTINE, ()) for port in server.linked_ports}
    if name is StepName.ATTACH_TENANT and instance is not None:
        if intent.kind is IntentKind.ATTACH and instance.resume is InstanceState.STOPPED:
            return {}  # a stopped server stays in quarantine; starting it brings all its networks
        where = {face.network: face.port for face in instance.interfaces if face.port}
        laid = _with_groups(server, lay_out(instance.networks, server.ports, where))
        there = {port.name for port in server.ports if port.name in laid and _is_tenant(port, laid[port.name])}
        return {port: (PortClass.TENANT, tags) for port, tags in laid.items() if port not in there}
    if name is StepName.DETACH_NETWORK:
        wishes: Wishes = {}
        for port in server.linked_ports:
            if any(tag.network == intent.network for tag in (*port.networks, *port.wanted)):
                rest = tuple(tag for tag in port.networks if tag.network != intent.network)
                wishes[port.name] = (PortClass.TENANT, rest) if rest else (PortClass.QUARANTINE, ())
        return wishes
    return {}


def _is_tenant(port: Port, tags: tuple[Tag, ...]) -> bool:
    return port.observed is PortClass.TENANT and port.requested is None and set(port.networks) == set(tags)


def _with_groups(server: Server, laid: dict[str, tuple[Tag, ...]]) -> dict[str, tuple[Tag, ...]]:
    """*laid*, with every member of a port group carrying what its first member does."""
    groups = {port.port_group: laid[port.name] for port in server.ports if port.port_group and port.name in laid}
    members = {port.name: groups[port.port_group] for port in server.linked_ports if port.port_group in groups}
    return {**laid, **members}


def _asked(port: Port, wish: tuple[PortClass, tuple[Tag, ...]]) -> Port:
    return replace(port, requested=wish[0], wanted=wish[1])
