# SPDX-License-Identifier: Apache-2.0
"""Looks at all nodes now and then, and at those that changed often: what notifications lose is found here.

A look costs one page as a rule: nodes come with those changed last first, and it ends with a page that says nothing
new. All of them are paged through seldom, and after whatever may have hidden something; who is missing then is asked
for by name before he counts as gone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from services.lifecycle.judging import docket
from services.lifecycle.observing import records
from services.lifecycle.observing.nodes import Nodes
from services.lifecycle.observing.observer import Observer
from services.runtime.times import to_micros

PAGE = 1000
"""What is asked for; Ironic gives no more than its ``max_limit``, which is as much unless the site says otherwise."""
FEW = 250
"""Of those changed last: more than may change, or be touched by Ironic without a change, between two looks."""
_JUDGING = timedelta(seconds=2)
_TURN = "ironic nodes"
_FEW, _SHARE = 3, 0.25

_log = structlog.get_logger("bms.observing")


@dataclass(slots=True)
class Lister:
    """Lists; of all replicas, the one whose turn it is.

    Attributes:
        every: how often it looks at what changed.
        whole: how often at everything.
        page, few: how many nodes it asks for at a time: of all, and of those changed last.
    """

    observer: Observer
    nodes: Nodes
    every: timedelta = timedelta(seconds=30)
    whole: timedelta = timedelta(minutes=10)
    page: int = PAGE
    few: int = FEW
    _mine: int = 0
    _next: datetime | None = None
    _whole_at: datetime | None = None
    _asked: threading.Event = field(default_factory=threading.Event)

    def list_anew(self) -> None:
        """Something may have been missed: the next tick looks at everything. From any thread."""
        self._asked.set()

    def tick(self, now: datetime) -> datetime:
        """Judges what waits, and lists if it is time and our turn; answers when to come again."""
        if self._asked.is_set() or self._next is None or now >= self._next:
            self._next = now + self.every
            if self._take_turn(now):
                self._list(now)
            else:
                # Whoever has the turn looks back far enough.
                self._asked.clear()
        judged = self.observer.judge()
        # Servers change too, and with them what their nodes' states mean.
        return now if judged >= _BACKLOG else min(self._next, now + _JUDGING)

    def close(self) -> None:
        """Leaves the turn to whoever comes first."""
        mine, self._mine = self._mine, 0
        if mine:
            self.observer.database.transact(lambda tx: docket.leave_turn(tx, _TURN, mine), label="observe.turn")

    def _list(self, now: datetime) -> None:
        if self._asked.is_set():
            self._asked.clear()
            self._whole_at = None
        if self._whole_at is None or now >= self._whole_at:
            # Until it went well, the next look is at everything again.
            self._whole_at = None
            self._all()
            self._whole_at = now + self.whole
        else:
            self._latest()

    def _latest(self) -> None:
        """Pages of those changed last, until one says nothing new."""
        after = ""
        while True:
            found, more = self.nodes.page(after=after, size=self.few, latest=True)
            if not self.observer.take(found) or not more:
                return
            after = found[-1].uuid

    def _all(self) -> None:
        expected = self.observer.database.read(records.present)
        there: set[str] = set()
        after, more = "", True
        while more:
            found, more = self.nodes.page(after=after, size=self.page, latest=False)
            self.observer.take(found)
            there |= {one.uuid for one in found}
            after = found[-1].uuid if found else after
            more = more and bool(found)
        self._bury(sorted(expected - there), len(expected))
        self.observer.database.transact(records.drop_closed, label="observe.drop")

    def _bury(self, missing: list[str], known: int) -> None:
        """Those that are missing, if Ironic says so of each; many at once are a login that sees too little."""
        if len(missing) > max(_FEW, int(_SHARE * known)):
            _log.error("observing.listing_not_believed", missing=len(missing), known=known)
            return
        if missing:
            self.observer.take([self.nodes.node(uuid) for uuid in missing])

    def _take_turn(self, now: datetime) -> bool:
        mine, at = self._mine, to_micros(now)
        until = to_micros(now + self.every + timedelta(seconds=30))
        database = self.observer.database
        taken = database.transact(lambda tx: docket.take_turn(tx, _TURN, mine, at, until), label="observe.turn")
        if taken and not mine:
            self._whole_at = None  # what the one before us saw, we do not know
        self._mine = until if taken else 0
        return taken


_BACKLOG = 100
"""So many judged in one round, and there are probably more."""
