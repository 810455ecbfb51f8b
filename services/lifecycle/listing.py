# SPDX-License-Identifier: Apache-2.0
"""Lifecycle's rows as they are looked at: pages, filters, counts. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from services.kernel.pages import Page, PageRequest
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.server import Server
from services.lifecycle.rows import instance_of, server_of
from services.runtime.database import Transaction
from services.runtime.filters import Term
from services.runtime.times import to_micros

_T = TypeVar("_T")

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
_SHOWN = "name, project, flavor, image, state, server, operation, create_time, update_time, version, fence, doc"
"""The columns that instances and guests have in common."""
SERVER_FIELDS = frozenset(_SERVER_COLUMNS)
"""What servers can be filtered by."""
INSTANCE_FIELDS = frozenset(_INSTANCE_COLUMNS)
"""What instances can be filtered by."""


def list_servers(tx: Transaction, terms: Sequence[Term], page: PageRequest) -> Page[Server]:
    """One page of servers that are not closed, by UUID."""
    where, values = _where(terms, _SERVER_COLUMNS)
    rows = tx.all(
        f"SELECT * FROM servers WHERE closed = 0 AND uuid > ?{where} ORDER BY uuid LIMIT ?",
        (page.after, *values, page.size + 1),
    )
    return _page([server_of(row) for row in rows], page, lambda server: server.uuid)


def count_states(tx: Transaction) -> list[tuple[str, int]]:
    """How many servers are in each state."""
    rows = tx.all("SELECT state, count(*) AS n FROM servers WHERE closed = 0 GROUP BY state ORDER BY state")
    return [(row["state"], row["n"]) for row in rows]


def count_waits(tx: Transaction) -> list[tuple[str, int, int]]:
    """What servers wait for: code, how many, since when (microseconds), the most frequent first."""
    rows = tx.all(
        "SELECT wait_code, count(*) AS n, min(wait_since) AS since FROM servers"
        " WHERE closed = 0 AND wait_code <> '' GROUP BY wait_code ORDER BY n DESC, wait_code"
    )
    return [(row["wait_code"], row["n"], row["since"]) for row in rows]


def count_maintenance(tx: Transaction) -> int:
    """How many servers are in maintenance."""
    row = tx.one("SELECT count(*) AS n FROM servers WHERE closed = 0 AND maintenance = 1")
    return int(row["n"]) if row else 0


def overdue(tx: Transaction, now: datetime, most: int) -> tuple[list[Server], int]:
    """Servers that stay in a state longer than they may, the longest first, and how many there are."""
    at = to_micros(now)
    rows = tx.all("SELECT * FROM servers WHERE closed = 0 AND deadline < ? ORDER BY deadline LIMIT ?", (at, most))
    row = tx.one("SELECT count(*) AS n FROM servers WHERE closed = 0 AND deadline < ?", (at,))
    return [server_of(one) for one in rows], int(row["n"]) if row else 0


def list_instances(tx: Transaction, project: str | None, terms: Sequence[Term], page: PageRequest) -> Page[Instance]:
    """One page of instances and of what others made in Nova, by name; of one project, or of all (None)."""
    where, values = _where(terms, _INSTANCE_COLUMNS)
    if project is not None:
        where, values = where + " AND project = ?", [*values, project]
    rows = tx.all(
        f"SELECT {_SHOWN} FROM instances WHERE name > ?{where}"
        f" UNION ALL SELECT {_SHOWN} FROM guests WHERE name > ?{where} ORDER BY name LIMIT ?",
        (page.after, *values, page.after, *values, page.size + 1),
    )
    return _page([instance_of(row) for row in rows], page, lambda instance: instance.name)


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
