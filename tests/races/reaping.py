# SPDX-License-Identifier: Apache-2.0
"""Who kills replicas, stops them for longer than a claim holds, and cuts their connections to the database."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import psycopg

from services.lifecycle.pace import Pace
from tests.races.rig import Replica, Site

BEYOND_A_CLAIM = Pace().claim.total_seconds() + 3
_PATIENT = ("lifecycle", "ipam")
"""Who is stopped for that long; one replica of each at a time."""
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bms'"
_OPEN = (
    "SELECT pid, state_change FROM pg_stat_activity WHERE datname = current_database()"
    " AND state = 'idle in transaction' AND backend_xid IS NOT NULL"
)
_TRIES = 60


class Reaper:
    """Disturbs *site* until told to end.

    Attributes:
        counts: what it did how often.
    """

    def __init__(self, site: Site, seed: str) -> None:
        self.counts: Counter[str] = Counter()
        self._site = site
        self._chance = random.Random(f"{seed}/reaper")
        self._over = threading.Event()
        self._stopped: dict[str, float] = {}
        self._dead: dict[str, float] = {}
        self._by_name = {one.name: one for one in site.replicas}

    def work(self, seconds: float) -> None:
        """Disturbs for *seconds*; then lets everything go on."""
        until = time.monotonic() + seconds
        for service in _PATIENT:
            if seconds > BEYOND_A_CLAIM + 5:
                self._stop_at_work(self._chance.choice(self._site.of(service)))
        while time.monotonic() < until:
            self._over.wait(self._chance.uniform(0.3, 2.0))
            self._return()
            self._something(until)
        for when in (self._stopped, self._dead):
            for name in when:
                when[name] = 0.0
        self._return()
        for one in self._site.replicas:
            one.serves()

    def _something(self, until: float) -> None:
        chance = self._chance
        roll = chance.random()
        left = until - time.monotonic()
        if roll < 0.4:
            self._cut()
        elif roll < 0.7:
            self._kill(self._free(lambda _: True))
        elif roll < 0.93:
            self._stop(self._free(lambda _: True), chance.uniform(0.1, 6))
        elif left > BEYOND_A_CLAIM:
            self._stop_at_work(self._free(lambda one: one.service in _PATIENT))

    def _free(self, suits: Callable[[Replica], bool]) -> Replica | None:
        """One that runs, and is not the last of its service that does."""
        away = {*self._stopped, *self._dead}
        found = [
            one
            for one in self._site.replicas
            if one.name not in away
            and suits(one)
            and sum(other.name not in away for other in self._site.of(one.service)) > 1
        ]
        return self._chance.choice(found) if found else None

    def _kill(self, one: Replica | None) -> None:
        if one is not None:
            one.kill()
            self._dead[one.name] = time.monotonic() + self._chance.uniform(0, 2)
            self.counts[f"killed {one.service}"] += 1

    def _stop(self, one: Replica | None, seconds: float) -> None:
        if one is not None:
            one.send(signal.SIGSTOP)
            self._stopped[one.name] = time.monotonic() + seconds
            length = "beyond a claim" if seconds >= BEYOND_A_CLAIM else "for a moment"
            self.counts[f"stopped {one.service} {length}"] += 1

    def _stop_at_work(self, one: Replica | None) -> None:
        """Stops it for longer than a claim holds, if possible in the middle of a transaction that holds locks."""
        if one is None:
            return
        for _ in range(_TRIES):
            one.send(signal.SIGSTOP)
            time.sleep(0.03)
            before = self._open(one.service)
            time.sleep(0.15 if before else 0)
            if before & self._open(one.service):
                self.counts[f"stopped {one.service} in a transaction"] += 1
                break
            one.send(signal.SIGCONT)
            time.sleep(self._chance.uniform(0, 0.05))
        self._stop(one, BEYOND_A_CLAIM)

    def _open(self, service: str) -> set[tuple[int, object]]:
        """Transactions of *service* that wait for their client."""
        with psycopg.connect(self._site.urls[service], autocommit=True) as connection:
            rows = connection.execute(_OPEN).fetchall()
        return {(row[0], row[1]) for row in rows}

    def _cut(self) -> None:
        with psycopg.connect(self._site.server, autocommit=True) as connection:
            found = connection.execute(
                f"{_CUT} AND random() < %s".encode(), (self._chance.choice((0.05, 0.3, 1.0)),)
            ).fetchall()
        self.counts["connections cut"] += len(found)

    def _return(self) -> None:
        now = time.monotonic()
        for name in [name for name, when in self._stopped.items() if when <= now]:
            del self._stopped[name]
            self._by_name[name].send(signal.SIGCONT)
        for name in [name for name, when in self._dead.items() if when <= now]:
            del self._dead[name]
            self._by_name[name].start()
