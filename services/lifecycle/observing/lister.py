# SPDX-License-Identifier: Apache-2.0
"""Looks at all nodes now and then, and at those that changed often: what notifications lose is found here.

A look costs one page as a rule: nodes come with those changed last first, and it ends where everything is known. All
of them are paged through seldom, and after whatever may have hidden something; who is missing then is asked for by
name before he counts as gone.
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
_OVERLAP = timedelta(minutes=2)
"""How far back is looked beyond what is known: conductors' clocks differ, and hold a change back until it is stored."""
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
        page: how many nodes it asks for at a time.
    """

    observer: Observer
    nodes: Nodes
    every: timedelta = timedelta(seconds=30)
    whole: timedelta = timedelta(minutes=10)
    page: int = PAGE
    _mine: int = 0
    _next: datetime | None = None
    _whole_at: datetime | None = None
    _newest: datetime | None = None
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
        if self._whole_at is None or self._newest is None or now >= self._whole_at:
            # Until it went well, the next look is at everything again.
            self._whole_at = None
            self._all(now)
            self._whole_at = now + self.whole
        else:
            self._latest()

    def _latest(self) -> None:
        """Pages of those changed last, until what is on one was known."""
        since, after = self._newest, ""
        while True:
            found, more = self.nodes.page(after=after, size=self.page, latest=True)
            news = self.observer.take(found)
            times = [one.changed for one in found if one.changed is not None]
            self._newest = max([*times, *([self._newest] if self._newest else [])], default=None)
            oldest = min(times, default=since)
            if not more or not found or since is None or oldest is None or oldest < since - _OVERLAP:
                return
            if not news and oldest <= since:
                return
            after = found[-1].uuid

    def _all(self, now: datetime) -> None:
        expected = self.observer.database.read(records.present)
        there: set[str] = set()
        after, newest = "", None
        while True:
            found, more = self.nodes.page(after=after, size=self.page, latest=False)
            self.observer.take(found)
            there |= {one.uuid for one in found}
            newest = max([one.changed for one in found if one.changed] + ([newest] if newest else []), default=None)
            if not more or not found:
                break
            after = found[-1].uuid
        # A site without nodes has nothing that could be newer than now.
        self._newest = newest or now
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
