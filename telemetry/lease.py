# SPDX-License-Identifier: Apache-2.0
"""Lets one of several replicas do what only one may do, and another when that one is gone.

No clock is compared with another machine's. Who has the lease says so by a number that rises; who does not takes it
when the number stood still for so long, by his own clock, that the holder must have stopped, by his. So two never do
it at once, unless a process sleeps in the midst of an act; and a lease that is given back changes hands at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.kernel.errors import PeerUnavailable
from telemetry.store import Store, leases
from telemetry.store.leases import Row

BEAT_SECONDS: Final = 5.0
HOLD_SECONDS: Final = 20.0
"""Who could not say for so long that he is there stops."""
PATIENCE_SECONDS: Final = 30.0
"""Who saw nothing change for so long takes it. The difference is what stopping may last."""

_log = structlog.get_logger("bms.lease")


class Lease:
    """One replica's part in it.

    Args:
        name: what it is for.
        holder: who we are, for people.
        pace: divides all times, for tests.
    """

    def __init__(self, store: Store, name: str, holder: str, *, pace: float = 1.0) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._beat = BEAT_SECONDS / pace
        self._hold = HOLD_SECONDS / pace
        self._patience = PATIENCE_SECONDS / pace
        self._fence = 0
        self._seen: Row | None = None
        self._since = 0.0

    @property
    def fence(self) -> int:
        """With which fence we have it; 0 if we do not."""
        return self._fence

    async def keep(self, duty: Callable[[], Awaitable[None]]) -> None:
        """Does *duty* whenever we have the lease, until cancelled; cancels it when we may not have it any more.

        *duty* is to run until it is cancelled, and to be done with it within `PATIENCE_SECONDS` less `HOLD_SECONDS`.
        """
        try:
            while True:
                begun = time.monotonic()
                if await self._try():
                    _log.info("lease.taken", lease=self._name, holder=self._holder, fence=self._fence)
                    await self._do(duty, begun)
                    self._fence = 0
                await asyncio.sleep(self._beat)
        finally:
            await self._give_back()

    async def _do(self, duty: Callable[[], Awaitable[None]], begun: float) -> None:
        doing = asyncio.ensure_future(duty())
        try:
            while not doing.done():
                now = time.monotonic()
                if not await self._still(begun):
                    break
                begun = now
                await asyncio.wait({doing}, timeout=self._beat)
        finally:
            doing.cancel()
            await asyncio.wait({doing})
        if not doing.cancelled():
            doing.result()  # what ended it, if it was an error

    async def _try(self) -> bool:
        try:
            # A SQLite file belongs to one process: whoever had the lease is gone.
            row, alone = await self._store.read(lambda tx: (leases.look(tx, self._name), tx.dialect == "sqlite"))
            now = time.monotonic()
            if row != self._seen:
                self._seen, self._since = row, now
            if row.holder and now - self._since < self._patience and not alone:
                return False
            taken = await self._store.write(lambda tx: leases.take(tx, self._name, self._holder, row), "lease.take")
        except PeerUnavailable as error:
            _log.warning("lease.unknown", lease=self._name, error=str(error)[:300])
            return False
        self._fence = row.fence + 1 if taken else 0
        return taken

    async def _still(self, begun: float) -> bool:
        """Says that we are there, for as long as we may try; answers whether we still have it."""
        fence = self._fence
        try:
            async with asyncio.timeout(begun + self._hold - time.monotonic()):
                while True:
                    try:
                        if await self._store.write(lambda tx: leases.beat(tx, self._name, fence), "lease.beat"):
                            return True
                        _log.warning("lease.lost", lease=self._name, fence=self._fence)
                        return False
                    except PeerUnavailable as error:
                        _log.warning("lease.not_said", lease=self._name, error=str(error)[:300])
                        await asyncio.sleep(self._beat / 5)
        except TimeoutError:
            _log.warning("lease.given_up", lease=self._name, fence=self._fence)
            return False

    async def _give_back(self) -> None:
        fence, self._fence = self._fence, 0
        if fence:
            with contextlib.suppress(PeerUnavailable):  # the others find out by themselves
                await self._store.write(lambda tx: leases.give_back(tx, self._name, fence), "lease.give_back")
