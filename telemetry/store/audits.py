# SPDX-License-Identifier: Apache-2.0
"""What was read back of the object logs that were sent to a genuine collector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.runtime.database import Transaction

_NAME: Final = "object-logs"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts since the beginning, and when the last reading was (microseconds).

    Attributes:
        found: messages that analytics has.
        duplicates: how often it has one a second time.
        holes: messages that it did not have after a while; they were sent again.
        lost: messages that it never had, however often they were sent.
    """

    found: int = 0
    duplicates: int = 0
    holes: int = 0
    lost: int = 0
    seen_time: int = 0

    def __add__(self, more: Tally) -> Tally:
        """Both together, as of the later reading."""
        return Tally(
            self.found + more.found,
            self.duplicates + more.duplicates,
            self.holes + more.holes,
            self.lost + more.lost,
            max(self.seen_time, more.seen_time),
        )


def tally(tx: Transaction) -> Tally:
    """The counts so far."""
    row = tx.one("SELECT found, duplicates, holes, lost, seen_time FROM audits WHERE name = ?", (_NAME,))
    return Tally() if row is None else Tally(*(int(row[name]) for name in Tally.__slots__))


def add(tx: Transaction, more: Tally) -> None:
    """Counts *more*."""
    tx.execute(
        "INSERT INTO audits (name, found, duplicates, holes, lost, seen_time) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET found = audits.found + excluded.found,"
        " duplicates = audits.duplicates + excluded.duplicates, holes = audits.holes + excluded.holes,"
        " lost = audits.lost + excluded.lost, seen_time = excluded.seen_time",
        (_NAME, more.found, more.duplicates, more.holes, more.lost, more.seen_time),
    )
