# SPDX-License-Identifier: Apache-2.0
"""The verbs: each records an intent and answers its operation; the worker walks there.

What must be asked of other services is asked before the transaction, by the ``check_*`` functions.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.errors import Busy, InvalidField, OperationFailed, WrongState
from services.kernel.names import FLAVOR, IMAGE, INSTANCE, NETWORK
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance, InstanceState, NetworkWish, lay_out
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.plans import IntentKind, StepName
from services.lifecycle.domain.progress import Progress, progress_of
from services.lifecycle.domain.server import Intent, Port, Server
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.walk import Change
from services.lifecycle.peers import Addresses, Inventory, Networks
from services.lifecycle.store import Store
from services.runtime.database import Transaction
from services.runtime.etags import check as check_etag

Seal = Callable[[bytes, str], bytes]
"""Seals a secret for a context."""

_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_SSH_KEY = re.compile(r"(ssh-(rsa|ed25519|dss)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*( .*)?")
_MAX_USER_DATA = 64 * 1024
_MAX_NETWORKS = 16
_MAX_KEYS = 64
_MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Verbs:
    """The verbs over one store."""

    store: Store
    ids: Ids
    seal: Seal
    name_operation: Callable[[str, str], str]
    """UUID and project ("" for the site) to an operation's name."""

    # -- servers

    def provide(self, tx: Transaction, call: Call, uuid: str) -> Progress:
        """enrolled -> verifying; refused for what may never be erased."""
        server = self._server(tx, uuid)
        if server.unmanaged:
            msg = f"{server.name} is only on record: it is unmanaged, or of another node type than baremetal"
            raise WrongState(
                msg,
                remedy="Mark it as managed baremetal in inventory first, if it may be erased.",
                subject=server.name,
                state=server.state.value,
            )
        self._no_maintenance(server)
        return self._begin_server(tx, call, server, IntentKind.PROVIDE, Trigger.PROVIDE)

    def recover(self, tx: Transaction, call: Call, uuid: str, *, take: bool) -> Progress:
        """quarantined -> verifying; from an instance only if *take*, or if its project deleted it."""
        server = self._server(tx, uuid)
        if server.state is not State.QUARANTINED:
            msg = f"{server.name} is {server.state.value}, not quarantined"
            raise WrongState(
                msg, remedy="See bms server diagnose for what it needs.", subject=server.name, state=server.state.value
            )
        self._no_maintenance(server)
        instance = self.store.find_instance(tx, server.instance)
        if instance is not None and instance.state is not InstanceState.DELETING and not take:
            msg = f"{server.name} is held by {instance.name}, which its project did not delete"
            raise WrongState(
                msg,
                remedy=f"Let the project delete it (bms instance delete {instance.name}), or take the server back: "
                f"bms server recover {uuid} --take-from-instance.",
                subject=server.name,
                instance=instance.name,
            )
        calm = replace(server, intent=None) if self._is_quarantining(server) else server
        return self._begin_server(tx, call, calm, IntentKind.RECOVER, Trigger.RECOVER, instance=instance)

    def quarantine(self, tx: Transaction, call: Call, uuid: str, reason: str) -> Progress:
        """Any state -> quarantined; takes over whatever is being done."""
        _short_enough(reason, "reason")
        server = self._server(tx, uuid)
        if self._is_quarantining(server) or (server.state is State.QUARANTINED and server.intent is None):
            msg = f"{server.name} is in quarantine already"
            raise WrongState(
                msg,
                remedy=f"See why: bms server diagnose {uuid}; lead it out: bms server recover {uuid}.",
                subject=server.name,
                state=server.state.value,
            )
        instance = self.store.find_instance(tx, server.instance)
        server, instance = self._take_over(tx, call, server, instance, "an administrator set the server aside")
        if instance is not None:
            error = f"an administrator set its server aside: {reason}"
            instance = replace(instance, state=InstanceState.ERROR, error=error, operation="", update_time=call.now)
        server = replace(server, fault="BY_ADMINISTRATOR", fault_message=reason)
        return self._begin_server(tx, call, server, IntentKind.QUARANTINE, Trigger.QUARANTINE, instance=instance)

    def set_maintenance(self, tx: Transaction, call: Call, uuid: str, reason: str) -> Server:
        """Not offered from now on; what runs on it goes on."""
        _short_enough(reason, "reason")
        server = self._server(tx, uuid)
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
        return self.store.write(tx, Change(after, (event,)), call.now, due=call.now).server

    def clear_maintenance(self, tx: Transaction, call: Call, uuid: str) -> Server:
        """Offered again, if it is available."""
        server = self._server(tx, uuid)
        after = replace(server, maintenance=False, maintenance_reason="")
        event = note(
            server, after, "server.maintenance_cleared", call.now, actor=call.caller.subject, request_id=call.request_id
        )
        return self.store.write(tx, Change(after, (event,)), call.now, due=call.now).server

    # -- instances

    def create_instance(self, tx: Transaction, call: Call, wanted: Instance, user_data: bytes) -> Progress:
        """Records the instance; a server is sought by the worker."""
        operation = self._operation(call, wanted.project)
        sealed = self.seal(user_data, f"{wanted.name}/user_data") if user_data else None
        instance = replace(
            wanted, operation=operation, actor=call.caller.subject, create_time=call.now, update_time=call.now
        )
        self.store.insert_instance(tx, instance, sealed, call.now)
        progress = Progress(operation, IntentKind.DEPLOY, instance.name, call.caller.subject, call.now)
        self.store.begin_operation(tx, progress, call.now)
        return progress

    def delete_instance(self, tx: Transaction, call: Call, name: str, etag: str) -> Progress:
        """From every state; takes over whatever is being done to it."""
        instance = self.store.instance(tx, name, lock=True)
        check_etag(etag, instance.version, name)
        if instance.state is InstanceState.DELETING:
            msg = f"{name} is being deleted already"
            raise Busy(msg, remedy=f"Follow {instance.operation}.", name=name, operation=instance.operation)
        operation = self._operation(call, instance.project)
        leaving = replace(
            instance, state=InstanceState.DELETING, actor=call.caller.subject, update_time=call.now, resume=None
        )
        if not instance.server:
            if instance.operation:
                self._end_operation(tx, call, instance, "it was deleted")
            progress = Progress(operation, IntentKind.RELEASE, name, call.caller.subject, call.now)
            self.store.begin_operation(tx, progress, call.now)
            self.store.write_instance(tx, replace(leaving, operation=operation), due=call.now)
            return progress
        server = self._server(tx, instance.server)
        server, leaving = self._take_over_for(tx, call, server, leaving, "its instance was deleted")
        kind, trigger = _way_out(server.state)
        intent = self._intent(call, kind, operation)
        change = walk.begin(server, replace(leaving, operation=operation), intent, call.now, trigger=trigger)
        return self._commit(tx, call, change, "instance.delete_requested")

    def on_instance(self, tx: Transaction, call: Call, name: str, verb: IntentKind) -> Progress:
        """stop, start, reboot, rescue, unrescue: refused with what would lead there unless the instance is so far."""
        instance, server = self._holding(tx, name, verb)
        return self._begin_instance(tx, call, server, instance, verb)

    def rebuild(self, tx: Transaction, call: Call, name: str, image: str, user_data: bytes) -> Progress:
        """The same server, written anew; with another image or other user data if given."""
        instance, server = self._holding(tx, name, IntentKind.REBUILD)
        sealed = self.seal(user_data, f"{name}/user_data") if user_data else None
        rebuilt = replace(instance, image=image or instance.image)
        return self._begin_instance(tx, call, server, rebuilt, IntentKind.REBUILD, user_data=sealed)

    def attach_network(self, tx: Transaction, call: Call, name: str, wish: NetworkWish) -> Progress:
        """One more network, on a port that can carry it."""
        instance, server = self._holding(tx, name, IntentKind.ATTACH)
        if any(one.network == wish.network for one in instance.networks):
            msg = f"{name} is on {wish.network} already"
            raise WrongState(msg, remedy="Nothing needs to be done.", subject=name, network=wish.network)
        if len(instance.networks) >= _MAX_NETWORKS:
            msg = f"{name} is on {_MAX_NETWORKS} networks, and no more are possible"
            raise WrongState(msg, remedy="Detach another network first.", subject=name)
        joined = replace(instance, networks=(*instance.networks, wish))
        where = {face.network: face.port for face in instance.interfaces if face.port}
        lay_out(joined.networks, server.ports, where)
        return self._begin_instance(tx, call, server, joined, IntentKind.ATTACH, network=wish.network)

    def detach_network(self, tx: Transaction, call: Call, name: str, network: str) -> Progress:
        """Off one network; the address rests once the port was read back."""
        instance, server = self._holding(tx, name, IntentKind.DETACH)
        if all(one.network != network for one in instance.networks):
            msg = f"{name} is not on {network}"
            raise WrongState(msg, remedy="See bms instance show for its networks.", subject=name, network=network)
        return self._begin_instance(tx, call, server, instance, IntentKind.DETACH, network=network)

    # -- following inventory

    def enroll(self, tx: Transaction, fresh: Server, now_event: Callable[[Server], Change]) -> None:
        """Adds a server inventory has just registered, or opens the log of one that came back."""
        known = self.store.find_server(tx, fresh.uuid)
        if known is None:
            change = now_event(fresh)
            self.store.insert_server(tx, change.server, change.events)
        elif known.closed:
            back = replace(fresh, version=known.version, fence=known.fence, head=known.head)
            change = now_event(back)
            self.store.write(tx, change, fresh.state_since, due=None)
        else:
            told = replace(known, display_name=fresh.display_name, unmanaged=fresh.unmanaged)
            if known.intent is None:
                # Where it is plugged in may change only at rest; a step at work has its own view of the ports.
                told = replace(told, ports=_replugged(known, fresh))
            if told != known:
                self.store.write(tx, Change(told), fresh.state_since, due=fresh.state_since)

    def close(self, tx: Transaction, uuid: str, intent: Intent) -> bool:
        """Begins closing the log of a server that inventory deletes; False if it is at work and must be asked again."""
        server = self.store.find_server(tx, uuid)
        if server is None or server.closed:
            return True
        if server.instance or (server.intent is not None and not self._is_quarantining(server)):
            return False
        change = walk.begin(replace(server, intent=None), None, intent, intent.create_time)
        self.store.write(tx, change, intent.create_time, due=intent.create_time)
        return True

    # -- parts

    def _server(self, tx: Transaction, uuid: str) -> Server:
        return self.store.server(tx, uuid, lock=True)

    def _operation(self, call: Call, project: str) -> str:
        return "" if call.validate_only else self.name_operation(self.ids.uuid(), project)

    def _intent(self, call: Call, kind: IntentKind, operation: str, network: str = "") -> Intent:
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

    def _begin_server(
        self,
        tx: Transaction,
        call: Call,
        server: Server,
        kind: IntentKind,
        trigger: Trigger,
        *,
        instance: Instance | None = None,
    ) -> Progress:
        _not_at_work(server)
        intent = self._intent(call, kind, self._operation(call, ""))
        change = walk.begin(server, instance, intent, call.now, trigger=trigger)
        return self._commit(tx, call, change, f"server.{kind.value}_requested")

    def _begin_instance(
        self,
        tx: Transaction,
        call: Call,
        server: Server,
        instance: Instance,
        kind: IntentKind,
        *,
        network: str = "",
        user_data: bytes | None = None,
    ) -> Progress:
        _not_at_work(server)
        operation = self._operation(call, instance.project)
        begun = replace(
            instance, operation=operation, actor=call.caller.subject, resume=instance.state, update_time=call.now
        )
        if user_data is not None:
            begun = self.store.write_instance(tx, begun, due=None, user_data=user_data)
        trigger = {IntentKind.REBUILD: Trigger.REBUILD, IntentKind.RESCUE: Trigger.RESCUE}.get(kind)
        change = walk.begin(server, begun, self._intent(call, kind, operation, network), call.now, trigger=trigger)
        return self._commit(tx, call, change, f"instance.{kind.value}_requested")

    def _commit(self, tx: Transaction, call: Call, change: Change, type_: str) -> Progress:
        """Writes what a verb began, with the event that says who asked, and its operation."""
        server, intent = change.server, change.server.intent
        if intent is None:
            msg = f"{server.name} has no intent"
            raise AssertionError(msg)
        asked = note(server, server, type_, call.now, actor=call.caller.subject, request_id=call.request_id)
        progress = progress_of(server, intent, change.instance)
        if intent.operation:
            self.store.begin_operation(tx, progress, call.now)
        written = replace(change, events=(asked, *change.events), operations=())
        self.store.write(tx, written, call.now, due=call.now)
        return progress

    def _take_over(
        self, tx: Transaction, call: Call, server: Server, instance: Instance | None, why: str
    ) -> tuple[Server, Instance | None]:
        """Ends whatever is being done to *server*; its operation fails with *why*."""
        if server.intent is None:
            return server, instance
        if server.intent.operation:
            ended = progress_of(server, server.intent, instance)
            error = OperationFailed(
                f"{server.intent.kind.value} was ended: {why}", fault="TAKEN_OVER", server=server.name
            )
            self.store.show_operation(
                tx, replace(ended, wait=None, done=True, end_time=call.now, error=error), call.now
            )
        return replace(server, intent=None, wait=None), instance

    def _take_over_for(
        self, tx: Transaction, call: Call, server: Server, instance: Instance, why: str
    ) -> tuple[Server, Instance]:
        taken, _ = self._take_over(tx, call, server, instance, why)
        return taken, instance

    def _end_operation(self, tx: Transaction, call: Call, instance: Instance, why: str) -> None:
        ended = Progress(instance.operation, IntentKind.DEPLOY, instance.name, instance.actor, instance.create_time)
        error = OperationFailed(f"create was ended: {why}", fault="TAKEN_OVER")
        self.store.show_operation(tx, replace(ended, done=True, end_time=call.now, error=error), call.now)

    def _holding(self, tx: Transaction, name: str, verb: IntentKind) -> tuple[Instance, Server]:
        instance = self.store.instance(tx, name, lock=True)
        if instance.operation:
            msg = f"{name} is at work"
            raise Busy(msg, remedy=f"Wait for {instance.operation}.", name=name, operation=instance.operation)
        allowed, remedy = _ALLOWED[verb]
        if instance.state not in allowed or not instance.server:
            states = " or ".join(state.value for state in allowed)
            msg = f"{name} is {instance.state.value}; {verb.value} needs {states}"
            raise WrongState(msg, remedy=remedy, subject=name, state=instance.state.value, needs=states)
        return instance, self._server(tx, instance.server)

    @staticmethod
    def _is_quarantining(server: Server) -> bool:
        return server.intent is not None and (
            server.intent.kind is IntentKind.QUARANTINE
            or (
                server.intent.kind is IntentKind.RELEASE_SILENT
                and server.intent.step.name in (StepName.POWER_OFF, StepName.COOL_ADDRESSES)
            )
        )

    @staticmethod
    def _no_maintenance(server: Server) -> None:
        if server.maintenance:
            msg = f"{server.name} is in maintenance: {server.maintenance_reason}"
            raise WrongState(
                msg,
                remedy=f"End maintenance first: bms server maintenance unset {server.uuid}.",
                subject=server.name,
                state=server.state.value,
            )


_S = InstanceState
_ALLOWED: dict[IntentKind, tuple[tuple[InstanceState, ...], str]] = {
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


def _way_out(state: State) -> tuple[IntentKind, Trigger | None]:
    """How a server is given back from *state*."""
    if state is State.RESERVED:
        return IntentKind.UNDO, None
    if state is State.QUARANTINED:
        return IntentKind.RELEASE_SILENT, None
    return IntentKind.RELEASE, Trigger.RELEASE


def _not_at_work(server: Server) -> None:
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


def _short_enough(text: str, field: str) -> None:
    if len(text) > _MAX_REASON:
        raise InvalidField(field, f"is longer than {_MAX_REASON} characters", remedy="Say it shorter.")


def _replugged(known: Server, fresh: Server) -> tuple[Port, ...]:
    """The ports as inventory has them now, with what was read of those that are plugged in where they were."""
    before = {(port.name, port.switch_name, port.switch_port): port for port in known.ports}

    def seen(port: Port) -> Port:
        old = before.get((port.name, port.switch_name, port.switch_port))
        return replace(old, pxe_enabled=port.pxe_enabled, port_group=port.port_group) if old else port

    return tuple(seen(port) for port in fresh.ports)


# What is checked before a transaction.


def check_instance(instance: Instance, user_data: bytes) -> None:
    """The form of what a tenant asks for; every malformed field has its own refusal."""
    FLAVOR.parse(instance.flavor, "instance.flavor")
    IMAGE.parse(instance.image, "instance.image")
    if not instance.networks:
        raise InvalidField("instance.networks", "names no network", remedy="Name at least one network.")
    if len(instance.networks) > _MAX_NETWORKS:
        raise InvalidField("instance.networks", f"names more than {_MAX_NETWORKS} networks", remedy="Name fewer.")
    seen: set[str] = set()
    for index, wish in enumerate(instance.networks):
        check_wish(wish, f"instance.networks[{index}]")
        if wish.network in seen:
            raise InvalidField(
                f"instance.networks[{index}].network", f"{wish.network} is named twice", remedy="Name it once."
            )
        seen.add(wish.network)
    if not _HOSTNAME.fullmatch(instance.hostname):
        raise InvalidField(
            "instance.hostname",
            f"{instance.hostname[:80]!r} is no host name",
            remedy="Give 1 to 63 letters, digits and '-'.",
        )
    if len(instance.ssh_public_keys) > _MAX_KEYS:
        raise InvalidField("instance.ssh_public_keys", f"holds more than {_MAX_KEYS} keys", remedy="Give fewer.")
    for index, key in enumerate(instance.ssh_public_keys):
        if not _SSH_KEY.fullmatch(key.strip()) or "\n" in key.strip():
            raise InvalidField(
                f"instance.ssh_public_keys[{index}]",
                "is no OpenSSH public key",
                remedy="Give the one line of a .pub file: type, key, comment.",
            )
    if len(user_data) > _MAX_USER_DATA:
        raise InvalidField("instance.user_data", "is larger than 64 KiB", remedy="Let it fetch the rest by itself.")


def check_wish(wish: NetworkWish, field: str) -> None:
    """The form of one network."""
    NETWORK.parse(wish.network, f"{field}.network")
    if wish.vlan_tag and not 2 <= wish.vlan_tag <= 4094:
        raise InvalidField(
            f"{field}.vlan_tag", f"{wish.vlan_tag} is not 2 to 4094", remedy="Give 0 for untagged, or 2 to 4094."
        )
    if wish.fixed_address:
        try:
            ipaddress.ip_address(wish.fixed_address)
        except ValueError:
            shown = wish.fixed_address[:60]
            raise InvalidField(
                f"{field}.fixed_address", f"{shown!r} is no IP address", remedy="Give it without a prefix length."
            ) from None


@dataclass(frozen=True, slots=True)
class Checks:
    """What other services are asked before a verb is recorded."""

    inventory: Inventory
    networks: Networks
    addresses: Addresses

    def instance(self, instance: Instance) -> None:
        """Flavor and image exist for the project, and every network is one it can lease on."""
        self.inventory.flavor_exists(instance.flavor)
        self.image(instance.image, instance.project)
        for index, wish in enumerate(instance.networks):
            self.network(wish, instance.project, f"instance.networks[{index}]")

    def image(self, image: str, project: str) -> None:
        """The project may use the image."""
        self.inventory.image(image, project)

    def network(self, wish: NetworkWish, project: str, field: str) -> None:
        """The project may use the network, and it has addresses to give."""
        self.networks.usable(wish.network, project)
        if not self.addresses.serves(wish.network, project):
            msg = f"{wish.network} has no prefix, so no address can be leased on it"
            raise WrongState(
                msg,
                remedy=f"Make one: bms prefix create NAME --project {project} --network {wish.network.rpartition('/')[2]} --cidr CIDR.",
                subject=wish.network,
                field=field,
            )


def project_of_name(name: str) -> str:
    """The project of an instance's name."""
    return INSTANCE.parse(name)[0]
