# SPDX-License-Identifier: Apache-2.0
"""Passes batches of what is new in the store on to many watchers, each at his own pace.

Batches are held in memory up to a bound. A watcher takes his place among them, reads from the store what is behind his
token, and walks along them. One who falls behind the oldest is told so, with the token to go on from, and costs the
others nothing. With nobody watching nothing is read.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.kernel.errors import Exhausted, PeerUnavailable
from telemetry.patience import patiently

B = TypeVar("B")

POLL_SECONDS: Final = 1.0
"""How often the store is looked at without being told: another replica may have written."""
_REMEDY: Final = "Watch again with `after` set to the token."


@dataclass(slots=True)
class Walk:
    """A watcher's way along the batches.

    Attributes:
        token: gives what the watcher goes on with if the walk ends.
        at: the number of the next batch.
        due: when he hears that the stream lives, unless there is news; the loop's time.
    """

    token: Callable[[], str]
    at: int
    due: float


class Relay(ABC, Generic[B]):
    """What every hub of watchers has.

    Args:
        what: is passed on; for people.
        held, held_bytes: how much is held for watchers that are behind.
        heartbeat_seconds: after how long a watcher without news hears that the stream lives.
        pace: seconds between two looks at least.
    """

    def __init__(self, what: str, *, held: int, held_bytes: int, heartbeat_seconds: float, pace: float = 0.0) -> None:
        self._what = what
        self._most = held
        self._most_bytes = held_bytes
        self._heartbeat = heartbeat_seconds
        self._pace = pace
        self._batches: deque[tuple[B, int, int]] = deque()
        self._first = 0
        self._count = 0
        self._bytes = 0
        self._watchers = 0
        self._holds = False
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._draining = False
        self._looking = asyncio.Lock()

    @abstractmethod
    async def start(self) -> None:
        """Finds out where the store ends: batches begin there. Is done anew for the first who watches."""

    @abstractmethod
    async def _look(self) -> bool:
        """Holds a page of what is new, if `_holds` is still true then; answers whether there may be more."""

    def wake(self) -> None:
        """Says that there may be news in the store."""
        self._wanted.set()

    async def run(self) -> None:
        """Looks for news until it is cancelled."""
        while True:
            self._wanted.clear()
            if self._holds:
                await patiently(self.refresh, f"watch.{self._what}")
                await asyncio.sleep(self._pace)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue  # nobody asked: what others wrote is looked for all the same

    async def refresh(self) -> None:
        """Holds what is new since the last look."""
        async with self._looking:
            while self._holds and await self._look():
                pass

    def drain(self) -> None:
        """Ends every watch; each learns its token."""
        self._draining = True
        self._announce()

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Batches are held while the block runs, at the latest from its beginning on."""
        self._watchers += 1
        try:
            async with self._looking:
                if not self._holds:
                    await self.start()
                    self._holds = True
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._holds = False
                while self._batches:
                    self._drop()

    def _walk(self, token: Callable[[], str]) -> Walk:
        """A walk that begins where the batches end now."""
        return Walk(token, self._end, self._next_heartbeat())

    def _lost(self, walk: Walk) -> bool:
        """Whether the next batch of *walk* is no longer held."""
        return walk.at < self._first

    async def _next(self, walk: Walk) -> B | None:
        """The next batch, as soon as there is one; None if the watcher was told nothing for a heartbeat.

        Raises:
            Exhausted: the watcher does not keep up; the fact ``token`` says where to go on.
            PeerUnavailable: telemetry stops; as above.
        """
        while True:
            self._refuse_draining(walk.token)
            if self._lost(walk):
                msg = f"this watcher does not keep up with the {self._what}"
                raise Exhausted(msg, remedy=_REMEDY, token=walk.token())
            if walk.at < self._end:
                walk.at += 1
                return self._batches[walk.at - 1 - self._first][0]
            try:
                async with asyncio.timeout_at(walk.due):
                    await self._changed.wait()
            except TimeoutError:
                self._told(walk)
                return None

    def _told(self, walk: Walk) -> None:
        """The watcher was told something: his heartbeat begins anew."""
        walk.due = self._next_heartbeat()

    def _next_heartbeat(self) -> float:
        return asyncio.get_running_loop().time() + self._heartbeat

    @property
    def _end(self) -> int:
        return self._first + len(self._batches)

    def _add(self, batch: B, count: int, size: int) -> None:
        """Holds *batch*, of *count* things and *size* bytes."""
        self._batches.append((batch, count, size))
        self._count += count
        self._bytes += size
        # The newest batch is held whatever its size, or nobody would ever get it.
        while len(self._batches) > 1 and (self._count > self._most or self._bytes > self._most_bytes):
            self._drop()
        self._announce()

    def _drop(self) -> None:
        _, count, size = self._batches.popleft()
        self._first += 1
        self._count -= count
        self._bytes -= size

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _refuse_draining(self, token: Callable[[], str]) -> None:
        if self._draining:
            msg = "telemetry is stopping"
            raise PeerUnavailable(msg, remedy=_REMEDY, peer="telemetry", token=token())
