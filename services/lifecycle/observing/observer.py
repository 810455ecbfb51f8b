# SPDX-License-Identifier: Apache-2.0
"""Takes what was read of nodes, and writes what it means: an event, what the server stands under, what patrol acts on.

A reading is kept first, and judged in a transaction of its own: again whenever the server itself has changed, since
what was in line with a deployed server is not with a free one. What would move a server or take it from the pool is
read once more, after the server was read: a reading from before our own work ended is no sign of anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from services.kernel.clock import Clock
from services.kernel.errors import BmsError, Stale
from services.kernel.events import Event
from services.lifecycle.domain.blocker import Kind
from services.lifecycle.domain.holding import CODE as BRAKED
from services.lifecycle.domain.nodes import NodeSeen, Policy, Trouble
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server, Wait
from services.lifecycle.domain.states import State
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.domain.walk import Change
from services.lifecycle.observing import records
from services.lifecycle.observing.lines import in_line
from services.lifecycle.observing.meaning import CODES, Meaning, is_others, meaning
from services.lifecycle.observing.merge import merged
from services.lifecycle.observing.nodes import Nodes
from services.lifecycle.observing.records import Record
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction
from services.runtime.times import to_micros

ACTOR = "ironic"
"""Who did it, as far as we can tell: the controller does not say which of its users."""
_AT_ONCE = 100

_log = structlog.get_logger("bms.observing")


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads, keeps and judges."""

    database: Database
    store: Store
    nodes: Nodes
    clock: Clock

    def look(self, uuids: Iterable[str]) -> int:
        """Reads these nodes now, those of servers of ours; answers how many said something new."""
        wanted = tuple(dict.fromkeys(uuids))
        marks = ", ".join("?" for _ in wanted)
        ours = self.database.read(
            lambda tx: tx.all(f"SELECT uuid FROM servers WHERE closed = 0 AND uuid IN ({marks})", wanted)
        )
        return self.take([self.nodes.node(row["uuid"]) for row in ours])

    def hurry(self, uuids: Iterable[str]) -> None:
        """Has the worker look now at those of these servers that wait for a job of the controller's."""
        some = tuple(uuids)
        if some:
            self.database.transact(lambda tx: records.hurry(tx, some, self.clock.now()), label="observe.hurry")

    def take(self, readings: Sequence[NodeSeen]) -> int:
        """Keeps what was read; answers how much of it is news, which `judge` says the meaning of."""
        if not readings:
            return 0
        return self.database.transact(lambda tx: records.take(tx, readings), label="observe.take")

    def judge(self) -> int:
        """Judges what waits for it; answers how many servers that were. What fails waits for the next time."""
        now = self.clock.now()
        waiting = self.database.read(lambda tx: records.waiting(tx, now, _AT_ONCE))
        # Servers at work change with every step, and mean nothing new by that.
        silent = [one for one in waiting if _is_silent(*one, now)]
        if silent:
            self.database.transact(lambda tx: records.nothing_said(tx, silent), label="observe.silent")
        done = {server.uuid for server, _ in silent}
        for server, record in waiting:
            if server.uuid in done:
                continue
            try:
                self._judge(server, record)
                done.add(server.uuid)
            except Stale:
                pass  # somebody wrote the server at this moment
            except BmsError as error:
                _log.warning("observing.postponed", server=server.name, reason=error.reason, error=str(error))
        return len(done)

    def _judge(self, server: Server, record: Record) -> None:
        found = _meaning(server, record, self.clock.now())
        if _moves(server, found.trouble) or _is_late(server, record):
            fresh = self.nodes.node(server.uuid)
            record = replace(record, seen=merged(record.seen, fresh))
        kept, at = record, self.clock.now()
        self.database.transact(lambda tx: self._write(tx, server, kept, at), label="observe.judge")

    def _write(self, tx: Transaction, server: Server, record: Record, now: datetime) -> None:
        there = records.find(tx, server.uuid)
        if there is None or merged(there.seen, record.seen) != record.seen:
            return  # something younger came meanwhile
        found = _meaning(server, record, now)
        after = _after(server, found.trouble)
        told = replace(_anchored(server, record), told=record.seen)
        version = server.version
        if found.tells or after != server:
            events = _events(server, after, record, found, now) if found.tells else ()
            # Whoever may act on it looks now: patrol, or the report to inventory.
            version = self.store.write(tx, Change(after, events), now, due=now).server.version
        else:
            here = self.store.find_server(tx, server.uuid)
            if here is None or here.version != version:
                return  # it changed meanwhile, and may mean something else
            if _is_due(server):
                # The worker told inventory first; what is left is patrol's.
                records.look_now(tx, server.uuid, now)
        records.judged(tx, told, version)


def _meaning(server: Server, record: Record, now: datetime) -> Meaning:
    anchor = record.anchor if record.anchor_since == to_micros(server.state_since) else ""
    return meaning(server, record.told, record.seen, anchor, now)


def _is_silent(server: Server, record: Record, now: datetime) -> bool:
    """Whether *record* says nothing of *server* that is not said or kept already."""
    if record.told != record.seen or _anchored(server, record) != record or _is_due(server) or _is_late(server, record):
        return False
    found = _meaning(server, record, now)
    return not found.tells and _after(server, found.trouble) == server


def _moves(server: Server, trouble: Trouble | None) -> bool:
    """Whether *trouble* is new, and does more than tell."""
    before = server.trouble
    known = (
        before is not None and trouble is not None and (before.code, before.policy) == (trouble.code, trouble.policy)
    )
    return trouble is not None and trouble.withholds and not known


def _is_due(server: Server) -> bool:
    """Whether *server* has yet to be set aside, and nothing holds that."""
    if server.intent is not None or server.trouble is None or server.trouble.policy is not Policy.SET_ASIDE:
        return False
    return server.wait is None or server.wait.code != BRAKED


def _is_late(server: Server, record: Record) -> bool:
    """Whether *record* tells how the node stood before *server* became free, and not how it stands as it is free.

    A whole life may lie between two listings, and all that it did to the node would look like somebody else's doing.
    """
    anchored = record.anchor_since == to_micros(server.state_since)
    free = server.intent is None and server.state is State.AVAILABLE
    return free and not anchored and record.seen.read_time < server.state_since


def _anchored(server: Server, record: Record) -> Record:
    """*record* with where the node stood as the server was first judged at rest in this state."""
    since = to_micros(server.state_since)
    settled = server.intent is None and in_line(server.state, record.seen.state, at_work=False)
    # Where it stands after somebody else had it tells nothing of how it became free.
    settled = settled and not is_others(server)
    if not settled or server.state is not State.AVAILABLE or _is_late(server, record):
        return record if record.anchor_since == since else replace(record, anchor="", anchor_since=0)
    if record.anchor_since == since and record.anchor:
        return record
    return replace(record, anchor=record.seen.moved, anchor_since=since)


def _after(server: Server, trouble: Trouble | None) -> Server:
    """*server* under *trouble*; at rest it stands under its code, unless it stands under something worse."""
    after = replace(server, trouble=trouble)
    standing = server.wait is None or server.wait.code in CODES
    if server.intent is not None or not standing or server.state is State.QUARANTINED:
        return after
    if trouble is None:
        return replace(after, wait=None)
    blocker = BLOCKERS[trouble.code]
    wait = Wait(trouble.code, trouble.message, trouble.since, alarmed=blocker.kind is not Kind.REST)
    return replace(after, wait=wait)


def _events(server: Server, after: Server, record: Record, found: Meaning, now: datetime) -> tuple[Event, ...]:
    seen, told, trouble = record.seen, record.told, found.trouble
    facts = {
        "provision_state": seen.state,
        "previous": told.state if told else "",
        "power": seen.power,
        "maintenance": "yes" if seen.maintenance else "no",
        "maintenance_reason": seen.maintenance_reason,
        "fault": seen.fault,
        "last_error": seen.last_error,
        "policy": trouble.policy.value if trouble else "",
        "gone": "yes" if seen.gone else "",
    }
    message = ", ".join(found.changes)
    if trouble is not None and trouble.message not in message:
        message = f"{message}: {trouble.message}"
    event = note(
        server, after, "controller.observed", now, actor=ACTOR, reason=trouble.code if trouble else "", message=message,
        facts={key: value for key, value in facts.items() if value},
    )  # fmt: skip
    return (event,)
