# SPDX-License-Identifier: Apache-2.0
"""What the brake holds of a step's failure: the verb fails, the server stays its tenant's, what was changed goes back.

docs/decisions/0034-what-the-brake-holds.md says what may be held, and what never is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.kernel.errors import BmsError, OperationFailed
from services.kernel.events import Event
from services.lifecycle.domain import walk
from services.lifecycle.domain.findings import IN_USE
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import ATTACHES, MOVES, IntentKind
from services.lifecycle.domain.notes import LIFECYCLE, note
from services.lifecycle.domain.progress import Progress, progress_of
from services.lifecycle.domain.runbook import anchor
from services.lifecycle.domain.server import Intent, PortClass, Power, Server
from services.lifecycle.domain.step import OnFailure, StepName
from services.lifecycle.domain.walk import Change

CODE = "BRAKE_PULLED"
"""The wait of whatever the brake holds."""

_NOT_BEGUN = frozenset({IntentKind.REBUILD, IntentKind.RESCUE})
"""Verbs that take the server off its tenant's networks by his own wish, once it was read off, and not before."""


@dataclass(frozen=True, slots=True)
class Fallen:
    """A step that cannot be, of a server in use.

    Attributes:
        server, instance: as they were left.
        events: what was seen.
        reason, message: why.
        cause: what to tell the operation's caller, if it is better.
    """

    server: Server
    instance: Instance
    events: tuple[Event, ...]
    reason: str
    message: str
    cause: BmsError | None = None

    @property
    def backend(self) -> str:
        """The switch of a port that was asked for and not read back; "" if it is the BMC, or nobody in particular."""
        asked = (port.switch_name for port in self.server.linked_ports if port.requested is not None)
        return next(asked, "")


def is_in_use(server: Server, instance: Instance | None) -> bool:
    """Whether quarantine, to which the step at work leads if it fails, would take *server* from its tenant."""
    if instance is None or server.intent is None or server.intent.step.on_failure is not OnFailure.QUARANTINE:
        return False
    if instance.state in (InstanceState.DELETING, InstanceState.ERROR):
        return False
    return server.state in IN_USE or _is_untouched(server)


def is_putting_back(server: Server) -> bool:
    """Whether only what a held verb had changed is being put back: by lifecycle, in nobody's operation."""
    intent = server.intent
    if intent is None or intent.operation:
        return False
    return intent.kind is IntentKind.PUT_BACK or (intent.kind is IntentKind.DETACH and intent.actor == LIFECYCLE)


def held(
    fallen: Fallen, told: tuple[Event, ...], now: datetime, next_try: datetime, *, new_id: Callable[[], str]
) -> Change:
    """What is left behind when the brake holds the quarantine of *fallen*.

    Args:
        told: what is recorded of the brake itself.
        next_try: when a server that can only wait where it is, is looked at again.
    """
    server, instance, intent = fallen.server, fallen.instance, fallen.server.task
    if _is_untouched(server):
        message = f"{intent.step.name.value} cannot be, and the server is not set aside by itself: {fallen.message}"
        return walk.wait(server, instance, (*fallen.events, *told), now, CODE, message, next_try)
    error = fallen.cause or OperationFailed(
        f"{intent.kind.verb} failed at {intent.step.name.value}: {fallen.message}; what it had changed is put back",
        remedy="Try again once an administrator has found the cause.",
        fault=fallen.reason, step=intent.step.name.value, server=server.name, runbook=anchor(CODE),
    )  # fmt: skip
    type_ = "verb.held" if _on_its_networks(server, intent) else "server.failed"
    event = note(server, server, type_, now, reason=fallen.reason, message=fallen.message)
    events = (*fallen.events, event, *told)
    left = _left(instance, server, str(error), now)
    ended: tuple[Progress, ...] = ()
    if intent.operation:
        ended = (replace(progress_of(server, intent, None), wait=None, done=True, end_time=now, error=error),)
    kind = IntentKind.DETACH if intent.kind in ATTACHES else IntentKind.PUT_BACK
    if intent.kind is IntentKind.UNRESCUE:
        return Change(replace(server, intent=None, wait=None), events, left, operations=ended)
    following = Intent(new_id(), kind, "", LIFECYCLE, now, now, network=intent.network)
    change = walk.begin(server, left, following, now)
    return replace(change, events=(*events, *change.events), operations=ended)


def _is_untouched(server: Server) -> bool:
    """Whether the verb at work changed nothing yet, and has no way back: its state says already what is to come."""
    intent = server.intent
    return (
        intent is not None and intent.kind in _NOT_BEGUN and intent.step.name is StepName.POWER_OFF and not intent.index
    )


def _on_its_networks(server: Server, intent: Intent) -> bool:
    """Whether the server runs on networks of its tenant that the verb does not concern, and is to stay there."""
    return intent.kind is IntentKind.ATTACH and any(port.observed is PortClass.TENANT for port in server.linked_ports)


def _left(instance: Instance, server: Server, error: str, now: datetime) -> Instance:
    kind = server.task.kind
    state = instance.state if kind in MOVES else instance.resume or InstanceState.ACTIVE
    if kind in (IntentKind.ATTACH_RESTART, IntentKind.MOVE, IntentKind.MOVE_QUIET) and server.power is Power.OFF:
        # It was powered off on the way, and nobody powers it on again but its tenant.
        state = InstanceState.STOPPED
    networks = instance.networks
    if kind in ATTACHES:
        networks = tuple(wish for wish in networks if wish.network != server.task.network)
    return replace(instance, state=state, networks=networks, error=error, operation="", resume=None, update_time=now)
