# SPDX-License-Identifier: Apache-2.0
"""The worker: claims servers and instances that are due, and has each walked along its plan.

``tick`` is the logic and stands on its own: it starts no thread, sleeps nowhere and reads no clock but the one it is
given. services/runtime/loop.py calls it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from services.kernel.clock import Clock, Ids
from services.kernel.errors import BmsError, Stale
from services.lifecycle.claims import Claim, give_back, next_due, next_of_each
from services.lifecycle.claims import claim as claim_rows
from services.lifecycle.domain.server import Server
from services.lifecycle.pace import Pace
from services.lifecycle.patrol import Patrol
from services.lifecycle.placement import Placement
from services.lifecycle.rounds import Rounds
from services.lifecycle.steps.table import StepTable
from services.lifecycle.store import Store
from services.lifecycle.walker import Walker
from services.runtime.database import Database, Transaction
from services.runtime.times import from_micros

_log = structlog.get_logger("bms.worker")


Run = Callable[[Callable[[], None]], None]
"""Runs a walk: on a thread of the pool, or at once."""


class Worker:
    """Walks servers and instances.

    Args:
        run: how a walk is run.
        slots: how many walks may be under way.
        news: called when a walk ends, so that the loop looks for more.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        table: StepTable,
        placement: Placement,
        patrol: Patrol,
        clock: Clock,
        ids: Ids,
        pace: Pace,
        *,
        run: Run,
        slots: int,
        news: Callable[[], None],
    ) -> None:
        self._database = database
        self._placement = placement
        self._clock = clock
        self._pace = pace
        self._run = run
        self._free = slots
        self._counting = threading.Lock()
        self._news = news
        self._rounds = Rounds(
            database, patrol.hardware, patrol.networks, clock, patrol=pace.patrol, hold=pace.claim, longest=pace.walk
        )
        self._walker = Walker(
            database, store, table, patrol, placement.inventory, clock, ids, pace, walked=self._rounds.walked
        )
        # Where there is much to do, some slots are kept for it: a fleet that was not looked at for long fills the rest.
        self._rounds_free = max(1, slots - slots // 4)

    def tick(self, now: datetime) -> datetime | None:
        """Claims what is due, as far as walks are free, and starts walking it; answers when to be called again.

        None: when something is committed, or a walk ends.
        """
        if self._free <= 0:
            return None
        until, free = now + self._pace.claim, self._free

        dues = self._database.read(next_of_each)
        due = min(dues.values(), default=None)
        if due is None or from_micros(due) > now:
            return from_micros(due) if due is not None else None
        waiting = {table for table, at in dues.items() if from_micros(at) <= now}

        def claim(tx: Transaction) -> tuple[tuple[Server, ...], list[Claim], list[Claim], int | None]:
            resting: tuple[Server, ...] = ()
            servers: list[Claim] = []
            if "servers" in waiting:
                resting, busy = self._rounds.take(tx, now, free=self._rounds_free > 0)
                servers = claim_rows(tx, "servers", now, until, free - bool(resting), busy=busy)
            left = free - bool(resting) - len(servers) if "instances" in waiting else 0
            instances = claim_rows(tx, "instances", now, until, left) if left else []
            return resting, servers, instances, next_due(tx)

        resting, servers, instances, following = self._database.transact(claim, label="claim")
        with self._counting:
            self._free -= bool(resting) + len(servers) + len(instances)
            self._rounds_free -= bool(resting)
        if resting:
            self._run(partial(self._round, resting))
        for one in servers:
            self._run(partial(self._guarded, "servers", one, self._walker.walk))
        for one in instances:
            self._run(partial(self._guarded, "instances", one, self._placement.place))
        if following is None or not (resting or servers or instances or from_micros(following) > now):
            return None  # who is due is left to a round that cannot begin before another one ends
        return from_micros(following)

    def _round(self, servers: tuple[Server, ...]) -> None:
        """Runs one round of the patrol; what ends it leaves its servers to be looked at a little later."""
        try:
            self._rounds.walk(servers)
        except BmsError as error:
            _log.warning("worker.round_interrupted", servers=len(servers), reason=error.reason, error=str(error))
        except Exception:  # noqa: BLE001 -- a defect must not stop the loop: they are due again, the log has it
            _log.exception("worker.defect", servers=len(servers))
        finally:
            with self._counting:
                self._free += 1
                self._rounds_free += 1
            self._news()

    def _guarded(self, table: str, claim: Claim, walk_: Callable[[Claim], None]) -> None:
        """Runs one walk; a claim that was overtaken, or a database that is away, ends it and nothing else."""
        try:
            walk_(claim)
        except Stale as error:
            _log.info("worker.overtaken", key=claim.key, fence=claim.fence, error=str(error))
            self._let_go(table, claim)
        except BmsError as error:
            _log.warning("worker.interrupted", key=claim.key, fence=claim.fence, reason=error.reason, error=str(error))
            self._let_go(table, claim)
        except Exception:  # noqa: BLE001 -- a defect must not stop the loop: the claim runs out, the log has it
            _log.exception("worker.defect", key=claim.key, fence=claim.fence)
        finally:
            with self._counting:
                self._free += 1
            self._news()

    def _let_go(self, table: str, claim: Claim) -> None:
        try:
            due = self._clock.now() + self._pace.least
            self._database.transact(lambda tx: give_back(tx, table, claim, due), label="give_back")
        except BmsError as error:
            # The claim runs out by itself.
            _log.warning("worker.claim_kept", key=claim.key, reason=error.reason)
