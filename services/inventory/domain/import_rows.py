# SPDX-License-Identifier: Apache-2.0
"""What an import file says, as cells with the place each stands at, whatever form the file has.

No fault repeats a cell: with one column shifted, any cell may hold a password.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from services.inventory.domain.server import (
    Bmc,
    Location,
    Login,
    NodeType,
    Port,
    PortGroup,
    Properties,
    ServerSpec,
)

MAX_BYTES = 16 * 1024 * 1024
MAX_SERVERS = 10_000

_NUMBER = re.compile(r"[0-9]{1,18}")
_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


PAIRS = ("labels", "capabilities", "root_device_hints")
"""What holds keys and values of its own."""


class Place(NamedTuple):
    """Where a cell stands: the row as the file counts it, and the name of its column or key."""

    row: int
    column: str


class Cell(NamedTuple):
    """One value that the file gives.

    Attributes:
        group: ``""``, ``bmc``, ``location``, ``properties``, ``ports``, ``port_groups``, or one of `PAIRS`.
        field: the field in there; of `PAIRS`, the key.
        item: of ports and port groups, which.
    """

    group: str
    field: str
    text: str
    place: Place
    item: int = 0

    @property
    def path(self) -> str:
        """The path of the field in a server."""
        if not self.group:
            return self.field
        if self.group in {"ports", "port_groups"}:
            return f"{self.group}[{self.item}].{self.field}"
        if self.group == "capabilities":
            return "properties.capabilities"
        return self.group if self.group in PAIRS else f"{self.group}.{self.field}"


class Fault(NamedTuple):
    """One thing that is wrong; row 0 is the file as a whole."""

    row: int
    column: str
    path: str
    description: str


@dataclass(frozen=True, slots=True)
class RawServer:
    """The cells of one server, and what its file form found wrong with it.

    Attributes:
        said: lists that are given even where no cell is in them: ``ports`` of an empty list.
    """

    row: int
    cells: tuple[Cell, ...]
    faults: tuple[Fault, ...] = ()
    said: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stated:
    """What the file says about one server; whatever it does not mention is not in here.

    Attributes:
        uuid: which one to use for it; empty: a new one, or that on record.
        changes: fields of ServerSpec, Bmc, Location and Properties by group, as `dataclasses.replace` takes them.
            Written by `stated` alone, hence Any.
        places: where each path stands.
    """

    row: int
    name: str
    changes: Mapping[str, Mapping[str, Any]]
    login: Login
    places: Mapping[str, Place]
    faults: tuple[Fault, ...]
    uuid: str = ""

    def over(self, base: ServerSpec) -> ServerSpec:
        """*base* with what the file says."""
        changes = self.changes
        return replace(
            base,
            display_name=self.name,
            bmc=replace(base.bmc, **changes["bmc"]) if "bmc" in changes else base.bmc,
            location=replace(base.location, **changes["location"]) if "location" in changes else base.location,
            properties=replace(base.properties, **changes["properties"])
            if "properties" in changes
            else base.properties,
            **changes.get("", {}),
        )

    def fault(self, path: str, description: str) -> Fault:
        """A fault of the field at *path*, at the place where the file gives it, or at the nearest."""
        place = self.places.get(path)
        if place is None:
            # What is missing stands nowhere: its port's or its server's first row is the nearest place.
            owner, _, column = path.rpartition(".")
            row = next((each.row for at, each in self.places.items() if owner and at.startswith(owner + ".")), self.row)
            place = Place(row, column or path)
        return Fault(place.row, place.column, path, description)


def stated(raw: RawServer) -> Stated:
    """What the cells of a server say, each read as what its field holds."""
    reader = _Reader(list(raw.faults))
    changes: dict[str, dict[str, Any]] = {}
    lists: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in raw.said & {"ports", "port_groups"}}
    pairs: dict[str, dict[str, str]] = {name: {} for name in raw.said.intersection(PAIRS)}
    login = {"username": "", "password": ""}
    names: dict[str, Cell] = {}
    identity = ""
    for cell in raw.cells:
        if cell.group in PAIRS:
            reader.once(cell, pairs.setdefault(cell.group, {}))
        elif cell.group in {"ports", "port_groups"}:
            item = lists.setdefault(cell.group, {}).setdefault(cell.item, {})
            reader.put(cell, item)
        elif cell.group == "bmc" and cell.field in login:
            login[cell.field] = cell.text
        elif cell.group == "" and cell.field in {"display_name", "name", "hostname"}:
            names[cell.field] = cell
        elif cell.group == "" and cell.field == "uuid":
            identity = reader.uuid(cell)
        else:
            reader.put(cell, changes.setdefault(cell.group, {}))
    top = changes.setdefault("", {})
    top |= {key: pairs[key] for key in ("labels", "root_device_hints") if key in pairs}
    if "capabilities" in pairs:
        changes.setdefault("properties", {})["capabilities"] = pairs["capabilities"]
    if "ports" in lists:
        top["ports"] = tuple(_made(Port, item, "mac_address") for _, item in sorted(lists["ports"].items()))
    if "port_groups" in lists:
        top["port_groups"] = tuple(_made(PortGroup, item, "label") for _, item in sorted(lists["port_groups"].items()))
    places = {cell.path: cell.place for cell in raw.cells}
    name = ""
    for alias in ("name", "display_name", "hostname"):
        if not name and alias in names:
            name = names[alias].text.strip()
            places["display_name"] = names[alias].place
    return Stated(
        row=raw.row,
        name=name or _automatic(top.get("ports", ())),
        changes=changes,
        login=Login(**login),
        places=places,
        faults=tuple(reader.faults),
        uuid=identity,
    )


def _automatic(ports: Iterable[Port]) -> str:
    """The name Contrail Command gives to a server without one: ``auto-`` and the last six digits of its PXE port."""
    known = [port for port in ports if port.mac_address]
    chosen = next((port for port in known if port.pxe_enabled), known[0] if known else None)
    if chosen is None:
        return ""
    return "auto-" + chosen.mac_address.lower().replace(":", "").replace("-", "")[6:]


def _made(kind: Callable[..., Any], item: Mapping[str, Any], needed: str) -> Any:  # a Port or PortGroup, as *kind* says
    return kind(**{needed: "", **item})


class _Reader:
    """Reads cells as what their fields hold, and notes what is wrong."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults

    def once(self, cell: Cell, pairs: dict[str, str]) -> None:
        if pairs.setdefault(cell.field, cell.text) != cell.text:
            self._fault(cell, "gives one key two values")

    def put(self, cell: Cell, item: dict[str, Any]) -> None:
        read = _READERS.get((cell.group, cell.field), _text)
        try:
            item[cell.field] = read(cell.text.strip())
        except ValueError as error:
            self._fault(cell, str(error))

    def uuid(self, cell: Cell) -> str:
        try:
            return str(uuid.UUID(cell.text.strip()))
        except ValueError:
            self._fault(cell, "is not a UUID")
            return ""

    def _fault(self, cell: Cell, description: str) -> None:
        self.faults.append(Fault(cell.place.row, cell.place.column, cell.path, description))


def _text(text: str) -> str:
    return text


def _number(text: str) -> int:
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        msg = "is not a whole number"
        raise ValueError(msg)
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in _TRUTH:
        msg = "is neither true nor false"
        raise ValueError(msg)
    return _TRUTH[text.lower()]


def _node_type(text: str) -> NodeType:
    try:
        return NodeType(text.lower().replace("_", "-") or NodeType.BAREMETAL)
    except ValueError:
        msg = f"is none of {', '.join(NodeType)}"
        raise ValueError(msg) from None


_READERS: Mapping[tuple[str, str], Callable[[str], object]] = {
    ("", "node_type"): _node_type,
    ("", "unmanaged"): _flag,
    ("bmc", "port"): _number,
    ("bmc", "kept_by_controller"): _flag,
    ("location", "unit"): _number,
    ("properties", "cpus"): _number,
    ("properties", "memory_mb"): _number,
    ("properties", "local_gb"): _number,
    ("ports", "pxe_enabled"): _flag,
    ("ports", "speed_mbps"): _number,
}

SPEC_FIELDS: Mapping[str, frozenset[str]] = {
    "": frozenset({"node_type", "unmanaged", "resource_class", "description", "uuid"}),
    "bmc": frozenset(Bmc.__dataclass_fields__) | {"username", "password"},
    "location": frozenset(Location.__dataclass_fields__),
    "properties": frozenset(Properties.__dataclass_fields__) - {"capabilities"},
    "ports": frozenset(Port.__dataclass_fields__),
    "port_groups": frozenset(PortGroup.__dataclass_fields__),
}
"""The fields that cells may have, by group."""


@dataclass(slots=True)
class Cells:
    """Gathers the cells of one server while its file is read."""

    row: int
    cells: list[Cell] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    said: set[str] = field(default_factory=set)

    def put(self, group: str, name: str, text: str, place: Place, item: int = 0) -> None:
        """Adds a cell."""
        self.cells.append(Cell(group, name, text, place, item))

    def fault(self, place: Place, path: str, description: str) -> None:
        """Adds a fault."""
        self.faults.append(Fault(place.row, place.column, path, description))

    def done(self) -> RawServer:
        """What was gathered."""
        return RawServer(self.row, tuple(self.cells), tuple(self.faults), frozenset(self.said))
