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
from services.runtime.together import AT_ONCE, ENOUGH, MOST, Together


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


class Held(Counter):
    """A counter whose groups are held until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go: list[threading.Event] = []

    def serve(self, numbers: Sequence[int]) -> list[str | None]:
        go = threading.Event()
        self.groups.append(list(numbers))
        self.go.append(go)
        assert go.wait(20)
        return [f"{number} together" for number in numbers]

    def lead(self, numbers: Sequence[int], pool: ThreadPoolExecutor) -> list[Future[str]]:
        """Those who ask for *numbers*, led while nobody else is served."""
        self.together._busy = AT_ONCE  # held by nobody who ends
        found = [pool.submit(self.ask, number) for number in numbers]
        until(lambda: self.waits(len(numbers)))
        for _ in range(AT_ONCE):
            self.together._hand_on(leads=False)
        until(lambda: len(self.go) == 1)
        return found


def test_few_who_come_while_others_are_led_wait() -> None:
    """
    They wait for the end of those who are led, also if nobody else is served, and are led next.
    """
    held = Held()
    few = range(5, 4 + ENOUGH)
    with ThreadPoolExecutor(2 + ENOUGH) as pool:
        first = held.lead([3, 4], pool)
        late = [pool.submit(held.ask, number) for number in few]
        until(lambda: held.waits(len(few)))
        assert len(held.groups) == 1
        held.go[0].set()
        until(lambda: len(held.go) == 2)
        held.go[1].set()
        assert [one.result(20) for one in first] == ["3 together", "4 together"]
        assert [one.result(20) for one in late] == [f"{number} together" for number in few]
    assert [sorted(group) for group in held.groups] == [[3, 4], list(few)]
    assert (held.together._busy, held.together._leading) == (0, 0)


def test_enough_who_come_while_others_are_led_are_led_beside_them() -> None:
    """
    They are answered before the others are; however many come then, no third group is led beside two.
    """
    held = Held()
    beside, third = range(ENOUGH), range(ENOUGH, 2 * ENOUGH)
    with ThreadPoolExecutor(2 + 2 * ENOUGH) as pool:
        first = held.lead([98, 99], pool)
        second = [pool.submit(held.ask, number) for number in beside]
        until(lambda: len(held.go) == 2)
        last = [pool.submit(held.ask, number) for number in third]
        until(lambda: held.waits(ENOUGH))
        assert len(held.groups) == 2
        held.go[1].set()
        assert [one.result(20) for one in second] == [f"{number} together" for number in beside]
        until(lambda: len(held.go) == 3)
        held.go[2].set()
        assert [one.result(20) for one in last] == [f"{number} together" for number in third]
        assert not any(one.done() for one in first)
        held.go[0].set()
        assert [one.result(20) for one in first] == ["98 together", "99 together"]
    assert [sorted(group) for group in held.groups] == [[98, 99], list(beside), list(third)]
    assert (held.together._busy, held.together._leading) == (0, 0)


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
