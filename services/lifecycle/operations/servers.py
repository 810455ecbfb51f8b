# SPDX-License-Identifier: Apache-2.0
"""The verbs on servers: provide, recover, quarantine, maintenance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import WrongState
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.beginning import Beginnings, is_quarantining, not_at_work, taken_over
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import short_enough
from services.lifecycle.operations.protecting import not_protected
from services.lifecycle.operations.refusals import no_maintenance, not_retired


@dataclass(frozen=True, slots=True)
class ServerVerbs:
    """What an administrator asks of servers."""

    beginnings: Beginnings

    def provide(self, books: Books, call: Call, uuid: str) -> Progress:
        """enrolled -> verifying; refused for what may never be erased."""
        server = books.server(uuid)
        if server.unmanaged:
            msg = f"{server.name} is only on record: it is unmanaged, or of another node type than baremetal"
            raise WrongState(
                msg,
                remedy="Mark it as managed baremetal in inventory first, if it may be erased.",
                subject=server.name,
                state=server.state.value,
            )
        no_maintenance(server)
        not_retired(server)
        return self._begin(books, call, server, IntentKind.PROVIDE, Trigger.PROVIDE)

    def recover(self, books: Books, call: Call, uuid: str, *, take: bool) -> Progress:
        """quarantined -> verifying; from an instance only if *take*, or if its project deleted it."""
        server = books.server(uuid)
        if server.state is not State.QUARANTINED:
            msg = f"{server.name} is {server.state.value}, not quarantined"
            raise WrongState(
                msg, remedy="See bms server diagnose for what it needs.", subject=server.name, state=server.state.value
            )
        no_maintenance(server)
        instance = books.find_instance(server.instance)
        if instance is not None and instance.state is not InstanceState.DELETING and not take:
            msg = f"{server.name} is held by {instance.name}, which its project did not delete"
            raise WrongState(
                msg,
                remedy=f"Let the project delete it (bms instance delete {instance.name}), or take the server back: "
                f"bms server recover {uuid} --take-from-instance.",
                subject=server.name,
                instance=instance.name,
            )
        if instance is not None and instance.state is not InstanceState.DELETING:
            not_protected(instance, "taken from its server")
        if not server.isolated and (server.intent is None or is_quarantining(server)):
            msg = f"{server.name} may still be on a network: not every port of it was read in quarantine"
            raise WrongState(
                msg,
                remedy=f"See what it waits for: bms server diagnose {uuid}. If nothing is at work on it, have its "
                f"ports cut again: bms server quarantine {uuid} --reason WHY.",
                subject=server.name,
                state=server.state.value,
            )
        if is_quarantining(server):
            server = taken_over(books, call, server, instance, "the server is being led out of quarantine")
        return self._begin(books, call, server, IntentKind.RECOVER, Trigger.RECOVER, instance=instance)

    def quarantine(self, books: Books, call: Call, uuid: str, reason: str) -> Progress:
        """Any state -> quarantined; takes over whatever is being done."""
        short_enough(reason, "reason")
        server = books.server(uuid)
        at_rest = server.state is State.QUARANTINED and server.intent is None
        # One whose ports somebody moved since is cut off anew.
        if is_quarantining(server) or (at_rest and server.isolated):
            msg = f"{server.name} is in quarantine already"
            raise WrongState(
                msg,
                remedy=f"See why: bms server diagnose {uuid}; lead it out: bms server recover {uuid}.",
                subject=server.name,
                state=server.state.value,
            )
        instance = books.find_instance(server.instance)
        server = taken_over(books, call, server, instance, "an administrator set the server aside")
        if instance is not None:
            error = f"an administrator set its server aside: {reason}"
            # Nothing to resume: what was being done to it does not come back when the quarantine is complete.
            instance = replace(
                instance, state=InstanceState.ERROR, error=error, operation="", resume=None, update_time=call.now
            )
        server = replace(server, fault="BY_ADMINISTRATOR", fault_message=reason)
        return self._begin(books, call, server, IntentKind.QUARANTINE, Trigger.QUARANTINE, instance=instance)

    def set_maintenance(self, books: Books, call: Call, uuid: str, reason: str) -> Server:
        """Not offered from now on; what runs on it goes on."""
        short_enough(reason, "reason")
        server = books.server(uuid)
        after = replace(server, maintenance=True, maintenance_reason=reason)
        event = note(
            server,
            after,
            "server.maintenance_set",
            call.now,
            actor=call.caller.subject,
            request_id=call.request_id,
            message=reason,
        )
        return books.write(Change(after, (event,)), call.now, due=call.now).server

    def clear_maintenance(self, books: Books, call: Call, uuid: str) -> Server:
        """Offered again, if it is available."""
        server = books.server(uuid)
        after = replace(server, maintenance=False, maintenance_reason="")
        event = note(
            server, after, "server.maintenance_cleared", call.now, actor=call.caller.subject, request_id=call.request_id
        )
        return books.write(Change(after, (event,)), call.now, due=call.now).server

    def _begin(
        self,
        books: Books,
        call: Call,
        server: Server,
        kind: IntentKind,
        trigger: Trigger,
        *,
        instance: Instance | None = None,
    ) -> Progress:
        not_at_work(server)
        intent = self.beginnings.intent(call, kind, self.beginnings.operation(call, ""))
        change = walk.begin(server, instance, intent, call.now, trigger=trigger)
        return self.beginnings.commit(books, call, change, f"server.{kind.value}_requested")
