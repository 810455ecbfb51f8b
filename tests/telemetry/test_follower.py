# SPDX-License-Identifier: Apache-2.0
"""Following a log loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms.event.v1 import event_pb2
from services.kernel.errors import PeerUnavailable
from services.runtime.database import Transaction
from telemetry import follower as module
from telemetry.events import Followed
from telemetry.follower import Follower, sift
from telemetry.store import Store, bridge
from telemetry.store import events as kept
from telemetry.store.events import Chosen
from tests.telemetry.builders import OTHER, SERVER, T0, followed, stored
from tests.telemetry.conftest import open_sqlite
from tests.telemetry.fakes import CrashError, CrashingStore, FakeListener, FakeLog, until

T = TypeVar("T")


def clock() -> int:
    return T0


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


class Stepping(Follower):
    """A follower that reads and keeps in turns."""

    async def step(self) -> float:
        """Asks once, and keeps what there is to keep; answers how long to wait until the next time."""
        pause = await self.read()
        while self._ahead:
            pause = await self.keep()
        return pause


def follower(log: FakeLog, store: Store, listener: FakeListener | None = None) -> Stepping:
    return Stepping(log.service, log, store, listener or FakeListener(), clock, no_pause)


async def prepared(store: Store, *services: str) -> None:
    await store.write(lambda tx: kept.add_logs(tx, services or ("lifecycle",), T0), "test")


async def positions_kept(store: Store, service: str = "lifecycle") -> list[int]:
    rows = await store.read(lambda tx: kept.query(tx, Chosen(service=service), 10_000, newest_first=False, behind=None))
    return [row.position for row in rows]


async def outgoing_ids(store: Store) -> list[str]:
    rows = await store.read(lambda tx: bridge.outgoing(tx, 10_000))
    return [row.event_id for row in rows]


def some(count: int, service: str = "lifecycle", first: int = 1) -> list[event_pb2.StoredEvent]:
    return [stored(service, position) for position in range(first, first + count)]


def test_keeps_every_event_once_with_what_it_leads_to(store: Store) -> None:
    """
    Events, position, outbox and what is known of the server are written together.
    """

    async def play() -> None:
        await prepared(store)
        listener = FakeListener()
        log = FakeLog(
            "lifecycle", [stored(position=1, after="available"), stored(position=2, stream=f"servers/{OTHER}")]
        )
        await follower(log, store, listener).step()

        assert await positions_kept(store) == [1, 2]
        assert len(await outgoing_ids(store)) == 2
        known = await store.read(lambda tx: bridge.get_known(tx, (SERVER, OTHER)))
        assert known[SERVER].provision_state == "available"
        assert listener.servers == [frozenset({SERVER, OTHER})]
        (row,) = await store.read(kept.logs)
        assert (row.position, row.handed, row.reachable, row.event_time) == (2, 0, True, T0 + 2_000_000)

    asyncio.run(play())


def test_stored_bytes_are_kept_as_they_are(sqlite_store: Store) -> None:
    """
    What is kept is what the service stored, byte for byte: fields of versions to come included.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        event = stored()
        event.header += b"\xf8\x3f\x01"  # field 1023, which we do not know
        await follower(FakeLog("lifecycle", [event]), sqlite_store).step()

        rows = await sqlite_store.read(lambda tx: kept.query(tx, Chosen(), 9, newest_first=False, behind=None))
        assert rows[0].event == event.SerializeToString()

    asyncio.run(play())


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_a_crash_at_any_call_of_the_store_changes_nothing(
    sqlite_store: Store, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Killed before or after any transaction, then begun anew: each event is kept once, and goes out once.
    """
    monkeypatch.setattr(module, "PAGE", 3)

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", some(7))
        log.repeats = True
        crashing = follower(log, CrashingStore(sqlite_store, crash_at))
        try:
            for _ in range(4):
                await crashing.step()
        except CrashError:
            pass  # the next one goes on
        crashing = follower(log, sqlite_store)
        while (await positions_kept(sqlite_store))[-1:] != [7]:
            await crashing.step()

        assert await positions_kept(sqlite_store) == list(range(1, 8))
        ids = await outgoing_ids(sqlite_store)
        assert len(ids) == len(set(ids)) == 7

    asyncio.run(play())


def test_a_cancelled_follower_may_have_committed(sqlite_store: Store) -> None:
    """
    A transaction that commits after its task was cancelled is found by the next follower, not repeated.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", some(5))
        for turns in range(8):
            task = asyncio.create_task(follower(log, sqlite_store).step())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        last = follower(log, sqlite_store)
        while (await positions_kept(sqlite_store))[-1:] != [5]:
            await last.step()

        assert await positions_kept(sqlite_store) == [1, 2, 3, 4, 5]
        assert len(await outgoing_ids(sqlite_store)) == 5

    asyncio.run(play())


def test_two_followers_of_one_log_share_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two replicas that follow one log at once keep each event once; the slower one goes on behind the faster.
    """
    monkeypatch.setattr(module, "PAGE", 3)

    async def play() -> None:
        await prepared(store)
        log = FakeLog("lifecycle", some(40))
        pair = [follower(log, store), follower(log, store)]
        while (await positions_kept(store))[-1:] != [40]:
            await asyncio.gather(*(one.step() for one in pair))

        assert sorted(await positions_kept(store)) == list(range(1, 41))
        assert len(await outgoing_ids(store)) == 40

    asyncio.run(play())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.sampled_from(["append", "down", "up", "lose", "repeat", "restart", "step"]), max_size=25),
    data=st.data(),
)
def test_whatever_happens_to_the_service(folder: Path, script: list[str], data: st.DataObject) -> None:
    """
    Answers lost, repeated, services away and back, followers begun anew, in any order: nothing is lost or doubled.
    """
    database = open_sqlite(folder)
    store = Store(database)

    async def play() -> None:
        await prepared(store)
        log = FakeLog("lifecycle")
        one = follower(log, store)
        for act in script:
            match act:
                case "append":
                    count = data.draw(st.integers(1, 4))
                    log.append(*some(count, first=len(log.events) + 1))
                case "down" | "up":
                    log.down = act == "down"
                case "lose":
                    log.lost_answers = 2
                case "repeat":
                    log.repeats = not log.repeats
                case "restart":
                    one = follower(log, store)
                case _ if log.events and (await positions_kept(store))[-1:] != [len(log.events)]:
                    await one.step()
        log.down = False
        while log.events and (await positions_kept(store))[-1:] != [len(log.events)]:
            await one.step()

        assert await positions_kept(store) == [event.position for event in log.events]
        assert len(await outgoing_ids(store)) == len(log.events)

    try:
        asyncio.run(play())
    finally:
        database.close()


def test_a_service_that_is_away_is_asked_again_at_most_two_seconds_later(sqlite_store: Store) -> None:
    """
    Pauses double up to two seconds; the store and the listener learn that the service is away, and that it is back.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", some(1)), FakeListener()
        log.down = True
        one = follower(log, sqlite_store, listener)
        pauses = [await one.step() for _ in range(8)]

        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
        (row,) = await sqlite_store.read(kept.logs)
        assert not row.reachable
        log.down = False
        await one.step()
        (row,) = await sqlite_store.read(kept.logs)
        assert row.reachable
        assert [state[1] for state in listener.states] == [False, True]

    asyncio.run(play())


def test_an_answer_without_news_at_once_is_not_asked_for_in_a_loop(sqlite_store: Store) -> None:
    """
    A service with too many waiting callers answers at once; the next question waits.
    """

    async def play() -> None:
        await prepared(sqlite_store)

        class Impatient(FakeLog):
            async def list(self, after: int, *, limit: int, wait: int) -> Sequence[Followed]:
                return []

        one = follower(Impatient("lifecycle"), sqlite_store)

        assert await one.step() == 0.0  # it was only asked whether it is there
        assert await one.step() > 0

    asyncio.run(play())


class Held(Store):
    """A store whose transactions end when they may."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner._database)
        self.may = asyncio.Event()
        self.begun = 0
        self.away = False

    async def write(self, fn: Callable[[Transaction], T], label: str) -> T:
        self.begun += 1
        await self.may.wait()
        if self.away:
            msg = "the database does not answer"
            raise PeerUnavailable(msg, peer="database")
        return await super().write(fn, label)


def test_news_are_told_while_others_are_being_kept(sqlite_store: Store) -> None:
    """
    Neither the transaction of what came before nor their own is waited for.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        store, log, listener = Held(sqlite_store), FakeLog("lifecycle", some(3)), FakeListener()
        one = Follower("lifecycle", log, store, listener, clock)
        running = asyncio.create_task(one.run())
        await until(lambda: listener.told == [1, 2, 3] and store.begun == 1)
        log.append(*some(2, first=4))
        await until(lambda: listener.told == [1, 2, 3, 4, 5])
        assert (await positions_kept(sqlite_store), store.begun) == ([], 1)
        store.may.set()
        await until(lambda: not one._ahead)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        assert await positions_kept(sqlite_store) == [1, 2, 3, 4, 5]

    asyncio.run(play())


def test_while_the_store_is_away_little_more_is_told(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A few pages at most are told before they are kept; when the store is back, all are kept, and the rest is told.
    """
    monkeypatch.setattr(module, "PAGE", 4)

    async def play() -> None:
        await prepared(sqlite_store)
        store, log, listener = Held(sqlite_store), FakeLog("lifecycle", some(3)), FakeListener()
        store.away = True
        store.may.set()
        one = Follower("lifecycle", log, store, listener, clock)
        running = asyncio.create_task(one.run())
        await until(lambda: listener.told == [1, 2, 3])
        log.append(*some(30, first=4))
        await until(lambda: len(listener.told) >= 4 * module.PAGES_AHEAD)
        begun = store.begun
        await until(lambda: store.begun > begun + 1)
        assert len(listener.told) < 4 * (module.PAGES_AHEAD + 1)
        store.away = False
        await until(lambda: len(listener.told) == 33 and not one._ahead)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        assert listener.told == await positions_kept(sqlite_store) == list(range(1, 34))

    asyncio.run(play())


def test_a_gap_is_looked_at_again_before_it_is_believed(sqlite_store: Store) -> None:
    """
    Events that are missing once are asked for again, and kept in order when they come.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", some(5)), FakeListener()
        log.holes = {3: 2}
        one = follower(log, sqlite_store, listener)
        while (await positions_kept(sqlite_store))[-1:] != [5]:
            await one.step()

        assert await positions_kept(sqlite_store) == [1, 2, 3, 4, 5]
        (row,) = await sqlite_store.read(kept.logs)
        assert row.gaps == 0
        assert listener.states[-1] == ("lifecycle", True, "")

    asyncio.run(play())


def test_a_gap_that_stays_is_said_loudly(sqlite_store: Store) -> None:
    """
    What is missing for good is noted in the store and told to the listener; what follows is kept all the same.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        events = [event for event in some(5) if event.position != 3]
        log, listener = FakeLog("lifecycle", events), FakeListener()
        one = follower(log, sqlite_store, listener)
        while (await positions_kept(sqlite_store))[-1:] != [5]:
            await one.step()

        assert await positions_kept(sqlite_store) == [1, 2, 4, 5]
        (row,) = await sqlite_store.read(kept.logs)
        assert row.gaps == 1
        assert listener.states[-1] == ("lifecycle", True, "events 3 to 3 are missing")

    asyncio.run(play())


def test_sifting() -> None:
    """
    Known positions are dropped, the rest is put in order, holes are named.
    """
    fresh, gaps = sift(2, [followed(position=position) for position in (7, 2, 4, 3, 4)])

    assert [event.position for event in fresh] == [3, 4, 7]
    assert [(gap.after, gap.before) for gap in gaps] == [(4, 7)]
