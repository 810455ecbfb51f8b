# SPDX-License-Identifier: Apache-2.0
"""UVEs as readers ask for them: types and their tables, filters, and the rendering of the analytics API."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from services.kernel.errors import InvalidField
from services.runtime.database import Transaction
from telemetry.sandesh import raised
from telemetry.sandesh.flat import UveView
from telemetry.store import analytics
from telemetry.store.analytics import Attribute

PAGE: Final = 500
ALARMS: Final = raised.STRUCT
"""The struct that holds an object's alarms."""


@dataclass(frozen=True, slots=True)
class UveType:
    """A kind of object.

    Attributes:
        table: its object table.
        display: the table's name for people.
        system: it belongs to the site, not to a project.
    """

    table: str
    display: str
    system: bool = True


TYPES: Final[Mapping[str, UveType]] = MappingProxyType(
    {
        "analytics-node": UveType("ObjectCollectorInfo", "Analytics Node"),
        "bgp-peer": UveType("ObjectBgpPeer", "BGP Peer"),
        "config-database-node": UveType("ObjectConfigDatabaseInfo", "Config Database Node"),
        "config-node": UveType("ObjectConfigNode", "Config Node"),
        "control-node": UveType("ObjectBgpRouter", "Control Node"),
        "database-node": UveType("ObjectDatabaseInfo", "Database Node"),
        "generator": UveType("ObjectGeneratorInfo", "Generator"),
        "prouter": UveType("ObjectPRouter", "Physical Router"),
        "server": UveType("ObjectServerTable", "Server Table Info"),
        "virtual-machine": UveType("ObjectVMTable", "Virtual Machine", system=False),
        "virtual-machine-interface": UveType("ObjectVMITable", "Virtual Machine Interface", system=False),
        "virtual-network": UveType("ObjectVNTable", "Virtual Network", system=False),
        "vrouter": UveType("ObjectVRouter", "Virtual Router"),
    }
)
"""Types by the name that the API's paths have; analytics' own (its ``UVE_MAP``), without those no site of ours has."""


def type_of(name: str, field: str = "type") -> UveType:
    """The type called *name*.

    Raises:
        InvalidField: there is none; *field* is the request's field that named it.
    """
    found = TYPES.get(name)
    if found is None:
        known = ", ".join(TYPES)
        raise InvalidField(field, f"{name[:60]!r} is no type of UVE", remedy=f"Give one of {known}.", given=name[:60])
    return found


@dataclass(frozen=True, slots=True)
class Filters:
    """What of UVEs is asked for.

    Attributes:
        keys: patterns of keys with ``*``; any of them. None for all.
        structs: struct -> its attributes, none for all of them. None for all structs.
        source: only what generators on this host say.
        module: only what this ``NodeType:module:instance`` says.
        acknowledged: only alarms that are, or are not; None for all.
    """

    keys: tuple[str, ...] | None = None
    structs: Mapping[str, Collection[str]] | None = None
    source: str = ""
    module: str = ""
    acknowledged: bool | None = None

    @classmethod
    def parse(cls, kfilt: Iterable[str], cfilt: Iterable[str], sfilt: str, mfilt: str) -> Filters:
        """The filters of the API, each list already split at commas."""
        structs: dict[str, list[str]] = {}
        for part in filter(None, cfilt):
            struct, _, attribute = part.partition(":")
            wanted = structs.setdefault(struct, [])
            if attribute:
                wanted.append(attribute)
        return cls(tuple(filter(None, kfilt)) or None, structs or None, sfilt, mfilt)

    @property
    def any(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.keys or self.structs or self.source or self.module or self.acknowledged is not None)

    def admits_key(self, key: str) -> bool:
        """Whether an object is asked for."""
        return self.keys is None or any(_pattern(part).fullmatch(key) for part in self.keys)

    def admits_generator(self, generator: str) -> bool:
        """Whether a generator's word counts."""
        source, _, module = generator.partition(":")
        return (not self.source or source == self.source) and (not self.module or module == self.module)


def render(attributes: Iterable[Attribute], filters: Filters, *, flat: bool) -> dict[str, dict[str, Any]]:
    """One object, of all *attributes* that generators gave of it."""
    told: dict[tuple[str, str], dict[str, str]] = {}
    for attribute in attributes:
        if filters.admits_generator(attribute.generator):
            told.setdefault((attribute.struct, attribute.generator), {})[attribute.name] = attribute.xml
    view = UveView()
    for (struct, generator), values in told.items():
        if struct == ALARMS and filters.acknowledged is not None:
            alarms = raised.only(values.get(raised.ATTRIBUTE, ""), known=filters.acknowledged)
            if alarms is None:
                continue
            values[raised.ATTRIBUTE] = alarms
        view.add(struct, generator, values)
    return view.flat(filters.structs) if flat else view.full(filters.structs)


def one(tx: Transaction, table: str, key: str, filters: Filters, *, flat: bool) -> dict[str, dict[str, Any]]:
    """One object; empty if no generator says anything of it."""
    return render(analytics.uve(tx, table, key), filters, flat=flat)


def keys(tx: Transaction, table: str, filters: Filters) -> list[str]:
    """The keys of all objects that are asked for."""
    found: list[str] = []
    after = ""
    while page := analytics.uve_keys(tx, table, after, PAGE):
        found += [key for key in page if filters.admits_key(key)]
        after = page[-1]
    if not replace(filters, keys=None).any:
        return found
    return [key for key in found if one(tx, table, key, filters, flat=True)]


def _pattern(part: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, part.split("*"))), re.DOTALL)
