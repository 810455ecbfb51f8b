# SPDX-License-Identifier: Apache-2.0
"""The part of AIP-160 that we speak: ``field = value AND field != "quoted value" AND labels.rack = R12``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from services.kernel.errors import InvalidField

_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_./-]+)?")
_OPERATOR = re.compile(r"!=|=")
_BARE = re.compile(r"[^\s\"'()=!<>]+")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_ESCAPE = re.compile(r"\\(.)")

MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison of a filter.

    Attributes:
        field: the field's name; of a map, the name before the dot (``labels``).
        key: the map's key after the dot, "" where the field is no map.
        op: ``=`` or ``!=``.
        value: what is compared with, unquoted; the service reads numbers and enums from it.
    """

    field: str
    op: Literal["=", "!="]
    value: str
    key: str = ""


def parse(text: str, fields: Collection[str], maps: Collection[str] = ()) -> tuple[Term, ...]:
    """The terms of *text*, all of which must hold; none for an empty one.

    Args:
        fields: the fields that may be compared.
        maps: the map fields of which one key may be compared.

    Raises:
        InvalidField: it is not such a filter; the remedy says what is supported.
    """
    if len(text) > MAX_LENGTH:
        raise _refused(f"is longer than {MAX_LENGTH} characters", fields, maps)
    if "\x00" in text:
        raise _refused("holds a NUL character", fields, maps)
    terms: list[Term] = []
    at = _skip(text, 0)
    while at < len(text):
        if terms:
            if not (text.startswith("AND", at) and _SPACE.match(text, at + 3)):
                raise _refused(f"expects AND at character {at + 1}", fields, maps)
            at = _skip(text, at + 3)
        field = _FIELD.match(text, at)
        operator = _OPERATOR.match(text, _skip(text, field.end())) if field else None
        if field is None or operator is None:
            raise _refused(f"expects a field, then = or !=, at character {at + 1}", fields, maps)
        at = _skip(text, operator.end())
        quoted = _QUOTED.match(text, at)
        value = quoted or _BARE.match(text, at)
        if value is None:
            raise _refused(f"expects a value at character {at + 1}", fields, maps)
        name, _, key = field.group().partition(".")
        if name not in (maps if key else fields):
            raise _refused(f"has the unknown field {field.group()[:60]!r}", fields, maps)
        terms.append(
            Term(
                field=name,
                op="=" if operator.group() == "=" else "!=",
                value=_ESCAPE.sub(r"\1", quoted.group(1)) if quoted else value.group(),
                key=key,
            )
        )
        after = _skip(text, value.end())
        if after == value.end() < len(text):
            raise _refused(f"expects a space at character {after + 1}", fields, maps)
        at = after
    if text.rstrip().endswith(" AND"):
        raise _refused("ends with AND", fields, maps)
    return tuple(terms)


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _refused(why: str, fields: Collection[str], maps: Collection[str]) -> InvalidField:
    known = ", ".join([*sorted(fields), *(f"{name}.<key>" for name in sorted(maps))])
    return InvalidField(
        "filter",
        why,
        remedy=f'Give `field = value` terms joined by AND, with = or !=; quote values with "". Fields: {known}.',
        supported=known,
    )
