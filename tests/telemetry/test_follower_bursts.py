# SPDX-License-Identifier: Apache-2.0
"""Where many events come, few calls and short rests bring them soon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from telemetry import follower as module
from telemetry.events import Followed
from telemetry.pace import LONGEST_REST, SHORTEST_REST
from telemetry.store import Store
from tests.telemetry.builders import T0
from tests.telemetry.fakes import FakeListener, FakeLog
from tests.telemetry.test_follower import Stepping, follower, no_pause, positions_kept, prepared, some


def test_in_a_burst_events_share_an_answer(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After news it lets some more come before it asks again, and before it keeps them; a full page says that they are
    there already. Where nobody waits for them it lets more come.
    """
    monkeypatch.setattr(module, "PAGE", 2)

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", some(3)), FakeListener()
        one = follower(log, sqlite_store, listener)

        assert await one.read() == await one.keep() == 0.0
        assert await one.read() == SHORTEST_REST
        assert await one.keep() == module.PACE
        assert await positions_kept(sqlite_store) == [1, 2, 3]
        listener.awaits = False
        log.append(*some(1, first=4))
        assert await one.read() == module.PACE

    asyncio.run(play())


def test_in_a_burst_one_answer_has_the_news_and_shows_whether_the_log_stands(sqlite_store: Store) -> None:
    """
    Many news say that there will be more: then one call asks from the last event on. When nothing came, the next call
    waits again, and what is read is the same.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", some(module.BURST)), FakeListener()
        one = follower(log, sqlite_store, listener)
        await one.read()
        log.append(*some(1, first=11))
        await one.read()
        log.append(*some(12, first=12))
        await one.read()
        await one.keep()
        await one.read()
        log.append(*some(3, first=24))
        await one.step()

        # The news behind the event that was read last and then that event, or both at once.
        assert log.asked == [0, 9, 11, 10, 22, 23, 22]
        assert listener.told == await positions_kept(sqlite_store) == list(range(1, 27))

    asyncio.run(play())


class Hours:
    """A clock in a test's hands, in microseconds, as everything here has it that takes time."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> int:
        return self.now

    async def pass_(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)


class Busy(FakeLog):
    """A log with an event in each millisecond, that takes *seconds* to answer."""

    def __init__(self, hours: Hours, seconds: float) -> None:
        super().__init__("ipam", some(1, "ipam"))
        self.hours, self.seconds = hours, seconds

    async def list(self, after: int, *, limit: int, wait: int) -> Sequence[Followed]:
        await self.hours.pass_(self.seconds)
        there = 1 + (self.hours.now - T0) // 1000
        self.append(*some(there - len(self.events), "ipam", len(self.events) + 1))
        return await super().list(after, limit=limit, wait=wait)


async def busy(store: Store, answer: float, seconds: float) -> tuple[list[float], list[float]]:
    """Reads a busy log for *seconds*; how long it rested each time, and the seconds from one telling to the next."""
    await prepared(store, "ipam")
    hours, rests, told = Hours(), list[float](), list[int]()

    one = Stepping("ipam", Busy(hours, answer), store, FakeListener(), hours, no_pause)
    while hours.now < T0 + seconds * 1_000_000:
        rests.append(await one.read())
        told.append(hours.now)
        await one.keep()
        await hours.pass_(rests[-1])
    return rests, [(later - earlier) / 1e6 for earlier, later in pairwise(told)]


def test_what_is_cheap_is_passed_on_soon(sqlite_store: Store) -> None:
    """
    At a thousand events a second and a service that answers in five milliseconds no event waits long to be told.
    """

    async def play() -> None:
        rests, ages = await busy(sqlite_store, 0.005, 1.0)

        assert max(ages) < 0.06
        assert set(rests) == {SHORTEST_REST}

    asyncio.run(play())


def test_where_calls_are_dear_there_are_few_of_them(sqlite_store: Store) -> None:
    """
    A machine that has all it can do is asked as seldom as with the longest rest.
    """

    async def play() -> None:
        rests, ages = await busy(sqlite_store, 0.1, 1.5)

        # Once may be chance, and the first answer, of one event, is waited for.
        assert set(rests[3:]) == {LONGEST_REST}
        assert min(ages[3:]) == pytest.approx(0.1 + LONGEST_REST)

    asyncio.run(play())
