# SPDX-License-Identifier: Apache-2.0
"""What collectors receive is written in order, and one bad message harms its own session alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from services.kernel.errors import PeerUnavailable
from services.runtime.database import Transaction
from telemetry import sink as sink_module
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.reception import Announcement
from telemetry.sink import SinkFailedError, StoreSink
from telemetry.store import Store, analytics
from telemetry.uves import Filters, one
from tests.telemetry.builders import OTHER, SENDER, SERVER, T0, received
from tests.telemetry.fakes import Turns, until

T = TypeVar("T")
RIVAL = Identity("host-2", "bms-telemetry", "Config", "0")


def announced(identity: Identity) -> Announcement:
    return Announcement(identity, 1, (), 1, 0)


def node(uuid: str, driver: str, sender: Identity = SENDER) -> Any:
    return received(IRONIC_NODE_INFO, {"data": {"name": uuid, "driver": driver}}, sender=sender)


async def driver_of(store: Store, uuid: str) -> Any:
    uve = await store.read(lambda tx: one(tx, "ObjectServerTable", uuid, Filters(), flat=True))
    return uve.get("IronicNode", {}).get("driver")


async def kept(store: Store) -> int:
    rows = await store.read(
        lambda tx: analytics.messages(tx, analytics.Asked(), 10_000, newest_first=False, behind=None)
    )
    return len(rows)


class Away(Store):
    """A store whose database is away for some writes."""

    def __init__(self, inner: Store, times: int) -> None:
        super().__init__(inner._database)
        self.times = times
        self.writes = 0

    async def write(self, fn: Callable[[Transaction], T], label: str) -> T:
        self.writes += 1
        if self.times:
            self.times -= 1
            msg = "away"
            raise PeerUnavailable(msg)
        return await super().write(fn, label)


def test_many_messages_are_few_transactions(store: Store) -> None:
    """
    What waits is written together, in the order it came; a session's end comes behind its messages.
    """

    async def play() -> None:
        counted = Away(store, 0)
        sink = StoreSink(counted, "c", 60, lambda: T0)
        await sink.start()
        running = asyncio.create_task(sink.run())
        await sink.admit(announced(SENDER))
        before = counted.writes
        for number in range(300):
            await sink.store(node(SERVER, f"driver-{number}"))
        last = asyncio.create_task(sink.forget(SENDER))
        await last
        running.cancel()

        assert await kept(store) == 300
        assert await driver_of(store, SERVER) is None
        assert counted.writes - before < 20

    asyncio.run(play())


def test_what_comes_within_a_moment_is_one_transaction(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The first message after a rest is written at once; those that follow it one by one wait for each other.
    """
    monkeypatch.setattr(sink_module, "PACE", 0.5)

    async def play() -> None:
        counted = Away(sqlite_store, 0)
        sink = StoreSink(counted, "c", 60, lambda: T0)
        running = asyncio.create_task(sink.run())
        await sink.store(node(SERVER, "first"))
        await until(lambda: counted.writes == 2)  # the other one looks for messages whose time is over
        for number in range(20):
            await sink.store(node(SERVER, f"driver-{number}"))
            await asyncio.sleep(0)
        await sink.forget(RIVAL)
        running.cancel()

        assert await kept(sqlite_store) == 21
        assert await driver_of(sqlite_store, SERVER) == "driver-19"
        assert counted.writes == 3

    asyncio.run(play())


def test_while_a_generator_sends_much_others_have_a_turn(sqlite_store: Store) -> None:
    """
    Messages that are there already are taken without waiting for anything; watchers are told in between all the same.
    """

    async def play() -> None:
        sink, turns = StoreSink(sqlite_store, "c", 60, lambda: T0), Turns()
        for _ in range(20 * sink_module.TURN):
            await sink.store(node(SERVER, "ipmi"))

        turns.end()

        assert turns.count >= 20 - 1

    asyncio.run(play())


def test_a_database_that_is_away_loses_nothing(sqlite_store: Store) -> None:
    """
    Messages wait until it is back.
    """

    async def play() -> None:
        away = Away(sqlite_store, 0)
        sink = StoreSink(away, "c", 60, lambda: T0)
        running = asyncio.create_task(sink.run())
        await sink.admit(announced(SENDER))
        away.times = 2
        await sink.store(node(SERVER, "ipmi"))
        await until(lambda: away.times == 0)
        await sink.store(node(OTHER, "ipmi"))
        await sink.forget(RIVAL)
        running.cancel()

        assert await kept(sqlite_store) == 2

    asyncio.run(play())


def test_a_message_the_store_cannot_take_harms_its_own_session_alone(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Others in the same transaction are written; the session it came in ends at its next message, and may come again.
    """
    genuine = analytics.store

    def picky(tx: Transaction, messages: Sequence[Any]) -> None:
        genuine(tx, messages)
        if any(b"poison" in message.frame for message, _ in messages):
            msg = "cannot be kept"
            raise ValueError(msg)

    monkeypatch.setattr(analytics, "store", picky)

    async def play() -> None:
        sink = StoreSink(sqlite_store, "c", 60, lambda: T0)
        running = asyncio.create_task(sink.run())
        await asyncio.gather(sink.admit(announced(SENDER)), sink.admit(announced(RIVAL)))
        await sink.store(node(SERVER, "good"))
        await sink.store(node(SERVER, "poison"))
        await sink.store(node(OTHER, "fine", RIVAL))
        await sink.forget(Identity("host-3", "m", "Config", "0"))
        with pytest.raises(SinkFailedError):
            await sink.store(node(SERVER, "late"))
        await sink.store(node(OTHER, "still fine", RIVAL))
        await sink.forget(SENDER)
        await sink.admit(announced(SENDER))
        await sink.store(node(SERVER, "back"))
        await sink.forget(Identity("host-3", "m", "Config", "0"))
        running.cancel()

        assert await driver_of(sqlite_store, SERVER) == "back"
        assert await driver_of(sqlite_store, OTHER) == "still fine"
        assert await kept(sqlite_store) == 4

    asyncio.run(play())


def test_nobody_waits_for_a_writer_that_has_ended(sqlite_store: Store) -> None:
    """
    When nothing is written any more, sessions learn it instead of hanging.
    """

    async def play() -> None:
        sink = StoreSink(sqlite_store, "c", 60, lambda: T0)
        waiting = asyncio.create_task(sink.admit(announced(SENDER)))
        running = asyncio.create_task(sink.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with pytest.raises(SinkFailedError):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(SinkFailedError):
            await sink.store(node(SERVER, "x"))
        with pytest.raises(SinkFailedError):
            await sink.forget(SENDER)

    asyncio.run(play())


def test_what_is_over_goes_though_nothing_comes(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Messages whose time is over are dropped while no generator says anything, and after an attempt that failed.
    """
    monkeypatch.setattr(sink_module, "EXPIRE_SECONDS", 0.01)
    genuine, failures = analytics.expire, [ValueError("no right to it"), PeerUnavailable("away")]
    now = [T0]

    def failing(tx: Transaction, moment: int, limit: int) -> bool:
        if moment > T0 and failures:
            raise failures.pop()
        return genuine(tx, moment, limit)

    monkeypatch.setattr(analytics, "expire", failing)

    async def play() -> None:
        sink = StoreSink(sqlite_store, "c", 60, lambda: now[0])
        running = asyncio.create_task(sink.run())
        await sink.store(node(SERVER, "ipmi"))
        await sink.forget(RIVAL)
        before = await kept(sqlite_store)
        now[0] += 61_000_000
        async with asyncio.timeout(20):
            while await kept(sqlite_store):
                now[0] += 20_000
        await sink.forget(RIVAL)  # it still writes
        running.cancel()

        assert (before, failures) == (1, [])

    asyncio.run(play())
