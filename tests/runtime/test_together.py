# SPDX-License-Identifier: Apache-2.0
"""Callers who wait at the same moment are served as one, and each is told what is his."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial

import pytest

from services.runtime import together as runtime
from services.runtime.together import AT_ONCE, MOST, Together


class Counter:
    """Answers a number with itself as text; keeps who was served with whom, and those who went alone."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.alone: list[int] = []
        self.left_out: set[int] = set()
        self.error: BaseException | None = None
        self.together: Together[int, str] = Together(self.serve)

    def serve(self, numbers: Sequence[int]) -> list[str | None]:
        self.groups.append(list(numbers))
        if self.error is not None:
            raise self.error
        return [None if number in self.left_out else f"{number} together" for number in numbers]

    def ask(self, number: int) -> str:
        def alone() -> str:
            self.alone.append(number)
            if number < 0:
                msg = str(number)
                raise ValueError(msg)
            return f"{number} alone"

        return self.together.ask(number, alone)

    def waiting(self) -> int:
        return len(self.together._queue)

    def waits(self, many: int) -> bool:
        return self.waiting() == many


@contextmanager
def gathered(counter: Counter, numbers: Sequence[int]) -> Iterator[list[Future[str]]]:
    """Those who ask for *numbers* while nobody else can be served; they are served when the block ends."""
    go = [threading.Event() for _ in range(AT_ONCE)]

    def hold(end: threading.Event) -> str:
        assert end.wait(20)
        return "held"

    with ThreadPoolExecutor(AT_ONCE + len(numbers)) as pool:
        holding = [pool.submit(counter.together.ask, 0, partial(hold, end)) for end in go]
        until(lambda: counter.together._busy == AT_ONCE)
        found = []
        for place, number in enumerate(numbers, start=1):
            found.append(pool.submit(counter.ask, number))
            until(partial(counter.waits, place))
        yield found
        go[0].set()  # one alone, so that there is one who leads
        wait(found, timeout=20)
        for end in go:
            end.set()
        assert [one.result(20) for one in holding] == ["held"] * AT_ONCE


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_PATIENCE_SECONDS", 60.0)


def test_a_lone_caller_is_served_by_himself() -> None:
    """
    Who meets nobody is served at once, in his own way.
    """
    counter = Counter()

    assert [counter.ask(number) for number in (1, 2, 3)] == ["1 alone", "2 alone", "3 alone"]
    assert (counter.groups, counter.together._busy) == ([], 0)


def test_as_many_as_are_served_at_once_do_not_wait() -> None:
    """
    Callers as many as are served at once do not wait for each other.
    """
    counter = Counter()
    meet = threading.Barrier(AT_ONCE, timeout=20)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        met = list(pool.map(lambda number: counter.together.ask(number, lambda: str(meet.wait())), range(AT_ONCE)))

    assert sorted(met) == [str(number) for number in range(AT_ONCE)]


def test_who_waits_is_served_with_the_others() -> None:
    """
    All who wait are served as one, in the order in which they came, and each gets his own answer.
    """
    counter = Counter()
    with gathered(counter, [5, 3, 4]) as found:
        pass

    assert [one.result() for one in found] == ["5 together", "3 together", "4 together"]
    assert (counter.groups, counter.alone) == ([[5, 3, 4]], [])
    assert counter.together._busy == 0


def test_one_who_waits_alone_goes_alone() -> None:
    """
    Who is the only one to wait is served by himself when his turn comes.
    """
    counter = Counter()
    with gathered(counter, [7]) as found:
        pass

    assert ([one.result() for one in found], counter.groups) == (["7 alone"], [])


def test_who_is_left_out_goes_alone() -> None:
    """
    Whom the others' answer leaves out goes alone, and his refusal is his own.
    """
    counter = Counter()
    counter.left_out = {-2, 3}
    with gathered(counter, [1, -2, 3, 4]) as found:
        pass

    assert [one.exception() and str(one.exception()) for one in found] == [None, "-2", None, None]
    assert [found[place].result() for place in (0, 2, 3)] == ["1 together", "3 alone", "4 together"]
    assert sorted(counter.alone) == [-2, 3]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=["error", "end"])
def test_trouble_makes_everybody_go_alone(error: BaseException) -> None:
    """
    Whatever goes wrong with all of them at once is nobody's: each goes alone, and whoever comes next is served.
    """
    counter = Counter()
    counter.error = error
    with gathered(counter, [1, 2, -3]) as found:
        pass

    ended = [one.exception() for one in found]
    assert isinstance(ended[0], KeyboardInterrupt) is isinstance(error, KeyboardInterrupt)  # in whose thread it was
    assert (ended[1], str(ended[2])) == (None, "-3")
    assert counter.ask(9) == "9 alone"
    assert counter.together._busy == 0


def test_one_leads_at_a_time() -> None:
    """
    Who comes while others are led waits for their end, also if nobody else is served, and is led next.
    """
    counter = Counter()
    serving, go = threading.Event(), threading.Event()
    genuine = counter.serve

    def slow(numbers: Sequence[int]) -> list[str | None]:
        serving.set()
        assert go.wait(20)
        return genuine(numbers)

    counter.together._serve = slow
    with ThreadPoolExecutor(5) as pool:
        with gathered(counter, [1, 2]):
            go.set()
        go.clear()
        serving.clear()
        counter.together._busy = AT_ONCE  # held by nobody who ends
        led = [pool.submit(counter.ask, number) for number in (3, 4)]
        until(lambda: counter.waits(2))
        for _ in range(AT_ONCE):
            counter.together._hand_on(leads=False)
        assert serving.wait(20)
        late = [pool.submit(counter.ask, number) for number in (5, 6)]
        until(lambda: counter.waits(2))
        go.set()
        assert [one.result(20) for one in led] == ["3 together", "4 together"]
        assert [one.result(20) for one in late] == ["5 together", "6 together"]
    assert counter.groups[0] == [1, 2]
    assert sorted(map(sorted, counter.groups[1:])) == [[3, 4], [5, 6]]
    assert (counter.together._busy, counter.together._led) == (0, False)


def test_a_group_has_a_limit() -> None:
    """
    The first who waits is not held up by ever so many: the others are served after him.
    """
    counter = Counter()
    counter.together._busy = AT_ONCE  # held by nobody who ends
    with ThreadPoolExecutor(MOST + 2) as pool:
        found = [pool.submit(counter.ask, number) for number in range(MOST + 2)]
        until(lambda: counter.waiting() == MOST + 2)
        counter.together._hand_on(leads=False)
        answers = [one.result(20) for one in found]

    assert sorted(len(group) for group in counter.groups) == [2, MOST]
    assert sorted(answers) == sorted(f"{number} together" for number in range(MOST + 2))


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where those before stand still, whoever has waited for long enough goes alone.
    """
    monkeypatch.setattr(runtime, "_PATIENCE_SECONDS", 0.05)
    counter = Counter()
    counter.together._busy = AT_ONCE  # held by nobody who ends

    assert counter.ask(1) == "1 alone"
    assert (counter.waiting(), counter.groups) == (0, [])
