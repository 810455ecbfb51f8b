# SPDX-License-Identifier: Apache-2.0
"""The events of a server's stream, filled in from what the server and its intent say."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from services.kernel.events import Event, Evidence, PortSeen
from services.kernel.names import INSTANCE
from services.lifecycle.domain.server import Intent, Port, PortClass, Server

LIFECYCLE = "lifecycle"
"""The actor of what lifecycle does by itself."""


def project_of(instance: str) -> str:
    """The project of an instance's name; "" for none."""
    return INSTANCE.parse(instance)[0] if instance else ""


def note(
    before: Server,
    after: Server,
    type_: str,
    now: datetime,
    *,
    intent: Intent | None = None,
    actor: str = "",
    reason: str = "",
    message: str = "",
    evidence: Evidence | None = None,
    facts: dict[str, str] | None = None,
    request_id: str = "",
) -> Event:
    """One event of the stream of *before*; *intent* tells the cause, by default that of *after*, else of *before*."""
    cause = intent or after.intent or before.intent
    instance = after.instance or before.instance
    return Event(
        stream=before.name,
        type=type_,
        time=now,
        actor=actor or (cause.actor if cause else LIFECYCLE),
        state_before=before.state.value,
        state_after=after.state.value,
        project=project_of(instance),
        instance=instance,
        operation=cause.operation if cause else "",
        request_id=request_id or (cause.request_id if cause else ""),
        fence=before.fence,
        step=cause.step.name.value if cause else "",
        reason=reason,
        message=message,
        evidence=evidence,
        facts=facts or {},
    )


def asked(ports: Iterable[Port]) -> tuple[PortSeen, ...]:
    """What is asked of *ports*, as evidence of a ``*_requested`` event."""
    return tuple(
        PortSeen(port.name, (port.requested or PortClass.QUARANTINE).value, tuple(tag.network for tag in port.wanted))
        for port in ports
    )
