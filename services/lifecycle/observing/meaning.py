# SPDX-License-Identifier: Apache-2.0
"""What a node that was read means for its server: nothing, an event, or something that leads to a policy. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from services.lifecycle.domain.nodes import NodeSeen, Policy, Trouble
from services.lifecycle.domain.server import TAKEN, Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.observing import lines

_UNTOUCHED = frozenset({State.ENROLLED, State.UNEXPECTED})
_HELD = frozenset({State.ACTIVE, State.RESCUED})
_OURS = frozenset({"deploy", "rescue"})

BMC_SILENT = "BMC_SILENT"
MAINTENANCE = "CONTROLLER_MAINTENANCE"
PROTECTED = "CONTROLLER_PROTECTED"
RETIRED = "CONTROLLER_RETIRED"
GONE = "NODE_GONE"
UNDEPLOYED = "UNDEPLOYED_ELSEWHERE"
UNEXPECTED = "NODE_UNEXPECTED"
USED = "USED_ELSEWHERE"

CODES = frozenset({BMC_SILENT, MAINTENANCE, PROTECTED, RETIRED, GONE, TAKEN, UNDEPLOYED, UNEXPECTED, USED})
"""The codes that a server may stand under for what its controller shows."""

_WAY_BACK = {
    "rescue": "openstack baremetal node unrescue {server}",
    "rescue failed": "openstack baremetal node unrescue {server}",
    "unrescue failed": "openstack baremetal node unrescue {server}",
    "rescue wait": "openstack baremetal node abort {server}",
    "service wait": "openstack baremetal node abort {server}",
    "service hold": "openstack baremetal node abort {server}",
    "service failed": "openstack baremetal node abort {server}",
    "deploy failed": "openstack baremetal node rebuild {server}",
    "clean failed": "openstack baremetal node maintenance unset {server}",
}
"""The command that leads a node back that somebody led astray, where there is one."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is to be said.

    Attributes:
        trouble: what the controller shows though nobody here asked for it; None: nothing.
        changes: what changed that is to be told, in words; empty: nothing.
        look: the server's power and ports should be looked at now.
    """

    trouble: Trouble | None = None
    changes: tuple[str, ...] = ()
    look: bool = False

    @property
    def tells(self) -> bool:
        """Whether there is an event in it."""
        return bool(self.changes)


def meaning(server: Server, told: NodeSeen | None, seen: NodeSeen, anchor: str, now: datetime) -> Meaning:
    """What *seen* means for *server*.

    Args:
        told: the node as it was when last something was said of it, or there was nothing to say; None: never.
        anchor: when the node came to where it was as the server came to rest (`NodeSeen.moved`); "" if that was not
            seen yet.
    """
    found = _trouble(server, told, seen, anchor, now)
    before = server.trouble
    if found is not None and before is not None and (found.code, found.policy) == (before.code, before.policy):
        found = Trouble(found.code, found.policy, found.message, before.since, found.commands)
    changes = tuple(_changes(server, told, seen))
    if (found and (found.code, found.policy)) != (before and (before.code, before.policy)) and not changes:
        changes = (f"{found.message}" if found else "what was out of line is in line again",)
    return Meaning(found, changes, look=_power_differs(server, told, seen))


def _changes(server: Server, told: NodeSeen | None, seen: NodeSeen) -> Iterator[str]:
    """What changed since it was last told, and is not of our doing."""
    if told is None:
        return
    if seen.gone or told.gone:
        if seen.gone != told.gone:
            yield "the node is gone" if seen.gone else "the node is there again"
        return
    at_work = server.intent is not None
    line = lines.in_line(server.state, seen.state, at_work=at_work, adopted=_is_adopted(server, told, seen))
    silent = server.unmanaged or server.state in _UNTOUCHED or (server.state is State.QUARANTINED and not at_work)
    if seen.state != told.state and (silent or not line):
        yield f"{told.state or 'nothing'} -> {seen.state}"
    elif (
        seen.moved != told.moved and line and not at_work and not silent and told.state == seen.state
        # What was told before it came to be as it is may have been moved by us.
        and told.read_time >= server.state_since
    ):  # fmt: skip
        yield f"{told.state} -> ... -> {seen.state}"
    if _power_differs(server, told, seen):
        yield f"power {told.power} -> {seen.power}"
    ours = {"protected": server.marked.protected, "retired": server.marked.retired}
    for name in ("maintenance", "protected", "retired"):
        value = getattr(seen, name)
        if value != getattr(told, name) and value != ours.get(name):
            yield name if getattr(seen, name) else f"no longer {name}"
    if seen.fault != told.fault:
        yield f"fault {seen.fault}" if seen.fault else f"no longer fault {told.fault}"


def _power_differs(server: Server, told: NodeSeen | None, seen: NodeSeen) -> bool:
    """Whether the power changed by nobody's doing here."""
    if told is None or seen.gone or seen.power == told.power or server.intent is not None:
        return False
    known = {Power.ON: "on", Power.OFF: "off"}.get(server.power, "")
    return seen.power != known


def _is_adopted(server: Server, told: NodeSeen | None, seen: NodeSeen) -> bool:
    """Whether an instance runs on the server that nobody deployed through the controller, as far as is known."""
    if not server.instance or seen.job in _OURS:
        return False
    if server.trouble is not None and server.trouble.code == UNDEPLOYED:
        return False
    return told is None or told.state not in lines.IN_USE


def _trouble(server: Server, told: NodeSeen | None, seen: NodeSeen, anchor: str, now: datetime) -> Trouble | None:
    if server.unmanaged or server.closed or server.state in _UNTOUCHED:
        return None
    if seen.gone:
        # Verifying makes it anew.
        return None if server.state is State.VERIFYING else _said(server, GONE, "Ironic has no such node", now)
    at_rest = server.intent is None
    if at_rest and server.state in _HELD:
        found = _of_held(server, told, seen, now)
    elif at_rest and server.state is State.AVAILABLE:
        found = _of_free(server, seen, anchor, now)
    else:
        found = None
    if found is not None and found.policy in (Policy.SET_ASIDE, Policy.LEAVE):
        return found
    return _of_marks(server, seen, now) or found


def _of_held(server: Server, told: NodeSeen | None, seen: NodeSeen, now: datetime) -> Trouble | None:
    adopted = _is_adopted(server, told, seen)
    if lines.in_line(server.state, seen.state, at_work=False, adopted=adopted):
        return None
    # One that we did not deploy may be free there by mistake; who wipes it does so all the same.
    if seen.state in lines.UNDEPLOYED and not (adopted and seen.state in lines.FREE | lines.INSPECTING):
        message = f"Ironic shows the node {_shown(seen)} though {server.instance} holds it"
        return Trouble(UNDEPLOYED, Policy.SET_ASIDE, message, now)
    back = _WAY_BACK.get(seen.state)
    if adopted and seen.state in lines.FREE:
        back = "openstack baremetal node manage {server}"
    return Trouble(
        UNEXPECTED, Policy.NOTE, f"Ironic shows the node {_shown(seen)} while {server.instance} runs", now,
        (back,) if back else (),
    )  # fmt: skip


def _of_free(server: Server, seen: NodeSeen, anchor: str, now: datetime) -> Trouble | None:
    if seen.state in lines.FREE and not seen.holder:
        # Our note is there since before anybody could take it; without one, what was first seen of it as it was free.
        stood = seen.offered or anchor
        if seen.moved == stood or not (stood or is_others(server)):
            return None
        message = "somebody used the node in Ironic, or had it run something, while nobody here held it"
        return Trouble(USED, Policy.SET_ASIDE, message, now)
    if seen.holder or seen.state in lines.USED:
        held = f", held for {seen.holder}" if seen.holder else ""
        message = f"Ironic shows the node {_shown(seen)}{held}, and nobody here asked for that"
        # A ramdisk that people had it run will not undeploy.
        commands = ("openstack baremetal node undeploy {server}",) if seen.state in lines.IN_USE else ()
        return Trouble(TAKEN, Policy.LEAVE, message, now, commands)
    back = _WAY_BACK.get(seen.state)
    message = f"Ironic shows the node {_shown(seen)}, from where nothing can be deployed"
    return Trouble(UNEXPECTED, Policy.WITHHOLD, message, now, (back,) if back else ())


def is_others(server: Server) -> bool:
    """Whether somebody else was seen to have *server*, or to have had it, since it was free."""
    return server.trouble is not None and server.trouble.code in (TAKEN, USED)


def _of_marks(server: Server, seen: NodeSeen, now: datetime) -> Trouble | None:
    """Maintenance and marks, the worst first."""
    if seen.fault == "power failure":
        why = seen.maintenance_reason or seen.last_error or "no reason given"
        return _said(server, BMC_SILENT, f"Ironic cannot reach the BMC: {why}", now)
    if seen.maintenance:
        why = seen.maintenance_reason or seen.fault or "no reason given"
        if seen.fault and server.intent is not None:
            return None  # what failed is our own job, which tells
        return _said(server, MAINTENANCE, f"somebody set the node into maintenance in Ironic: {why}", now)
    if seen.retired and not (server.retired or server.marked.retired):
        return _said(server, RETIRED, "somebody marked the node as retired in Ironic", now)
    if seen.protected and server.state in _HELD and not server.marked.protected:
        return _said(server, PROTECTED, "somebody protected the node in Ironic: it cannot be given back", now)
    return None


def _said(server: Server, code: str, message: str, now: datetime) -> Trouble:
    policy = Policy.WITHHOLD if server.state is State.AVAILABLE else Policy.NOTE
    return Trouble(code, policy, message, now)


def _shown(seen: NodeSeen) -> str:
    under_way = " (under way)" if seen.state in lines.TRANSIENT else ""
    error = f" ({seen.last_error})" if seen.last_error and not under_way else ""
    return f"{seen.state}{under_way}{error}"
