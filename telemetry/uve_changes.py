# SPDX-License-Identifier: Apache-2.0
"""What watchers of UVEs are told: one struct of one object as it is now, ready for both kinds of wire."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import orjson
from google.protobuf import json_format, struct_pb2

from bms.telemetry.v1 import telemetry_pb2
from services.runtime.database import Transaction
from telemetry.store import analytics
from telemetry.store.changes import Place
from telemetry.uves import TYPES, Filters, render
from telemetry.watch import Encoded, part

NAMES: Final[Mapping[str, str]] = MappingProxyType({kind.table: name for name, kind in TYPES.items()})
"""The type's name by its table."""

_CHANGES_TAG: Final = bytes([telemetry_pb2.WatchUvesResponse.CHANGES_FIELD_NUMBER << 3 | 2])
_TOKEN_TAG: Final = bytes([telemetry_pb2.WatchUvesResponse.TOKEN_FIELD_NUMBER << 3 | 2])


@dataclass(frozen=True)
class Change:
    """One struct of one object.

    Attributes:
        place: of its last change, with whose it is.
        contents: its attributes in the flat form, None if it is gone.
        gone: nothing of the object is left in any struct.
        size: of the XML it was made of.
    """

    place: Place
    contents: Mapping[str, Any] | None
    gone: bool
    size: int = 0

    @cached_property
    def entry(self) -> bytes:
        """As a field of a WatchUvesResponse."""
        change = telemetry_pb2.UveChange(
            name=f"uves/{NAMES[self.place.table]}/{self.place.key}", struct=self.place.struct, gone=self.gone
        )
        if self.contents is not None:
            change.contents.CopyFrom(as_struct(self.contents))
        return part(_CHANGES_TAG, change.SerializeToString())

    @cached_property
    def sse(self) -> bytes:
        """As server-sent events: one, or two if the object is gone with it."""
        named = f"{self.place.table}:{self.place.key}"
        told = _update({"key": named, "type": self.place.struct, "value": self.contents})
        return told + _update({"key": named, "type": None, "value": None}) if self.gone else told

    def narrowed(self, attributes: Collection[str]) -> Change:
        """The same with these attributes alone; whole if there are none."""
        if not attributes or self.contents is None:
            return self
        return Change(
            self.place, {name: self.contents[name] for name in attributes if name in self.contents}, self.gone
        )


@dataclass(frozen=True)
class Told:
    """Some changes, put into bytes once for all who are told the same.

    Attributes:
        token: behind everything told so far; empty as long as not everything was told once.
    """

    changes: tuple[Change, ...]
    token: str

    @cached_property
    def encoded(self) -> Encoded:
        """As a WatchUvesResponse."""
        return Encoded(b"".join(change.entry for change in self.changes) + part(_TOKEN_TAG, self.token.encode()))

    @cached_property
    def sse(self) -> bytes:
        """As server-sent events; the last says where to go on."""
        behind = f"id: {self.token}\n\n".encode() if self.token else b""
        return b"".join(change.sse for change in self.changes) + behind


@dataclass(frozen=True, slots=True)
class ChosenUves:
    """Which changes are asked for.

    Attributes:
        tables: None for all.
        filters: keys and structs; generators cannot be chosen.
    """

    tables: frozenset[str] | None = None
    filters: Filters = field(default_factory=Filters)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.tables is None and not self.filters.any

    def of(self, changes: Iterable[Change]) -> list[Change]:
        """Those of *changes*, each with the attributes asked for."""
        structs = self.filters.structs
        return [
            change.narrowed(structs[change.place.struct]) if structs is not None else change
            for change in changes
            if (self.tables is None or change.place.table in self.tables)
            and (structs is None or change.place.struct in structs)
            and self.filters.admits_key(change.place.key)
        ]


def read(tx: Transaction, places: Sequence[Place]) -> list[Change]:
    """What is at *places* now, in their order; tables of which no type is known are left out."""
    keys: dict[str, set[str]] = {}
    for place in places:
        if place.table in NAMES:
            keys.setdefault(place.table, set()).add(place.key)
    found = {
        (table, key): (render(attributes, Filters(), flat=True), _sizes(attributes))
        for table, of_table in keys.items()
        for key, attributes in analytics.uves(tx, table, sorted(of_table)).items()
    }
    told = []
    for place in places:
        if place.table in NAMES:
            shown, sizes = found[place.table, place.key]
            told.append(Change(place, shown.get(place.struct), not shown, sizes.get(place.struct, 0)))
    return told


def of_objects(tx: Transaction, table: str, keys: Sequence[str]) -> list[Change]:
    """Everything there is of these objects, by key; their places are in front of every change."""
    told = []
    for key, attributes in analytics.uves(tx, table, keys).items():
        sizes = _sizes(attributes)
        for struct, contents in render(attributes, Filters(), flat=True).items():
            told.append(Change(Place(0, table, key, struct), contents, gone=False, size=sizes[struct]))
    return told


def as_struct(contents: Mapping[str, Any]) -> struct_pb2.Struct:
    """*contents* as a Struct: what any generator claims to be a number may be none that JSON knows."""
    made = struct_pb2.Struct()
    json_format.ParseDict(_shown(contents), made)
    return made


def _sizes(attributes: Iterable[analytics.Attribute]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for attribute in attributes:
        sizes[attribute.struct] = sizes.get(attribute.struct, 0) + len(attribute.xml)
    return sizes


def _update(value: Mapping[str, Any]) -> bytes:
    try:
        data = orjson.dumps(value)
    except TypeError:
        data = orjson.dumps(_shown(value))
    return b"event: update\ndata: " + data + b"\n\n"


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) >= 2**64:
        return str(value)
    return value
