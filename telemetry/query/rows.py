# SPDX-License-Identifier: Apache-2.0
"""The rows that answer a query."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from services.kernel.errors import InvalidField
from services.runtime.database import Transaction
from telemetry.query.parse import Query
from telemetry.query.tables import MESSAGE_TABLE
from telemetry.sandesh.decode import decode
from telemetry.sandesh.errors import SandeshError
from telemetry.sandesh.schema import Kind
from telemetry.sandesh.tree import stored_xml
from telemetry.store import analytics
from telemetry.store.analytics import OF_TABLE, MessageRow

MOST_READ: Final = 200_000
"""Messages that are read for one query at most."""
MOST_SECONDS: Final = 30.0

_PAGE: Final = 500
_OBJECT_LOGS: Final = (Kind.OBJECT, Kind.UVE, Kind.ALARM)
_XML: Final = frozenset({"Xmlmessage", "ObjectLog", "SystemLog"})

Row = dict[str, Any]


def run(tx: Transaction, query: Query) -> list[Row]:
    """The rows that answer *query*, in its order.

    Raises:
        InvalidField: too much would have to be read; an answer is never a part of the whole.
    """
    found = (row for row in _candidates(tx, query) if query.where.holds(row) and query.filter.holds(row))
    if query.by_time:
        rows = list(islice(found, query.limit))
    else:
        names = tuple(column.name for column in query.sort)
        # Rows come by time, and both keep the order of equals.
        first = heapq.nlargest if query.descending else heapq.nsmallest
        rows = first(query.limit, found, key=lambda row: tuple(row[name] for name in names))
    return [{name: row[name] for name in query.columns} for row in rows]


def _candidates(tx: Transaction, query: Query) -> Iterator[Row]:
    """Every row that SQL cannot leave out, by time."""
    needed = set(query.columns) | query.where.columns() | query.filter.columns()
    whole = bool(needed & _XML)
    condition, params = _condition(query)
    until = time.monotonic() + MOST_SECONDS
    read, behind = 0, None
    while True:
        page = analytics.messages_by_time(
            tx,
            condition,
            params,
            _PAGE,
            during=(query.start, query.end),
            newest_first=query.descending,
            behind=behind,
        )
        for message in page:
            if time.monotonic() > until:
                _refuse(f"takes more than {MOST_SECONDS:.0f} seconds")
            yield from _rows(message, query.table, whole=whole)
        if len(page) < _PAGE:
            return
        read, behind = read + len(page), (page[-1].time, page[-1].id)
        if read >= MOST_READ:
            _refuse(f"reads more than {MOST_READ:,} messages")


def _refuse(why: str) -> None:
    remedy = "Narrow the time, or compare ObjectId, Messagetype, Source or ModuleId with op 1 (EQUAL)."
    raise InvalidField("start_time", f"is so early that the query {why}", remedy=remedy)


def _condition(query: Query) -> tuple[str, list[object]]:
    terms, params = list[str](), list[object]()
    if query.table != MESSAGE_TABLE:
        kinds = (Kind.SYSTEM, *_OBJECT_LOGS)
        terms.append(f"m.kind IN ({', '.join('?' * len(kinds))})")
        terms.append(f"EXISTS ({OF_TABLE})")
        params += [*map(int, kinds), query.table]
    for asked in (query.where, query.filter):
        sql, values = asked.sql(query.table)
        terms.append(sql)
        params += values
    return " AND ".join(terms), params


def _rows(row: MessageRow, table: str, *, whole: bool) -> Iterator[Row]:
    """One message as rows of *table*; without XML unless it is asked for *whole*."""
    xml = _xml(row.frame) if whole else None
    common = {"MessageTS": row.time, "Source": row.source, "ModuleId": row.module, "Messagetype": row.message_type}
    if table == MESSAGE_TABLE:
        yield common | {
            "Category": row.category,
            "Level": row.level,
            "NodeType": row.node_type,
            "InstanceId": row.instance,
            "SequenceNum": row.sequence,
            "Type": row.kind,
            "Xmlmessage": xml,
        }
        return
    system = row.kind == Kind.SYSTEM
    logs = {"ObjectLog": None if system else xml, "SystemLog": xml if system else None}
    # One message may be about several objects of the table: a row for each.
    yield from (common | {"ObjectId": key} | logs for of_table, key in row.objects if of_table == table)


def _xml(frame: bytes) -> str | None:
    try:
        return stored_xml(decode(frame).body)
    except SandeshError:
        return None
