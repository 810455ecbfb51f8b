# SPDX-License-Identifier: Apache-2.0
"""From values to bytes, by hand-joined strings.

For every message type a function is generated once, as source text, with all tags already in place:
building a tree instead costs four times as much. What the generated code is not sure of (another type than expected,
a character to escape) it hands to the functions of `telemetry.sandesh.text`, which escape or refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.framing import frame
from telemetry.sandesh.header import Header, header_text
from telemetry.sandesh.schema import (
    RANGES,
    Enumeration,
    Field,
    ListOf,
    MapOf,
    Message,
    Scalar,
    SetOf,
    Struct,
    Type,
    label,
)
from telemetry.sandesh.text import WRITERS, UnencodableError

Values: TypeAlias = Mapping[str, Any]
"""Fields by name; None and absence are the same. Structs are mappings, lists are lists or tuples."""
Writer: TypeAlias = Callable[[Any], str]

LARGEST: Final = 95_000
"""Characters of one attribute of a UVE, written: the analytics API drops those of 100,000 and more."""


def encode(header: Header, message: Message, values: Values) -> bytes:
    """One frame, ready for the wire.

    Raises:
        EncodeError: a value its field cannot hold (type, range, an illegal character, an unknown field).
    """
    return frame((header_text(header) + body_text(message, values)).encode())


def body_text(message: Message, values: Values) -> str:
    """*values* as the XML of *message*, without header and envelope. For the errors see `encode`."""
    try:
        return _writer(message)(values)
    except UnencodableError as error:
        # The generated code does not keep track of where it is. Look for the place now.
        for path, reason in _mistakes(message, values, ""):
            raise EncodeError(path, reason) from None
        raise EncodeError(message.name, str(error)) from None


def too_long(message: Message, name: str, value: Any) -> bool:
    """Whether the analytics API would drop the attribute *name* of a UVE. For the errors see `encode`."""
    if not isinstance(value, str | list | tuple | Mapping):
        return False
    (type_,) = (field.type for field in message.data.fields if field.name == name)
    try:
        return len(_value_writer(type_)(value)) > LARGEST
    except UnencodableError as error:
        raise EncodeError(name, str(error)) from None


@cache
def _writer(message: Message) -> Writer:
    if any(key.table == "" for key in message.keys):

        def refuse(_: Values) -> str:
            msg = "the table of the key is given when the message is made"
            raise UnencodableError(msg)

        return refuse
    inner = _fields_writer(message)
    return lambda values: f'<{message.name} type="sandesh">{inner(values)}</{message.name}>'


class _Source:
    """The text of a generated function, and the names it uses."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, object] = {"UnencodableError": UnencodableError, "as_mapping": _as_mapping}

    def use(self, thing: object) -> str:
        name = f"f{len(self.names)}"
        self.names[name] = thing
        return name


@cache
def _fields_writer(owner: Message | Struct) -> Writer:
    """The function that writes all fields of *owner* in order."""
    source = _Source()
    source.lines += [
        "def write(values):",
        "    if values.__class__ is not dict: values = as_mapping(values)",
        "    get = values.get",
        "    out = []",
    ]
    for field in owner.fields:
        opened, closed = _tags(field)
        source.lines += [
            f"    x = get({field.name!r})",
            f"    if x is not None: out.append({_expression(source, field.type, opened, closed)})",
        ]
    unknown = source.use(lambda values: _unknown(owner, values))
    source.lines += [
        # None counts as absent, so the lengths may differ honestly.
        f"    if len(out) != len(values): {unknown}(values)",
        "    return ''.join(out)",
    ]
    # Only names and annotations that the schema has checked enter the text.
    exec(compile("\n".join(source.lines), f"<writer of {owner.name}>", "exec"), source.names)  # noqa: S102
    write: Writer = source.names["write"]  # type: ignore[assignment]
    return write


def _expression(source: _Source, type_: Type, opened: str, closed: str) -> str:
    """An expression that is the text of ``x`` between two tags."""
    written = opened + "{x}" + closed
    match type_:
        case Scalar.STRING:
            # Printable text holds nothing that XML forbids; what is left are the four escapes.
            clean = """x.isprintable() and "&" not in x and "<" not in x and ">" not in x and "'" not in x"""
            fast = f"x.__class__ is str and {clean}"
        case Scalar.BOOL:
            false = f"{opened + 'false' + closed!r} if x is False else {_slow(source, type_, opened, closed)}"
            return f"{opened + 'true' + closed!r} if x is True else {false}"
        case Scalar() if type_ in RANGES:
            low, high = RANGES[type_]
            fast = f"x.__class__ is int and {low} <= x <= {high}"
        case _:
            return _slow(source, type_, opened, closed)
    return f"f{written!r} if {fast} else {_slow(source, type_, opened, closed)}"


def _slow(source: _Source, type_: Type, opened: str, closed: str) -> str:
    return f"f{opened + '{' + source.use(_value_writer(type_)) + '(x)}' + closed!r}"


@cache
def _value_writer(type_: Type) -> Writer:
    """The text of a value of *type_*: what stands between the tags of a field."""
    match type_:
        case Scalar():
            return WRITERS[type_]
        case Enumeration():
            return WRITERS[Scalar.I32]
        case Struct():
            inner = _fields_writer(type_)
            name = type_.name
            return lambda value: f"<{name}>{inner(value)}</{name}>"
        case ListOf():
            return _sequence_writer("list", type_.element)
        case SetOf():
            return _sequence_writer("set", type_.element)
        case MapOf():
            return _map_writer(type_)


def _sequence_writer(kind: str, element: Type) -> Writer:
    opened = f'<{kind} type="{label(element)}" size="'
    closed = f"</{kind}>"
    item = _item_writer(element)
    items = _elements if kind == "list" else _members

    def write(value: object) -> str:
        values = items(value)
        return f'{opened}{len(values)}">{"".join(map(item, values))}{closed}'

    return write


def _map_writer(type_: MapOf) -> Writer:
    opened = f'<map key="{label(type_.key)}" value="{label(type_.value)}" size="'
    key, item = _item_writer(type_.key), _item_writer(type_.value)

    def write(value: Any) -> str:
        pairs = _as_mapping(value)
        inner = "".join(f"{key(name)}{item(element)}" for name, element in pairs.items())
        return f'{opened}{len(pairs)}">{inner}</map>'

    return write


def _item_writer(type_: Type) -> Writer:
    """A value inside a list or map: only those without parts have a tag around them."""
    text = _value_writer(type_)
    match type_:
        case Scalar() | Enumeration():
            return lambda value: f"<element>{text(value)}</element>"
        case _:
            return text


def _tags(field: Field) -> tuple[str, str]:
    annotations = "".join(f' {name}="{value}"' for name, value in field.annotations)
    opened = f'<{field.name} type="{label(field.type)}" identifier="{field.identifier}"{annotations}>'
    return opened, f"</{field.name}>"


_SEQUENCES: Final = (list, tuple)


def _elements(value: object) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, _SEQUENCES):
        return value
    msg = f"is {type(value).__name__}, not a list"
    raise UnencodableError(msg)


def _members(value: object) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, set | frozenset):
        # Sorted, as the C++ writer's sets are; the same set makes the same bytes.
        try:
            return sorted(value)
        except TypeError:
            msg = "holds values of several types"
            raise UnencodableError(msg) from None
    return _elements(value)


def _as_mapping(value: object) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    msg = f"is {type(value).__name__}, not a mapping"
    raise UnencodableError(msg)


def _unknown(owner: Message | Struct, values: Values) -> None:
    known = {field.name for field in owner.fields}
    for name, value in values.items():
        if value is not None and name not in known:
            msg = f"{owner.name} has no field {name!r}"
            raise UnencodableError(msg)


def _mistakes(type_: Message | Type, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """What is wrong inside *value*, innermost first, each with its path."""
    try:
        match type_:
            case Message() | Struct():
                for field in type_.fields:
                    part = _as_mapping(value).get(field.name)
                    if part is not None:
                        yield from _mistakes(field.type, part, f"{path}.{field.name}" if path else field.name)
                _unknown(type_, value)
            case ListOf() | SetOf():
                items = _elements(value) if isinstance(type_, ListOf) else _members(value)
                for index, item in enumerate(items):
                    yield from _mistakes(type_.element, item, f"{path}[{index}]")
            case MapOf():
                for key, item in _as_mapping(value).items():
                    yield from _mistakes(type_.key, key, f"{path}.key")
                    yield from _mistakes(type_.value, item, f"{path}[{key!r}]")
            case _:
                _value_writer(type_)(value)
    except UnencodableError as error:
        yield path or (type_.name if isinstance(type_, Message | Struct) else "value"), str(error)
