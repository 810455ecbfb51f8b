# SPDX-License-Identifier: Apache-2.0
"""What can be made to go wrong in the rack, and how long."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.errors import InvalidField
from services.simulated.file import Connection


class FaultKind(StrEnum):
    """A way in which a server or a switch fails."""

    BMC_SILENT = "bmc-silent"
    """The BMC does not answer."""
    BMC_HANGS = "bmc-hangs"
    """The BMC does not answer until it is restarted."""
    BMC_BAD_LOGIN = "bmc-bad-login"
    """The BMC answers and refuses the login."""
    POWER_STUCK_ON = "power-stuck-on"
    """Switching off is accepted and does nothing."""
    POWER_RETURNS = "power-returns-by-itself"
    """Once off, the server comes on again by itself, `seconds` later."""
    POWER_LIES_OFF = "power-lies-off"
    """The BMC says off whatever the power is."""
    IMAGE_WRITE_FAILS = "image-write-fails"
    """A deploy ends in failure."""
    IMAGE_CORRUPT = "image-corrupt"
    """A deploy ends well, but what was written has another checksum than the image."""
    DISK_ERASE_FAILS = "disk-erase-fails"
    """A clean fails at the disk with the serial number `part`, or at the first one if that is empty."""
    DISK_APPEARS = "disk-appears"
    """A disk with somebody's data is there that no inspection saw. Happens at once, leaves no fault behind."""
    INSPECT_FAILS = "inspect-fails"
    """An inspection ends in failure."""
    RESCUE_FAILS = "rescue-fails"
    """The rescue system does not come up."""
    JOB_HANGS = "job-hangs"
    """A job does not end. Without a count it goes on once the fault is cleared; with one, it never does."""
    TAKEN_BY_OTHERS = "taken-by-others"
    """Whoever else can ask the controller for servers has taken this one."""
    SWITCH_LAGS = "switch-lags"
    """A configuration takes effect `seconds` later than it would."""
    SWITCH_LIES = "switch-lies"
    """The switch takes a configuration and does nothing."""
    SWITCH_READ_FAILS = "switch-read-fails"
    """The switch does not tell what is configured."""
    SWITCH_WRITE_FAILS = "switch-write-fails"
    """The switch takes no configuration."""

    @property
    def of_switch(self) -> bool:
        """Whether it befalls a switch or one of its ports, and not a server."""
        return self.value.startswith("switch-")


DEFAULT_SECONDS = {FaultKind.POWER_RETURNS: 1.0, FaultKind.SWITCH_LAGS: 10.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in place.

    Attributes:
        id: names it for clearing.
        target: a BMC (address, or address:port), a server's UUID, a switch, or ``switch/port``.
        part: a disk's serial number; empty for any.
        seconds: see the kind; 0 where it has no meaning.
        remaining: how often it still strikes; None for always.
        until: when it ends, in microseconds; None for never.
        used: how often it struck.
    """

    id: int
    kind: FaultKind
    target: str
    part: str
    seconds: float
    remaining: int | None
    until: int | None
    used: int


def check_kind(name: str) -> FaultKind:
    """The kind called *name*.

    Raises:
        InvalidField: there is none.
    """
    try:
        return FaultKind(name)
    except ValueError:
        known = ", ".join(FaultKind)
        raise InvalidField(
            field="kind", description=f"{name[:60]!r} is not a fault", remedy=f"Choose one of {known}.", given=name[:60]
        ) from None


def look(tx: Connection, targets: tuple[str, ...], now: int) -> dict[FaultKind, Fault]:
    """The faults in force on any of *targets*, the oldest of each kind. Looking does not use one up."""
    return {fault.kind: fault for fault in reversed(every(tx, targets, now))}


def every(tx: Connection, targets: tuple[str, ...], now: int) -> list[Fault]:
    """All faults in force on any of *targets*, oldest first."""
    marks = ",".join("?" * len(targets))
    rows = tx.execute(
        f"SELECT * FROM faults WHERE target IN ({marks}) AND (until IS NULL OR until > ?)"
        " AND (remaining IS NULL OR remaining > 0) ORDER BY id",
        (*targets, now),
    ).fetchall()
    return [as_fault(row) for row in rows]


def strike(tx: Connection, fault: Fault) -> None:
    """Records that *fault* struck once."""
    tx.execute(
        "UPDATE faults SET used = used + 1, remaining = remaining - 1 WHERE id = ?",
        (fault.id,),
    )


def mend(tx: Connection, fault: Fault) -> None:
    """Takes *fault* away."""
    tx.execute("DELETE FROM faults WHERE id = ?", (fault.id,))


def as_fault(row: sqlite3.Row) -> Fault:
    """The fault of a row of the file."""
    id_, kind, target, part, seconds, remaining, until, used = row
    return Fault(id_, FaultKind(kind), target, part, seconds, remaining, until, used)


def targets_of(bmc: str, server: str) -> tuple[str, ...]:
    """All that may stand for a server in a fault: its BMC with and without port, and its UUID."""
    return (bmc, bmc.rpartition(":")[0], server) if server else (bmc, bmc.rpartition(":")[0])
