# SPDX-License-Identifier: Apache-2.0
"""The verbs on forced actions: one administrator asks, another approves, either may withdraw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from services.kernel.calls import Call
from services.kernel.errors import AlreadyExists, Forbidden, InvalidField, SameAdministrator, WrongState
from services.kernel.events import Event
from services.kernel.names import FORCED_ACTION
from services.lifecycle.domain import walk
from services.lifecycle.domain.forced import ForcedAction, ForcedKind, ForcedState, check, portrait
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.progress import Progress, progress_of
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import Trigger
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.beginning import Beginnings, is_quarantining, not_at_work, taken_over
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import short_enough


class ForcedBooks(Protocol):
    """The table of forced actions in the verbs' transaction."""

    def action(self, name: str) -> ForcedAction:
        """The forced action, kept from others until the transaction ends; NotFound if there is none."""
        ...

    def pending(self, server: str, kind: ForcedKind) -> list[ForcedAction]:
        """Those of *kind* on a server (its UUID) that are stored as PENDING, their time over or not."""
        ...

    def insert(self, action: ForcedAction) -> None:
        """Adds one."""
        ...

    def save(self, action: ForcedAction) -> ForcedAction:
        """Writes one by compare-and-set on its version; answers it with the new one; Stale if it is lost."""
        ...


@dataclass(frozen=True, slots=True)
class ForcedVerbs:
    """What administrators ask of servers whose proof is missing."""

    beginnings: Beginnings

    def request(
        self, books: Books, forced: ForcedBooks, call: Call, uuid: str, kind: ForcedKind, reason: str
    ) -> ForcedAction:
        """Records what is asked for, and how the server stands; nothing is done."""
        _must_be_a_person(call)
        if not reason.strip():
            field = "forced_action.reason"
            raise InvalidField(field, "is empty", remedy="Say why: it is on record for good.")
        short_enough(reason, "forced_action.reason")
        server = books.server(uuid)
        check(server, kind)
        for other in forced.pending(uuid, kind):
            if other.state_at(call.now) is ForcedState.PENDING:
                msg = f"{other.name} is pending already, asked for by {other.requester}"
                raise AlreadyExists(
                    msg, remedy=f"Approve it, or withdraw it first: bms force withdraw {other.name}.", name=other.name
                )
        action = ForcedAction(
            FORCED_ACTION.format(uuid, self.beginnings.ids.uuid()),
            uuid,
            kind,
            reason,
            call.caller.subject,
            call.now,
            portrait(server),
        )
        forced.insert(action)
        self._tell(books, call, server, "forced.requested", action)
        return action

    def withdraw(self, books: Books, forced: ForcedBooks, call: Call, action: ForcedAction) -> ForcedAction:
        """Ends a pending one; it stays on record."""
        _must_be_a_person(call)
        _must_be_pending(action, call)
        ended = forced.save(replace(action, state=ForcedState.WITHDRAWN, ender=call.caller.subject, end_time=call.now))
        server = books.find_server(action.server)
        if server is not None and not server.closed:
            self._tell(books, call, server, "forced.withdrawn", ended)
        return ended

    def approve(self, books: Books, forced: ForcedBooks, call: Call, action: ForcedAction) -> Progress:
        """Begins a pending one that another administrator asked for, if the server still stands as he was shown."""
        _must_be_a_person(call)
        if action.requester == call.caller.subject:
            msg = f"{action.requester} asked for {action.name}, and another administrator must approve it"
            raise SameAdministrator(msg, remedy="Let another administrator look at it.", subject=action.requester)
        _must_be_pending(action, call)
        server = books.server(action.server)
        check(server, action.kind)
        if portrait(server) != action.shown:
            changed = "; ".join(sorted(set(portrait(server)) - set(action.shown)))
            msg = f"{server.name} does not stand as it was shown to {action.requester}: {changed or 'less is true now'}"
            raise WrongState(
                msg,
                remedy=f"Withdraw it, look again, and ask anew: bms force withdraw {action.name}.",
                subject=action.name,
                state=server.state.value,
            )
        operation = self.beginnings.operation(call, "")
        tainted = replace(server, tainted_since=server.tainted_since or call.now, tainted_by=action.name)
        change, told = _BEGINNINGS[action.kind](self.beginnings, books, call, tainted, action, operation)
        forced.save(
            replace(
                action,
                state=ForcedState.APPROVED,
                ender=call.caller.subject,
                end_time=call.now,
                operation=operation,
            )
        )
        progress = progress_of(change.server, change.server.task, None)
        if operation:
            books.begin_operation(progress, call.now)
        approved = replace(action, ender=call.caller.subject)
        events = (_event(server, change.server, "forced.approved", call, approved), *told, *change.events)
        books.write(replace(change, events=events, operations=()), call.now, due=call.now)
        return progress

    @staticmethod
    def _tell(books: Books, call: Call, server: Server, type_: str, action: ForcedAction) -> None:
        event = _event(server, server, type_, call, action)
        books.write(Change(server, (event,)), call.now, due=call.now)


def _must_be_a_person(call: Call) -> None:
    """Refuses services, whom no administrator answers for."""
    if not call.caller.is_admin:
        msg = "only administrators force anything"
        raise Forbidden(msg, remedy="Ask two administrators.", subject=call.caller.subject, roles="admin")


def _must_be_pending(action: ForcedAction, call: Call) -> None:
    state = action.state_at(call.now)
    if state is not ForcedState.PENDING:
        msg = f"{action.name} is {state.value}"
        raise WrongState(msg, remedy="Ask for it anew, if it is still needed.", subject=action.name, state=state.value)


def _event(before: Server, after: Server, type_: str, call: Call, action: ForcedAction) -> Event:
    facts = {"kind": action.kind.value, "action": action.name, "requested_by": action.requester}
    if type_ == "forced.approved":
        facts["approved_by"] = call.caller.subject
    return note(
        before, after, type_, call.now, actor=call.caller.subject, request_id=call.request_id,
        reason=action.kind.value.upper(), message=action.reason, facts=facts,
    )  # fmt: skip


_Begun = tuple[Change, tuple[Event, ...]]
_Begin = Callable[[Beginnings, Books, Call, Server, ForcedAction, str], _Begun]


def _release(
    beginnings: Beginnings, books: Books, call: Call, server: Server, action: ForcedAction, operation: str
) -> _Begun:
    instance = books.find_instance(server.instance)
    if not _carries(server, instance):
        why = "two administrators had it released by force"
        server = taken_over(books, call, server, instance, why, carries=True)
    warning = "two administrators had it released by force: nobody read that it is off the networks"
    intent = replace(
        beginnings.intent(call, IntentKind.FORCE_RELEASE, operation), forced=action.name, warnings=(warning,)
    )
    return walk.begin(server, instance, intent, call.now, trigger=Trigger.QUARANTINE), ()


def _carries(server: Server, instance: Instance | None) -> bool:
    """Whether what is at work is the tenant's deletion, which the forced release brings to its end."""
    return (
        instance is not None
        and instance.state is InstanceState.DELETING
        and server.intent is not None
        and server.intent.operation == instance.operation
    )


def _available(
    beginnings: Beginnings, books: Books, call: Call, server: Server, action: ForcedAction, operation: str
) -> _Begun:
    calm = server
    if is_quarantining(server):
        calm = taken_over(books, call, server, None, "two administrators had it forced into the pool")
    not_at_work(calm)
    intent = replace(beginnings.intent(call, IntentKind.FORCE_AVAILABLE, operation), forced=action.name)
    return walk.begin(replace(calm, clean_time=None), None, intent, call.now), ()


def _skip_clean(
    beginnings: Beginnings, books: Books, call: Call, server: Server, action: ForcedAction, operation: str
) -> _Begun:
    calm = taken_over(books, call, server, None, "two administrators had its clean pass left out")
    intent = replace(beginnings.intent(call, IntentKind.SKIP_CLEAN, operation), forced=action.name)
    change = walk.begin(replace(calm, clean_time=None), None, intent, call.now)
    return change, (note(server, change.server, "clean.skipped", call.now, facts={"action": action.name}),)


def _attest(
    beginnings: Beginnings, _books: Books, call: Call, server: Server, action: ForcedAction, operation: str
) -> _Begun:
    intent = replace(beginnings.intent(call, IntentKind.ATTEST, operation), forced=action.name)
    change = walk.begin(replace(server, intent=None), None, intent, call.now)
    facts = {"power": "off", "action": action.name, "by": f"{action.requester}, {call.caller.subject}"}
    return change, (note(server, change.server, "power.attested", call.now, facts=facts),)


_BEGINNINGS: dict[ForcedKind, _Begin] = {
    ForcedKind.RELEASE: _release,
    ForcedKind.AVAILABLE: _available,
    ForcedKind.SKIP_CLEAN: _skip_clean,
    ForcedKind.ATTEST_POWER_OFF: _attest,
}
