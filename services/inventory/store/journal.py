# SPDX-License-Identifier: Apache-2.0
"""Inventory's event log, as its rows use it: the sequence of a stream is the version of its row."""

from __future__ import annotations

from services.kernel.events import Event, Head
from services.runtime.database import Transaction
from services.runtime.eventlog import EventLog


class Journal:
    """See `services.inventory.operations.ports.Journal`."""

    def __init__(self, tx: Transaction, log: EventLog) -> None:
        self._tx = tx
        self._log = log

    def record(self, event: Event, sequence: int) -> int:
        """Appends *event*; answers its sequence."""
        return self._log.append(self._tx, event, Head(sequence)).sequence

    def last(self, stream: str) -> int:
        """The last sequence of *stream*: events outlive the rows they tell of."""
        row = self._tx.one("SELECT max(sequence) AS last FROM events WHERE stream = ?", (stream,))
        return int(row["last"] or 0) if row else 0
