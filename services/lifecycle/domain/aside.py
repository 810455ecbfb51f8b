# SPDX-License-Identifier: Apache-2.0
"""Setting a server aside by itself, whoever found it wrong; and what is told when the brake is pulled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.kernel.events import Event
from services.lifecycle.domain import walk
from services.lifecycle.domain.brake import Held
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import LIFECYCLE, note
from services.lifecycle.domain.server import Intent, Server
from services.lifecycle.domain.states import Trigger
from services.lifecycle.domain.walk import Change


def set_aside(
    server: Server,
    instance: Instance | None,
    told: tuple[Event, ...],
    now: datetime,
    reason: str,
    message: str,
    *,
    new_id: Callable[[], str],
) -> Change:
    """*server*, at which nobody is at work, into quarantine for *reason*.

    Its instance fails; one that is being deleted too, so that it can be deleted again: nothing else would end it.

    Args:
        told: the events that say what was found.
    """
    left = instance and replace(
        instance, state=InstanceState.ERROR, error=message, operation="", resume=None, update_time=now
    )
    marked = replace(server, fault=reason, fault_message=message, clean_time=None)
    intent = Intent(new_id(), IntentKind.QUARANTINE, "", LIFECYCLE, now, now)
    change = walk.begin(marked, left, intent, now, trigger=Trigger.QUARANTINE)
    return replace(change, events=(*told, *change.events))


def brake_pulled(server: Server, held: Held, cause: str, backend: str, finding: str, now: datetime) -> Event:
    """The event that says that what was found of *server* pulled the brake."""
    facts = {"cause": cause, "backend": backend, "finding": finding}
    return note(server, server, "brake.pulled", now, reason="BRAKE_PULLED", message=held.why, facts=facts)
