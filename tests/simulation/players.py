# SPDX-License-Identifier: Apache-2.0
"""The processes that play seeds beside each other, and what they say of them to the one that waits at the terminal.

A module of its own: a spawned process does not import the program that was run with ``-m``.
"""

from __future__ import annotations

from multiprocessing.context import SpawnContext
from multiprocessing.queues import SimpleQueue

from tests.simulation.progress import Progress, line_of, show
from tests.simulation.run import Outcome, run

_heard: SimpleQueue[Progress] | None = None
"""In a process that plays seeds: where it says how far it is; None if nobody waits."""


class Watched:
    """What the processes say of the seeds that they play."""

    def __init__(self, context: SpawnContext) -> None:
        self.heard: SimpleQueue[Progress] = context.SimpleQueue()
        self.ended: set[int] = set()
        self._latest: dict[int, Progress] = {}

    def show(self, summary: str) -> None:
        """One line, over the one before."""
        while not self.heard.empty():
            progress = self.heard.get()
            self._latest[progress.seed] = progress
        for seed in self.ended & self._latest.keys():
            del self._latest[seed]
        show(line_of(summary, self._latest, sorted(self._latest)))


def be_watched(heard: SimpleQueue[Progress] | None) -> None:
    """Has what is played in this process told to *heard*."""
    global _heard  # noqa: PLW0603 -- set once, when the process begins
    _heard = heard


def play(seed: int, servers: int, only: tuple[str, ...] | None) -> Outcome:
    """`run`, told of."""
    return run(seed, servers, only, tell=_heard.put if _heard is not None else None)
