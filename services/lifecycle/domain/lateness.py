# SPDX-License-Identifier: Apache-2.0
"""When a server is overdue: every state in motion, wait, fault and step has its time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from services.lifecycle.domain.blocker import Kind
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.waits import BLOCKERS, FAULT_SLA, STEP_SLA


def late_at(server: Server) -> datetime | None:
    """When the first of its times is up and the alarm is raised; None: it may stay as it is."""
    return min(_times(server), default=None)


def sla_of(server: Server, code: str) -> timedelta | None:
    """How long *server* may stand still for *code*; None: as long as it likes."""
    blocker = BLOCKERS.get(code)
    if _is_fault(server) and (code == server.fault or (blocker is not None and blocker.kind is Kind.FAULT)):
        return FAULT_SLA
    return blocker.sla if blocker is not None else None


def _is_fault(server: Server) -> bool:
    return server.state is State.QUARANTINED and server.fault != ""


def _times(server: Server) -> Iterator[datetime]:
    if server.state_deadline is not None:
        yield server.state_deadline
    if server.wait is not None:
        blocker = BLOCKERS.get(server.wait.code)
        if blocker is not None and blocker.sla is not None:
            yield server.wait.since + blocker.sla
    if _is_fault(server):
        yield server.state_since + FAULT_SLA
    if server.intent is not None and server.intent.step.limit is None:
        yield server.intent.step_since + STEP_SLA
