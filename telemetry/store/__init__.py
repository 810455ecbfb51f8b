# SPDX-License-Identifier: Apache-2.0
"""Telemetry's store: plain SQL that SQLite and PostgreSQL both speak, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from services.runtime.database import Database, Transaction

T = TypeVar("T")


class Store:
    """A `Database` for asyncio: transactions run on threads, so that the loop goes on serving.

    A task that is cancelled while it waits does not undo its transaction: it may still commit. Whoever writes after a
    restart therefore compares before it sets (`telemetry.store.events.advance`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, fn: Callable[[Transaction], T], label: str) -> T:
        """See `Database.transact`."""
        return await asyncio.to_thread(lambda: self._database.transact(fn, label=label))

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        """See `Database.read`."""
        return await asyncio.to_thread(self._database.read, fn)

    def close(self) -> None:
        """See `Database.close`."""
        self._database.close()
