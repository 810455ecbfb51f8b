# SPDX-License-Identifier: Apache-2.0
"""Lifecycle's own rows and log as audits read them. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from bms.event.v1 import event_pb2
from services.kernel.names import INSTANCE
from services.lifecycle.audits.seen import InstanceRow, OperationSeen, ServerRow
from services.lifecycle.domain.server import Server
from services.lifecycle.rows import instance_of, server_of
from services.runtime.database import Row, Transaction
from services.runtime.times import from_micros

_ENDED = "instance.ended"
_STRIDE = 1000
"""How many events are looked at a time, going back through the log."""


def servers(tx: Transaction, uuids: Collection[str]) -> dict[str, ServerRow]:
    """The servers with these UUIDs that there are, closed ones too."""
    return {row["uuid"]: _server_row(row) for row in _among(tx, "servers", "uuid", uuids)}


def servers_after(tx: Transaction, uuid: str, limit: int) -> list[ServerRow]:
    """Up to *limit* servers whose UUIDs come after *uuid*, in that order."""
    rows = tx.all("SELECT * FROM servers WHERE uuid > ? ORDER BY uuid LIMIT ?", (uuid, limit))
    return [_server_row(row) for row in rows]


def holders(tx: Transaction, names: Collection[str]) -> dict[str, Server]:
    """The servers that these instances hold, by the instance's name."""
    return {row["instance"]: server_of(row) for row in _among(tx, "servers", "instance", names)}


def instances(tx: Transaction, names: Collection[str]) -> dict[str, InstanceRow]:
    """The instances with these names that there are."""
    return {row["name"]: _instance_row(row) for row in _among(tx, "instances", "name", names)}


def instances_after(tx: Transaction, name: str, limit: int) -> list[InstanceRow]:
    """Up to *limit* instances whose names come after *name*, in that order."""
    rows = tx.all("SELECT * FROM instances WHERE name > ? ORDER BY name LIMIT ?", (name, limit))
    return [_instance_row(row) for row in rows]


def keeper(tx: Transaction, lease: str) -> Server | None:
    """The server that counts *lease* as its own though no instance of the lease's owner's name holds it."""
    # Without an index: this is asked for the few leases alone that nobody seems to hold.
    for row in tx.all("SELECT * FROM servers WHERE closed = 0 AND doc LIKE ?", (f"%{lease}%",)):
        server = server_of(row)
        if any(one.name == lease for one in server.leases):
            return server
    return None


def operations_after(tx: Transaction, name: str, limit: int) -> list[OperationSeen]:
    """Up to *limit* operations that are not done, whose names come after *name*, in that order."""
    rows = tx.all(
        "SELECT name, subject, create_time FROM operations WHERE done = 0 AND name > ? ORDER BY name LIMIT ?",
        (name, limit),
    )
    return [_operation(row) for row in rows]


def operation(tx: Transaction, name: str) -> OperationSeen | None:
    """An operation that is not done; None if there is none of this name."""
    row = tx.one("SELECT name, subject, create_time FROM operations WHERE done = 0 AND name = ?", (name,))
    return _operation(row) if row else None


def at_work(tx: Transaction, subjects: Collection[str]) -> set[str]:
    """The operations that these servers, these instances and the servers they hold are at work on."""
    uuids = {subject.removeprefix("servers/") for subject in subjects if subject.startswith("servers/")}
    names = {subject for subject in subjects if subject.startswith("projects/")}
    known = [row.instance for row in instances(tx, names).values()]
    uuids |= {instance.server for instance in known if instance.server}
    walked = [*(row.server for row in servers(tx, uuids).values()), *holders(tx, names).values()]
    found = {instance.operation for instance in known}
    found |= {server.intent.operation for server in walked if server.intent is not None}
    return found - {""}


def ended_on(tx: Transaction, owner: str) -> tuple[str, ...]:
    """The UUIDs of the servers on which *owner* ended, the last first, as the log tells.

    It goes back through the whole log of the project, and is asked for the few leases alone that nobody holds.
    """
    (project, _) = INSTANCE.parse(owner)
    found: dict[str, None] = {}
    for stream, body in _events_back(tx, project):
        if body.instance == owner:
            found.setdefault(stream.removeprefix("servers/"))
    return tuple(found)


def _events_back(tx: Transaction, project: str) -> Iterator[tuple[str, event_pb2.EventBody]]:
    """The endings of a project's instances, the last first."""
    # PostgreSQL gives positions to what is committed a moment later: an ending counts from its commit on.
    at = "ordinal" if tx.dialect == "postgresql" else "position"
    latest = tx.one(f"SELECT max({at}) AS latest FROM events")
    before = int(latest["latest"] or 0) if latest else 0
    while before > 0:
        rows = tx.all(
            f"SELECT stream, header, body FROM events WHERE {at} > ? AND {at} <= ? AND project = ? ORDER BY {at} DESC",
            (before - _STRIDE, before, project),
        )
        before -= _STRIDE
        for row in rows:
            if event_pb2.EventHeader.FromString(bytes(row["header"])).type == _ENDED:
                yield row["stream"], event_pb2.EventBody.FromString(bytes(row["body"]))


def _among(tx: Transaction, table: str, column: str, values: Collection[str]) -> list[Row]:
    wanted = sorted(set(values) - {""})
    if not wanted:
        return []
    marks = ", ".join("?" for _ in wanted)
    return list(tx.all(f"SELECT * FROM {table} WHERE {column} IN ({marks})", wanted))


def _server_row(row: Row) -> ServerRow:
    return ServerRow(server_of(row), _time(row["due"]), _time(row["claim_until"]))


def _instance_row(row: Row) -> InstanceRow:
    return InstanceRow(instance_of(row), _time(row["due"]), _time(row["claim_until"]))


def _operation(row: Row) -> OperationSeen:
    return OperationSeen(row["name"], row["subject"], from_micros(row["create_time"]))


def _time(micros: int | None) -> datetime | None:
    return from_micros(micros) if micros is not None else None
