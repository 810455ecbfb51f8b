# SPDX-License-Identifier: Apache-2.0
"""Walks one claimed server along its plan, step by step, until it must wait or is at rest.

Each step's outcome, the peer's answer, the state, the operation and the events are one transaction, under the fence of
the claim. A walker that was overtaken notices at its next write, or is refused by the peer it calls, and lets go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from services.kernel.clock import Clock, Ids
from services.kernel.errors import BmsError, Stale
from services.lifecycle.claims import Claim
from services.lifecycle.domain import holding, remedies, walk
from services.lifecycle.domain.aside import brake_pulled
from services.lifecycle.domain.brake import Held, Sign
from services.lifecycle.domain.expected import came_back, must_be_off
from services.lifecycle.domain.holding import Fallen
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.server import Power, Server
from services.lifecycle.domain.step import OnFailure, StepName
from services.lifecycle.domain.waits_of_controllers import OF_CONTROLLERS
from services.lifecycle.domain.walk import Change
from services.lifecycle.pace import Pace
from services.lifecycle.patrol import Patrol
from services.lifecycle.peers import Inventory
from services.lifecycle.rounds import next_look
from services.lifecycle.steps.describing import described_at_rest, is_news
from services.lifecycle.steps.ending import tell
from services.lifecycle.steps.marking import marked, wanted_marks
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting
from services.lifecycle.steps.table import StepTable
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction

_log = structlog.get_logger("bms.worker")

_SELDOM = timedelta(minutes=1)


class Walker:
    """Walks servers, any number at a time.

    Args:
        walked: told of every server before it is walked.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        table: StepTable,
        patrol: Patrol,
        inventory: Inventory,
        clock: Clock,
        ids: Ids,
        pace: Pace,
        *,
        walked: Callable[[str], None],
    ) -> None:
        self._database = database
        self._store = store
        self._table = table
        self._patrol = patrol
        self._inventory = inventory
        self._clock = clock
        self._ids = ids
        self._pace = pace
        self._walked = walked

    def walk(self, claim: Claim) -> None:
        """Walks a server as far as it goes now, and gives the claim back.

        Raises:
            Stale: the claim was taken over.
            BmsError: a peer or the database that nothing goes on without.
        """
        started = self._clock.now()
        server = self._database.read(lambda tx: self._store.find_server(tx, claim.key))
        if server is None or server.fence != claim.fence:
            raise _overtaken(claim.key)
        self._walked(server.uuid)
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
        """The instance that holds *server*.

        Raises:
            Stale: the claim was taken over, and the instance ended since; its name may be another's by now.
        """
        if not server.instance:
            return None

        def find(tx: Transaction) -> Instance | None:
            instance = self._store.find_instance(tx, server.instance)
            if instance is None or instance.server != server.uuid:
                kept = self._store.find_server(tx, server.uuid)
                if kept is None or kept.fence != server.fence:
                    raise _overtaken(server.uuid)
            return instance

        return self._database.read(find)

    def _commit(self, change: Change, now: datetime, *, due: datetime | None, fence: int, release: bool) -> Change:
        label = change.server.intent.step.name.value if change.server.intent else "rest"
        return self._database.transact(
            lambda tx: self._store.write(tx, change, now, due=due, fence=fence, release=release), label=f"step.{label}"
        )


def _overtaken(uuid: str) -> Stale:
    return Stale(f"the claim on servers/{uuid} was taken over")


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
