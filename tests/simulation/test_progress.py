# SPDX-License-Identifier: Apache-2.0
"""What is said of a seed while it is played, and that it changes nothing."""

from __future__ import annotations

import threading

from tests.simulation.progress import Progress, Standing, line_of, watched
from tests.simulation.run import run


def _progress(seed: int, virtual: float = 0.0) -> Progress:
    return Progress(seed, "living", virtual, 3, 60, 1_234_567, 12.4)


def test_a_line_of_one_seed() -> None:
    """
    Day and time of its own, instances of all, effects, and what it cost so far.
    """
    shown = "seed 7: living, day 2 01:02:03, 3 of 60 instances, 1,234,567 effects, 12 s of a core"
    assert str(_progress(7, 86400 + 3723.9)) == shown


def test_a_line_of_many_seeds() -> None:
    """
    Three are shown and the others counted: a line that wraps cannot be written over.
    """
    running = {seed: _progress(seed) for seed in (5, 6, 7, 8, 9)}
    line = line_of("4 seeds", running, sorted(running))
    first, *shown, last = line.split(" | ")
    assert (first, last) == ("4 seeds", "and 2 more")
    assert shown == [f"{seed}: day 1 00:00:00, 3/60, 12 s" for seed in (5, 6, 7)]


def test_nothing_is_known_at_first() -> None:
    """
    Before there is a site it says that it is being built.
    """
    assert "seed 1: building, day 1 00:00:00, 0 of 9 instances" in str(Standing(1, 9).look(0.0))


def test_somebody_who_waits_is_told_again_and_again() -> None:
    """
    While the block runs; nobody is told after it.
    """
    told: list[Progress] = []
    twice = threading.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:
            twice.set()

    with watched(Standing(1, 9), tell, every=0.001):
        assert twice.wait(30)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_the_story_is_the_same_for_whoever_watches() -> None:
    """
    Byte for byte.
    """
    told: list[Progress] = []
    unseen, seen = run(4, 1, ()), run(4, 1, (), tell=told.append, every=0.1)
    assert (seen.digest, seen.wrong) == (unseen.digest, [])
    assert [progress.ended for progress in told] == sorted(progress.ended for progress in told)
    assert told[-1].virtual > 0
