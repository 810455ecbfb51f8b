# SPDX-License-Identifier: Apache-2.0
"""The verbs on instances: create, delete, and what a tenant does with a server he holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import Busy, OperationFailed, WrongState
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance, InstanceState, NetworkWish, lay_out
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import PortClass, Server
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.operations.beginning import Beginnings, not_at_work, taken_over
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import MAX_NETWORKS
from services.lifecycle.operations.protecting import not_protected

Seal = Callable[[bytes, str], bytes]
"""Seals a secret for a context."""


@dataclass(frozen=True, slots=True)
class InstanceVerbs:
    """What a tenant asks of instances."""

    beginnings: Beginnings
    seal: Seal

    def create(self, books: Books, call: Call, wanted: Instance, user_data: bytes) -> Progress:
        """Records the instance; a server is sought by the worker."""
        operation = self.beginnings.operation(call, wanted.project)
        sealed = self.seal(user_data, f"{wanted.name}/user_data") if user_data else None
        instance = replace(
            wanted, operation=operation, actor=call.caller.subject, create_time=call.now, update_time=call.now
        )
        books.insert_instance(instance, sealed, call.now)
        progress = Progress(operation, IntentKind.DEPLOY, instance.name, call.caller.subject, call.now)
        if operation:
            books.begin_operation(progress, call.now)
        return progress

    def delete(self, books: Books, call: Call, name: str) -> Progress:
        """From every state; takes over whatever is being done to it."""
        instance = books.instance(name)
        if instance.state is InstanceState.DELETING:
            msg = f"{name} is being deleted already"
            raise Busy(msg, remedy=f"Follow {instance.operation}.", name=name, operation=instance.operation)
        not_protected(instance, "deleted")
        operation = self.beginnings.operation(call, instance.project)
        leaving = replace(
            instance, state=InstanceState.DELETING, actor=call.caller.subject, update_time=call.now, resume=None
        )
        if not instance.server:
            if instance.operation:
                _end_search(books, call, instance, "it was deleted")
            progress = Progress(operation, IntentKind.RELEASE, name, call.caller.subject, call.now)
            if operation:
                books.begin_operation(progress, call.now)
            books.write_instance(replace(leaving, operation=operation), due=call.now)
            return progress
        server = taken_over(books, call, books.server(instance.server), leaving, "its instance was deleted")
        kind, trigger = _way_out(server)
        intent = self.beginnings.intent(call, kind, operation)
        change = walk.begin(server, replace(leaving, operation=operation), intent, call.now, trigger=trigger)
        return self.beginnings.commit(books, call, change, "instance.delete_requested")

    def simple(self, books: Books, call: Call, name: str, verb: IntentKind) -> Progress:
        """stop, start, reboot, rescue, unrescue: refused with what would lead there unless the instance is so far."""
        instance, server = _holding(books, name, verb)
        return self._begin(books, call, server, instance, verb)

    def rebuild(self, books: Books, call: Call, name: str, image: str, user_data: bytes) -> Progress:
        """The same server, written anew; with another image or other user data if given."""
        instance, server = _holding(books, name, IntentKind.REBUILD)
        not_protected(instance, "rebuilt")
        sealed = self.seal(user_data, f"{name}/user_data") if user_data else None
        rebuilt = replace(instance, image=image or instance.image)
        return self._begin(books, call, server, rebuilt, IntentKind.REBUILD, user_data=sealed)

    def attach_network(self, books: Books, call: Call, name: str, wish: NetworkWish) -> Progress:
        """One more network, on a port that can carry it."""
        instance, server = _holding(books, name, IntentKind.ATTACH)
        if any(one.network == wish.network for one in instance.networks):
            msg = f"{name} is on {wish.network} already"
            raise WrongState(msg, remedy="Nothing needs to be done.", subject=name, network=wish.network)
        if len(instance.networks) >= MAX_NETWORKS:
            msg = f"{name} is on {MAX_NETWORKS} networks, and no more are possible"
            raise WrongState(msg, remedy="Detach another network first.", subject=name)
        joined = replace(instance, networks=(*instance.networks, wish))
        where = {face.network: face.port for face in instance.interfaces if face.port}
        lay_out(joined.networks, server.ports, where)
        cut_off = not any(port.observed is PortClass.TENANT for port in server.ports)
        running = instance.state is InstanceState.ACTIVE
        kind = IntentKind.ATTACH_RESTART if running and cut_off else IntentKind.ATTACH
        return self._begin(books, call, server, joined, kind, network=wish.network)

    def detach_network(self, books: Books, call: Call, name: str, network: str) -> Progress:
        """Off one network; the address rests once the port was read back."""
        instance, server = _holding(books, name, IntentKind.DETACH)
        if all(one.network != network for one in instance.networks):
            msg = f"{name} is not on {network}"
            raise WrongState(msg, remedy="See bms instance show for its networks.", subject=name, network=network)
        return self._begin(books, call, server, instance, IntentKind.DETACH, network=network)

    def _begin(
        self,
        books: Books,
        call: Call,
        server: Server,
        instance: Instance,
        kind: IntentKind,
        *,
        network: str = "",
        user_data: bytes | None = None,
    ) -> Progress:
        not_at_work(server)
        operation = self.beginnings.operation(call, instance.project)
        begun = replace(
            instance, operation=operation, actor=call.caller.subject, resume=instance.state, update_time=call.now
        )
        if user_data is not None:
            begun = books.write_instance(begun, due=None, user_data=user_data)
        trigger = {IntentKind.REBUILD: Trigger.REBUILD, IntentKind.RESCUE: Trigger.RESCUE}.get(kind)
        intent = self.beginnings.intent(call, kind, operation, network)
        change = walk.begin(server, begun, intent, call.now, trigger=trigger)
        return self.beginnings.commit(books, call, change, f"instance.{kind.verb}_requested")


def _end_search(books: Books, call: Call, instance: Instance, why: str) -> None:
    """Ends the operation that was seeking a server."""
    sought = Progress(instance.operation, IntentKind.DEPLOY, instance.name, instance.actor, instance.create_time)
    error = OperationFailed(f"create was ended: {why}", fault="TAKEN_OVER")
    books.show_operation(replace(sought, done=True, end_time=call.now, error=error), call.now)


def _holding(books: Books, name: str, verb: IntentKind) -> tuple[Instance, Server]:
    """The instance and its server, if *verb* is possible now."""
    instance = books.instance(name)
    if instance.operation:
        msg = f"{name} is at work"
        raise Busy(msg, remedy=f"Wait for {instance.operation}.", name=name, operation=instance.operation)
    allowed, remedy = ALLOWED[verb]
    if instance.state not in allowed or not instance.server:
        states = " or ".join(state.value for state in allowed)
        msg = f"{name} is {instance.state.value}; {verb.value} needs {states}"
        raise WrongState(msg, remedy=remedy, subject=name, state=instance.state.value, needs=states)
    return instance, books.server(instance.server)


_S = InstanceState
ALLOWED: dict[IntentKind, tuple[tuple[InstanceState, ...], str]] = {
    IntentKind.STOP: ((_S.ACTIVE,), "Only a running instance can be stopped."),
    IntentKind.START: (
        (_S.STOPPED,),
        "Only a stopped instance can be started; stop it first to power-cycle its ports.",
    ),
    IntentKind.REBOOT: ((_S.ACTIVE,), "Start it instead, if it is stopped."),
    IntentKind.REBUILD: ((_S.ACTIVE, _S.STOPPED, _S.RESCUED), "Delete it and make it anew, if it failed."),
    IntentKind.RESCUE: ((_S.ACTIVE, _S.STOPPED), "Delete it and make it anew, if it failed."),
    IntentKind.UNRESCUE: ((_S.RESCUED,), "Only a rescued instance can be unrescued."),
    IntentKind.ATTACH: ((_S.ACTIVE, _S.STOPPED), "Wait until it is active or stopped."),
    IntentKind.DETACH: ((_S.ACTIVE, _S.STOPPED), "Wait until it is active or stopped."),
}
"""Verb -> from which states of the instance, and what to do in others."""


def _way_out(server: Server) -> tuple[IntentKind, Trigger | None]:
    """How *server* is given back."""
    if server.state is State.RESERVED:
        return IntentKind.UNDO, None
    if server.state is State.ADOPTING:
        # Nothing was touched, and it is not the tenant's yet: it is left as it was.
        return IntentKind.UNADOPT, None
    if server.state is State.QUARANTINED:
        return IntentKind.RELEASE_SILENT, None
    return IntentKind.RELEASE if server.disks else IntentKind.RELEASE_FOUND, Trigger.RELEASE
