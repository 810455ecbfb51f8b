# SPDX-License-Identifier: Apache-2.0
"""The worker's pool of threads, as actors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.simulation.engine import Event, Process, Simulation


class Walkers:
    """Runs walks; see `services.runtime.loop.Pool`."""

    def __init__(self, sim: Simulation, process: Process, count: int) -> None:
        self._walks: deque[Callable[[], None]] = deque()
        self._idle: list[Event] = []
        for number in range(count):
            news = sim.event()
            sim.spawn(f"{process} walker {number}", lambda news=news: self._work(news), process)  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    def run(self, walk: Callable[[], None]) -> None:
        """Runs *walk* when a walker is free."""
        self._walks.append(walk)
        if self._idle:
            self._idle.pop().set()

    def _work(self, news: Event) -> None:
        while True:
            while self._walks:
                self._walks.popleft()()
            news.clear()
            self._idle.append(news)
            news.wait()
