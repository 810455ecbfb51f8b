# SPDX-License-Identifier: Apache-2.0
"""What every verb does: refuse while another is at work, or take over from it; record the intent and its operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.errors import Busy, OperationFailed
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.progress import Progress, progress_of
from services.lifecycle.domain.server import Intent, Server
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.books import Books

NameOperation = Callable[[str, str], str]
"""UUID and project ("" for the site) to an operation's name."""


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Makes intents and operations, and commits what a verb began."""

    ids: Ids
    name_operation: NameOperation

    def operation(self, call: Call, project: str) -> str:
        """A new operation's name; "" for one that is only planned."""
        return "" if call.validate_only else self.name_operation(self.ids.uuid(), project)

    def intent(self, call: Call, kind: IntentKind, operation: str, network: str = "") -> Intent:
        """What *call* wants done."""
        return Intent(
            self.ids.uuid(),
            kind,
            operation,
            call.caller.subject,
            call.now,
            call.now,
            network=network,
            request_id=call.request_id,
        )

    @staticmethod
    def commit(
        books: Books, call: Call, change: Change, type_: str, *, message: str = "", facts: dict[str, str] | None = None
    ) -> Progress:
        """Writes what a verb began, with the event that says who asked, and its operation."""
        server, intent = change.server, change.server.task
        asked = note(
            server, server, type_, call.now,
            actor=call.caller.subject, request_id=call.request_id, message=message, facts=facts,
        )  # fmt: skip
        progress = progress_of(server, intent, change.instance)
        if intent.operation:
            books.begin_operation(progress, call.now)
        written = replace(change, events=(asked, *change.events), operations=())
        books.write(written, call.now, due=call.now)
        return progress


def taken_over(
    books: Books, call: Call, server: Server, instance: Instance | None, why: str, *, carries: bool = False
) -> Server:
    """*server* without what was being done to it; that operation fails with *why*.

    Args:
        carries: what comes now brings the tenant's deletion to its end, as a forced release before it was to.
    """
    return let_go(books, call.now, server, instance, why, carries=carries)


def let_go(
    books: Books, now: datetime, server: Server, instance: Instance | None, why: str, *, carries: bool = False
) -> Server:
    """As `taken_over`, where nobody called."""
    if server.intent is None:
        return server
    owed = instance.operation if instance is not None and instance.state is InstanceState.DELETING else ""
    if instance is not None and owed and server.intent.kind is IntentKind.FORCE_RELEASE and not carries:
        # The tenant's deletion, which a forced release was carrying to its end.
        deletion = Progress(owed, IntentKind.RELEASE, instance.name, instance.actor, instance.update_time, server)
        error = OperationFailed(f"delete was ended: {why}", fault="TAKEN_OVER", server=server.name)
        books.show_operation(replace(deletion, done=True, end_time=now, error=error), now)
    if server.intent.operation:
        ended = progress_of(server, server.intent, instance)
        error = OperationFailed(f"{server.intent.kind.value} was ended: {why}", fault="TAKEN_OVER", server=server.name)
        books.show_operation(replace(ended, wait=None, done=True, end_time=now, error=error), now)
    return replace(server, intent=None, wait=None)


def is_quarantining(server: Server) -> bool:
    """Whether the server is only being set aside: its ports are being cut, its power is waited for."""
    if server.intent is None:
        return False
    tail = {
        IntentKind.RELEASE_SILENT: (StepName.POWER_OFF, StepName.COOL_ADDRESSES),
        IntentKind.FORCE_RELEASE: (StepName.DETACH_ALL, StepName.POWER_OFF),
    }
    return server.intent.kind is IntentKind.QUARANTINE or server.intent.step.name in tail.get(server.intent.kind, ())


def not_at_work(server: Server) -> None:
    """Refuses while something is being done to *server*.

    Raises:
        Busy: the operation at work is named.
    """
    if server.intent is None:
        return
    operation = server.intent.operation
    msg = f"{server.name} is at work: {server.intent.kind.value}, {server.intent.step.name.value}"
    raise Busy(
        msg,
        remedy=f"Wait for {operation}." if operation else "Try again in a moment.",
        name=server.name,
        operation=operation,
    )
