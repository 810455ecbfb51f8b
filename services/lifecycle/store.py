# SPDX-License-Identifier: Apache-2.0
"""Lifecycle's tables: compare-and-set on versions and fences, events in the transaction of the change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from services.kernel.errors import AlreadyExists, NotFound, Stale, WrongState
from services.kernel.events import Event
from services.lifecycle.domain.guests import PREFIX
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.walk import Change
from services.lifecycle.rows import instance_of, instance_values, server_of, server_values
from services.runtime.database import Transaction, UniqueViolation
from services.runtime.eventlog import EventLog
from services.runtime.operations import OperationRow, OperationStore
from services.runtime.times import to_micros

Encode = Callable[[Progress, datetime], OperationRow]
"""An operation as its row: wire.py's, handed in by the composition root."""


class Store:
    """The tables; every method runs in the caller's transaction."""

    def __init__(self, log: EventLog, operations: OperationStore, encode: Encode, wake: Callable[[], None]) -> None:
        self._log = log
        self._operations = operations
        self._encode = encode
        self._wake = wake

    def within(self, tx: Transaction) -> Within:
        """The tables in one transaction, as the verbs see them."""
        return Within(self, tx)

    # -- servers

    def server(self, tx: Transaction, uuid: str, *, lock: bool = False) -> Server:
        """The server; NotFound if there is none, or its log is closed."""
        row = tx.one(f"SELECT * FROM servers WHERE uuid = ?{_lock(tx, lock=lock)}", (uuid,))
        if row is None or row["closed"]:
            msg = f"servers/{uuid} does not exist"
            raise NotFound(msg, name=f"servers/{uuid}")
        return server_of(row)

    def find_server(self, tx: Transaction, uuid: str, *, lock: bool = False) -> Server | None:
        """The server, closed or not; None if it was never seen."""
        row = tx.one(f"SELECT * FROM servers WHERE uuid = ?{_lock(tx, lock=lock)}", (uuid,))
        return server_of(row) if row else None

    def holding_address(self, tx: Transaction, address: str) -> list[Server]:
        """Servers that may hold *address*, in whichever VRF: a scan, for what happens once in a blue moon."""
        rows = tx.all("SELECT * FROM servers WHERE closed = 0 AND doc LIKE ?", (f'%"{address}"%',))
        return [server_of(row) for row in rows]

    def insert_server(self, tx: Transaction, server: Server, events: Sequence[Event]) -> None:
        """Adds a server that was never seen, with its first events; Stale if somebody else did so meanwhile."""
        try:
            written = self._append(tx, replace(server, version=1), events)
        except UniqueViolation:
            # Another replica heard of it at the same time.
            raise _changed(server.name) from None
        values = server_values(written)
        columns = ", ".join(values)
        marks = ", ".join("?" for _ in values)
        tx.execute(f"INSERT INTO servers ({columns}) VALUES ({marks})", tuple(values.values()))

    def write(
        self,
        tx: Transaction,
        change: Change,
        now: datetime,
        *,
        due: datetime | None,
        fence: int | None = None,
        release: bool = False,
    ) -> Change:
        """Commits *change*: events, server, instance, operations; answers it with the new versions.

        Args:
            due: when somebody should look at the server again; None: when something happens.
            fence: the claim under which it is written; None for a verb, which needs none.
            release: the claim is given back.

        Raises:
            Stale: somebody changed the row, or took the claim over: the whole thought is void.
        """
        before = change.server
        where, keys = "uuid = ? AND version = ?", [before.uuid, before.version]
        if fence is not None:
            where, keys = where + " AND fence = ?", [*keys, fence]
        # The row first: two who append to one stream would otherwise meet at its events, where nobody could tell them
        # that the one is late, and PostgreSQL would see a deadlock.
        first = f"SELECT 1 AS here FROM servers WHERE {where}{_lock(tx, lock=True)}"
        if change.events and tx.one(first, tuple(keys)) is None:
            raise _changed(before.name)
        written = self._append(tx, replace(before, version=before.version + 1), change.events)
        values = {**server_values(written), "due": to_micros(due) if due else None}
        if release:
            values["claim_until"] = None
        sets = ", ".join(f"{column} = ?" for column in values)
        if not tx.execute(f"UPDATE servers SET {sets} WHERE {where}", (*values.values(), *keys)):
            raise _changed(before.name)
        instance = change.instance
        if change.ended and instance is not None:
            tx.execute("DELETE FROM instances WHERE name = ?", (instance.name,))
            instance = None
        elif instance is not None:
            # One that lost its server before anything was done to that is looked at as any that seeks one.
            seeks = now if instance.state is InstanceState.PENDING else None
            instance = self.write_instance(tx, instance, due=seeks)
        for progress in change.operations:
            self._operations.update(tx, self._encode(progress, now))
        if due is not None and fence is None:
            tx.after_commit(self._wake)
        return replace(change, server=written, instance=instance)

    # -- instances

    def instance(self, tx: Transaction, name: str, *, lock: bool = False) -> Instance:
        """The instance; NotFound if there is none."""
        row = tx.one(f"SELECT * FROM instances WHERE name = ?{_lock(tx, lock=lock)}", (name,))
        if row is not None:
            return instance_of(row)
        if tx.one("SELECT name FROM guests WHERE name = ?", (name,)):
            made = name.rpartition("/")[2].removeprefix(PREFIX)
            msg = f"{name} was made in Nova: it is shown here, and changed there"
            raise WrongState(msg, remedy=f"Ask Nova for it: openstack server show {made}.", subject=name, holder=made)
        msg = f"{name} does not exist"
        raise NotFound(msg, name=name)

    def shown_instance(self, tx: Transaction, name: str) -> Instance:
        """The instance, or what others made in Nova by that name; NotFound if there is neither."""
        ours = self.find_instance(tx, name)
        row = tx.one("SELECT * FROM guests WHERE name = ?", (name,)) if ours is None else None
        return ours or (instance_of(row) if row else self.instance(tx, name))

    def find_instance(self, tx: Transaction, name: str) -> Instance | None:
        """The instance, or None."""
        row = tx.one("SELECT * FROM instances WHERE name = ?", (name,)) if name else None
        return instance_of(row) if row else None

    def insert_instance(
        self, tx: Transaction, instance: Instance, user_data: bytes | None, due: datetime | None
    ) -> Instance:
        """Adds an instance; somebody seeks a server for it at *due*.

        Raises:
            AlreadyExists: its name is taken.
        """
        values = {**instance_values(replace(instance, version=1)), "user_data": user_data}
        values["due"] = to_micros(due) if due else None
        columns, marks = ", ".join(values), ", ".join("?" for _ in values)
        done = tx.execute(
            f"INSERT INTO instances ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING",
            tuple(values.values()),
        )
        if not done:
            msg = f"{instance.name} exists already"
            raise AlreadyExists(msg, remedy="Choose another id, or delete the instance first.", name=instance.name)
        tx.after_commit(self._wake)
        return replace(instance, version=1)

    def write_instance(
        self,
        tx: Transaction,
        instance: Instance,
        *,
        due: datetime | None,
        fence: int | None = None,
        release: bool = False,
        user_data: bytes | None = None,
    ) -> Instance:
        """Writes an instance by compare-and-set; Stale if somebody changed it or took its claim over."""
        written = replace(instance, version=instance.version + 1)
        values = {**instance_values(written), "due": to_micros(due) if due else None}
        if user_data is not None:
            values["user_data"] = user_data
        if release:
            values["claim_until"] = None
        sets = ", ".join(f"{column} = ?" for column in values)
        where, keys = "name = ? AND version = ?", [instance.name, instance.version]
        if fence is not None:
            where, keys = where + " AND fence = ?", [*keys, fence]
        if not tx.execute(f"UPDATE instances SET {sets} WHERE {where}", (*values.values(), *keys)):
            raise _changed(instance.name)
        if due is not None and fence is None:
            tx.after_commit(self._wake)
        return written

    def delete_instance(self, tx: Transaction, instance: Instance) -> None:
        """Removes an instance that holds no server; Stale if somebody changed it."""
        if not tx.execute("DELETE FROM instances WHERE name = ? AND version = ?", (instance.name, instance.version)):
            raise _changed(instance.name)

    def user_data(self, tx: Transaction, name: str) -> bytes:
        """The sealed user data of an instance; empty if it has none."""
        row = tx.one("SELECT user_data FROM instances WHERE name = ?", (name,))
        return bytes(row["user_data"]) if row and row["user_data"] else b""

    # -- operations

    def begin_operation(self, tx: Transaction, progress: Progress, now: datetime) -> None:
        """Adds an operation."""
        self._operations.insert(tx, self._encode(progress, now))

    def show_operation(self, tx: Transaction, progress: Progress, now: datetime) -> None:
        """Writes how an operation stands."""
        self._operations.update(tx, self._encode(progress, now))

    def _append(self, tx: Transaction, server: Server, events: Sequence[Event]) -> Server:
        head = server.head
        for event in events:
            head = self._log.append(tx, event, head)
        return replace(server, head=head)


class Within:
    """The tables in one transaction; satisfies operations.books.Books."""

    def __init__(self, store: Store, tx: Transaction) -> None:
        self._store = store
        self._tx = tx

    def server(self, uuid: str) -> Server:
        """See Books."""
        return self._store.server(self._tx, uuid, lock=True)

    def find_server(self, uuid: str) -> Server | None:
        """See Books."""
        return self._store.find_server(self._tx, uuid)

    def instance(self, name: str) -> Instance:
        """See Books."""
        return self._store.instance(self._tx, name, lock=True)

    def find_instance(self, name: str) -> Instance | None:
        """See Books."""
        return self._store.find_instance(self._tx, name)

    def insert_server(self, server: Server, events: Sequence[Event]) -> None:
        """See Books."""
        self._store.insert_server(self._tx, server, events)

    def write(self, change: Change, now: datetime, *, due: datetime | None) -> Change:
        """See Books."""
        return self._store.write(self._tx, change, now, due=due)

    def insert_instance(self, instance: Instance, user_data: bytes | None, due: datetime | None) -> None:
        """See Books."""
        self._store.insert_instance(self._tx, instance, user_data, due)

    def write_instance(self, instance: Instance, *, due: datetime | None, user_data: bytes | None = None) -> Instance:
        """See Books."""
        return self._store.write_instance(self._tx, instance, due=due, user_data=user_data)

    def begin_operation(self, progress: Progress, now: datetime) -> None:
        """See Books."""
        self._store.begin_operation(self._tx, progress, now)

    def show_operation(self, progress: Progress, now: datetime) -> None:
        """See Books."""
        self._store.show_operation(self._tx, progress, now)


def _lock(tx: Transaction, *, lock: bool) -> str:
    return " FOR UPDATE" if lock and tx.dialect == "postgresql" else ""


def _changed(name: str) -> Stale:
    return Stale(f"{name} was changed by somebody else meanwhile", remedy="Read it again and repeat.", name=name)
