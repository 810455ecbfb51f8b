# SPDX-License-Identifier: Apache-2.0
"""Machines, switch ports and jobs as the rack's file holds them: row to value and back."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

import orjson

from services.simulated.file import Connection
from services.simulated.hardware import Chassis, Disk, made_for


class Boot(StrEnum):
    """What a running server runs."""

    NOTHING = ""
    """Off, or nothing to boot from."""
    DISK = "disk"
    """The system on its root disk: a tenant's."""
    RAMDISK = "ramdisk"
    """The agent that inspects, cleans and writes images."""
    RESCUE = "rescue"
    """The rescue system, in a tenant's hands as the disk's is."""


class PowerWish(StrEnum):
    """What a server's power is on the way to."""

    NONE = ""
    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
    RETURN = "return"
    """On again by itself, which nobody asked for."""


class Work(StrEnum):
    """The kinds of job."""

    INSPECT = "inspect"
    CLEAN = "clean"
    MANUAL_CLEAN = "manual_clean"
    DEPLOY = "deploy"
    RESCUE = "rescue"


class Phase(StrEnum):
    """How a job stands."""

    ABSENT = "absent"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Vlans:
    """What is configured on a switch port: the VLAN of untagged frames (0 for none), pairs of tag and VLAN."""

    untagged: int = 0
    tagged: frozenset[tuple[int, int]] = frozenset()

    def __bool__(self) -> bool:
        """Whether any traffic passes."""
        return bool(self.untagged or self.tagged)

    @property
    def seen(self) -> list[int]:
        """Every VLAN of the fabric that the port is in, sorted."""
        return sorted({self.untagged} - {0} | {vlan for _, vlan in self.tagged})

    def text(self) -> str:
        """The same configuration always as the same text."""
        return orjson.dumps([self.untagged, sorted(self.tagged)]).decode()

    @classmethod
    def of(cls, text: str) -> Vlans:
        """What `text` wrote."""
        return _vlans(text)


@lru_cache(maxsize=4096)
def _vlans(text: str) -> Vlans:
    untagged, tagged = orjson.loads(text)
    return Vlans(untagged, frozenset((tag, vlan) for tag, vlan in tagged))


@dataclass(frozen=True, slots=True)
class SwitchPortState:
    """One switch port: what was written to it, what is in force, and from when what was written will be.

    ``server`` is the UUID of whoever is plugged in; empty before it is known.
    """

    switch: str
    port: str
    server: str = ""
    mac: str = ""
    written: Vlans = field(default_factory=Vlans)
    actual: Vlans = field(default_factory=Vlans)
    effective_at: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One server behind its BMC (``address:port``); ``server`` is the UUID under which it was last called."""

    bmc: str
    server: str
    chassis: Chassis
    disks: tuple[Disk, ...]
    power: bool = False
    boot: Boot = Boot.NOTHING
    power_wish: PowerWish = PowerWish.NONE
    power_due: int | None = None
    job: str = ""
    job_due: int | None = None
    reboots: tuple[str, ...] = ()

    def due(self, now: int) -> bool:
        """Whether something has come to pass that the row does not show yet."""
        return any(due is not None and due <= now for due in (self.power_due, self.job_due))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job shall do: serial numbers to erase, the image to write with its checksum, steps (``raid.x``) to run."""

    disks: tuple[str, ...] = ()
    image: str = ""
    checksum: str = ""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskOutcome:
    """A disk as a job found or left it; times in microseconds, 0 for none."""

    serial: str
    size: int
    method: str = ""
    start: int = 0
    end: int = 0
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job; empty while it runs."""

    reason: str = ""
    message: str = ""
    disks: tuple[DiskOutcome, ...] = ()
    actual_checksum: str = ""
    root_disk: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One job, started once per ``request_id``. ``hung`` ones never end."""

    request_id: str
    bmc: str
    kind: Work
    started: int
    due: int
    phase: Phase = Phase.RUNNING
    hung: bool = False
    wanted: Wanted = field(default_factory=Wanted)
    outcome: Outcome = field(default_factory=Outcome)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _values(value: Chassis | Disk | DiskOutcome) -> list[object]:
    """The fields of a flat value, in order: dataclasses.asdict would copy each of them, at twenty times the cost."""
    return [getattr(value, name) for name in value.__slots__]


def new_machine(bmc: str, server: str) -> Machine:
    """The machine behind *bmc* when it is seen for the first time: off, with blank disks."""
    chassis, disks = made_for(bmc)
    return Machine(bmc, server, chassis, disks)


def find_machine(tx: Connection, bmc: str) -> Machine | None:
    """The machine behind *bmc*, if it was seen before."""
    row = tx.execute("SELECT * FROM machines WHERE bmc = ?", (bmc,)).fetchone()
    return None if row is None else _machine(row)


def machine_of(tx: Connection, server: str) -> Machine | None:
    """The machine called by the UUID *server*, if its BMC was seen."""
    row = tx.execute("SELECT * FROM machines WHERE server = ?", (server,)).fetchone()
    return None if row is None else _machine(row)


def all_machines(tx: Connection) -> list[Machine]:
    """Every machine that was seen, by BMC."""
    return [_machine(row) for row in tx.execute("SELECT * FROM machines ORDER BY bmc").fetchall()]


def _machine(row: sqlite3.Row) -> Machine:
    bmc, server, power, boot, wish, power_due, job, job_due, reboots, chassis, disks = row
    return Machine(
        bmc=bmc,
        server=server,
        chassis=Chassis(*orjson.loads(chassis)),
        disks=tuple(Disk(*disk) for disk in orjson.loads(disks)),
        power=bool(power),
        boot=Boot(boot),
        power_wish=PowerWish(wish),
        power_due=power_due,
        job=job,
        job_due=job_due,
        reboots=tuple(orjson.loads(reboots)),
    )


def save_machine(tx: Connection, machine: Machine) -> None:
    """Writes *machine*, new or changed."""
    tx.execute(
        "INSERT OR REPLACE INTO machines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            machine.bmc,
            machine.server,
            int(machine.power),
            machine.boot,
            machine.power_wish,
            machine.power_due,
            machine.job,
            machine.job_due,
            _json(machine.reboots),
            _json(_values(machine.chassis)),
            _json([_values(disk) for disk in machine.disks]),
        ),
    )


_PORT = "SELECT switch, port, server, mac, written, actual, effective_at FROM switch_ports"


def find_port(tx: Connection, switch: str, port: str) -> SwitchPortState:
    """The switch port as it is; one that nobody touched carries no traffic."""
    row = tx.execute(_PORT + " WHERE switch = ? AND port = ?", (switch, port)).fetchone()
    return SwitchPortState(switch, port) if row is None else _port(row)


def ports_of(tx: Connection, server: str) -> list[SwitchPortState]:
    """The switch ports that *server* is plugged into."""
    return [_port(row) for row in tx.execute(_PORT + " WHERE server = ? ORDER BY switch, port", (server,)).fetchall()]


def all_ports(tx: Connection) -> list[SwitchPortState]:
    """Every switch port that was ever written to."""
    return [_port(row) for row in tx.execute(_PORT + " ORDER BY switch, port").fetchall()]


def _port(row: sqlite3.Row) -> SwitchPortState:
    switch, port, server, mac, written, actual, effective_at = row
    return SwitchPortState(switch, port, server, mac, Vlans.of(written), Vlans.of(actual), effective_at)


def save_port(tx: Connection, port: SwitchPortState) -> None:
    """Writes *port*, new or changed."""
    tx.execute(
        "INSERT OR REPLACE INTO switch_ports VALUES (?, ?, ?, ?, ?, ?, ?)",
        (port.switch, port.port, port.server, port.mac, port.written.text(), port.actual.text(), port.effective_at),
    )


def find_job(tx: Connection, request_id: str) -> Job | None:
    """The job of *request_id*."""
    row = tx.execute("SELECT * FROM jobs WHERE request_id = ?", (request_id,)).fetchone()
    return None if row is None else _job(row)


def running_jobs(tx: Connection) -> list[Job]:
    """Every job that has not ended."""
    return [_job(row) for row in tx.execute("SELECT * FROM jobs WHERE phase = 'running' ORDER BY started").fetchall()]


def _job(row: sqlite3.Row) -> Job:
    request_id, bmc, kind, started, due, phase, hung, wanted, outcome = row
    disks, image, checksum, *more = orjson.loads(wanted)
    reason, message, found, actual, root = orjson.loads(outcome)
    return Job(
        request_id,
        bmc,
        Work(kind),
        started,
        due,
        Phase(phase),
        bool(hung),
        Wanted(tuple(disks), image, checksum, tuple(more[0]) if more else ()),
        Outcome(reason, message, tuple(DiskOutcome(*disk) for disk in found), actual, root),
    )


def save_job(tx: Connection, job: Job) -> None:
    """Writes *job*, new or changed."""
    outcome = job.outcome
    tx.execute(
        "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job.request_id,
            job.bmc,
            job.kind,
            job.started,
            job.due,
            job.phase,
            int(job.hung),
            _json([job.wanted.disks, job.wanted.image, job.wanted.checksum, job.wanted.steps]),
            _json(
                [
                    outcome.reason,
                    outcome.message,
                    [_values(disk) for disk in outcome.disks],
                    outcome.actual_checksum,
                    outcome.root_disk,
                ]
            ),
        ),
    )


def setting(tx: Connection, key: str, default: str) -> str:
    """The rack's setting called *key*."""
    row = tx.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
    return default if row is None else str(row[0])


def put_setting(tx: Connection, key: str, value: str) -> None:
    """Changes the rack's setting called *key*."""
    tx.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))
