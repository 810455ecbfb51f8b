# SPDX-License-Identifier: Apache-2.0
"""The books that an audit looks through, each a part at a time, and each entry again.

What is read of another service is judged against lifecycle's rows as they are right after; nothing is kept between two
looks but what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from services.kernel.names import LEASE, PORT, SERVER
from services.lifecycle.audits import leaks, rows
from services.lifecycle.audits.leaks import Kind, Leak
from services.lifecycle.audits.seen import (
    AttachmentSeen,
    InstanceRow,
    LeaseSeen,
    OperationSeen,
    PoolSeen,
    Portion,
    ServerRow,
)
from services.lifecycle.audits.stores import Stores
from services.runtime.database import Database, Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a part of a book: what seems wrong, how many entries were read, and where to go on ("": nowhere)."""

    leaks: tuple[Leak, ...]
    examined: int
    token: str


class Shelf(Protocol):
    """One book."""

    def look(self, token: str, size: int, now: datetime) -> Look:
        """The next part, from *token* on ("" at the beginning), of at most *size* entries."""
        ...

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """Everything that is wrong with *resource* as it is now, and perhaps with others of the same entry.

        Raises:
            InvalidField: *resource* is no name of this book's.
        """
        ...


@dataclass(frozen=True, slots=True)
class Leases:
    """ipam's leases of bare metal instances."""

    database: Database
    stores: Stores

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        return _look(self.stores.leases(token, size), self._judge)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        LEASE.parse(resource, "resource")
        seen = self.stores.lease(resource)
        return self._judge([seen]) if seen is not None and seen.held else ()

    def _judge(self, seen: Sequence[LeaseSeen]) -> tuple[Leak, ...]:
        def judge(tx: Transaction) -> tuple[Leak, ...]:
            owners = {lease.owner for lease in seen}
            holders, instances = rows.holders(tx, owners), rows.instances(tx, owners)
            found: list[Leak] = []
            for lease in seen:
                holder, row = holders.get(lease.owner), instances.get(lease.owner)
                if holder is not None and any(one.name == lease.name for one in holder.leases):
                    continue
                instance = row.instance if row else None
                keeper = rows.keeper(tx, lease.name) if holder is None else None
                nobodys = holder is None and keeper is None
                ended_on = rows.ended_on(tx, lease.owner) if nobodys else ()
                found += leaks.of_lease(lease, holder, instance, keeper, ended_on)
            return tuple(found)

        return self.database.read(judge)


@dataclass(frozen=True, slots=True)
class Pools:
    """Inventory's pool rows."""

    database: Database
    stores: Stores

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        return _look(self.stores.pools(token, size), self._judge)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        seen = self.stores.pool(SERVER.parse(resource, "resource")[0])
        return self._judge([seen]) if seen is not None else ()

    def _judge(self, seen: Sequence[PoolSeen]) -> tuple[Leak, ...]:
        def judge(tx: Transaction) -> tuple[Leak, ...]:
            known = rows.servers(tx, {pool.server for pool in seen})
            holders = rows.instances(tx, {pool.holder for pool in seen})
            found: list[Leak] = []
            for pool in seen:
                holder = holders.get(pool.holder)
                found += leaks.of_pool(pool, known.get(pool.server), holder.instance if holder else None)
            return tuple(found)

        return self.database.read(judge)


@dataclass(frozen=True, slots=True)
class Attachments:
    """Network's ports."""

    database: Database
    stores: Stores

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        return _look(self.stores.attachments(token, size), self._judge)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        return self._judge(self.stores.attachments_of(PORT.parse(resource, "resource")[0]))

    def _judge(self, seen: Sequence[AttachmentSeen]) -> tuple[Leak, ...]:
        def judge(tx: Transaction) -> tuple[Leak, ...]:
            known = rows.servers(tx, {one.server for one in seen})
            return tuple(leak for one in seen for leak in leaks.of_attachment(one, known.get(one.server)))

        return self.database.read(judge)


@dataclass(frozen=True, slots=True)
class Servers:
    """Lifecycle's own servers, each compared with what the other services have of it."""

    database: Database
    stores: Stores

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        return _own(self.database.read(lambda tx: rows.servers_after(tx, token, size)), size, _uuid, self._judge, now)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        uuid = self._server_of(resource)
        return self._judge(list(self.database.read(lambda tx: rows.servers(tx, {uuid})).values()), now)

    def _server_of(self, resource: str) -> str:
        if "/ports/" in resource:
            return PORT.parse(resource, "resource")[0]
        if "/leases/" in resource:
            counting = self.database.read(lambda tx: rows.keeper(tx, resource))
            return counting.uuid if counting else ""
        return SERVER.parse(resource, "resource")[0]

    def _judge(self, known: Sequence[ServerRow], now: datetime) -> tuple[Leak, ...]:
        names = {row.server.instance for row in known}
        instances = self.database.read(lambda tx: rows.instances(tx, names))
        found: list[Leak] = []
        for row in known:
            server = row.server
            resting = not server.closed and server.intent is None
            seen = [self.stores.lease(lease.name) for lease in server.leases] if resting else []
            by_name = {lease.name: lease for lease in seen if lease is not None}
            registered = {one.port for one in self.stores.attachments_of(server.uuid)} if resting else set()
            recorded = not resting or self.stores.pool(server.uuid) is not None
            instance = instances.get(server.instance)
            found += leaks.of_server(
                row, instance.instance if instance else None, by_name, registered, now, recorded=recorded
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Instances:
    """Lifecycle's own instances."""

    database: Database

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        known = self.database.read(lambda tx: rows.instances_after(tx, token, size))
        return _own(known, size, _instance_name, self._judge, now)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        return self._judge(list(self.database.read(lambda tx: rows.instances(tx, {resource})).values()), now)

    def _judge(self, known: Sequence[InstanceRow], now: datetime) -> tuple[Leak, ...]:
        held = self.database.read(lambda tx: rows.servers(tx, {row.instance.server for row in known}))
        found: list[Leak] = []
        for row in known:
            server = held.get(row.instance.server)
            found += leaks.of_instance(row, server.server if server else None, now)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Operations:
    """Lifecycle's own operations that are not done."""

    database: Database

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        known = self.database.read(lambda tx: rows.operations_after(tx, token, size))
        return _own(known, size, _operation_name, self._judge, now)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        known = self.database.read(lambda tx: rows.operation(tx, resource))
        return self._judge([known] if known else [], now)

    def _judge(self, known: Sequence[OperationSeen], now: datetime) -> tuple[Leak, ...]:
        def judge(tx: Transaction) -> tuple[Leak, ...]:
            # Those that ended since they were listed are no longer there.
            current = [one for one in known if rows.operation(tx, one.name) is not None]
            at_work = rows.at_work(tx, {one.subject for one in current})
            return tuple(leak for one in current for leak in leaks.of_operation(one, at_work))

        return self.database.read(judge)


KINDS: dict[str, frozenset[Kind]] = {
    "leases": frozenset({Kind.LEASE_OF_ENDED_OWNER, Kind.LEASE_OF_UNKNOWN_OWNER, Kind.LEASE_NOT_KEPT}),
    "reservations": frozenset(
        {
            Kind.RESERVATION_OF_NOBODY,
            Kind.RESERVATION_ELSEWHERE,
            Kind.HELD_NOT_RESERVED,
            Kind.OFFER_DIFFERS,
            Kind.SERVER_NOT_FOLLOWED,
        }
    ),
    "ports": frozenset({Kind.PORT_OF_UNKNOWN_SERVER, Kind.PORT_NOT_IN_QUARANTINE, Kind.PORT_DIFFERS}),
    "servers": frozenset(
        {Kind.SERVER_NOT_RECORDED, Kind.LEASE_LOST, Kind.PORT_UNKNOWN_TO_NETWORK, Kind.HOLD_ONE_SIDED}
        | {Kind.INTENT_ASLEEP, Kind.CLAIM_ABANDONED}
    ),
    "instances": frozenset({Kind.INSTANCE_STRANDED, Kind.HOLD_ONE_SIDED, Kind.INTENT_ASLEEP, Kind.CLAIM_ABANDONED}),
    "operations": frozenset({Kind.OPERATION_OF_NOBODY}),
    "node_holds": frozenset(
        {
            Kind.NODE_HOLD_OF_NOBODY,
            Kind.NODE_HOLD_USED,
            Kind.NODE_HOLD_OF_UNKNOWN_SERVER,
            Kind.NODE_HOLD_LOST,
            Kind.NODE_HELD_ELSEWHERE,
        }
    ),
    "fabric_leftovers": frozenset({Kind.FABRIC_LEFTOVER, Kind.FABRIC_LEFTOVER_OF_STRANGER}),
    "address_leftovers": frozenset({Kind.ADDRESS_LEFTOVER, Kind.ADDRESS_LEFTOVER_IN_DOUBT}),
}
"""Which kinds are found in which book; the books in the order in which they are looked through, if there."""


def shelves(database: Database, stores: Stores) -> dict[str, Shelf]:
    """Every book of services' by its name, in the order in which they are looked through."""
    return {
        "leases": Leases(database, stores),
        "reservations": Pools(database, stores),
        "ports": Attachments(database, stores),
        "servers": Servers(database, stores),
        "instances": Instances(database),
        "operations": Operations(database),
    }


def _look(portion: Portion[T], judge: Callable[[Sequence[T]], tuple[Leak, ...]]) -> Look:
    return Look(judge(portion.rows), portion.read, portion.token)


def _own(
    known: Sequence[T],
    size: int,
    key: Callable[[T], str],
    judge: Callable[[Sequence[T], datetime], tuple[Leak, ...]],
    now: datetime,
) -> Look:
    return Look(judge(known, now), len(known), key(known[-1]) if len(known) == size else "")


def _uuid(row: ServerRow) -> str:
    return row.server.uuid


def _instance_name(row: InstanceRow) -> str:
    return row.instance.name


def _operation_name(operation: OperationSeen) -> str:
    return operation.name
