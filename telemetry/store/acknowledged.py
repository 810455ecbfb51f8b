# SPDX-License-Identifier: Apache-2.0
"""Alarms that somebody has acknowledged, so that another replica knows."""

from __future__ import annotations

from collections.abc import Mapping

from services.runtime.database import Transaction

Acknowledged = dict[tuple[str, str, str], int]
"""Object table, object key and type of an alarm to the time at which it was raised (microseconds)."""


def load(tx: Transaction) -> Acknowledged:
    """All of them."""
    rows = tx.all("SELECT object_table, object_key, alarm, time FROM acknowledged")
    return {(row["object_table"], row["object_key"], row["alarm"]): int(row["time"]) for row in rows}


def save(tx: Transaction, changes: Mapping[tuple[str, str, str], int | None]) -> None:
    """Keeps these; None takes one away."""
    for (table, key, alarm), time in changes.items():
        if time is None:
            tx.execute(
                "DELETE FROM acknowledged WHERE object_table = ? AND object_key = ? AND alarm = ?", (table, key, alarm)
            )
            continue
        tx.execute(
            "INSERT INTO acknowledged (object_table, object_key, alarm, time) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (object_table, object_key, alarm) DO UPDATE SET time = excluded.time",
            (table, key, alarm, time),
        )
