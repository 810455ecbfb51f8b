# SPDX-License-Identifier: Apache-2.0
"""The type vocabulary of Sandesh, as data.

A message type is a value of `Message`: fields with a type, an identifier and annotations. From it the
encoder is generated, the version signature computed and the introspection pages written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag, StrEnum
from functools import cache
from typing import Final, TypeAlias

from telemetry.sandesh.errors import SchemaError


class Kind(IntEnum):
    """What a message is: the ``Type`` of its header."""

    SYSTEM = 1
    REQUEST = 2
    RESPONSE = 3
    TRACE = 4
    BUFFER = 5
    UVE = 6
    OBJECT = 7
    FLOW = 8
    TRACE_OBJECT = 9
    SYSLOG = 10
    ALARM = 11
    SESSION = 12


class Level(IntEnum):
    """How much a message matters. Lower is more urgent; UVEs are the most urgent of all."""

    SYS_UVE = -100
    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERR = 3
    WARN = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
    INVALID = 2147483647


class Hint(IntFlag):
    """The ``Hints`` of a header."""

    NONE = 0
    KEY = 1
    CONTROL = 2
    SYNC = 4


class Scalar(StrEnum):
    """The types without parts. The value is the word on the wire."""

    BOOL = "bool"
    BYTE = "byte"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    DOUBLE = "double"
    STRING = "string"
    XML = "xml"
    IPV4 = "ipv4"
    IPADDR = "ipaddr"
    UUID = "uuid_t"


RANGES: Final[dict[Scalar, tuple[int, int]]] = {
    Scalar.BYTE: (-(2**7), 2**7 - 1),
    Scalar.I16: (-(2**15), 2**15 - 1),
    Scalar.I32: (-(2**31), 2**31 - 1),
    Scalar.I64: (-(2**63), 2**63 - 1),
    Scalar.U16: (0, 2**16 - 1),
    Scalar.U32: (0, 2**32 - 1),
    Scalar.U64: (0, 2**64 - 1),
    Scalar.IPV4: (0, 2**32 - 1),
}
"""Lowest and highest value of every whole-number type, both included."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Attribute values are never escaped by either reference writer, so only harmless ones are allowed.
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_.,:@ -]*")
# These carry meaning of their own in an open tag.
_RESERVED = frozenset({"type", "identifier", "size"})


@dataclass(frozen=True, slots=True)
class Enumeration:
    """A named set of numbers; travels as ``i32``."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """A sequence of values of one type."""

    element: Type


@dataclass(frozen=True, slots=True)
class SetOf:
    """A set of values of one type."""

    element: Type


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping. Keys have no parts."""

    key: Scalar
    value: Type


@dataclass(frozen=True, slots=True)
class Field:
    """A named part of a struct or message.

    Attributes:
        identifier: the number that the wire carries; unique within its struct.
        annotations: attributes of the open tag, sorted by name as the C++ writer has them. ``key``
            names the object table of the field's value; ``key=""`` means that the table is given
            when the message is made.
        optional: enters the version signature only; every field is absent when unset.
    """

    name: str
    type: Type
    identifier: int
    annotations: tuple[tuple[str, str], ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            msg = f"{self.name!r} is no field name"
            raise SchemaError(msg)
        for name, value in self.annotations:
            if not _NAME.fullmatch(name) or name in _RESERVED or not _ATTRIBUTE.fullmatch(value):
                msg = f"{self.name}: {name}={value!r} cannot be written as an annotation"
                raise SchemaError(msg)
        object.__setattr__(self, "annotations", tuple(sorted(self.annotations)))

    @property
    def table(self) -> str | None:
        """The object table that this field is a key of, or None for a field that is no key."""
        return dict(self.annotations).get("key")


@dataclass(frozen=True, slots=True, eq=False)
class Struct:
    """A named group of fields, in the order they are written."""

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        _check(self.name, self.fields)


Type: TypeAlias = Scalar | Enumeration | Struct | ListOf | SetOf | MapOf


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message type.

    Attributes:
        level: the ``Level`` written in the header.
        category: the ``Category`` written in the header.
        version_sig: the signature to write, where the reference's own is known but its schema has
            parts that we never send; otherwise it is computed from the fields.
        control: part of the handshake of a session.
    """

    name: str
    kind: Kind
    fields: tuple[Field, ...]
    level: int = Level.INFO
    category: str = ""
    version_sig: int | None = None
    control: bool = False

    def __post_init__(self) -> None:
        _check(self.name, self.fields)
        shape = [(field.name, isinstance(field.type, Struct)) for field in self.fields]
        if self.kind in {Kind.UVE, Kind.ALARM} and shape != [("data", True)]:
            # A collector publishes the first child of `data` and nothing else.
            msg = f"{self.name}: a UVE has one field, the struct `data`"
            raise SchemaError(msg)

    @property
    def data(self) -> Struct:
        """The struct of a UVE: what the analytics API calls the type."""
        struct = self.fields[0].type if self.fields else None
        if not isinstance(struct, Struct):
            msg = f"{self.name} has no data struct"
            raise SchemaError(msg)
        return struct

    @property
    def keys(self) -> tuple[Field, ...]:
        """The fields that name the object the message is about, at the top or inside ``data``."""
        return tuple(field for field in _reach(self) if field.table is not None)

    @property
    def hints(self) -> Hint:
        """The ``Hints`` of a first sending."""
        return (Hint.KEY if self.keys else Hint.NONE) | (Hint.CONTROL if self.control else Hint.NONE)


def uve(name: str, data: Struct, version_sig: int | None = None) -> Message:
    """A UVE: the present state of one object, kept by the collector until it is deleted."""
    field = Field("data", data, 1)
    return Message(name, Kind.UVE, (field,), level=Level.NOTICE, version_sig=version_sig)


def object_log(name: str, fields: tuple[Field, ...], category: str) -> Message:
    """An entry in the history of one object."""
    return Message(name, Kind.OBJECT, fields, category=category)


def system_log(name: str, fields: tuple[Field, ...], category: str) -> Message:
    """Something that a process has to say, of no object."""
    return Message(name, Kind.SYSTEM, fields, category=category)


def control(name: str, fields: tuple[Field, ...]) -> Message:
    """A message of the handshake."""
    return Message(name, Kind.REQUEST, fields, level=Level.INVALID, control=True)


def request(name: str, fields: tuple[Field, ...] = ()) -> Message:
    """What an introspection page asks for."""
    return Message(name, Kind.REQUEST, fields, level=Level.INVALID)


def response(name: str, fields: tuple[Field, ...]) -> Message:
    """An answer to an introspection request."""
    return Message(name, Kind.RESPONSE, fields, level=Level.INVALID)


@cache
def in_table(message: Message, table: str) -> Message:
    """*message* with its first key field in *table*: how ``key=""`` is filled at run time.

    Raises:
        SchemaError: *message* has no key field, or *table* cannot be written.
    """
    keys = message.keys
    if not keys:
        msg = f"{message.name} has no key to put in a table"
        raise SchemaError(msg)

    def moved(fields: tuple[Field, ...]) -> tuple[Field, ...]:
        return tuple(
            replace(field, annotations=((*_others(field), ("key", table)))) if field is keys[0] else field
            for field in fields
        )

    if keys[0] in message.fields:
        return replace(message, fields=moved(message.fields))
    # Moving a message to another table does not change its signature.
    struct = Struct(message.data.name, moved(message.data.fields))
    data = replace(message.fields[0], type=struct)
    return replace(message, fields=(data, *message.fields[1:]), version_sig=signature(message))


@cache
def at_level(message: Message, level: Level) -> Message:
    """*message* as urgent as *level* says; nothing else of it changes."""
    return message if message.level == level else replace(message, level=level)


@cache
def signature(message: Message) -> int:
    """The version signature: a signed 32-bit number, as headers carry it.

    It is the first four bytes, little endian, of the MD5 of the type's fingerprint
    ``{identifier:type;…}``; the Sandesh compiler's rule, compared with what it makes of our types. No known
    reader checks it.
    """
    if message.version_sig is not None:
        return message.version_sig
    digest = hashlib.md5(_fingerprint(message).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "little", signed=True)


def label(type_: Type) -> str:
    """The word that stands for *type_* in a ``type=`` attribute."""
    match type_:
        case Scalar():
            return type_.value
        case Enumeration():
            return Scalar.I32.value
        case Struct():
            return "struct"
        case ListOf():
            return "list"
        case SetOf():
            return "set"
        case MapOf():
            return "map"


# The compiler gives each log the fields `file` and `line`; we send neither.
_PLACE: Final = "-32768:string;-32767:i32;"


def _fingerprint(type_: Message | Type) -> str:
    match type_:
        case Message() | Struct():
            parts = sorted(type_.fields, key=lambda field: field.identifier)
            place = _PLACE if isinstance(type_, Message) and type_.kind in {Kind.SYSTEM, Kind.OBJECT} else ""
            return "{" + place + "".join(map(_material, parts)) + "}"
        case Scalar.UUID:
            return "uuid"
        case Scalar():
            return type_.value
        case Enumeration():
            return "enum"
        case ListOf():
            return f"list<{_fingerprint(type_.element)}>"
        case SetOf():
            return f"set<{_fingerprint(type_.element)}>"
        case MapOf():
            return f"map<{_fingerprint(type_.key)},{_fingerprint(type_.value)}>"


def _material(field: Field) -> str:
    return f"{field.identifier}:{'opt-' if field.optional else ''}{_fingerprint(field.type)};"


def _others(field: Field) -> Iterator[tuple[str, str]]:
    return (pair for pair in field.annotations if pair[0] != "key")


def _reach(message: Message) -> Iterator[Field]:
    yield from message.fields
    for field in message.fields:
        if field.name == "data" and isinstance(field.type, Struct):
            yield from field.type.fields


def _check(name: str, fields: tuple[Field, ...]) -> None:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is no type name"
        raise SchemaError(msg)
    for part in ("name", "identifier"):
        if len({getattr(field, part) for field in fields}) != len(fields):
            msg = f"{name}: two fields have the same {part}"
            raise SchemaError(msg)
