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
from services.kernel.events import Event
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import ATTACHES, DEPLOYS, MOVES, IntentKind
from services.lifecycle.domain.lateness import late_at
from services.lifecycle.domain.notes import LIFECYCLE, note
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.progress import OF_SERVERS, Progress, progress_of
from services.lifecycle.domain.runbook import anchor
from services.lifecycle.domain.server import TAKEN, Intent, Power, Server, Wait
from services.lifecycle.domain.states import State, Trigger, after
from services.lifecycle.domain.step import OnFailure
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.domain.wishes import entered


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
    IntentKind.DEPLOY_NOVA: InstanceState.ACTIVE,
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
    asking, requests = entered(moved, instance, now)
    return Change(asking, (*events, *requests), instance, operations=_shown(asking, instance))


def advance(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    """Leaves the present step well, into the next one or to rest."""
    intent = server.task
    if intent.is_last:
        return _rest(server, instance, events, now)
    following = replace(
        intent, index=intent.index + 1, step_since=now, attempt=1, acted=False, within=0, tried=(), cure=""
    )
    entering = replace(server, intent=following, wait=None)
    trigger = following.step.enter
    if server.retired and trigger is not None and after(server.state, trigger) is State.AVAILABLE:
        trigger = Trigger.KEPT
    moved = entering.moved(trigger, now) if trigger else entering
    if moved.state is State.AVAILABLE or trigger is Trigger.KEPT:
        moved = replace(moved, fault="", fault_message="", instance="", leases=(), protected=False, protected_reason="")
    if (
        moved.state is State.QUARANTINED
        and intent.kind is IntentKind.RELEASE_SILENT
        and server.state is not moved.state
    ):
        moved = replace(
            moved, fault="BMC_SILENT", fault_message="power off could not be read while the server was given back"
        )
    written = list(events)
    if moved.state is not server.state:
        written.append(
            note(entering, moved, "server.state_changed", now, reason=trigger.value.upper() if trigger else "")
        )
    asking, requests = entered(moved, instance, now)
    return Change(asking, (*written, *requests), instance, operations=_shown(asking, instance))


def wait(
    server: Server,
    instance: Instance | None,
    events: tuple[Event, ...],
    now: datetime,
    code: str,
    reason: str,
    next_try: datetime,
) -> Change:
    """Stays in the present step; ``server.waiting`` is recorded when somebody must act or the cause is a new one.

    ``server.overdue`` is recorded once in a step, when the wait, the step or the state lasts longer than it may.
    """
    intent = server.task
    limit = intent.step.limit
    same = server.wait is not None and server.wait.code == code
    since = server.wait.since if server.wait is not None and same else now
    alarmed = server.wait is not None and server.wait.alarmed
    deadline = intent.step_since + limit if limit else None
    waiting = replace(server, wait=Wait(code, reason, since, next_try, deadline, alarmed=alarmed))
    written = events
    if not same and BLOCKERS[code].who != "nobody":
        written = (*written, note(server, waiting, "server.waiting", now, reason=code, message=reason))
    late = late_at(waiting)
    if late is not None and now >= late and not alarmed:
        waiting = replace(waiting, wait=Wait(code, reason, since, next_try, deadline, alarmed=True))
        written = (*written, note(server, waiting, "server.overdue", now, reason=code, message=reason))
    return Change(waiting, written, instance, operations=_shown(waiting, instance))


def go_on(server: Server, instance: Instance | None, events: tuple[Event, ...]) -> Change:
    """Stays in the present step to look again at once; nobody waits."""
    return Change(server, events, instance, operations=_shown(server, instance))


def again(
    server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime, reason: str, message: str
) -> Change:
    """Begins the present step anew after a failure that may be tried again."""
    intent = server.task
    retried = replace(server, intent=replace(intent, attempt=intent.attempt + 1, acted=False, within=0), wait=None)
    event = note(
        server, retried, "step.failed", now, reason=reason, message=message,
        facts={"attempt": str(intent.attempt), "of": str(intent.step.retries + 1)},
    )  # fmt: skip
    return wait(retried, instance, (*events, event), now, "RETRYING", message, now)


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
    intent = server.task
    way = on_failure or intent.step.on_failure
    if reason == TAKEN and way in (OnFailure.QUARANTINE, OnFailure.UNDO):
        way = OnFailure.ELSEWHERE
    told = cause or OperationFailed(
        f"{intent.kind.value} failed at {intent.step.name.value}: {message}",
        remedy=BLOCKERS[reason].remedy if reason in BLOCKERS else "",
        fault=reason, step=intent.step.name.value, server=server.name,
        **({"runbook": anchor(reason)} if reason in BLOCKERS else {}),
    )  # fmt: skip
    failed = note(server, server, "server.failed", now, reason=reason, message=message)
    if way is OnFailure.ELSEWHERE:
        change = _stand_back(server, instance, now, message, told, new_id)
        return replace(change, events=(*events, failed, *change.events))
    if way is OnFailure.SILENT:
        silent = "the server's BMC did not answer: its ports were cut without its power being read"
        warning = message if reason == "POWER_ON_UNPLANNED" else silent
        following = Intent(
            new_id(), IntentKind.RELEASE_SILENT, intent.operation, intent.actor, intent.create_time, now,
            request_id=intent.request_id, warnings=(*intent.warnings, warning),
        )  # fmt: skip
        change = begin(replace(server, power=Power.UNKNOWN), instance, following, now)
        return replace(change, events=(*events, failed, *change.events))
    ended = _failed_operation(server, intent, told, now)
    left = None
    if instance is not None:
        stays = instance.state if intent.kind in MOVES else instance.resume or InstanceState.ACTIVE
        state = stays if way is OnFailure.STAY else InstanceState.ERROR
        left = replace(instance, state=state, error=str(told), operation="", resume=None, update_time=now)
        if way is OnFailure.STAY and intent.kind in ATTACHES:
            left = replace(left, networks=tuple(wish for wish in left.networks if wish.network != intent.network))
        if instance.state is InstanceState.DELETING:
            # A deletion cannot fail for the tenant: it goes on once the server is set aside.
            left = replace(left, state=InstanceState.ERROR)
    if way is OnFailure.STAY and not _has_address(server, intent):
        stayed = replace(server, intent=None, wait=None)
        return Change(stayed, (*events, failed), left, operations=ended)
    if way is OnFailure.STAY:
        # What was leased for a network that it did not come onto is nobody's wish any more.
        back = Intent(new_id(), IntentKind.DETACH, "", LIFECYCLE, now, now, network=intent.network)
        change = begin(server, left, back, now)
        return replace(change, events=(*events, failed, *change.events), operations=ended)
    kind = {OnFailure.UNDO: IntentKind.UNDO, OnFailure.LEAVE: IntentKind.UNADOPT}.get(way, IntentKind.QUARANTINE)
    following = Intent(new_id(), kind, "", "lifecycle", now, now)
    aside = kind is IntentKind.QUARANTINE
    marked = replace(server, fault=reason, fault_message=message) if aside else server
    change = begin(marked, left, following, now, trigger=Trigger.QUARANTINE if aside else None)
    return replace(change, events=(*events, failed, *change.events), operations=ended)


def _stand_back(
    server: Server, instance: Instance | None, now: datetime, message: str, told: BmsError, new_id: Callable[[], str]
) -> Change:
    """The server is set aside untouched; an instance that was to be deployed on it is placed anew, as if it never was.

    Its clean pass no longer counts: whoever has it writes to its disks.
    """
    intent = server.task
    following = Intent(new_id(), IntentKind.STAND_BACK, "", LIFECYCLE, now, now)
    marked = replace(server, fault=TAKEN, fault_message=message, clean_time=None)
    if intent.kind not in DEPLOYS or instance is None or instance.state is not InstanceState.DEPLOYING:
        left = instance and replace(
            instance, state=InstanceState.ERROR, error=str(told), operation="", resume=None, update_time=now
        )
        change = begin(marked, left, following, now, trigger=Trigger.QUARANTINE)
        return replace(change, operations=_failed_operation(server, intent, told, now))
    seeks = Wait("RETRYING", f"{message}; another server is sought", now, now)
    sought = Progress(instance.operation, intent.kind, instance.name, instance.actor, instance.create_time, wait=seeks)
    told_of = (sought,) if instance.operation else ()
    if server.connected or server.leases:
        # Through Nova it is known late that somebody was quicker.
        back = replace(following, kind=IntentKind.PLACE_ANEW, operation=instance.operation, actor=intent.actor)
        return replace(begin(marked, instance, back, now, trigger=Trigger.QUARANTINE), operations=told_of)
    freed = replace(marked, instance="")
    change = begin(freed, None, following, now, trigger=Trigger.QUARANTINE)
    ended = _sought_anew(server, freed, now)
    return replace(
        change, events=(ended, *change.events), instance=instance.anew(now), operations=told_of
    )  # fmt: skip


def _sought_anew(server: Server, freed: Server, now: datetime) -> Event:
    return note(
        server, freed, "instance.ended", now, message="another server is sought for it",
        facts={"power": server.power.value, "isolated": str(server.isolated).lower()},
    )  # fmt: skip


def _rest(server: Server, instance: Instance | None, events: tuple[Event, ...], now: datetime) -> Change:
    intent = server.task
    # What inventory was told meanwhile, of it or by others, its controller has not heard.
    news = server.card_changed or len(plan_of(intent.kind)) > 1
    resting = replace(server, intent=None, wait=None, card_changed=news)
    left = instance
    if instance is not None and intent.operation and intent.kind not in OF_SERVERS:
        state = RESTING.get(intent.kind) or instance.resume or instance.state
        if intent.kind is IntentKind.ADOPT:
            state = InstanceState.ACTIVE if server.power is Power.ON else InstanceState.STOPPED
        left = replace(instance, state=state, operation="", resume=None, error="", update_time=now)
    if not intent.operation:
        return Change(resting, events, left)
    done = replace(
        progress_of(server, intent, left), wait=None, done=True, end_time=now, server=resting,
        answer=left if left is not None and intent.kind not in MOVES else resting,
    )  # fmt: skip
    return Change(resting, events, left, operations=(done,))


def end_instance(server: Server, instance: Instance | None, now: datetime) -> Change:
    """The step END_INSTANCE: the tenant's hold ends, and his deletion with it."""
    intent = server.task
    forced = intent.kind is IntentKind.FORCE_RELEASE
    ends = forced or _is_deletion(intent)
    freed = replace(
        server, instance="", protected=False, protected_reason="",
        intent=replace(intent, operation="") if ends else intent,
    )  # fmt: skip
    done: tuple[Progress, ...] = ()
    if forced and intent.operation:
        # What cannot be read is still waited for, and nobody follows that.
        shown = progress_of(server, intent, None)
        done = (replace(shown, wait=None, done=True, end_time=now, server=freed, answer=freed),)
    if not server.instance:
        return Change(freed, operations=done)
    if intent.kind is IntentKind.PLACE_ANEW and instance is not None:
        # The search that begins now carries the operation on.
        seeking = replace(freed, intent=replace(intent, operation=""))
        return Change(seeking, (_sought_anew(server, freed, now),), instance.anew(now))
    unadopted = intent.kind is IntentKind.UNADOPT
    event = note(
        server, freed, "adoption.undone" if unadopted else "instance.ended", now, message="; ".join(intent.warnings),
        facts={"power": server.power.value, "isolated": str(server.isolated).lower()},
    )  # fmt: skip
    if instance is None:
        return Change(freed, (event,), operations=done)
    if instance.state is not InstanceState.DELETING and not unadopted:
        left = replace(
            instance, server="", interfaces=(), operation="", update_time=now, state=InstanceState.ERROR,
            protected=False, protected_reason="",
            error=instance.error or "an administrator took the server back",
        )  # fmt: skip
        return Change(freed, (event,), left, operations=done)
    deletion: Progress | None = None
    if _is_deletion(intent) and intent.operation:
        deletion = progress_of(server, intent, instance)
    elif forced and instance.operation:
        # The tenant's own, which the forced action took over.
        asked = instance.update_time
        deletion = Progress(instance.operation, IntentKind.RELEASE, instance.name, instance.actor, asked, server)
    if deletion is not None:
        deletion = replace(deletion, wait=None, done=True, end_time=now, warnings=intent.warnings)
        done = (*done, deletion)
    return Change(freed, (event,), instance, ended=True, operations=done)


_DELETIONS = frozenset(
    {IntentKind.RELEASE, IntentKind.RELEASE_SILENT, IntentKind.RELEASE_FOUND, IntentKind.UNDO, IntentKind.UNADOPT}
)


def _is_deletion(intent: Intent) -> bool:
    return intent.kind in _DELETIONS


def _has_address(server: Server, intent: Intent) -> bool:
    """Whether the server holds an address in the network that it was to be attached to."""
    return intent.kind in ATTACHES and any(lease.network == intent.network for lease in server.leases)


def _failed_operation(server: Server, intent: Intent, error: BmsError, now: datetime) -> tuple[Progress, ...]:
    if not intent.operation:
        return ()
    shown = progress_of(server, intent, None)
    return (replace(shown, wait=None, done=True, end_time=now, error=error),)


def _shown(server: Server, instance: Instance | None) -> tuple[Progress, ...]:
    if server.intent is None or not server.intent.operation:
        return ()
    return (progress_of(server, server.intent, instance),)
