# SPDX-License-Identifier: Apache-2.0
"""One of several replicas at a time, whoever dies when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from services.kernel.errors import PeerUnavailable
from services.runtime.database import Database, Transaction
from telemetry.lease import Lease
from telemetry.store import Store, leases
from tests.telemetry.fakes import until

T = TypeVar("T")
PACE = 12.0
"""A beat is 0.4 seconds then, a holder holds on for 1.7 without one, and a dead one is waited for 2.5."""


class Office:
    """What only one may hold."""

    def __init__(self) -> None:
        self.holders: list[str] = []
        self.history: list[str] = []

    def duty(self, who: str) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            self.holders.append(who)
            self.history.append(who)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.holders.remove(who)

        return do


class Cut(Store):
    """A store that its user can be cut off from."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.away = False

    async def write(self, fn: Callable[[Transaction], T], label: str) -> T:
        self._look()
        return await super().write(fn, label)

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        self._look()
        return await super().read(fn)

    def _look(self) -> None:
        if self.away:
            msg = "cut off"
            raise PeerUnavailable(msg, peer="database")


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def start(store: Store, office: Office, who: str) -> asyncio.Task[None]:
    return asyncio.create_task(Lease(store, "test", who, pace=PACE).keep(office.duty(who)))


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def crash(task: asyncio.Task[None], store: Cut) -> None:
    """The process is gone and gave nothing back."""
    store.away = True
    await end(task)


shared_alone = pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
"""Of PostgreSQL alone: a SQLite file has one user."""


def test_one_alone_begins_at_once(database: Database) -> None:
    """
    Nobody has it, so nobody is waited for.
    """

    async def scenario() -> None:
        office = Office()
        task = start(Store(database), office, "a")
        await until(lambda: office.holders == ["a"])
        await end(task)
        assert office.holders == []
        assert (await Store(database).read(lambda tx: leases.look(tx, "test"))).holder == ""

    play(scenario)


@shared_alone
def test_never_two_and_never_back_and_forth(database: Database) -> None:
    """
    While the holder lives the others wait; when it gives the lease back, another has it soon; no third change comes.
    """

    async def scenario() -> None:
        office = Office()
        tasks = {who: start(Cut(database), office, who) for who in "abc"}
        await until(lambda: len(office.holders) == 1)
        first = office.holders[0]
        for _ in range(10):
            await asyncio.sleep(0.1)
            assert office.holders == [first]
        await end(tasks.pop(first))
        await until(lambda: len(office.holders) == 1)
        assert office.history == [first, office.holders[0]]
        await end(*tasks.values())

    play(scenario)


@shared_alone
def test_another_takes_over_from_the_dead(database: Database) -> None:
    """
    A holder that gave nothing back is replaced when it has been still for long enough, with a higher fence.
    """

    async def scenario() -> None:
        office, store = Office(), Cut(database)
        first = start(store, office, "a")
        await until(lambda: office.holders == ["a"])
        await crash(first, store)
        fence = (await Store(database).read(lambda tx: leases.look(tx, "test"))).fence
        second = start(Cut(database), office, "b")
        await until(lambda: office.holders == ["b"])
        assert (await Store(database).read(lambda tx: leases.look(tx, "test"))).fence > fence
        await end(second)

    play(scenario)


@shared_alone
def test_who_is_cut_off_stops_before_another_begins(database: Database) -> None:
    """
    A holder without a database cannot say that it is there: it stops, and the other begins after that.
    """

    async def scenario() -> None:
        office, store = Office(), Cut(database)
        first = start(store, office, "a")
        await until(lambda: office.holders == ["a"])
        second = start(Cut(database), office, "b")
        store.away = True
        most = 0
        while office.history != ["a", "b"]:
            most = max(most, len(office.holders))
            await asyncio.sleep(0.005)
        assert most == 1
        store.away = False
        await asyncio.sleep(0.8)
        assert office.history == ["a", "b"]
        await end(first, second)

    play(scenario)


def test_who_slept_through_his_end_is_told(database: Database) -> None:
    """
    An old fence says nothing and gives nothing back, however late it comes.
    """

    def act(tx: Transaction) -> None:
        assert leases.take(tx, "test", "a", leases.look(tx, "test"))
        assert leases.beat(tx, "test", 1)
        seen = leases.look(tx, "test")
        assert leases.take(tx, "test", "b", seen)
        assert not leases.take(tx, "test", "c", seen)
        assert not leases.beat(tx, "test", 1)
        leases.give_back(tx, "test", 1)
        assert (leases.look(tx, "test").holder, leases.look(tx, "test").fence) == ("b", 2)

    database.transact(act, label="test")


def test_a_short_absence_of_the_database_changes_nothing(database: Database) -> None:
    """
    Who is back in time goes on, undisturbed.
    """

    async def scenario() -> None:
        office, store = Office(), Cut(database)
        task = start(store, office, "a")
        await until(lambda: office.holders == ["a"])
        store.away = True
        await asyncio.sleep(0.6)
        store.away = False
        await asyncio.sleep(1.5)
        assert office.history == ["a"]
        await end(task)

    play(scenario)


def test_what_fails_is_heard_of(database: Database) -> None:
    """
    A duty that fails ends the whole, so that somebody restarts it.
    """

    async def fail() -> None:
        msg = "broken"
        raise RuntimeError(msg)

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="broken"):
            await Lease(Store(database), "test", "a", pace=PACE).keep(fail)
        assert (await Store(database).read(lambda tx: leases.look(tx, "test"))).holder == ""

    play(scenario)
