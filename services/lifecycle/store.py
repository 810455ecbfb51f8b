# SPDX-License-Identifier: Apache-2.0
"""Lifecycle's tables: compare-and-set on versions, claims with a fence, events in the transaction of the change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from services.kernel.errors import AlreadyExists, NotFound, Stale
from services.kernel.events import Event
from services.kernel.pages import Page, PageRequest
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import project_of
from services.lifecycle.domain.progress import OF_SERVERS, Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.walk import Change
from services.lifecycle.rows import instance_of, instance_values, server_of, server_values
from services.runtime.database import Transaction
from services.runtime.eventlog import EventLog
from services.runtime.filters import Term
from services.runtime.operations import OperationRow, OperationStore
from services.runtime.times import to_micros

_T = TypeVar("_T")

Encode = Callable[[Progress, datetime], OperationRow]
"""An operation as its row: wire.py's, handed in by the composition root."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on one row.

    Attributes:
        key: the server's UUID or the instance's name.
        fence: raised by this claim.
        until: when it ends; no call may outlast it.
        taken_over: the claim before it ended without being given back.
    """

    key: str
    fence: int
    until: datetime
    taken_over: bool


class Store:
    """The tables; every method runs in the caller's transaction."""

    def __init__(self, log: EventLog, operations: OperationStore, encode: Encode, wake: Callable[[], None]) -> None:
        self._log = log
        self._operations = operations
        self._encode = encode
        self._wake = wake

    # -- servers

    def server(self, tx: Transaction, uuid: str, *, lock: bool = False) -> Server:
        """The server; NotFound if there is none, or its log is closed."""
        row = tx.one(f"SELECT * FROM servers WHERE uuid = ?{_lock(tx, lock)}", (uuid,))
        if row is None or row["closed"]:
            msg = f"servers/{uuid} does not exist"
            raise NotFound(msg, name=f"servers/{uuid}")
        return server_of(row)

    def find_server(self, tx: Transaction, uuid: str) -> Server | None:
        """The server, closed or not; None if it was never seen."""
        row = tx.one("SELECT * FROM servers WHERE uuid = ?", (uuid,))
        return server_of(row) if row else None

    def insert_server(self, tx: Transaction, server: Server, events: Sequence[Event]) -> None:
        """Adds a server that was never seen, with its first events."""
        written = self._append(tx, replace(server, version=1), events)
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
        written = self._append(tx, replace(before, version=before.version + 1), change.events)
        values = {**server_values(written), "due": to_micros(due) if due else None}
        if release:
            values["claim_until"] = None
        sets = ", ".join(f"{column} = ?" for column in values)
        where, keys = "uuid = ? AND version = ?", [before.uuid, before.version]
        if fence is not None:
            where, keys = where + " AND fence = ?", [*keys, fence]
        if not tx.execute(f"UPDATE servers SET {sets} WHERE {where}", (*values.values(), *keys)):
            raise _changed(before.name)
        instance = change.instance
        if change.ended and instance is not None:
            tx.execute("DELETE FROM instances WHERE name = ?", (instance.name,))
            instance = None
        elif instance is not None:
            instance = self.write_instance(tx, instance, due=None)
        for progress in change.operations:
            self._operations.update(tx, self._encode(progress, now))
        if due is not None and fence is None:
            tx.after_commit(self._wake)
        return replace(change, server=written, instance=instance)

    def list_servers(self, tx: Transaction, terms: Sequence[Term], page: PageRequest) -> Page[Server]:
        """One page of servers that are not closed, by UUID."""
        where, values = _where(terms, _SERVER_COLUMNS)
        rows = tx.all(
            f"SELECT * FROM servers WHERE closed = 0 AND uuid > ?{where} ORDER BY uuid LIMIT ?",
            (page.after, *values, page.size + 1),
        )
        return _page([server_of(row) for row in rows], page, lambda server: server.uuid)

    def count_states(self, tx: Transaction) -> list[tuple[str, int]]:
        """How many servers are in each state."""
        rows = tx.all("SELECT state, count(*) AS n FROM servers WHERE closed = 0 GROUP BY state ORDER BY state")
        return [(row["state"], row["n"]) for row in rows]

    def count_waits(self, tx: Transaction) -> list[tuple[str, int, int]]:
        """What servers wait for: code, how many, since when (microseconds), the most frequent first."""
        rows = tx.all(
            "SELECT wait_code, count(*) AS n, min(wait_since) AS since FROM servers WHERE closed = 0 AND wait_code <> ''"
            " GROUP BY wait_code ORDER BY n DESC, wait_code"
        )
        return [(row["wait_code"], row["n"], row["since"]) for row in rows]

    def count_maintenance(self, tx: Transaction) -> int:
        """How many servers are in maintenance."""
        row = tx.one("SELECT count(*) AS n FROM servers WHERE closed = 0 AND maintenance = 1")
        return int(row["n"]) if row else 0

    def overdue(self, tx: Transaction, now: datetime, most: int) -> tuple[list[Server], int]:
        """Servers that stay in a state longer than they may, the longest first, and how many there are."""
        at = to_micros(now)
        rows = tx.all("SELECT * FROM servers WHERE closed = 0 AND deadline < ? ORDER BY deadline LIMIT ?", (at, most))
        row = tx.one("SELECT count(*) AS n FROM servers WHERE closed = 0 AND deadline < ?", (at,))
        return [server_of(one) for one in rows], int(row["n"]) if row else 0

    # -- instances

    def instance(self, tx: Transaction, name: str, *, lock: bool = False) -> Instance:
        """The instance; NotFound if there is none."""
        row = tx.one(f"SELECT * FROM instances WHERE name = ?{_lock(tx, lock)}", (name,))
        if row is None:
            msg = f"{name} does not exist"
            raise NotFound(msg, name=name)
        return instance_of(row)

    def find_instance(self, tx: Transaction, name: str) -> Instance | None:
        """The instance, or None."""
        row = tx.one("SELECT * FROM instances WHERE name = ?", (name,)) if name else None
        return instance_of(row) if row else None

    def insert_instance(self, tx: Transaction, instance: Instance, user_data: bytes | None, due: datetime) -> Instance:
        """Adds an instance, due at once.

        Raises:
            AlreadyExists: its name is taken.
        """
        values = {**instance_values(replace(instance, version=1)), "user_data": user_data, "due": to_micros(due)}
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

    def list_instances(
        self, tx: Transaction, project: str | None, terms: Sequence[Term], page: PageRequest
    ) -> Page[Instance]:
        """One page of instances, by name; of one project, or of all (None)."""
        where, values = _where(terms, _INSTANCE_COLUMNS)
        if project is not None:
            where, values = where + " AND project = ?", [*values, project]
        rows = tx.all(
            f"SELECT * FROM instances WHERE name > ?{where} ORDER BY name LIMIT ?",
            (page.after, *values, page.size + 1),
        )
        return _page([instance_of(row) for row in rows], page, lambda instance: instance.name)

    # -- operations

    def begin_operation(self, tx: Transaction, progress: Progress, now: datetime) -> None:
        """Adds an operation."""
        self._operations.insert(tx, self._encode(progress, now))

    def show_operation(self, tx: Transaction, progress: Progress, now: datetime) -> None:
        """Writes how an operation stands."""
        self._operations.update(tx, self._encode(progress, now))

    # -- claims

    def claim(self, tx: Transaction, table: str, now: datetime, until: datetime, most: int) -> list[Claim]:
        """Takes up to *most* rows of ``servers`` or ``instances`` that are due and nobody holds."""
        key = "uuid" if table == "servers" else "name"
        at = to_micros(now)
        skip = "" if tx.dialect == "sqlite" else " FOR UPDATE SKIP LOCKED"
        rows = tx.all(
            f"SELECT {key} AS key, fence, claim_until FROM {table}"
            f" WHERE due <= ? AND (claim_until IS NULL OR claim_until < ?) ORDER BY due LIMIT ?{skip}",
            (at, at, most),
        )
        claims = []
        for row in rows:
            tx.execute(
                f"UPDATE {table} SET fence = fence + 1, claim_until = ? WHERE {key} = ?",
                (to_micros(until), row["key"]),
            )
            claims.append(Claim(row["key"], row["fence"] + 1, until, taken_over=row["claim_until"] is not None))
        return claims

    def give_back(self, tx: Transaction, table: str, claim: Claim, due: datetime) -> None:
        """Gives a claim back that is still ours, to be looked at again at *due*; a claim taken over is left alone."""
        key = "uuid" if table == "servers" else "name"
        tx.execute(
            f"UPDATE {table} SET claim_until = NULL, due = ? WHERE {key} = ? AND fence = ?",
            (to_micros(due), claim.key, claim.fence),
        )

    def next_due(self, tx: Transaction) -> int | None:
        """When the next row is due that nobody holds, or whose claim ends (microseconds); None if none is."""
        rows = tx.all(
            "SELECT min(due) AS at FROM servers WHERE claim_until IS NULL UNION ALL"
            " SELECT min(claim_until) FROM servers WHERE due IS NOT NULL UNION ALL"
            " SELECT min(due) FROM instances WHERE claim_until IS NULL UNION ALL"
            " SELECT min(claim_until) FROM instances WHERE due IS NOT NULL"
        )
        return min((row["at"] for row in rows if row["at"] is not None), default=None)

    # -- following inventory

    def followed(self, tx: Transaction, log: str) -> int:
        """How far another service's log was followed."""
        row = tx.one("SELECT position FROM followed WHERE log = ?", (log,))
        return int(row["position"]) if row else 0

    def follow(self, tx: Transaction, log: str, position: int) -> None:
        """Remembers how far another service's log was followed."""
        tx.execute(
            "INSERT INTO followed (log, position) VALUES (?, ?) ON CONFLICT (log) DO UPDATE SET position = excluded.position",
            (log, position),
        )

    def _append(self, tx: Transaction, server: Server, events: Sequence[Event]) -> Server:
        head = server.head
        for event in events:
            head = self._log.append(tx, event, head)
        return replace(server, head=head)


def project_of_progress(progress: Progress) -> str:
    """The project an operation belongs to; "" for verbs on servers."""
    return "" if progress.kind in OF_SERVERS else project_of(progress.target)


_SERVER_COLUMNS = {
    "state": "state",
    "power": "power",
    "instance": "instance",
    "wait_code": "wait_code",
    "maintenance": "maintenance",
    "isolated": "isolated",
    "fault": "fault",
    "display_name": "display_name",
}
_INSTANCE_COLUMNS = {"state": "state", "server": "server", "flavor": "flavor", "image": "image"}
SERVER_FIELDS = frozenset(_SERVER_COLUMNS)
"""What servers can be filtered by."""
INSTANCE_FIELDS = frozenset(_INSTANCE_COLUMNS)
"""What instances can be filtered by."""


def _where(terms: Sequence[Term], columns: dict[str, str]) -> tuple[str, list[object]]:
    sql, values = "", list[object]()
    for term in terms:
        operator = "=" if term.op == "=" else "<>"
        sql += f" AND {columns[term.field]} {operator} ?"
        values.append(_value(term))
    return sql, values


def _value(term: Term) -> object:
    if term.field in ("maintenance", "isolated"):
        return int(term.value.lower() in ("true", "1", "yes"))
    if term.field in ("state", "power"):
        return term.value.lower().removeprefix("state_").removeprefix("power_")
    if term.field == "server":
        return term.value.removeprefix("servers/")
    return term.value


def _page(rows: list[_T], page: PageRequest, key: Callable[[_T], str]) -> Page[_T]:
    shown = rows[: page.size]
    return Page(shown, key(shown[-1]) if len(rows) > page.size else "")


def _lock(tx: Transaction, lock: bool) -> str:
    return " FOR UPDATE" if lock and tx.dialect == "postgresql" else ""


def _changed(name: str) -> Stale:
    return Stale(f"{name} was changed by somebody else meanwhile", remedy="Read it again and repeat.", name=name)
