# SPDX-License-Identifier: Apache-2.0
"""Servers as CSV: one line per port, with the server's columns repeated, or left empty, on its further lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from services.inventory.domain.import_rows import PAIRS, Cells, Fault, Place, RawServer

_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,40}")

_COLUMNS: Mapping[str, tuple[str, str]] = {
    "name": ("", "name"),
    "hostname": ("", "hostname"),
    "uuid": ("", "uuid"),
    "node_type": ("", "node_type"),
    "unmanaged": ("", "unmanaged"),
    "resource_class": ("", "resource_class"),
    "description": ("", "description"),
    "bmc_driver": ("bmc", "driver"),
    "bmc_address": ("bmc", "address"),
    "bmc_port": ("bmc", "port"),
    "bmc_username": ("bmc", "username"),
    "bmc_password": ("bmc", "password"),
    "bmc_kept_by_controller": ("bmc", "kept_by_controller"),
    "site": ("location", "site"),
    "rack": ("location", "rack"),
    "unit": ("location", "unit"),
    "labels": ("labels", ""),
    "cpu_arch": ("properties", "cpu_arch"),
    "cpus": ("properties", "cpus"),
    "memory_mb": ("properties", "memory_mb"),
    "local_gb": ("properties", "local_gb"),
    "manufacturer": ("properties", "manufacturer"),
    "model": ("properties", "model"),
    "serial_number": ("properties", "serial_number"),
    "capabilities": ("capabilities", ""),
    "root_device": ("root_device_hints", ""),
    "mac_address": ("ports", "mac_address"),
    "port_label": ("ports", "label"),
    "switch_name": ("ports", "switch_name"),
    "switch_port": ("ports", "switch_port"),
    "switch_id": ("ports", "switch_id"),
    "pxe_enabled": ("ports", "pxe_enabled"),
    "speed_mbps": ("ports", "speed_mbps"),
    "physical_network": ("ports", "physical_network"),
    "port_group": ("ports", "port_group"),
    "bond_mode": ("port_groups", "mode"),
}
"""What each column holds, as group and field."""

_SYNONYMS = {
    "driver": "bmc_driver",
    "ipmi_address": "bmc_address",
    "ipmi_port": "bmc_port",
    "ipmi_username": "bmc_username",
    "ipmi_password": "bmc_password",
    "redfish_address": "bmc_address",
    "redfish_username": "bmc_username",
    "redfish_password": "bmc_password",
    "switch_info": "switch_name",
    "port_name": "switch_port",
    "port_id": "switch_port",
    "address": "mac_address",
}

COLUMNS = tuple(_COLUMNS)
"""Every column's own name, in the order of the manual."""


@dataclass(slots=True)
class _Server:
    """One server while its lines are read."""

    cells: Cells
    first: dict[str, tuple[str, int]] = field(default_factory=dict)
    groups: dict[str, tuple[str, int]] = field(default_factory=dict)
    ports: int = 0


def read(text: str) -> tuple[list[RawServer], list[Fault]]:
    """The servers of *text*, and what is wrong with the file as a whole."""
    faults: list[Fault] = []
    lines = _lines(text, faults)
    header = next(lines, None)
    if header is None:
        return [], faults or [Fault(0, "", "content", "is empty")]
    columns = _header(*header, faults)
    # Who names the columns after IPMI means IPMI.
    implied = "ipmi" if any(cell.strip().lower() == "ipmi_address" for cell in header[1]) else ""
    if not columns:
        return [], faults
    servers: dict[str, _Server] = {}
    current: _Server | None = None
    for row, cells in lines:
        if len(cells) != len(columns):
            said = f"has {len(cells)} cells, the first line has {len(columns)}; quote cells that hold commas"
            faults.append(Fault(row, "", "", said))
            continue
        values = dict(zip(columns, cells, strict=True))
        name = values.get("name", "").strip() or values.get("hostname", "").strip()
        bmc = values.get("bmc_address", "").strip()
        if name:
            current = servers.setdefault(name, _Server(Cells(row)))
        elif bmc or current is None:
            # Without a name a server is known by its BMC; a line with neither goes on with the server above.
            current = servers.setdefault(f"\x00{bmc}", _Server(Cells(row)))
        _line(current, row, values)
        if implied and bmc and "bmc_driver" not in current.first:
            _repeated(current, row, "bmc_driver", "bmc", "driver", implied)
    for server in servers.values():
        for at, (label, (mode, row)) in enumerate(server.groups.items()):
            server.cells.put("port_groups", "label", label, Place(row, "port_group"), at)
            if mode:
                server.cells.put("port_groups", "mode", mode, Place(row, "bond_mode"), at)
    return [server.cells.done() for server in servers.values()], faults


def _lines(text: str, faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, each with the number of the line it begins on."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        row = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error:
            said = "cannot be read: a quote is not closed, is followed by something, or a cell is longer than 128 KiB"
            faults.append(Fault(row, "", "", said))
            return
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield row, cells


def _header(row: int, cells: list[str], faults: list[Fault]) -> list[str]:
    """The columns' own names; none if this is no header."""
    names = [cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in cells]
    names = [_SYNONYMS.get(name, name) for name in names]
    known = [name for name in names if name in _COLUMNS]
    if 2 * len(known) < len(names):
        # Likely data, and maybe passwords: nothing of it is shown.
        said = f"names mostly unknown columns; the first line names the columns: {', '.join(COLUMNS)}"
        faults.append(Fault(row, "", "", said))
        return []
    for at, name in enumerate(names):
        shown = name if _PLAIN.fullmatch(name) else f"column {at + 1}"
        if name not in _COLUMNS:
            faults.append(Fault(row, shown, "", f"is not a column that is known; known are {', '.join(COLUMNS)}"))
        elif name in names[:at]:
            faults.append(Fault(row, shown, "", "is there twice"))
    if "mac_address" not in names and "bmc_address" not in names:
        faults.append(Fault(row, "", "", "names neither mac_address nor bmc_address"))
    return names


def _line(server: _Server, row: int, values: Mapping[str, str]) -> None:
    out = server.cells
    port = {name: text for name, text in values.items() if text.strip() and _COLUMNS.get(name, ("",))[0] == "ports"}
    if port:
        if "mac_address" not in port:
            out.put("ports", "mac_address", "", Place(row, "mac_address"), server.ports)
        for name, text in port.items():
            out.put("ports", _COLUMNS[name][1], text, Place(row, name), server.ports)
        server.ports += 1
    group, mode = values.get("port_group", "").strip(), values.get("bond_mode", "").strip()
    if group:
        said, where = server.groups.setdefault(group, (mode, row))
        if not said:
            server.groups[group] = (mode, where if not mode else row)
        elif mode and mode != said:
            contradiction = f"contradicts row {where}, which gives this port group another mode"
            out.fault(Place(row, "bond_mode"), f"port_groups[{list(server.groups).index(group)}].mode", contradiction)
    elif mode:
        out.fault(Place(row, "bond_mode"), "port_groups", "is given without a port_group")
    for name, text in values.items():
        kind, of = _COLUMNS.get(name, ("ports", ""))
        if kind not in {"ports", "port_groups"} and text.strip():
            _repeated(server, row, name, kind, of, text)


def _repeated(server: _Server, row: int, name: str, kind: str, of: str, text: str) -> None:
    """Takes a column of the server once, and tells where a further line contradicts it."""
    before = server.first.get(name)
    place = Place(row, name)
    if before is not None:
        if before[0] != text:
            path = of if not kind else f"{kind}.{of}".rstrip(".")
            server.cells.fault(place, path, f"contradicts row {before[1]} of the same server")
        return
    server.first[name] = (text, row)
    if kind in PAIRS:
        _pairs(server.cells, place, kind, text)
    else:
        server.cells.put(kind, of, text, place)


def _pairs(out: Cells, place: Place, kind: str, text: str) -> None:
    """``key=value;key=value``; Ironic's ``key:value,key:value`` is fine too."""
    out.said.add(kind)
    separator, sign = (";", "=") if "=" in text else (",", ":")
    for part in text.split(separator):
        key, found, value = part.partition(sign)
        if part.strip() and not found:
            path = "properties.capabilities" if kind == "capabilities" else kind
            out.fault(place, path, "is not key=value;key=value")
        elif part.strip():
            out.put(kind, key.strip(), value.strip(), place)
