# SPDX-License-Identifier: Apache-2.0
"""What the parts of the store share: their transaction, the log and the way to lock a row."""

from __future__ import annotations

from services.runtime.database import Transaction
from services.runtime.eventlog import EventLog


class Tables:
    """A part of the store, within the transaction *tx*; events go into *log*."""

    def __init__(self, tx: Transaction, log: EventLog) -> None:
        self._tx = tx
        self._log = log
        # SQLite's writers follow one another: a transaction there has everything locked.
        self._lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
