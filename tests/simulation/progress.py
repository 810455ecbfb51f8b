# SPDX-License-Identifier: Apache-2.0
"""How far a seed is, for whoever waits at a terminal.

A thread of real time looks and tells. It only reads: it draws nothing and takes no baton, so the story is the same.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.simulation.engine import Simulation
from tests.simulation.tenants import Ledger

EVERY = 2.0
"""Real seconds between two looks."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a seed is.

    Attributes:
        virtual: seconds that have passed in it.
        ended: instances that have lived their life, of *lives*.
        effects: effect points that were met; statements are none.
        spent: seconds of processor time of its process since it began.
    """

    seed: int
    stage: str
    virtual: float
    ended: int
    lives: int
    effects: int
    spent: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.stage}, {self._moment}, {self.ended} of {self.lives} instances,"
            f" {self.effects:,} effects, {self.spent:.0f} s of a core"
        )

    @property
    def short(self) -> str:
        """As much of it as leaves room for others on the line."""
        return f"{self.seed}: {self._moment}, {self.ended}/{self.lives}, {self.spent:.0f} s"

    @property
    def _moment(self) -> str:
        minutes, seconds = divmod(int(self.virtual), 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        return f"day {1 + days} {hours:02}:{minutes:02}:{seconds:02}"


Tell = Callable[[Progress], None]


@dataclass(slots=True)
class Standing:
    """Where a seed's story says how far it is.

    Attributes:
        stage: what is under way, in a word or two.
    """

    seed: int
    lives: int
    stage: str = "building"
    sim: Simulation | None = None
    ledger: Ledger | None = None

    def look(self, began: float) -> Progress:
        """How far it is; *began*: the processor's seconds when it did."""
        sim, ledger = self.sim, self.ledger
        return Progress(
            self.seed,
            self.stage,
            sim.seconds() if sim else 0.0,
            ledger.ended if ledger else 0,
            self.lives,
            sim.points if sim else 0,
            time.process_time() - began,
        )


@contextmanager
def watched(standing: Standing, tell: Tell | None, every: float = EVERY) -> Iterator[None]:
    """Has *tell* told, every so many real seconds, how far it is; nobody, if there is none."""
    if tell is None:
        yield
        return
    over, began = threading.Event(), time.process_time()

    def watch() -> None:
        while not over.wait(every):
            tell(standing.look(began))

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def line_of(summary: str, running: Mapping[int, Progress], seeds: Iterable[int]) -> str:
    """One line for seeds that run at once: the first of them in the order of *seeds*, and how many more there are."""
    there = [running[seed].short for seed in seeds if seed in running]
    more = f" | and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return " | ".join(part for part in (summary, *there[:_SHOWN]) if part) + more


def show(line: str) -> None:
    """Writes *line* over the last one, as much of it as fits: what wraps could not be written over."""
    sys.stderr.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
    sys.stderr.flush()
