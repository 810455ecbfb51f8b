# SPDX-License-Identifier: Apache-2.0
"""Alarms of any generator's UVEs that somebody has acknowledged here.

A mark is of one raising: it counts for the alarm that was raised at the same time, ends when its generator no longer
tells of that one, and outlives the generator's session.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from services.runtime.database import Transaction
from telemetry.sandesh.raised import STRUCT

KEPT_MICROS: Final = 48 * 3600 * 1_000_000
"""How long a mark is kept, from when it was made, for a generator that no longer tells of the object."""

Named = tuple[str, int]
"""An alarm's type, and when it was raised (microseconds)."""


def put(tx: Transaction, object_: tuple[str, str, str], alarm: Named, subject: str, now: int) -> None:
    """Notes that *subject* knows of the alarm *alarm* of *object_* (table, key, generator)."""
    tx.execute(
        "INSERT INTO alarm_marks (object_table, object_key, generator, alarm, time, subject, noted_time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (object_table, object_key, generator, alarm)"
        " DO UPDATE SET time = excluded.time, subject = excluded.subject, noted_time = excluded.noted_time",
        (*object_, *alarm, subject, now),
    )


def of(tx: Transaction, table: str, keys: Sequence[str]) -> dict[tuple[str, str], set[Named]]:
    """The acknowledged alarms of objects, by key and generator."""
    found: dict[tuple[str, str], set[Named]] = {}
    rows = tx.all(
        "SELECT object_key, generator, alarm, time FROM alarm_marks"
        f" WHERE object_table = ? AND object_key IN ({', '.join('?' * len(keys))})",
        (table, *keys),
    )
    for row in rows:
        found.setdefault((row["object_key"], row["generator"]), set()).add((row["alarm"], int(row["time"])))
    return found


def told_by(tx: Transaction, generator: str) -> list[tuple[str, str, Named]]:
    """The acknowledged alarms of one generator: table, key and alarm."""
    rows = tx.all("SELECT object_table, object_key, alarm, time FROM alarm_marks WHERE generator = ?", (generator,))
    return [(row["object_table"], row["object_key"], (row["alarm"], int(row["time"]))) for row in rows]


def settle(tx: Transaction, object_: tuple[str, str, str], standing: Collection[Named]) -> None:
    """Ends the marks of *object_* (table, key, generator) but for those of alarms that are *standing*."""
    table, key, generator = object_
    for alarm in of(tx, table, [key]).get((key, generator), set()) - set(standing):
        tx.execute(
            "DELETE FROM alarm_marks WHERE object_table = ? AND object_key = ? AND generator = ? AND alarm = ?"
            " AND time = ?",
            (*object_, *alarm),
        )


def forget_gone(tx: Transaction, now: int) -> None:
    """Forgets old marks of objects of which their generator no longer says anything."""
    tx.execute(
        "DELETE FROM alarm_marks WHERE noted_time <= ? AND NOT EXISTS (SELECT 1 FROM uve_attributes u"
        " WHERE u.object_table = alarm_marks.object_table AND u.object_key = alarm_marks.object_key"
        " AND u.generator = alarm_marks.generator AND u.struct = ?)",
        (now - KEPT_MICROS, STRUCT),
    )
