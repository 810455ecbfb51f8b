# SPDX-License-Identifier: Apache-2.0
"""Where a server's ports are plugged in, as inventory has it now, beside what was read where they were.

A port is let go of, or looked for elsewhere, only once it cannot be on a network where it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from services.kernel.events import Event
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.server import Port, PortClass, Server
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.wishes import entered

_SILENT = (PortClass.QUARANTINE, PortClass.UNKNOWN)


def wiring(ports: Iterable[Port]) -> frozenset[tuple[str, ...]]:
    """What network has to know of *ports*."""
    return frozenset(
        (port.name, port.switch_name, port.switch_port, port.mac_address, port.port_group, port.switch_id)
        for port in ports
    )


def replugged(ports: tuple[Port, ...], told: tuple[Port, ...]) -> tuple[tuple[Port, ...], bool]:
    """*ports* as inventory *told* them, as far as they may be by now; and whether that is all of it.

    One that is, or may be, on a network stays what it was until it was cut and read. One that is plugged in elsewhere
    counts as never read.
    """
    after = {port.name: port for port in told}
    kept = {port.name: port for port in ports if _must_be_cut(port, after.get(port.name))}
    taken = {_plug(port) for port in kept.values()}
    before = {port.name: port for port in ports}
    merged, whole = list(kept.values()), not kept
    for port in told:
        if port.name in kept:
            continue
        if port.linked and _plug(port) in taken:
            # Where another port of it still has to be cut.
            whole = False
            if port.name in before:
                merged.append(before[port.name])
            continue
        merged.append(learned(before.get(port.name), port))
    order = [*after, *(name for name in kept if name not in after)]
    return tuple(sorted(merged, key=lambda port: order.index(port.name))), whole


def learned(known: Port | None, told: Port) -> Port:
    """A port as inventory tells it now, with what was read of it where it was."""
    if known is None or _plug(known) != _plug(told):
        return told
    return replace(
        known,
        mac_address=told.mac_address,
        pxe_enabled=told.pxe_enabled,
        port_group=told.port_group,
    )


def cut_anew(server: Server, now: datetime) -> tuple[Server, list[Event]]:
    """*server* with every port asked into quarantine, where it is plugged in now, at its plan's step for that.

    What was read before counts no more: network is told of the ports, and all are read again.
    """
    intent = server.task
    if intent.step.name is not StepName.DETACH_ALL:
        index = next(at for at, step in enumerate(plan_of(intent.kind)) if step.name is StepName.DETACH_ALL)
        intent = replace(intent, index=index, step_since=now, attempt=1, acted=False, within=0, tried=(), cure="")
        server = replace(server, intent=intent, wait=None)
    return entered(replace(server, ports=unread(server.ports)), None, now)


def unread(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    """*ports*, of which none counts as read."""
    return tuple(replace(port, read_time=None) for port in ports)


def _plug(port: Port) -> tuple[str, str]:
    return port.switch_name, port.switch_port


def _must_be_cut(known: Port, told: Port | None) -> bool:
    """Whether *known* may be on a network where it was, and inventory has it there no more."""
    if not known.linked or (told is not None and _plug(told) == _plug(known)):
        return False
    if known.observed not in _SILENT:
        return True
    if told is not None and told.linked:
        # Network lets no port go elsewhere of which anything else was asked before it was read in quarantine again.
        return known.requested not in (None, PortClass.QUARANTINE)
    settled = known.requested is None or known.observed is PortClass.UNKNOWN
    return not settled or known.requested not in (None, PortClass.QUARANTINE)
