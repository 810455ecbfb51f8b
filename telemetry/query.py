# SPDX-License-Identifier: Apache-2.0
"""The part of the analytics query language that we speak: equality on a few columns, a time range, a limit.

Everything else is refused with what is supported, so that nobody takes a narrower answer for the whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from services.kernel.errors import InvalidField
from services.runtime.database import Transaction
from telemetry.sandesh.decode import decode
from telemetry.sandesh.errors import SandeshError
from telemetry.sandesh.schema import Kind
from telemetry.sandesh.tree import stored_xml
from telemetry.store import analytics
from telemetry.store.analytics import Asked, MessageRow
from telemetry.uves import TYPES

MESSAGE_TABLE: Final = "MessageTable"
OBJECT_TABLES: Final = frozenset(kind.table for kind in TYPES.values())
MOST_ROWS: Final = 5_000

MESSAGE_COLUMNS: Final = (
    "MessageTS",
    "Source",
    "Messagetype",
    "ModuleId",
    "Category",
    "Level",
    "NodeType",
    "InstanceId",
    "SequenceNum",
    "Type",
    "Xmlmessage",
)
OBJECT_COLUMNS: Final = ("MessageTS", "ObjectId", "Source", "ModuleId", "Messagetype", "ObjectLog", "SystemLog")

_EQUAL: Final = 1
_DESCENDING: Final = 2
_OBJECT_KINDS: Final = (Kind.OBJECT, Kind.UVE, Kind.ALARM)
_COMPARED: Final = ("Source", "ModuleId", "Messagetype", "ObjectId")
_KNOWN: Final = frozenset(
    {"table", "start_time", "end_time", "select_fields", "where", "limit", "sort", "sort_fields", "filter", "dir"}
)
_RELATIVE: Final = re.compile(r"now(?:\s*-\s*(\d{1,9})\s*(s|m|h|d|w))?")
_UNITS: Final[Mapping[str, int]] = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800})


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be answered.

    Attributes:
        asked: what to look for; rows of any of them.
    """

    table: str
    columns: tuple[str, ...]
    asked: tuple[Asked, ...]
    newest_first: bool
    limit: int


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of *table*.

    Raises:
        InvalidField: it cannot be asked.
    """
    if table == MESSAGE_TABLE:
        return MESSAGE_COLUMNS
    if table in OBJECT_TABLES:
        return OBJECT_COLUMNS
    known = ", ".join((MESSAGE_TABLE, *sorted(OBJECT_TABLES)))
    raise InvalidField("table", f"{table[:60]!r} cannot be asked", remedy=f"Ask one of {known}.")


def parse(given: object, now: int) -> Query:
    """The query in a request's JSON.

    Args:
        now: microseconds since 1970.

    Raises:
        InvalidField: it is none, or needs what is not supported.
    """
    if not isinstance(given, dict):
        raise InvalidField("", "is not a JSON object")
    for name in given:
        if name not in _KNOWN:
            raise InvalidField(str(name)[:60], "is not supported", remedy=f"Supported: {', '.join(sorted(_KNOWN))}.")
    table = given.get("table")
    columns = columns_of(table if isinstance(table, str) else "")
    start, end = _moment(given, "start_time", now), _moment(given, "end_time", now)
    if given.get("filter"):
        raise InvalidField("filter", "is not supported", remedy="Use where, with op 1 (EQUAL).")
    asked = []
    for conjunction in _alternatives(given.get("where")):
        terms = dict(_term(term, table == MESSAGE_TABLE) for term in conjunction)
        if len(terms) != len(conjunction):
            raise InvalidField("where", "compares one column twice", remedy="Write alternatives as separate lists.")
        asked.append(
            Asked(
                table="" if table == MESSAGE_TABLE else str(table),
                key=terms.get("ObjectId", ""),
                message_type=terms.get("Messagetype", ""),
                source=terms.get("Source", ""),
                module=terms.get("ModuleId", ""),
                kinds=() if table == MESSAGE_TABLE else (Kind.SYSTEM, *_OBJECT_KINDS),
                start=start,
                end=end,
            )
        )
    return Query(str(table), _select(given, columns), tuple(asked), _descending(given), _limit(given))


def run(tx: Transaction, query: Query) -> list[dict[str, Any]]:
    """The rows that answer *query*."""
    found: dict[int, MessageRow] = {}
    for asked in query.asked:
        for row in analytics.messages_by_time(tx, asked, query.limit, newest_first=query.newest_first):
            found[row.id] = row
    rows = sorted(found.values(), key=lambda row: (row.time, row.id), reverse=query.newest_first)
    keys = {asked.key for asked in query.asked}
    return [
        {name: value for name, value in values.items() if name in query.columns}
        for row in rows[: query.limit]
        for values in _rendered(row, query, keys)
    ][: query.limit]


def _rendered(row: MessageRow, query: Query, keys: set[str]) -> list[dict[str, Any]]:
    xml = _xml(row.frame) if {"Xmlmessage", "ObjectLog", "SystemLog"} & set(query.columns) else None
    common = {"MessageTS": row.time, "Source": row.source, "ModuleId": row.module, "Messagetype": row.message_type}
    if query.table == MESSAGE_TABLE:
        header = {
            "Category": row.category,
            "Level": row.level,
            "NodeType": row.node_type,
            "InstanceId": row.instance,
            "SequenceNum": row.sequence,
            "Type": row.kind,
            "Xmlmessage": xml,
        }
        return [common | header]
    system = row.kind == Kind.SYSTEM
    logs = {"ObjectLog": None if system else xml, "SystemLog": xml if system else None}
    # One message may be about several objects of the table: a row for each.
    return [
        common | {"ObjectId": key} | logs
        for table, key in row.objects
        if table == query.table and ("" in keys or key in keys)
    ]


def _xml(frame: bytes) -> str | None:
    try:
        return stored_xml(decode(frame).body)
    except SandeshError:
        return None


def _moment(given: Mapping[str, Any], name: str, now: int) -> int:
    value = given.get(name)
    if isinstance(value, bool) or value is None:
        raise InvalidField(name, "is missing", remedy="Give microseconds since 1970, or now, now-10m, now-2h, now-1d.")
    if isinstance(value, int):
        moment = value
    else:
        text = str(value).strip()
        relative = _RELATIVE.fullmatch(text)
        if relative is None and not (text.isascii() and text.isdecimal() and len(text) < 19):
            remedy = "Give microseconds since 1970, or now, now-10m, now-2h, now-1d."
            raise InvalidField(name, f"{text[:60]!r} is no moment", remedy=remedy)
        moment = int(text) if relative is None else now - _seconds(relative) * 1_000_000
    if not -(2**62) < moment < 2**62:
        raise InvalidField(name, "is out of range")
    return moment


def _seconds(relative: re.Match[str]) -> int:
    return int(relative[1] or 0) * _UNITS[relative[2] or "s"]


def _alternatives(where: object) -> Sequence[Sequence[object]]:
    if where is None or where in ([], [[]]):
        return [[]]
    if not isinstance(where, list) or not all(isinstance(part, list) for part in where) or len(where) > 20:
        remedy = 'Give [[{"name": .., "value": .., "op": 1}]].'
        raise InvalidField("where", "is not a list of at most 20 lists of terms", remedy=remedy)
    return where


def _term(term: object, messages: bool) -> tuple[str, str]:
    supported = [name for name in _COMPARED if not messages or name != "ObjectId"]
    remedy = f"Supported: op 1 (EQUAL) on {', '.join(supported)}."
    if not isinstance(term, dict):
        raise InvalidField("where", "holds something else than terms", remedy=remedy)
    name, value, operator = term.get("name"), term.get("value"), term.get("op")
    if name not in supported:
        raise InvalidField("where", f"{str(name)[:60]!r} cannot be compared", remedy=remedy)
    if operator not in (_EQUAL, str(_EQUAL)) or isinstance(operator, bool) or term.get("value2") or term.get("suffix"):
        raise InvalidField("where", f"op {str(operator)[:20]} on {name} is not supported", remedy=remedy)
    if not isinstance(value, str) or not value or "\x00" in value:
        raise InvalidField("where", f"the value of {name} is not a text", remedy=remedy)
    return str(name), value


def _select(given: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    select = given.get("select_fields")
    remedy = f"Supported: {', '.join(columns)}."
    if not isinstance(select, list) or not select:
        raise InvalidField("select_fields", "is missing", remedy=remedy)
    for name in select:
        if name not in columns:
            raise InvalidField("select_fields", f"{str(name)[:60]!r} cannot be selected", remedy=remedy)
    return tuple(select)


def _descending(given: Mapping[str, Any]) -> bool:
    fields = given.get("sort_fields")
    if fields not in (None, [], ["MessageTS"]):
        raise InvalidField("sort_fields", "is not supported", remedy="Supported: MessageTS.")
    sort = given.get("sort")
    if sort not in (None, 1, _DESCENDING, "1", "2") or isinstance(sort, bool):
        raise InvalidField("sort", "is neither 1 (ascending) nor 2 (descending)")
    return sort in (_DESCENDING, "2")


def _limit(given: Mapping[str, Any]) -> int:
    limit = given.get("limit", MOST_ROWS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidField("limit", "is not a number above 0")
    return min(limit, MOST_ROWS)
