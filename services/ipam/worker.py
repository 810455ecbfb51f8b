# SPDX-License-Identifier: Apache-2.0
"""Frees addresses when they have rested, so that the log says so when it is true and not when somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from services.ipam.operations.ports import Store
from services.ipam.operations.resting import free_due
from services.runtime.database import Database, Transaction

KEEP_FREED = timedelta(days=30)
"""How long a lease is kept for those who look back."""

_BATCH = 200
_LONGEST_PAUSE = timedelta(seconds=5)


class Sweeper:
    """Looks for addresses that have rested. Any number may run: whoever comes second finds the work done.

    Args:
        store: makes the store of a transaction.
    """

    def __init__(self, database: Database, store: Callable[[Transaction], Store]) -> None:
        self._database = database
        self._store = store

    def tick(self, now: datetime) -> datetime:
        """Frees what has rested by *now*, a batch at most; answers when to look again."""
        return self._database.transact(lambda tx: self._sweep(self._store(tx), now), label="ipam.sweep")

    def _sweep(self, store: Store, now: datetime) -> datetime:
        if free_due(store, now, _BATCH) == _BATCH:
            return now
        store.forget_freed(now - KEEP_FREED, _BATCH)
        following = store.next_due()
        latest = now + _LONGEST_PAUSE
        return latest if following is None else min(max(following, now), latest)
