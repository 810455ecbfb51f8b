# SPDX-License-Identifier: Apache-2.0
"""The worker: claims servers and instances that are due, and walks each along its plan.

``tick`` is the logic and stands on its own: it starts no thread, sleeps nowhere and reads no clock but the one it is
given. services/runtime/loop.py calls it. Each step's outcome, the peer's answer, the state, the operation and the
events are one transaction, under the fence of the claim. A worker that was overtaken notices at its next write, or is
refused by the peer it calls, and lets go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from services.kernel.clock import Clock, Ids
from services.kernel.errors import BmsError, Stale
from services.kernel.events import Event
from services.lifecycle.claims import Claim, give_back, next_due, next_of_each
from services.lifecycle.claims import claim as claim_rows
from services.lifecycle.domain import holding, remedies, walk
from services.lifecycle.domain.aside import brake_pulled
from services.lifecycle.domain.brake import Held, Sign
from services.lifecycle.domain.expected import came_back, must_be_off
from services.lifecycle.domain.holding import Fallen
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.plans import OnFailure, StepName
from services.lifecycle.domain.remedies import Budget
from services.lifecycle.domain.server import Power, Server
from services.lifecycle.domain.waits_of_controllers import OF_CONTROLLERS
from services.lifecycle.domain.walk import Change
from services.lifecycle.patrol import Patrol
from services.lifecycle.placement import Placement
from services.lifecycle.rounds import Rounds, next_look
from services.lifecycle.steps.describing import described_at_rest, is_news
from services.lifecycle.steps.ending import tell
from services.lifecycle.steps.marking import marked, wanted_marks
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting
from services.lifecycle.steps.table import StepTable
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction
from services.runtime.times import from_micros

_log = structlog.get_logger("bms.worker")


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly the worker looks again, and for how long a claim holds.

    Attributes:
        least, most: bounds of the delay between two looks at the same wait; it grows with the wait's age. What lasts
            long is looked at once in a hundredth of its age: nobody notices, and a clean of hours is no load.
        claim: how long a claim holds; every call's deadline ends before it does.
        walk: how long one walk may take before it gives the claim back; claim less the longest call.
        limit_scale: multiplies every step's time limit: a fast clock for rehearsals.
        patrol: how often a server at rest is looked at.
        budget: how often a wait's own remedy may run by itself.
    """

    least: timedelta = timedelta(milliseconds=50)
    most: timedelta = timedelta(seconds=5)
    claim: timedelta = timedelta(seconds=60)
    walk: timedelta = timedelta(seconds=20)
    limit_scale: float = 1.0
    patrol: timedelta = timedelta(minutes=15)
    budget: Budget = field(default_factory=Budget)


_SELDOM = timedelta(minutes=1)

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
        self._store = store
        self._table = table
        self._placement = placement
        self._patrol = patrol
        self._clock = clock
        self._ids = ids
        self._pace = pace
        self._run = run
        self._free = slots
        self._counting = threading.Lock()
        self._news = news
        self._inventory = placement.inventory
        self._rounds = Rounds(
            database, patrol.hardware, patrol.networks, clock, patrol=pace.patrol, hold=pace.claim, longest=pace.walk
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
            self._run(partial(self._guarded, "servers", one, self._walk))
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

    def _walk(self, claim: Claim) -> None:
        started = self._clock.now()
        server = self._database.read(lambda tx: self._store.find_server(tx, claim.key))
        if server is None or server.fence != claim.fence:
            msg = f"the claim on servers/{claim.key} was taken over"
            raise Stale(msg)
        self._rounds.walked(server.uuid)
        stepped = False
        if claim.taken_over:
            server = self._look_first(server, claim)
        while True:
            now = self._clock.now()
            if server.intent is None:
                self._at_rest(server, claim, now, look=not stepped)
                return
            instance = self._instance_of(server)
            if remedies.is_due(server, self._pace.budget, now):
                trying = remedies.begin_try(server, server.wait.code if server.wait else "", self._pace.budget, now)
                server = self._commit(trying, now, due=now, fence=claim.fence, release=False).server
            change, due = self._step(server, instance, now)
            stepped = True
            if isinstance(change, Fallen):
                fallen = self._fall(change, now, fence=claim.fence)
                if fallen is None:
                    return
                server = fallen
                continue
            if change.instance == instance and not change.ended:
                change = replace(change, instance=None)
            rest = change.server.intent is None and change.server.wanted_report() == change.server.reported
            rest = rest and wanted_marks(change.server) == change.server.marked and not is_news(change.server)
            ends = due is not None or rest or now - started > self._pace.walk
            if ends and due is None:
                due = next_look(now, self._pace.patrol) if rest and not change.server.closed else now
            if change.server.closed and change.server.intent is None:
                due = None
            # Between two steps it stays due: whoever takes over from a worker that died here goes on at once.
            written = self._commit(change, now, due=due if ends else now, fence=claim.fence, release=ends)
            if ends:
                return
            server = written.server

    def _look_first(self, server: Server, claim: Claim) -> Server:
        """After a takeover: power and ports are read before the first act, whatever the one before was about to do."""
        now = self._clock.now()
        looked, events = self._patrol.look(server, now, "server.taken_over")
        change = Change(looked, events)
        if looked.intent is not None and looked.power is Power.ON and (must_be_off(looked) or came_back(looked)):
            found = Failed(replace(looked, clean_time=None), "POWER_ON_UNPLANNED", _FOUND_ON, events)
            way = OnFailure.SILENT if came_back(looked) else OnFailure.QUARANTINE
            change = self._leave(found, self._instance_of(looked), now, way)
        return self._commit(change, now, due=now, fence=claim.fence, release=False).server

    def _step(
        self, server: Server, instance: Instance | None, now: datetime
    ) -> tuple[Change | Fallen, datetime | None]:
        """One look at the present step: what to commit, and when to look again (None: at once)."""
        ctx = Context(server, instance, now)
        if ctx.intent.step.name is StepName.END_INSTANCE:
            ended = walk.end_instance(server, instance, now)
            following = walk.advance(ended.server, ended.instance if not ended.ended else None, ended.events, now)
            if ended.ended:
                return replace(
                    following,
                    instance=ended.instance,
                    ended=True,
                    operations=(*ended.operations, *following.operations),
                ), None
            return replace(following, operations=(*ended.operations, *following.operations)), None
        outcome = self._table[ctx.intent.step.name](ctx)
        return self._change(outcome, instance, self._clock.now())

    def _change(
        self, outcome: Outcome, instance: Instance | None, now: datetime
    ) -> tuple[Change | Fallen, datetime | None]:
        left = outcome.instance or instance
        outcome = replace(outcome, server=remedies.made(outcome.server))
        server = outcome.server
        intent = server.task
        if isinstance(outcome, Done):
            try:
                return walk.advance(server, left, outcome.events, now), None
            except BmsError as error:
                # The next step cannot even be asked for, such as networks that do not fit on the ports.
                return self._failed(
                    Failed(server, "PEER_REFUSED", str(error), outcome.events, cause=error), left, now
                ), None
        if isinstance(outcome, Failed) and not intent.step.may_fail:
            # Nothing that must not be given up can fail, whatever its code says: it waits, under the alarm.
            outcome = Waiting(server, "REFUSED_BY_PEER", outcome.message, outcome.events)
        if isinstance(outcome, Failed):
            return self._failed(outcome, left, now), None
        limit = intent.step.limit
        if limit is not None and remedies.is_spent(server, outcome.code, self._pace.budget, now):
            message = f"{intent.step.name.value}: {outcome.reason}; what could be tried was tried"
            return self._failed(Failed(server, outcome.code, message, outcome.events), left, now), None
        if limit is not None and now - intent.step_since > limit * self._pace.limit_scale:
            reason = outcome.code if outcome.code in _TELLING else "STEP_OVERDUE"
            message = f"{intent.step.name.value} took longer than it may: {outcome.reason}"
            return self._failed(Failed(server, reason, message, outcome.events), left, now), None
        if outcome.at_once:
            return walk.go_on(server, left, outcome.events), None
        if holding.is_putting_back(server) and self._database.read(self._patrol.brakes.is_pulled):
            # Shown as what it is; and no remedy runs by itself as long as the brake is pulled.
            outcome = replace(outcome, code=holding.CODE, reason=f"what was changed is put back: {outcome.reason}")
        next_try = _together(now + self._delay(server, outcome, now), min(outcome.least, self._pace.most))
        return walk.wait(server, left, outcome.events, now, outcome.code, outcome.reason, next_try), next_try

    def _failed(self, outcome: Failed, instance: Instance | None, now: datetime) -> Change | Fallen:
        server = outcome.server
        if outcome.may_retry and server.intent is not None and server.intent.attempt <= server.intent.step.retries:
            return walk.again(server, instance, outcome.events, now, outcome.reason, outcome.message)
        if remedies.may_begin_anew(server, outcome.reason, self._pace.budget):
            trying = remedies.begin_try(server, outcome.reason, self._pace.budget, now)
            events = (*outcome.events, *trying.events)
            return walk.again(remedies.made(trying.server), instance, events, now, outcome.reason, outcome.message)
        if instance is not None and holding.is_in_use(server, instance):
            return Fallen(server, instance, outcome.events, outcome.reason, outcome.message, outcome.cause)
        return self._leave(outcome, instance, now)

    def _leave(
        self, outcome: Failed | Fallen, instance: Instance | None, now: datetime, way: OnFailure | None = None
    ) -> Change:
        server = outcome.server
        change = walk.fail(
            server,
            instance,
            outcome.events,
            now,
            outcome.reason,
            outcome.message,
            new_id=self._ids.uuid,
            cause=outcome.cause,
            on_failure=way,
        )
        _log.warning("server.failed", server=server.name, reason=outcome.reason, error=outcome.message)
        return change

    def _fall(self, fallen: Fallen, now: datetime, *, fence: int) -> Server | None:
        """A server in use goes into quarantine if the brake allows it, else back to what it was, in one transaction.

        None: it can only wait where it is, and the claim is given back.
        """
        server, later = fallen.server, now + self._pace.most
        aside = self._leave(fallen, fallen.instance, now)

        def decide(tx: Transaction) -> Change:
            sign = Sign(server.uuid, fallen.reason, fallen.backend, now, cut=True)
            said = self._patrol.brakes.ask(tx, sign)
            change = aside
            if isinstance(said, Held):
                pulled = brake_pulled(server, said, sign.cause, sign.backend, fallen.message, now)
                told = (pulled,) if said.pulls else ()
                change = holding.held(fallen, told, now, later, new_id=self._ids.uuid)
            waits = change.server.wait is not None
            return self._store.write(tx, change, now, due=later if waits else now, fence=fence, release=waits)

        written = self._database.transact(decide, label="step.fall").server
        return written if written.wait is None else None

    def _delay(self, server: Server, outcome: Waiting, now: datetime) -> timedelta:
        """Looks often at first and more seldom as the wait grows older."""
        since = server.wait.since if server.wait is not None and server.wait.code == outcome.code else now
        age = now - since
        least = max(self._pace.least, min(self._pace.most, outcome.least))
        return max(least, min(self._pace.most, age / 4), min(_SELDOM, age / 100))

    def _at_rest(self, server: Server, claim: Claim, now: datetime, *, look: bool) -> None:
        """No intent: others are told what they do not know yet; then the server is looked at now and then.

        Args:
            look: now; one that has just come to the end of its plan was read by that.
        """
        if server.closed:
            self._commit(Change(server), now, due=None, fence=claim.fence, release=True)
            return
        server = marked(server, self._patrol.hardware)
        server = described_at_rest(server, self._inventory, self._patrol.hardware)
        if server.wanted_report() != server.reported:
            outcome = tell(server, self._inventory)
            if isinstance(outcome, Done):
                change, due = Change(outcome.server), next_look(now, self._pace.patrol)
            else:
                change, due = Change(server), now + self._pace.most
            self._commit(change, now, due=due, fence=claim.fence, release=True)
            return
        if not look:
            due = next_look(now, self._pace.patrol)
            self._commit(Change(server), now, due=due, fence=claim.fence, release=True)
            return
        seen = self._patrol.visit(server, self._instance_of(server), now)

        def conclude(tx: Transaction) -> Change:
            change = self._patrol.conclude(tx, seen, now)
            due = now if change.server.intent is not None else next_look(now, self._pace.patrol)
            return self._store.write(tx, change, now, due=due, fence=claim.fence, release=True)

        self._database.transact(conclude, label="step.rest")

    def _instance_of(self, server: Server) -> Instance | None:
        return (
            self._database.read(lambda tx: self._store.find_instance(tx, server.instance)) if server.instance else None
        )

    def _commit(self, change: Change, now: datetime, *, due: datetime | None, fence: int, release: bool) -> Change:
        label = change.server.intent.step.name.value if change.server.intent else "rest"
        return self._database.transact(
            lambda tx: self._store.write(tx, change, now, due=due, fence=fence, release=release), label=f"step.{label}"
        )


def _together(due: datetime, beat: timedelta) -> datetime:
    """*due*, or up to a *beat* later, when others are due as well whose controller answers for many at once."""
    return due + -(due - _DAWN) % beat if beat else due


_DAWN = datetime(2000, 1, 1, tzinfo=UTC)
_FOUND_ON = "it was found powered on by whoever took over, and nobody here had powered it on"

_TELLING = frozenset(
    {"BMC_SILENT", "POWER_NOT_OFF", "POWER_NOT_ON", "FABRIC_SILENT", "PRIVATE_NETWORK_MISSING"}
    | {blocker.code for blocker in OF_CONTROLLERS}
)
"""Waits whose code says more than that a step took too long."""

__all__ = ["Event", "OnFailure", "Pace", "Run", "Worker"]
