# SPDX-License-Identifier: Apache-2.0
"""The comparisons of ``where`` and ``filter``: what each means for a row, and what the store can leave out for it.

The rule of each operator stands once, in `Term.holds`. SQL only narrows: it may leave rows out that cannot hold, and
says nothing of those it cannot compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from services.kernel.errors import InvalidField
from telemetry.query.patterns import Pattern, PatternError
from telemetry.query.tables import Column, Columns
from telemetry.store.analytics import OF_TABLE

MOST_TERMS: Final = 100
_TEXTS: Final = 4096
"""Longest text to compare with, characters."""


class Op(IntEnum):
    """The reference's operators; it numbers them so."""

    EQUAL = 1
    NOT_EQUAL = 2
    IN_RANGE = 3
    NOT_IN_RANGE = 4
    LEQ = 5
    GEQ = 6
    PREFIX = 7
    REGEX = 8
    CONTAINS = 9


_RANGES: Final = frozenset({Op.IN_RANGE, Op.NOT_IN_RANGE})
_NUMBERS: Final = frozenset({Op.EQUAL, Op.NOT_EQUAL, Op.LEQ, Op.GEQ}) | _RANGES
_OF_TEXT: Final = frozenset({Op.EQUAL, Op.NOT_EQUAL, Op.PREFIX, Op.REGEX, Op.CONTAINS}) | _RANGES
_KNOWN: Final = frozenset({"name", "value", "value2", "op", "suffix"})


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison.

    Attributes:
        value: a number for a column of numbers, else a text.
        last: the end of a range, included.
    """

    column: Column
    op: Op
    value: Any
    last: Any = None
    pattern: Pattern | None = field(default=None, compare=False)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether *row* is one of those asked for; a column without a value is like no text."""
        value = row.get(self.column.name)
        if value is None:
            return self.op in {Op.NOT_EQUAL, Op.NOT_IN_RANGE}
        match self.op:
            case Op.EQUAL:
                return bool(value == self.value)
            case Op.NOT_EQUAL:
                return bool(value != self.value)
            case Op.IN_RANGE:
                return bool(self.value <= value <= self.last)
            case Op.NOT_IN_RANGE:
                return not self.value <= value <= self.last
            case Op.LEQ:
                return bool(value <= self.value)
            case Op.GEQ:
                return bool(value >= self.value)
            case Op.PREFIX:
                return str(value).startswith(self.value)
            case Op.CONTAINS:
                return self.value in str(value)
            case Op.REGEX:
                return self.pattern is not None and self.pattern.matches(value)

    def sql(self, table: str) -> tuple[str, list[object]] | None:
        """What a message must be for any of its rows in *table* to hold; None if SQL cannot tell."""
        if not self.column.stored:
            return None
        of_object = self.column.stored == "object_key"
        condition = self._condition("o.object_key" if of_object else f"m.{self.column.stored}")
        if condition is None or not of_object:
            return condition
        sql, params = condition
        return f"EXISTS ({OF_TABLE} AND {sql})", [table, *params]

    def _condition(self, name: str) -> tuple[str, list[object]] | None:
        """The same in SQL; orders of texts are left to `holds`, since databases have their own."""
        match self.op:
            case Op.EQUAL:
                return f"{name} = ?", [self.value]
            case Op.NOT_EQUAL:
                return f"{name} <> ?", [self.value]
            case Op.IN_RANGE if self.column.number:
                return f"{name} BETWEEN ? AND ?", [self.value, self.last]
            case Op.NOT_IN_RANGE if self.column.number:
                return f"{name} NOT BETWEEN ? AND ?", [self.value, self.last]
            case Op.LEQ:
                return f"{name} <= ?", [self.value]
            case Op.GEQ:
                return f"{name} >= ?", [self.value]
            case Op.PREFIX:
                return f"substr({name}, 1, ?) = ?", [len(self.value), self.value]
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Terms:
    """Comparisons: any of the lists, all of each. No list is no condition."""

    lists: tuple[tuple[Term, ...], ...] = ()

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether *row* is asked for."""
        return not self.lists or any(all(term.holds(row) for term in terms) for terms in self.lists)

    def columns(self) -> set[str]:
        """The names of the columns compared."""
        return {term.column.name for terms in self.lists for term in terms}

    def sql(self, table: str) -> tuple[str, list[object]]:
        """What a message must be for any of its rows in *table* to hold."""
        sql: list[str] = []
        params: list[object] = []
        for terms in self.lists:
            known = [found for term in terms if (found := term.sql(table)) is not None]
            if not known:
                return "1 = 1", []
            sql.append(" AND ".join(part for part, _ in known))
            params += (value for _, values in known for value in values)
        return (f"({' OR '.join(sql)})", params) if sql else ("1 = 1", [])


def parse(given: object, name: str, columns: Columns) -> Terms:
    """The comparisons in the field *name* of a request: a list of lists, or one list of comparisons that all hold.

    Raises:
        InvalidField: they are none, or cannot be made.
    """
    if given is None or given in ([], [[]]):
        return Terms()
    lists: object = [given] if isinstance(given, list) and all(isinstance(part, dict) for part in given) else given
    if not isinstance(lists, list) or not all(isinstance(part, list) for part in lists):
        remedy = 'Give [[{"name": .., "value": .., "op": 1}]].'
        raise InvalidField(name, "is not a list of lists of comparisons", remedy=remedy)
    if sum(map(len, lists)) > MOST_TERMS or len(lists) > MOST_TERMS:
        raise InvalidField(name, f"holds more than {MOST_TERMS} comparisons", remedy="Ask in several queries.")
    if not all(lists):
        return Terms()  # one of the alternatives demands nothing
    return Terms(tuple(tuple(_terms(part, name, columns)) for part in lists))


def _terms(given: Sequence[object], name: str, columns: Columns) -> Iterable[Term]:
    for term in given:
        if not isinstance(term, dict) or not term.keys() <= _KNOWN:
            remedy = 'A comparison is {"name": .., "value": .., "op": ..}, and "value2" for a range.'
            raise InvalidField(name, "holds something else than comparisons", remedy=remedy)
        yield _term(term, name, columns)


def _term(given: Mapping[str, Any], name: str, columns: Columns) -> Term:
    named = given.get("name")
    column = columns.get(named) if isinstance(named, str) else None
    if column is None:
        known = ", ".join(columns)
        raise InvalidField(name, f"{str(named)[:60]!r} is no column", remedy=f"Compare one of {known}.")
    if given.get("suffix"):
        raise InvalidField(
            name, f"{column.name} has no suffix", remedy="Leave suffix out; none of our columns has one."
        )
    op = _op(given.get("op"), name, column)
    value = _value(given.get("value"), name, column)
    if op in _RANGES:
        return Term(column, op, value, _value(given.get("value2"), name, column, "value2"))
    if op is not Op.REGEX:
        return Term(column, op, value)
    try:
        return Term(column, op, value, pattern=Pattern(str(value)))
    except PatternError as error:
        remedy = "Known are . [] () | * + ? {m,n} \\d \\w \\s; the whole text must match."
        raise InvalidField(name, f"the pattern for {column.name} {error}", remedy=remedy) from None


def _op(given: object, name: str, column: Column) -> Op:
    supported = _NUMBERS if column.number else _OF_TEXT
    text = str(given)
    # The reference's own tools write some operators as text.
    if not isinstance(given, bool) and text.isascii() and text.isdecimal() and len(text) < 3:
        found = next((op for op in supported if op == int(text)), None)
        if found is not None:
            return found
    known = ", ".join(f"{op.value} ({op.name})" for op in sorted(supported))
    raise InvalidField(name, f"op {text[:20]} on {column.name} is not supported", remedy=f"Supported: {known}.")


def _value(given: object, name: str, column: Column, which: str = "value") -> int | str:
    if isinstance(given, bool):
        given = None
    if column.number:
        text = str(given)
        if isinstance(given, int | str) and text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20:
            number = int(text)
            if -(2**63) <= number < 2**63:
                return number
        raise InvalidField(name, f"{which} for {column.name} is not a whole number", remedy="Give one of 64 bits.")
    if isinstance(given, str) and given and "\x00" not in given and len(given) <= _TEXTS:
        return given
    raise InvalidField(
        name,
        f"{which} for {column.name} is not a text",
        remedy=f"Give a text of 1 to {_TEXTS} characters, without NUL.",
    )
