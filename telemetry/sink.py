# SPDX-License-Identifier: Apache-2.0
"""Where our collector's messages go: into the store, in order, hundreds in one transaction.

A message is taken when it is queued, not when it is committed: a transaction for each would be a hundred times as slow.
What a crash can lose is therefore what the protocol can lose anyway. Our own events are not among it, since an event
leaves the outbox in the transaction that keeps its message; and UVEs are sent again whole in the next session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.kernel.errors import PeerUnavailable
from services.runtime.database import Transaction
from telemetry.sandesh.header import Identity
from telemetry.sandesh.reception import Announcement, Received
from telemetry.store import Store, analytics, server_states

BATCH: Final = 500
TURN: Final = 10
"""After how many messages others have a turn. Each is read on the event loop, and watchers wait for it too; where many
come at once, neither the socket nor the queue makes anybody pause."""
ROOM: Final = 2000
"""Messages that may wait for their transaction; generators wait when there are more."""
PACE: Final = 0.1
"""Seconds between two transactions at least, unless so many messages wait that the next one is full."""
EXPIRE_SECONDS: Final = 60.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0

_log = structlog.get_logger("bms.sink")


class SinkFailedError(Exception):
    """The store could not take something of a generator: its session ends, and it comes again with all its UVEs."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One thing to write for a generator: a message with its time of expiry, or else what *apply* does.

    *settled* is told when it is written.
    """

    generator: Identity
    message: tuple[Received, int] | None = None
    apply: Callable[[Transaction], None] | None = None
    settled: asyncio.Future[None] | None = None


def _fail(job: _Job, why: str) -> None:
    if job.settled is not None and not job.settled.done():
        job.settled.set_exception(SinkFailedError(why))


def _apply(tx: Transaction, batch: Sequence[_Job]) -> None:
    messages: list[tuple[Received, int]] = []
    for job in batch:
        if job.message is not None:
            messages.append(job.message)
        elif job.apply is not None:
            analytics.store(tx, messages)
            messages = []
            job.apply(tx)
    analytics.store(tx, messages)


class StoreSink:
    """A `telemetry.sandesh.collector.Sink`; nothing is written unless `run` runs.

    Attributes:
        committed: called after each transaction.

    Args:
        collector: names our collector among replicas that share a store.
        keep_seconds: how long messages are kept.
        clock: gives microseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        collector: str,
        keep_seconds: float,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._collector = collector
        self._keep = int(keep_seconds * 1_000_000)
        self._clock = clock
        self._waiting: asyncio.Queue[_Job] = asyncio.Queue(ROOM)
        self._refused: set[Identity] = set()
        self._over = False
        self._taken = 0
        self._expired_at = 0
        self.committed: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Forgets the sessions of a process before this one."""

        def forget(tx: Transaction) -> None:
            analytics.forget_all(tx, self._collector)
            server_states.forget_all(tx, self._collector)

        await self._store.write(forget, "sink.start")

    async def run(self) -> None:
        """Writes until it is cancelled."""
        batch: list[_Job] = []
        loop = asyncio.get_running_loop()
        last = -PACE
        try:
            while True:
                try:
                    async with asyncio.timeout(EXPIRE_SECONDS):
                        batch = [await self._waiting.get()]
                except TimeoutError:
                    await self._expire()
                    continue
                # At once after a rest; in a burst, what comes within a moment shares a transaction.
                if self._waiting.qsize() < BATCH and (early := last + PACE - loop.time()) > 0:
                    await asyncio.sleep(early)
                last = loop.time()
                while len(batch) < BATCH and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                await self._write(batch)
                await self._expire()
        finally:
            self._over = True
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            for job in batch:
                _fail(job, "nobody writes any more")

    async def admit(self, announcement: Announcement) -> None:
        """See `Sink`."""
        generator, now = announcement.identity, self._clock()
        self._refused.discard(generator)

        def admit(tx: Transaction) -> None:
            server_states.overtake(tx, str(generator), self._collector)
            analytics.admit(tx, str(generator), self._collector, now)

        await self._done(generator, admit)

    async def store(self, message: Received) -> None:
        """See `Sink`; and the module's docstring for when a message is safe."""
        if self._over or message.generator in self._refused:
            msg = "a message before this one could not be stored"
            raise SinkFailedError(msg)
        expire_time = message.time + self._keep
        await self._waiting.put(_Job(message.generator, (message, expire_time)))
        self._taken += 1
        if self._taken % TURN == 0:
            await asyncio.sleep(0)

    async def tell(self, teller: Identity, messages: Sequence[Received]) -> None:
        """Changes the UVEs that *messages* of *teller* are of; the messages are not kept. Not once `run` has ended."""
        if not self._over:
            await self._waiting.put(_Job(teller, apply=lambda tx: analytics.tell(tx, messages)))

    async def forget(self, generator: Identity) -> None:
        """See `Sink`."""
        await self._done(generator, lambda tx: analytics.forget(tx, str(generator), self._collector))

    async def _done(self, generator: Identity, apply: Callable[[Transaction], None]) -> None:
        if self._over:
            msg = "nobody writes any more"
            raise SinkFailedError(msg)
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._waiting.put(_Job(generator, apply=apply, settled=settled))
        await settled

    async def _write(self, batch: Sequence[_Job]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._store.write(lambda tx: _apply(tx, batch), "sink")
                break
            except PeerUnavailable as error:
                # Nothing is lost while the database is away: generators wait, by the bound of the queue.
                _log.warning("sink.waiting", error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception:  # noqa: BLE001 -- one message that the store cannot take must not take the others with it
                _log.exception("sink.failed", messages=len(batch))
                for job in batch:
                    await self._write_one(job)
                break
        for job in batch:
            if job.settled is not None and not job.settled.done():
                job.settled.set_result(None)
        self.committed()

    async def _write_one(self, job: _Job) -> None:
        try:
            await self._store.write(lambda tx: _apply(tx, (job,)), "sink.one")
        except Exception as error:  # noqa: BLE001 -- whatever it is: its session must hear of it
            _log.exception("sink.refused", generator=str(job.generator))
            self._refused.add(job.generator)
            _fail(job, type(error).__name__)

    async def _expire(self) -> None:
        now = self._clock()
        if now - self._expired_at < EXPIRE_SECONDS * 1_000_000:
            return
        self._expired_at = now
        try:
            while await self._store.write(lambda tx: analytics.expire(tx, now, BATCH), "sink.expire"):
                pass  # the next part of what is over
        except PeerUnavailable as error:
            _log.warning("sink.not_expired", error=str(error))
        except Exception:  # noqa: BLE001 -- whatever it is: messages go on being taken, and a minute later it is tried again
            _log.exception("sink.not_expired")
