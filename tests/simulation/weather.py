# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, and when: drawn from the seed alone.

Each seed has some classes of faults and not others, each at a rate of its own: with all of them always, the rare ones
would never be met on a fair day.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from services.kernel.errors import Busy
from services.runtime.database import unavailable
from tests.simulation.engine import Crash, Process, Simulation

T = TypeVar("T")


class Fate(StrEnum):
    """How a call fares."""

    PLAIN = "plain"
    REFUSED = "refused"
    """It does not arrive."""
    BUSY = "busy"
    """The peer refuses: somebody else is at it."""
    ANSWER_LOST = "answer lost"
    """It is done, and the caller is not told."""
    LATE = "late"
    """The caller gives up, and later it is done all the same."""


@dataclass(frozen=True, slots=True)
class Fared:
    """One call's fate, with the seconds that pass before and after."""

    kind: Fate
    before: float = 0.0
    after: float = 0.0


_FAIR = Fared(Fate.PLAIN)

CLASSES = (
    "kill",
    "stop",
    "database lost",
    "database away",
    "slow effects",
    "calls refused",
    "calls busy",
    "answers lost",
    "calls late",
    "calls slow",
    "bmc",
    "power",
    "switch",
    "jobs",
    "disks",
    "moves",
    "operator",
    "forced",
    "collector",
)
"""The classes of faults."""
LATEST = 90.0
"""Seconds after which a call that its caller has given up may still arrive."""

BY_NAME = ("others", "handyman", "migrations")
"""More of them, which no seed draws: drawn with the rest they would change what every kept seed plays."""

_EFFECTS = ("kill", "stop", "database lost", "database away", "slow effects")
_CALLS = {
    "calls refused": Fate.REFUSED,
    "calls busy": Fate.BUSY,
    "answers lost": Fate.ANSWER_LOST,
    "calls late": Fate.LATE,
    "calls slow": Fate.PLAIN,
}


class Weather:
    """Draws what goes wrong.

    Args:
        only: these classes of faults; None draws them.
    """

    def __init__(self, seed: str, sim: Simulation, only: Sequence[str] | None = None) -> None:
        self._chance = random.Random(f"{seed}/weather")
        self._sim = sim
        drawn = tuple(name for name in CLASSES if self._chance.random() < 0.45)
        # One run in eight is fair: what is wrong there is wrong without any help.
        fair = self._chance.random() < 0.125
        self.classes = tuple(only) if only is not None else () if fair else drawn
        self._effects = [name for name in _EFFECTS if name in self.classes]
        self._calls = [name for name in _CALLS if name in self.classes]
        self._every_effect = 10 ** self._chance.uniform(2.6, 4.0)
        self._every_call = 10 ** self._chance.uniform(1.3, 2.7)
        self.over = False
        self._away: dict[str, int] = {}
        self._left = self._draw()
        self.on_kill: Callable[[Process], None] = sim.kill
        self.counts: dict[str, int] = {}

    def has(self, name: str) -> bool:
        """Whether this run has faults of that class now."""
        return name in self.classes and not self.over

    def count(self, name: str) -> None:
        """Remembers that *name* happened."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def one_of(self, things: Sequence[T]) -> T:
        """One of *things*."""
        return things[int(self._chance.random() * len(things))]

    def uniform(self, least: float, most: float) -> float:
        """Something between the two."""
        return self._chance.uniform(least, most)

    def happens(self, probability: float) -> bool:
        """Whether something so probable happens."""
        return self._chance.random() < probability

    def end(self) -> None:
        """From now on nothing goes wrong."""
        self.over = True
        self._away.clear()

    def _draw(self) -> int:
        return 1 + int(self._chance.expovariate(1 / self._every_effect))

    # -- effects

    def strikes(self, process: Process, label: str, when: str) -> None:
        """An effect of *process*: now and then it does not go as planned."""
        if self.over or not self._effects:
            return
        if label.startswith("db.") and when == "before" and self._away and self._is_away(process):
            raise unavailable("it is away")
        self._left -= 1
        if self._left <= 0:
            self._left = self._draw()
            self._strike(process, label, when)

    def _is_away(self, process: Process) -> bool:
        until = self._away.get(process.service, 0)
        if until and until <= self._sim.micros:
            del self._away[process.service]
        return until > self._sim.micros

    def _strike(self, process: Process, label: str, when: str) -> None:
        inside = label.endswith((".statement", ".commit"))
        kind = self.one_of(self._effects)
        if kind == "kill":
            self.count(kind)
            self.on_kill(process)
            raise Crash(process)
        if kind.startswith("database") and label.startswith("db."):
            self.count(kind)
            if kind == "database away":
                self._away[process.service] = self._sim.micros + int(self.uniform(0.1, 30) * 1_000_000)
            what = "the connection broke"
            raise unavailable(what)
        if inside:
            # Whoever holds a transaction and stands still holds up everybody: that is the database's own matter.
            return
        if kind == "stop":
            self.count(kind)
            # A claim holds for a minute: some of these outlast it.
            longest = 150 if self.happens(0.3) else 15
            process.stopped_until = self._sim.micros + int(self.uniform(0.1, longest) * 1_000_000)
            self._sim.check()
        elif kind == "slow effects" and when == "before" and not label.startswith("db."):
            self.count(kind)
            self._sim.sleep(self.uniform(0.1, 25))

    # -- calls

    def fate(self, source: str, service: str, method: str) -> Fared:
        """How a call fares."""
        if self.over or not self._calls or self._chance.random() * self._every_call > 1:
            return _FAIR
        name = self.one_of(self._calls)
        if source == "telemetry" and name == "calls late":
            return _FAIR
        self.count(name)
        if name == "calls slow":
            return Fared(Fate.PLAIN, self.uniform(0, 6), self.uniform(0, 6))
        return Fared(_CALLS[name], self.uniform(0, 1), self.uniform(0, LATEST) if name == "calls late" else 0.0)

    @staticmethod
    def busy() -> Busy:
        """What a peer refuses with."""
        return Busy("somebody else is at it", remedy="Send the same request again.")
