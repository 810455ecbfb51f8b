# SPDX-License-Identifier: Apache-2.0
"""Makes values fit their fields: the last gate before the wire, for what came from elsewhere.

One field of a wrong type would else cost the whole message, and in the reference silently does. Here the field is
converted where its meaning is plain ("8192" where a number belongs), cut where it is longer than the analytics API
shows, and else left out; each is told to the caller. Secrets are masked by the names of their fields, whoever put them
there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import orjson

from telemetry.sandesh.encode import LARGEST, Values, too_long
from telemetry.sandesh.schema import RANGES, Enumeration, ListOf, MapOf, Message, Scalar, SetOf, Struct, Type
from telemetry.sandesh.text import ILLEGAL, WRITERS, UnencodableError, escaped

MASK: Final = "******"
_SECRET: Final = re.compile(
    r"passw(or)?d|secret|config_?drive|private_?key|credential|user_?data|authorization", re.IGNORECASE
)
_URL: Final = re.compile(r"(^|_)url$", re.IGNORECASE)
_TELLING: Final = frozenset("?@#")
"""Of an address: without any of these it has no login, and nothing behind its path."""
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}(\.0+)?")


class _UnfitError(Exception):
    """There is no value of that type that means the same."""


def fit(message: Message, values: Values) -> tuple[dict[str, Any], tuple[str, ...]]:
    """*values* as *message* can carry them, and which fields are not as they were given, each with why.

    Args:
        values: fields of the message, or of a UVE's ``data``.
    """
    notes: list[str] = []
    owner = message.data if _is_uve(message) else message
    fitted = _struct(owner, values, "", notes)
    if _is_uve(message):
        for field in owner.fields:
            if field.name in fitted and field.table is None:
                fitted[field.name] = _short(message, field.name, fitted[field.name], notes)
    return fitted, tuple(notes)


def exposes(message: Message, values: Values) -> bool:
    """Whether *values* hold something that `fit` would mask."""
    owner = message.data if _is_uve(message) else message
    return any(_exposed(value, path) for path in _guarded(owner) if (value := values.get(path[0])))


def _is_uve(message: Message) -> bool:
    return len(message.fields) == 1 and message.fields[0].name == "data" and isinstance(message.fields[0].type, Struct)


@cache
def _guarded(owner: Message | Struct) -> tuple[tuple[str, ...], ...]:
    """The paths of all fields of *owner* that are masked, through structs and lists of them."""
    return tuple(_paths(owner))


def _paths(owner: Message | Struct) -> Iterator[tuple[str, ...]]:
    for field in owner.fields:
        inner = field.type.element if isinstance(field.type, ListOf) else field.type
        if isinstance(inner, Struct):
            yield from ((field.name, *path) for path in _paths(inner))
        elif inner is Scalar.STRING and (_SECRET.search(field.name) or _URL.search(field.name)):
            yield (field.name,)


def _exposed(value: Any, path: Sequence[str]) -> bool:
    if isinstance(value, list | tuple):
        return any(_exposed(item, path) for item in value)
    if len(path) > 1:
        inner = value.get(path[1]) if isinstance(value, Mapping) else None
        return bool(inner) and _exposed(inner, path[1:])
    return bool(value) and value != _masked(path[0], value)


def _masked(name: str, value: Any) -> Any:
    if _SECRET.search(name):
        return MASK if value else value
    if _URL.search(name) and isinstance(value, str) and not _TELLING.isdisjoint(value):
        try:
            parts = urlsplit(value)
        except ValueError:
            return MASK
        # A signature in the query, or a login in front of the host, lets anybody in who reads it.
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return value


def _struct(owner: Message | Struct, values: Any, path: str, notes: list[str]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise _UnfitError(type(values).__name__)
    types = {field.name: field.type for field in owner.fields}
    fitted: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        where = f"{path}.{name}" if path else str(name)
        if name not in types:
            notes.append(f"{where}: no such field")
            continue
        try:
            shown = _masked(name, value)
            fitted[name] = _value(types[name], shown, where, notes)
            if shown != value:
                notes.append(f"{where}: masked")
        except _UnfitError as error:
            notes.append(f"{where}: left out, no {_word(types[name])} can be made of a {error}")
    return fitted


def _value(type_: Type, value: Any, path: str, notes: list[str]) -> Any:
    match type_:
        case Struct():
            return _struct(type_, value, path, notes)
        case ListOf() | SetOf():
            return _items(type_.element, value, path, notes)
        case MapOf():
            if not isinstance(value, Mapping):
                raise _UnfitError(type(value).__name__)
            return {
                _scalar(type_.key, key, path, notes): _value(type_.value, item, f"{path}[{key}]", notes)
                for key, item in value.items()
            }
        case Enumeration():
            return _scalar(Scalar.I32, value, path, notes)
        case _:
            return _scalar(type_, value, path, notes)


def _items(element: Type, value: Any, path: str, notes: list[str]) -> list[Any]:
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if not isinstance(value, list | tuple):
        raise _UnfitError(type(value).__name__)
    found = []
    for number, item in enumerate(value):
        where = f"{path}[{number}]"
        try:
            found.append(_value(element, item, where, notes))
        except _UnfitError as error:
            notes.append(f"{where}: left out, no {_word(element)} can be made of a {error}")
    return found


def _scalar(type_: Scalar, value: Any, path: str, notes: list[str]) -> Any:
    try:
        made = _converted(type_, value)
        WRITERS[type_](made)
    except UnencodableError:
        # What the value was stays here: it may be anything.
        raise _UnfitError(type(value).__name__) from None
    if made.__class__ is not value.__class__ or made != value:
        notes.append(f"{path}: {'changed' if isinstance(value, str) and isinstance(made, str) else 'converted'}")
    return made


def _converted(type_: Scalar, value: Any) -> Any:
    text = value.strip() if isinstance(value, str) else ""
    match type_:
        case Scalar.STRING:
            return _text(value)
        case Scalar.BOOL:
            word = str(int(value)) if isinstance(value, int | float) and value in {0, 1} else text.lower()
            return True if word in _TRUE else False if word in _FALSE else value
        case Scalar.DOUBLE:
            try:
                return float(text) if text else float(value) if isinstance(value, bool) else value
            except ValueError:
                return value
        case _ if type_ in RANGES:
            if isinstance(value, float) and math.isfinite(value) and value == int(value):
                return int(value)
            if _WHOLE.fullmatch(text):
                return int(text.partition(".")[0])
            return int(value) if isinstance(value, bool) else value
        case _:
            return value


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = str(value)
    elif isinstance(value, Mapping | list | tuple):
        try:
            value = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
        except (TypeError, ValueError):
            return value
    if not isinstance(value, str):
        return value
    clean = ILLEGAL.sub("\ufffd", value)
    if len(clean) * 6 > LARGEST:  # what is escaped grows to six times its length at most
        while len(escaped(clean)) > LARGEST // 2:
            clean = clean[: len(clean) * 9 // 10]
        if len(clean) < len(value):
            clean += "…"
    return clean


def _short(message: Message, name: str, value: Any, notes: list[str]) -> Any:
    """*value*, or as much of a list as analytics shows."""
    given = value
    while too_long(message, name, value):
        if not isinstance(value, list) or len(value) < 2:
            notes.append(f"{name}: left out, it is too long for analytics")
            return None
        value = value[: len(value) * 9 // 10]
    if value is not given:
        notes.append(f"{name}: cut to {len(value)} of {len(given)}")
    return value


def _word(type_: Type) -> str:
    return type_.value if isinstance(type_, Scalar) else type(type_).__name__
