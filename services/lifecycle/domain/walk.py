# SPDX-License-Identifier: Apache-2.0
"""How a server goes through its plan: entering a step, waiting in it, leaving it well or badly.

Pure: each function answers a Change, which the worker or a verb commits in one transaction. What a step asks of the
ports is recorded on entering it, before anything is asked of the fabric: from then on the port counts as both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.kernel.errors import BmsError, OperationFailed
from services.kernel.events import DiskSeen, Event, Evidence
from services.lifecycle.domain.instance import Instance, InstanceState, lay_out
from services.lifecycle.domain.notes import asked, note
from services.lifecycle.domain.plans import IntentKind, OnFailure, StepName
from services.lifecycle.domain.progress import Progress, progress_of
from services.lifecycle.domain.server import Intent, Port, PortClass, Power, Server, Tag, Wait
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.waits import BLOCKERS


@dataclass(frozen=True, slots=True)
class Change:
    """Everything that one transaction writes about one server.

    Attributes:
        server: the server as it shall be.
        events: what happened, in order.
        instance: the instance as it shall be; None leaves it alone.
        ended: the instance's row goes.
        operations: the operations whose metadata or end is written.
    """

    server: Server
    events: tuple[Event, ...] = ()
    instance: Instance | None = None
    ended: bool = False
    operations: tuple[Progress, ...] = ()


RESTING: dict[IntentKind, InstanceState] = {
    IntentKind.DEPLOY: InstanceState.ACTIVE,
    IntentKind.REBUILD: InstanceState.ACTIVE,
    IntentKind.START: InstanceState.ACTIVE,
    IntentKind.UNRESCUE: InstanceState.ACTIVE,
    IntentKind.STOP: InstanceState.STOPPED,
    IntentKind.RESCUE: InstanceState.RESCUED,
}
"""How an instance stands when a verb on it ended well; verbs not named leave it as it was."""


def begin(
    server: Server, instance: Instance | None, intent: Intent, now: datetime, *, trigger: Trigger | None = None
) -> Change:
    """Takes up *intent* at its first step.

    Args:
        trigger: what the verb itself does to the server's state.

    Raises:
        WrongState: the server's state does not allow *trigger*.
    """
    taken = replace(server, intent=intent, wait=None)
    moved = taken.moved(trigger, now) if trigger else taken
    events = []
    if moved.state is not server.state:
        events.append(note(taken, moved, "server.state_changed", now, reason=trigger.value.upper() if trigger else ""))
    events += _requests(moved, instance, now, entered := [moved])
    return Change(entered[0], tuple(events), instance, operations=_shown(entered[0], instance))


def advance(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    """Leaves the present step well, into the next one or to rest."""
    intent = _intent(server)
    if intent.is_last:
        return _rest(server, instance, events, now)
    following = replace(intent, index=intent.index + 1, step_since=now, attempt=1, acted=False, within=0)
    entering = replace(server, intent=following, wait=None)
    trigger = following.step.enter
    moved = entering.moved(trigger, now) if trigger else entering
    if moved.state is State.AVAILABLE:
        moved = replace(moved, fault="", fault_message="", instance="", leases=())
    if moved.state is State.QUARANTINED and server.state is not State.QUARANTINED:
        moved = replace(
            moved, fault="BMC_SILENT", fault_message="power off could not be read while the server was given back"
        )
    written = list(events)
    if moved.state is not server.state:
        written.append(
            note(entering, moved, "server.state_changed", now, reason=trigger.value.upper() if trigger else "")
        )
    written += _requests(moved, instance, now, entered := [moved])
    return Change(entered[0], tuple(written), instance, operations=_shown(entered[0], instance))


def wait(
    server: Server,
    instance: Instance | None,
    events: tuple[Event, ...],
    now: datetime,
    code: str,
    reason: str,
    next_try: datetime,
) -> Change:
    """Stays in the present step; ``server.waiting`` is recorded when somebody must act or the cause is a new one."""
    intent = _intent(server)
    limit = intent.step.limit
    same = server.wait is not None and server.wait.code == code
    since = server.wait.since if server.wait is not None and same else now
    waiting = replace(
        server, wait=Wait(code, reason, since, next_try, deadline=intent.step_since + limit if limit else None)
    )
    written = events
    if not same and BLOCKERS[code].who != "nobody":
        written = (*events, note(server, waiting, "server.waiting", now, reason=code, message=reason))
    return Change(waiting, written, instance, operations=_shown(waiting, instance))


def go_on(server: Server, instance: Instance | None, events: tuple[Event, ...]) -> Change:
    """Stays in the present step to look again at once; nobody waits."""
    return Change(server, events, instance, operations=_shown(server, instance))


def again(
    server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime, reason: str, message: str
) -> Change:
    """Begins the present step anew after a failure that may be tried again."""
    intent = _intent(server)
    retried = replace(server, intent=replace(intent, attempt=intent.attempt + 1, acted=False, within=0), wait=None)
    event = note(
        server, retried, "step.failed", now, reason=reason, message=message,
        facts={"attempt": str(intent.attempt), "of": str(intent.step.retries + 1)},
    )  # fmt: skip
    changed = wait(retried, instance, (*events, event), now, "RETRYING", message, now)
    return changed


def fail(
    server: Server,
    instance: Instance | None,
    events: tuple[Event, ...],
    now: datetime,
    reason: str,
    message: str,
    *,
    new_id: Callable[[], str],
    cause: BmsError | None = None,
    on_failure: OnFailure | None = None,
) -> Change:
    """Leaves the present step badly, to where its plan says.

    Args:
        new_id: makes the identity of the intent that follows.
        cause: what to tell the operation's caller, if it is better than *reason* and *message*.
    """
    intent = _intent(server)
    way = on_failure or intent.step.on_failure
    told = cause or OperationFailed(
        f"{intent.kind.value} failed at {intent.step.name.value}: {message}",
        remedy=BLOCKERS[reason].remedy if reason in BLOCKERS else "",
        fault=reason, step=intent.step.name.value, server=server.name,
    )  # fmt: skip
    failed = note(server, server, "server.failed", now, reason=reason, message=message)
    if way is OnFailure.SILENT:
        warning = "the server's BMC did not answer: its ports were cut without its power being read"
        following = Intent(
            new_id(), IntentKind.RELEASE_SILENT, intent.operation, intent.actor, intent.create_time, now,
            request_id=intent.request_id, warnings=(*intent.warnings, warning),
        )  # fmt: skip
        change = begin(replace(server, power=Power.UNKNOWN), instance, following, now)
        return replace(change, events=(*events, failed, *change.events))
    ended = _failed_operation(server, intent, told, now)
    left = None
    if instance is not None:
        state = instance.resume or InstanceState.ACTIVE if way is OnFailure.STAY else InstanceState.ERROR
        left = replace(instance, state=state, error=str(told), operation="", resume=None, update_time=now)
        if way is OnFailure.STAY and intent.kind is IntentKind.ATTACH:
            left = replace(left, networks=tuple(wish for wish in left.networks if wish.network != intent.network))
        if instance.state is InstanceState.DELETING:
            # A deletion cannot fail for the tenant: it goes on once the server is set aside.
            left = replace(left, state=InstanceState.ERROR)
    if way is OnFailure.STAY:
        stayed = replace(server, intent=None, wait=None)
        return Change(stayed, (*events, failed), left, operations=ended)
    kind = IntentKind.UNDO if way is OnFailure.UNDO else IntentKind.QUARANTINE
    following = Intent(new_id(), kind, "", "lifecycle", now, now)
    marked = server if way is OnFailure.UNDO else replace(server, fault=reason, fault_message=message)
    change = begin(marked, left, following, now, trigger=None if way is OnFailure.UNDO else Trigger.QUARANTINE)
    return replace(change, events=(*events, failed, *change.events), operations=ended)


def _rest(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    intent = _intent(server)
    resting = replace(server, intent=None, wait=None)
    left = instance
    if instance is not None and intent.operation:
        state = RESTING.get(intent.kind) or instance.resume or instance.state
        left = replace(instance, state=state, operation="", resume=None, error="", update_time=now)
    if not intent.operation:
        return Change(resting, events, left)
    done = replace(
        progress_of(server, intent, left), wait=None, done=True, end_time=now, server=resting,
        answer=left if left is not None else resting,
    )  # fmt: skip
    return Change(resting, events, left, operations=(done,))


def end_instance(server: Server, instance: Instance | None, now: datetime) -> Change:
    """The step END_INSTANCE: the tenant's hold ends, and his deletion with it."""
    intent = _intent(server)
    if not server.instance:
        return Change(server)
    freed = replace(server, instance="", intent=replace(intent, operation="") if _is_deletion(intent) else intent)
    event = note(
        server, freed, "instance.ended", now, message="; ".join(intent.warnings),
        facts={"power": server.power.value, "isolated": str(server.isolated).lower()},
    )  # fmt: skip
    if instance is None:
        return Change(freed, (event,))
    if instance.state is not InstanceState.DELETING:
        left = replace(
            instance, server="", interfaces=(), operation="", update_time=now, state=InstanceState.ERROR,
            error=instance.error or "an administrator took the server back",
        )  # fmt: skip
        return Change(freed, (event,), left)
    done: tuple[Progress, ...] = ()
    if intent.operation and _is_deletion(intent):
        done = (
            replace(
                progress_of(server, intent, instance), wait=None, done=True, end_time=now, warnings=intent.warnings
            ),
        )
    return Change(freed, (event,), instance, ended=True, operations=done)


def _is_deletion(intent: Intent) -> bool:
    return intent.kind in (IntentKind.RELEASE, IntentKind.RELEASE_SILENT, IntentKind.UNDO)


def _failed_operation(server: Server, intent: Intent, error: BmsError, now: datetime) -> tuple[Progress, ...]:
    if not intent.operation:
        return ()
    shown = progress_of(server, intent, None)
    return (replace(shown, wait=None, done=True, end_time=now, error=error),)


def _shown(server: Server, instance: Instance | None) -> tuple[Progress, ...]:
    if server.intent is None or not server.intent.operation:
        return ()
    return (progress_of(server, server.intent, instance),)


def _intent(server: Server) -> Intent:
    if server.intent is None:
        msg = f"{server.name} has no intent"
        raise AssertionError(msg)
    return server.intent


# What entering a step asks for, recorded before it is asked.


def _requests(server: Server, instance: Instance | None, now: datetime, entered: list[Server]) -> list[Event]:
    """The ``*_requested`` events of the step just entered; ``entered[0]`` becomes the server with what is asked of its ports."""
    name = _intent(server).step.name
    wishes = wishes_of(server, instance)
    if wishes:
        ports = tuple(_asked(port, wishes[port.name]) if port.name in wishes else port for port in server.ports)
        asking = replace(server, ports=ports, isolated=False)
        entered[0] = asking
        out = all(wish[0] is PortClass.QUARANTINE for wish in wishes.values())
        type_ = "port.detach_requested" if out else "port.attach_requested"
        return [
            note(
                server,
                asking,
                type_,
                now,
                evidence=Evidence(ports=asked(port for port in ports if port.name in wishes)),
            )
        ]
    if name in (StepName.POWER_OFF, StepName.POWER_ON, StepName.REBOOT):
        wanted = {StepName.POWER_OFF: "off", StepName.POWER_ON: "on", StepName.REBOOT: "reboot"}[name]
        return [note(server, server, "power.requested", now, facts={"power": wanted})]
    if name is StepName.WRITE_IMAGE and instance is not None:
        return [note(server, server, "image.write_requested", now, facts={"image": instance.image})]
    if name is StepName.CLEAN:
        disks = tuple(DiskSeen(disk.serial, disk.size_bytes) for disk in server.disks)
        return [note(server, server, "clean.requested", now, evidence=Evidence(disks=disks))]
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
    intent = _intent(server)
    name = intent.step.name
    if name in _BOOT_CLASSES:
        boot = _with_groups(server, {port.name: () for port in server.boot_ports})
        return dict.fromkeys(boot, (_BOOT_CLASSES[name], ()))
    if name in (StepName.DETACH_ALL, StepName.REGISTER_PORTS):
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
