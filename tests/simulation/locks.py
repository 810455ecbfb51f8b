# SPDX-License-Identifier: Apache-2.0
"""Locks that the product holds across calls to the outside, on the simulation's time."""

from __future__ import annotations

from typing import Any

from tests.simulation.engine import Simulation


class Turn:
    """A lock: whoever comes second lets others go on until it is free."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._held = False
        self._waiters: list[Any] = []

    def __enter__(self) -> None:
        while self._held:
            self._sim.wait(None, self._waiters)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        for actor, ticket in self._waiters:
            self._sim.wake(actor, ticket)
        self._waiters.clear()


class Turns:
    """A table of locks of any size."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._turns: dict[int, Turn] = {}

    def __getitem__(self, place: int) -> Turn:
        if place not in self._turns:
            self._turns[place] = Turn(self._sim)
        return self._turns[place]
