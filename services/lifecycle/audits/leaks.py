# SPDX-License-Identifier: Apache-2.0
"""What a leak is: one look at a thing, from both sides. Pure.

A server with an intent is being walked, and its walk brings all sides together: nothing about it is a leak.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.lifecycle.audits.seen import (
    AttachmentSeen,
    InstanceRow,
    LeaseSeen,
    OperationSeen,
    PoolSeen,
    ServerRow,
)
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.server import PortClass, Server

ABANDONED = timedelta(minutes=1)
"""How long ago a claim must have run out before nobody can be said to be about to take it over."""

_SEEKING = frozenset({InstanceState.PENDING, InstanceState.DELETING})


class Kind(StrEnum):
    """What disagrees; the words of bms.lifecycle.v1.Leak.Kind."""

    LEASE_OF_ENDED_OWNER = "lease_of_ended_owner"
    LEASE_OF_UNKNOWN_OWNER = "lease_of_unknown_owner"
    LEASE_NOT_KEPT = "lease_not_kept"
    LEASE_LOST = "lease_lost"
    RESERVATION_OF_NOBODY = "reservation_of_nobody"
    RESERVATION_ELSEWHERE = "reservation_elsewhere"
    HELD_NOT_RESERVED = "held_not_reserved"
    OFFER_DIFFERS = "offer_differs"
    SERVER_NOT_FOLLOWED = "server_not_followed"
    SERVER_NOT_RECORDED = "server_not_recorded"
    PORT_OF_UNKNOWN_SERVER = "port_of_unknown_server"
    PORT_NOT_IN_QUARANTINE = "port_not_in_quarantine"
    PORT_DIFFERS = "port_differs"
    PORT_UNKNOWN_TO_NETWORK = "port_unknown_to_network"
    OPERATION_OF_NOBODY = "operation_of_nobody"
    INSTANCE_STRANDED = "instance_stranded"
    HOLD_ONE_SIDED = "hold_one_sided"
    INTENT_ASLEEP = "intent_asleep"
    CLAIM_ABANDONED = "claim_abandoned"
    NODE_HOLD_OF_NOBODY = "node_hold_of_nobody"
    NODE_HOLD_USED = "node_hold_used"
    NODE_HOLD_OF_UNKNOWN_SERVER = "node_hold_of_unknown_server"
    NODE_HOLD_LOST = "node_hold_lost"
    NODE_HELD_ELSEWHERE = "node_held_elsewhere"
    FABRIC_LEFTOVER = "fabric_leftover"
    FABRIC_LEFTOVER_OF_STRANGER = "fabric_leftover_of_stranger"
    ADDRESS_LEFTOVER = "address_leftover"
    ADDRESS_LEFTOVER_IN_DOUBT = "address_leftover_in_doubt"


REPAIRABLE = frozenset(
    {
        Kind.LEASE_OF_ENDED_OWNER,
        Kind.RESERVATION_OF_NOBODY,
        Kind.RESERVATION_ELSEWHERE,
        Kind.HELD_NOT_RESERVED,
        Kind.OFFER_DIFFERS,
        Kind.NODE_HOLD_OF_NOBODY,
        Kind.FABRIC_LEFTOVER,
        Kind.ADDRESS_LEFTOVER,
    }
)
"""What can be given back, or told again, without harm to whoever may hold it."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One disagreement.

    Attributes:
        resource: what leaked, by its name.
        owner: the other side of it; "" if there is none.
        server: the UUID of the server concerned; "" if none is known.
        mark: everything that either side says: two looks that find the same mark found the same thing.
    """

    kind: Kind
    resource: str
    why: str
    since: datetime
    mark: str
    owner: str = ""
    server: str = ""

    @property
    def repairable(self) -> bool:
        """Whether it may be repaired."""
        return self.kind in REPAIRABLE

    @property
    def etag(self) -> str:
        """Changes with `mark`."""
        return f'"{hashlib.sha256(self.mark.encode()).hexdigest()[:16]}"'


def of_lease(
    lease: LeaseSeen, holder: Server | None, instance: Instance | None, keeper: Server | None, ended_on: tuple[str, ...]
) -> Iterator[Leak]:
    """What is wrong with an address that ipam holds for an instance.

    Args:
        holder: the server that *lease*'s owner holds.
        instance: the owner.
        keeper: the server that counts the lease as its own; after its instance ended, until its power off was read.
        ended_on: the UUIDs of the servers on which the owner ended, the last first; asked for only without a holder.
    """
    if keeper is not None:
        return
    mark = f"{lease.epoch} {lease.network} {mark_of(holder)} {instance.state if instance else '-'}"
    address = f"ipam holds {lease.address} of {lease.network} for {lease.owner}"
    if holder is not None:
        if holder.intent is None:
            why = f"{address}, and {holder.name}, which it runs on, does not count it"
            yield Leak(Kind.LEASE_NOT_KEPT, lease.name, why, lease.create_time, mark, lease.owner, holder.uuid)
    elif instance is not None and instance.state is not InstanceState.ERROR:
        # It seeks a server, or goes without one: in motion either way.
        return
    elif ended_on:
        why = f"{address}, which ended on servers/{ended_on[0]}"
        yield Leak(Kind.LEASE_OF_ENDED_OWNER, lease.name, why, lease.create_time, mark, lease.owner, ended_on[0])
    else:
        why = f"{address}, of which lifecycle's log knows no server"
        yield Leak(Kind.LEASE_OF_UNKNOWN_OWNER, lease.name, why, lease.create_time, mark, lease.owner)


def of_pool(pool: PoolSeen, row: ServerRow | None, holder: Instance | None) -> Iterator[Leak]:
    """What is wrong with inventory's view of who may take a server.

    A server that is cleaned or in quarantine stays reserved for the instance before: that ends when it is available.

    Args:
        holder: the instance that inventory keeps it reserved for.
    """
    name = f"servers/{pool.server}"
    if pool.deleting:
        return
    if row is None or row.server.closed:
        why = "inventory has it, and lifecycle has not heard of it" if row is None else "lifecycle has closed its log"
        yield Leak(Kind.SERVER_NOT_FOLLOWED, name, why, pool.since, f"{row is None}", "", pool.server)
        return
    server = row.server
    if server.intent is not None or server.wanted_report() != server.reported:
        return
    mark = f"{pool.available} {pool.holder} {mark_of(server)}"

    def leak(kind: Kind, why: str, owner: str = "") -> Leak:
        return Leak(kind, name, why, pool.since, mark, owner, pool.server)

    if server.instance:
        if pool.holder != server.instance:
            held = f"for {pool.holder}" if pool.holder else "for nobody"
            why = f"{server.instance} holds it, and inventory keeps it reserved {held}"
            yield leak(Kind.HELD_NOT_RESERVED, why, server.instance)
        return
    offered = server.wanted_report().available
    if pool.holder and offered:
        if holder is None:
            why = f"inventory keeps it reserved for {pool.holder}, which does not exist"
            yield leak(Kind.RESERVATION_OF_NOBODY, why, pool.holder)
        elif holder.server != server.uuid and holder.state not in _SEEKING:
            elsewhere = f"holds servers/{holder.server}" if holder.server else "has failed"
            why = f"inventory keeps it reserved for {pool.holder}, which {elsewhere}"
            yield leak(Kind.RESERVATION_ELSEWHERE, why, pool.holder)
    elif not pool.holder and pool.available != offered:
        why = f"lifecycle {_offers(offered)}, and inventory {_offers(pool.available)}"
        yield leak(Kind.OFFER_DIFFERS, why)


def of_attachment(seen: AttachmentSeen, row: ServerRow | None) -> Iterator[Leak]:
    """What is wrong with what network was last asked to make of a port."""
    asked = f"{seen.port_class.value} {' '.join(sorted(tag.network for tag in seen.networks))}".strip()
    if row is None or row.server.closed:
        why = (
            f"network has the port ({asked}), and lifecycle {'never heard of' if row is None else 'closed'} its server"
        )
        yield Leak(Kind.PORT_OF_UNKNOWN_SERVER, seen.port, why, seen.since, f"{asked} {row is None}", "", seen.server)
        return
    server = row.server
    if server.intent is not None:
        return
    mark = f"{asked} {seen.settled} {mark_of(server)}"
    if not server.instance:
        if seen.port_class is not PortClass.QUARANTINE or not seen.settled:
            read = "" if seen.settled else ", and something else was read back"
            why = f"nobody holds {server.name}, and its port was asked to be {asked}{read}"
            yield Leak(Kind.PORT_NOT_IN_QUARANTINE, seen.port, why, seen.since, mark, "", seen.server)
        return
    port = next((one for one in server.ports if one.name == seen.port), None)
    believed = (port.observed, set(port.networks)) if port and port.read_time else (PortClass.QUARANTINE, set())
    if believed != (seen.port_class, set(seen.networks)):
        why = f"lifecycle read it as {believed[0].value}, and network was last asked for {asked}"
        yield Leak(Kind.PORT_DIFFERS, seen.port, why, seen.since, mark, server.instance, seen.server)


def of_server(
    row: ServerRow,
    instance: Instance | None,
    leases: Mapping[str, LeaseSeen],
    registered: Collection[str],
    now: datetime,
    *,
    recorded: bool,
) -> Iterator[Leak]:
    """What is wrong with a server of lifecycle's own.

    Args:
        instance: the one that holds it.
        leases: those that it counts as its own, as far as ipam knows them.
        registered: the names of its ports that network knows.
        recorded: whether inventory has it.
    """
    server = row.server

    def leak(kind: Kind, why: str, since: datetime, mark: str, resource: str = "", owner: str = "") -> Leak:
        return Leak(kind, resource or server.name, why, since, f"{mark} {mark_of(server)}", owner, server.uuid)

    if server.closed:
        return
    yield from (leak(*found) for found in _asleep(row.due, row.claim_until, now, asked=server.intent is not None))
    if server.intent is not None:
        return
    if not recorded:
        yield leak(Kind.SERVER_NOT_RECORDED, "lifecycle has it, and inventory has not", server.state_since, "")
    if server.instance and (instance is None or instance.server != server.uuid):
        what = f"holds {f'servers/{instance.server}' if instance.server else 'no server'}" if instance else "is gone"
        why = f"lifecycle's row says that {server.instance} holds it, which {what}"
        yield leak(Kind.HOLD_ONE_SIDED, why, server.state_since, what, owner=server.instance)
    for lease in server.leases:
        seen = leases.get(lease.name)
        if seen is None or not seen.held or seen.epoch != lease.epoch:
            given = "has no such lease" if seen is None else f"has it as epoch {seen.epoch}"
            given += "" if seen is None or seen.held else ", given up"
            why = f"{server.name} counts {lease.address} as its own (epoch {lease.epoch}), and ipam {given}"
            yield leak(Kind.LEASE_LOST, why, server.state_since, given, lease.name, server.instance)
    for port in server.linked_ports:
        if port.read_time is not None and port.name not in registered:
            why = f"lifecycle read it as {port.observed.value}, and network does not know it"
            yield leak(Kind.PORT_UNKNOWN_TO_NETWORK, why, port.read_time, port.name, port.name)


def of_instance(row: InstanceRow, held: Server | None, now: datetime) -> Iterator[Leak]:
    """What is wrong with an instance of lifecycle's own.

    Args:
        held: the server that the instance names.
    """
    instance = row.instance

    def leak(kind: Kind, why: str, since: datetime, mark: str) -> Leak:
        mark = f"{mark} {instance.state} {instance.operation} {instance.server} {mark_of(held)}"
        return Leak(kind, instance.name, why, since, mark, "", instance.server)

    seeks = not instance.server and instance.state in _SEEKING
    yield from (leak(*found) for found in _asleep(row.due, row.claim_until, now, asked=seeks))
    if not instance.server:
        if not seeks and (instance.state is not InstanceState.ERROR or instance.operation):
            why = f"it is {instance.state.value} and holds no server"
            yield leak(Kind.INSTANCE_STRANDED, why, instance.update_time, "")
    elif held is None or held.closed or held.instance != instance.name:
        what = "is gone" if held is None or held.closed else f"is held by {held.instance or 'nobody'}"
        why = f"lifecycle's row says that it holds servers/{instance.server}, which {what}"
        yield leak(Kind.HOLD_ONE_SIDED, why, instance.update_time, what)
    elif held.intent is None and (instance.operation or instance.state is InstanceState.DEPLOYING):
        why = f"it is {instance.state.value} ({instance.operation or 'no operation'}), and nobody works on {held.name}"
        yield leak(Kind.INSTANCE_STRANDED, why, instance.update_time, "")


def of_operation(operation: OperationSeen, at_work: Collection[str]) -> Iterator[Leak]:
    """What is wrong with an operation that is not done.

    Args:
        at_work: the operations that the servers and instances it may be about are at work on.
    """
    if operation.name not in at_work:
        why = f"it is under way for {operation.subject}, and nobody works on it"
        yield Leak(Kind.OPERATION_OF_NOBODY, operation.name, why, operation.create_time, "", operation.subject)


_Found = tuple[Kind, str, datetime, str]


def _asleep(due: datetime | None, claim_until: datetime | None, now: datetime, *, asked: bool) -> Iterator[_Found]:
    """What is wrong with who looks at a row."""
    if asked and due is None:
        yield Kind.INTENT_ASLEEP, "something shall be done to it, and nobody will look at it", now, ""
    elif claim_until is not None and due is not None and now - max(claim_until, due) > ABANDONED:
        why = "a worker's claim on it has run out, and nobody took it over: does a worker run?"
        yield Kind.CLAIM_ABANDONED, why, claim_until, claim_until.isoformat()


def mark_of(server: Server | None) -> str:
    """What a server's row says; the end of its log stands for all that happened to it."""
    if server is None:
        return "-"
    at_work = server.intent.id if server.intent else ""
    return f"{server.head.sequence} {server.state} {server.instance} {server.maintenance} {at_work}"


def _offers(offered: bool) -> str:
    return "offers it" if offered else "does not offer it"
