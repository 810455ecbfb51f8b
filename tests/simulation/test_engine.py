# SPDX-License-Identifier: Apache-2.0
"""The engine alone: order, time, death and standstill, decided by the seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.engine import START, Crash, Process, Simulation, Stuck


@pytest.fixture
def sim() -> Iterator[Simulation]:
    made = Simulation("1", switching=1.0)
    yield made
    made.end()


def story(seed: str) -> list[str]:
    """What four actors write, one after the other, three times each."""
    sim = Simulation(seed, switching=0.5)
    told: list[str] = []

    def tell(name: str) -> None:
        for _ in range(3):
            told.append(name)
            sim.point()

    for name in "abcd":
        sim.spawn(name, lambda name=name: tell(name))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    sim.sleep(1)
    sim.end()
    return told


def test_the_seed_is_the_order() -> None:
    """
    The same seed gives the same order, another seed another.
    """
    assert story("1") == story("1")
    assert len({tuple(story(str(seed))) for seed in range(8)}) > 4


def test_time_is_what_the_next_one_waits_for(sim: Simulation) -> None:
    """
    Nobody waits in real time: a day passes when everybody sleeps.
    """
    woken: list[tuple[str, float]] = []
    for name, seconds in (("late", 86400.0), ("early", 5.0)):

        def rest(name: str = name, seconds: float = seconds) -> None:
            sim.sleep(seconds)
            woken.append((name, sim.seconds()))

        sim.spawn(name, rest)
    sim.sleep(90000)
    assert woken == [("early", 5.0), ("late", 86400.0)]
    assert sim.micros == START + 90000 * 1_000_000


def test_an_event_wakes_who_waits(sim: Simulation) -> None:
    """
    A wait ends when the event is set, or when its time is over, and says which.
    """
    event = sim.event()
    told: list[bool] = []
    sim.spawn("waits", lambda: told.append(event.wait(100)))
    sim.spawn("gives up", lambda: told.append(event.wait(1)))
    sim.sleep(2)
    event.set()
    sim.sleep(1)
    assert told == [False, True]
    assert sim.seconds() < 4


def test_whoever_is_in_a_killed_process_dies(sim: Simulation) -> None:
    """
    A kill ends the actors in the process's code wherever they stand, and nobody else.
    """
    process = Process("one", "one")
    ended: list[str] = []

    def wait(name: str) -> None:
        try:
            sim.sleep(10)
            ended.append(f"{name} woke")
        except Crash:
            ended.append(f"{name} died")
            raise

    sim.spawn("inside", lambda: wait("inside"), process)
    sim.spawn("outside", lambda: wait("outside"))
    sim.sleep(1)
    sim.kill(process)
    sim.sleep(20)
    assert ended == ["inside died", "outside woke"]
    assert sim.failures == []


def test_a_stopped_process_goes_on_later(sim: Simulation) -> None:
    """
    What was stopped does nothing until its time, whatever wakes it, and then goes on as if nothing had been.
    """
    process = Process("one", "one")
    moments: list[float] = []

    def act() -> None:
        sim.sleep(1)
        moments.append(sim.seconds())

    sim.spawn("inside", act, process)
    process.stopped_until = sim.micros + 60_000_000
    sim.sleep(100)
    assert moments == [pytest.approx(61, abs=0.1)]


def test_a_standstill_is_told() -> None:
    """
    When everybody waits for somebody else, the director hears of it.
    """
    sim = Simulation("1")
    with pytest.raises(Stuck):
        sim.event().wait()
    sim.end()
