# SPDX-License-Identifier: Apache-2.0
"""Breaking and mending: faults put in place by command or by file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from services.kernel.errors import FieldViolation, InvalidField, InvalidFields
from services.simulated.faults import DEFAULT_SECONDS, Fault, FaultKind, as_fault, check_kind
from services.simulated.hardware import further_disk
from services.simulated.lookup import known, resolved, spellings, the_machine
from services.simulated.passing import book
from services.simulated.profiles import micros
from services.simulated.rack import Rack
from services.simulated.state import ports_of, save_machine

MAX_FAULT_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault now in place, None for one that happens at once; ``known``: whether its target was ever seen."""

    fault: Fault | None
    target: str
    known: bool


def list_faults(rack: Rack, now: datetime) -> list[Fault]:
    """The faults in force, oldest first."""
    with rack.file.reading() as tx:
        rows = tx.execute(
            "SELECT * FROM faults WHERE (until IS NULL OR until > ?)"
            " AND (remaining IS NULL OR remaining > 0) ORDER BY id",
            (micros(now),),
        ).fetchall()
    return [as_fault(row) for row in rows]


def inject(
    rack: Rack,
    kind: str,
    now: datetime,
    *,
    server: str = "",
    switch: str = "",
    port: str = "",
    part: str = "",
    seconds: float | None = None,
    count: int | None = None,
    lasting: float | None = None,
) -> Injected:
    """Breaks something.

    Args:
        rack: the rack.
        kind: see `FaultKind`.
        now: the moment.
        server: whom it befalls, for the faults of servers.
        switch: where, for the faults of switches; the whole switch unless *port* is given.
        port: a port of *switch*.
        part: DISK_ERASE_FAILS: the serial number of the disk; empty for any.
        seconds: how long, for switch-lags and power-returns-by-itself.
        count: how often it strikes, 1 or more; None for always.
        lasting: after how many seconds it is over; None for never.

    Raises:
        InvalidField: no such fault, or one that does not befall what is given.
        NotFound: disk-appears: nobody called the BMC yet.
    """
    what = check_kind(kind)
    if what.of_switch != bool(switch) or what.of_switch == bool(server):
        field, given = ("switch", server) if what.of_switch else ("server", switch)
        raise InvalidField(field, f"{kind} befalls a {field}", remedy=f"Name the {field}.", given=given[:60])
    for name, value in (("count", count), ("lasting", lasting), ("seconds", seconds)):
        if value is not None and not 0 < value <= 10**9:
            raise InvalidField(name, f"{value} is not above 0", given=str(value))
    at = micros(now)
    with rack.file.writing() as tx:
        if what is FaultKind.DISK_APPEARS:
            machine = the_machine(tx, server, at)
            disk = further_disk(machine.bmc, len(machine.disks))
            machine = replace(machine, disks=(*machine.disks, disk))
            save_machine(tx, machine)
            book(tx, machine, machine.server, ports_of(tx, machine.server), f"disk {disk.serial} appears", at)
            return Injected(None, machine.bmc, known=True)
        target = (f"{switch}/{port}" if port else switch) if switch else resolved(tx, server)
        row = tx.execute(
            "INSERT INTO faults (kind, target, part, seconds, remaining, until) VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
            (
                what,
                target,
                part,
                DEFAULT_SECONDS.get(what, 0.0) if seconds is None else seconds,
                count,
                None if lasting is None else at + int(lasting * 1_000_000),
            ),
        ).fetchone()
        return Injected(as_fault(row), target, known=known(tx, target))


def clear(rack: Rack, *, id: int | None = None, server: str = "", switch: str = "", kind: str = "") -> int:  # noqa: A002 -- the column's name
    """Mends what matches all that is given, everything if nothing is; answers how many faults were in place."""
    wanted = check_kind(kind) if kind else None
    with rack.file.writing() as tx:
        targets = spellings(tx, server) if server else ()
        rows = [as_fault(row) for row in tx.execute("SELECT * FROM faults").fetchall()]
        gone = [
            fault
            for fault in rows
            if (id is None or fault.id == id)
            and (wanted is None or fault.kind is wanted)
            and (not server or fault.target in targets)
            and (not switch or fault.target == switch or fault.target.startswith(f"{switch}/"))
        ]
        tx.executemany("DELETE FROM faults WHERE id = ?", [(fault.id,) for fault in gone])
    return sum(1 for fault in gone if fault.remaining != 0)


def inject_file(rack: Rack, path: Path, now: datetime) -> list[Injected]:
    """Breaks everything that a YAML file lists; all or nothing.

    The file: ``faults:``, a list of mappings with ``kind`` and the arguments of `inject` (``for`` is *lasting*).

    Raises:
        InvalidFields: the file is not of this form; every error is told.
    """
    rows = _rows(path)
    done = []
    with rack.file.writing():
        for row in rows:
            text = {key: str(row.get(key, "")) for key in ("kind", "server", "switch", "port", "part")}
            count = row.get("count")
            done.append(
                inject(
                    rack,
                    text["kind"],
                    now,
                    server=text["server"],
                    switch=text["switch"],
                    port=text["port"],
                    part=text["part"],
                    seconds=row.get("seconds"),
                    count=None if count is None else int(count),
                    lasting=row.get("for"),
                )
            )
    return done


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.stat().st_size > MAX_FAULT_FILE:
        raise InvalidField(field="file", description="the file is larger than 1 MiB")
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise InvalidField(field="file", description=f"the file is no YAML: {str(error)[:200]}") from None
    rows = content.get("faults") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise InvalidField(field="faults", description="the file holds no list of that name")
    allowed = {"kind", "server", "switch", "port", "part", "seconds", "count", "for"}
    violations = []
    for number, row in enumerate(rows):
        where = f"faults[{number}]"
        if not isinstance(row, dict) or not set(row) <= allowed or "kind" not in row:
            violations.append(FieldViolation(where, f"is no mapping of kind and {', '.join(sorted(allowed))}"))
        elif any(not isinstance(row.get(key, 1.0), (int, float)) for key in ("seconds", "count", "for")):
            violations.append(FieldViolation(where, "seconds, count and for are numbers"))
    if violations:
        raise InvalidFields(violations)
    return rows
