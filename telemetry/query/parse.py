# SPDX-License-Identifier: Apache-2.0
"""What a request for a query asks for.

What we do not speak is refused with what is supported, so that nobody takes a narrower answer for the whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from services.kernel.errors import InvalidField
from telemetry.query import terms
from telemetry.query.tables import Column, Columns, columns_of
from telemetry.query.terms import Terms

MOST_ROWS: Final = 5_000

_DESCENDING: Final = 2
_KNOWN: Final = frozenset(
    {"table", "start_time", "end_time", "select_fields", "where", "limit", "sort", "sort_fields", "filter", "dir"}
)
_RELATIVE: Final = re.compile(r"now(?:\s*-\s*(\d{1,9})\s*(s|m|h|d|w))?")
_UNITS: Final[Mapping[str, int]] = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800})
_MOMENT: Final = "Give microseconds since 1970, or now, now-10m, now-2h, now-1d."


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be answered.

    Attributes:
        columns: to show.
        start, end: microseconds, both included.
        where, filter: a row is asked for if both hold.
        sort: by these columns; rows that are equal in them, by time.
        limit: at most so many rows.
    """

    table: str
    columns: tuple[str, ...]
    start: int
    end: int
    where: Terms
    filter: Terms
    sort: tuple[Column, ...]
    descending: bool
    limit: int

    @property
    def by_time(self) -> bool:
        """Whether the order of rows is that of their time."""
        return all(column.stored == "time" for column in self.sort[:1])


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
    return Query(
        table=str(table),
        columns=_select(given, columns),
        start=_moment(given, "start_time", now),
        end=_moment(given, "end_time", now),
        where=terms.parse(given.get("where"), "where", columns),
        filter=terms.parse(given.get("filter"), "filter", columns),
        sort=_sort_fields(given, columns),
        descending=_descending(given),
        limit=_limit(given),
    )


def _moment(given: Mapping[str, Any], name: str, now: int) -> int:
    value = given.get(name)
    if isinstance(value, bool) or value is None:
        raise InvalidField(name, "is missing", remedy=_MOMENT)
    if isinstance(value, int):
        moment = value
    else:
        text = str(value).strip()
        relative = _RELATIVE.fullmatch(text)
        if relative is None and not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise InvalidField(name, f"{text[:60]!r} is no moment", remedy=_MOMENT)
        moment = int(text) if relative is None else now - _seconds(relative) * 1_000_000
    if not -(2**62) < moment < 2**62:
        raise InvalidField(name, "is out of range")
    return moment


def _seconds(relative: re.Match[str]) -> int:
    return int(relative[1] or 0) * _UNITS[relative[2] or "s"]


def _select(given: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    select = given.get("select_fields")
    remedy = f"Supported: {', '.join(columns)}."
    if not isinstance(select, list) or not select:
        raise InvalidField("select_fields", "is missing", remedy=remedy)
    for name in select:
        if not isinstance(name, str) or name not in columns:
            raise InvalidField("select_fields", f"{str(name)[:60]!r} cannot be selected", remedy=remedy)
    return tuple(select)


def _sort_fields(given: Mapping[str, Any], columns: Columns) -> tuple[Column, ...]:
    fields = given.get("sort_fields") or []
    sortable = {name: column for name, column in columns.items() if column.stored}
    if not isinstance(fields, list) or not all(isinstance(name, str) and name in sortable for name in fields):
        raise InvalidField("sort_fields", "is not supported", remedy=f"Supported: {', '.join(sortable)}.")
    return tuple(sortable[name] for name in dict.fromkeys(fields))


def _descending(given: Mapping[str, Any]) -> bool:
    sort = given.get("sort")
    if sort not in (None, 1, _DESCENDING, "1", "2") or isinstance(sort, bool):
        raise InvalidField("sort", "is neither 1 (ascending) nor 2 (descending)")
    return sort in (_DESCENDING, "2")


def _limit(given: Mapping[str, Any]) -> int:
    limit = given.get("limit", MOST_ROWS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidField("limit", "is not a number above 0")
    return min(limit, MOST_ROWS)
