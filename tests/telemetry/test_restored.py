# SPDX-License-Identifier: Apache-2.0
"""A log that was restored from a backup is noticed, and read on: nothing of it is skipped, nothing doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bms.event.v1 import event_pb2
from telemetry import restored
from telemetry.known import Known
from telemetry.refold import catch_up
from telemetry.standing import Verdict
from telemetry.store import Store, bridge, places
from telemetry.store import events as kept
from telemetry.store.events import Chosen, EventRow
from tests.telemetry.builders import OTHER, SERVER, event_id, stored
from tests.telemetry.conftest import open_sqlite
from tests.telemetry.fakes import CrashError, CrashingStore, FakeListener, FakeLog
from tests.telemetry.test_follower import Stepping, follower, outgoing_ids, prepared

STREAM = f"servers/{SERVER}"


def branch(first: int, last: int, number: int = 0, **given: Any) -> list[event_pb2.StoredEvent]:
    """Events from position *first* to *last*, as they were in the branch of that *number*."""
    return [stored(position=position, branch=number, **given) for position in range(first, last + 1)]


async def rows_of(store: Store, service: str = "lifecycle") -> list[EventRow]:
    return list(
        await store.read(
            lambda tx: kept.after(tx, {}, kept.positions(tx), Chosen(service=service), 10_000),
        )
    )


def numbers(rows: list[EventRow]) -> list[int]:
    """Our positions of *rows*, as if none were left out."""
    return [row.position % restored.LEAP for row in rows]


async def standing(store: Store, service: str = "lifecycle") -> list[bytes]:
    """What the log has of what is kept, in its order."""
    found = await store.read(lambda tx: places.standing(tx, service, None, 10_000))
    return [each.event for each in reversed(found)]


async def until_read(one: Stepping, store: Store, log: FakeLog) -> None:
    """Steps until everything that *log* has is kept."""
    async with asyncio.timeout(20):
        while await standing(store, log.service) != [event.SerializeToString() for event in log.events]:
            await one.step()


async def known_of(store: Store, uuid: str = SERVER) -> Known:
    return (await store.read(lambda tx: bridge.get_known(tx, (uuid,))))[uuid]


@pytest.mark.parametrize("grown", [0, 2, 4, 9], ids=["nothing new", "shorter", "as long", "longer"])
def test_what_a_restored_log_tells_is_read(store: Store, grown: int) -> None:
    """
    However long it has become by the time it is noticed: its events are all kept once and go out once, and so are those
    that it no longer has.
    """

    async def play() -> None:
        await prepared(store)
        log, listener = FakeLog("lifecycle", branch(1, 10)), FakeListener()
        one = follower(log, store, listener)
        await until_read(one, store, log)
        log.restore(6)
        log.append(*branch(7, 6 + grown, 1))
        with capture_logs() as lines:
            await until_read(one, store, log)

        rows = await rows_of(store)
        wanted = [event_id("lifecycle", at) for at in range(1, 11)]
        wanted += [event_id("lifecycle", at, 1) for at in range(7, 7 + grown)]
        assert numbers(rows) == list(range(1, 11 + grown))
        assert [_id(row.event) for row in rows] == wanted
        ids = await outgoing_ids(store)
        assert len(ids) == len(set(ids))
        assert set(wanted) < set(ids)
        (said,) = [line for line in lines if line["log_level"] == "error"]
        assert (said["event"], said["read_to"], said["goes_on_behind"], said["lost"]) == ("log.restored", 10, 6, 4)
        (row,) = await store.read(kept.logs)
        assert (row.position, row.gaps) == (6 + grown, 0)

    asyncio.run(play())


def test_a_log_that_begins_anew_is_read_from_its_beginning(sqlite_store: Store) -> None:
    """
    An empty database in the place of the one that was read has no event in common with it.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", branch(1, 5))
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        log.restore(0)
        for _ in range(5):
            await one.step()
        log.append(*branch(1, 3, 1))
        await until_read(one, sqlite_store, log)

        assert numbers(await rows_of(sqlite_store)) == list(range(1, 9))

    asyncio.run(play())


def test_it_is_noticed_by_a_process_that_was_begun_meanwhile(sqlite_store: Store) -> None:
    """
    What was read last is in the store, not in memory.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", branch(1, 5)), FakeListener()
        await until_read(follower(log, sqlite_store), sqlite_store, log)
        log.restore(3)
        log.append(*branch(4, 8, 1))
        await until_read(follower(log, sqlite_store, listener), sqlite_store, log)

        assert len(await rows_of(sqlite_store)) == 10
        assert "the log of lifecycle does not go on where it was read to" in listener.states[-1][2]

    asyncio.run(play())


def test_an_event_that_was_altered_is_noticed(sqlite_store: Store) -> None:
    """
    The same position and the same id, and yet another event: read again, and told to analytics once.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", branch(1, 3))
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        log.events[-1] = stored(position=3, actor="somebody else")
        await until_read(one, sqlite_store, log)

        assert numbers(await rows_of(sqlite_store)) == [1, 2, 3, 4]
        assert (await outgoing_ids(sqlite_store)).count(event_id("lifecycle", 3)) == 1

    asyncio.run(play())


def test_an_event_that_is_away_for_a_moment_is_no_restore(sqlite_store: Store) -> None:
    """
    It is looked at again before it is believed, as holes are.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", branch(1, 5)), FakeListener()
        one = follower(log, sqlite_store, listener)
        await until_read(one, sqlite_store, log)
        log.holes = {5: 2}
        for _ in range(4):
            await one.step()
        log.append(*branch(6, 7))
        await until_read(one, sqlite_store, log)

        assert numbers(await rows_of(sqlite_store)) == list(range(1, 8))
        assert listener.states[-1] == ("lifecycle", True, "")

    asyncio.run(play())


def test_many_lost_events_take_several_calls(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What both sides have is found behind any number of pages, and across an earlier restore.
    """
    monkeypatch.setattr(restored, "PAGE", 3)

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", branch(1, 20))
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        for number, (back, grown) in enumerate([(12, 9), (14, 8), (5, 2), (5, 30)], 1):
            log.restore(back)
            log.append(*branch(back + 1, back + grown, number))
            await until_read(one, sqlite_store, log)

        rows = await rows_of(sqlite_store)
        assert numbers(rows) == list(range(1, 20 + 9 + 8 + 2 + 30 + 1))
        assert len({_id(row.event) for row in rows}) == len(rows)

    asyncio.run(play())


@pytest.mark.parametrize("crash_at", range(1, 14))
def test_a_crash_while_going_on_changes_nothing(sqlite_store: Store, crash_at: int) -> None:
    """
    Killed before or after any transaction: what was lost is lost once, and the alarm goes out once.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", branch(1, 6))
        await until_read(follower(log, sqlite_store), sqlite_store, log)
        log.restore(4)
        log.append(*branch(5, 7, 1))
        crashing = follower(log, CrashingStore(sqlite_store, crash_at))
        try:
            for _ in range(8):
                await crashing.step()
        except CrashError:
            pass  # the next one goes on
        await until_read(follower(log, sqlite_store), sqlite_store, log)

        assert numbers(await rows_of(sqlite_store)) == list(range(1, 10))
        assert len(await outgoing_ids(sqlite_store)) == 9 + 1

    asyncio.run(play())


def test_no_position_is_given_twice(store: Store) -> None:
    """
    What a follower had told when it died, and the log lost too, is nobody's any more: what follows has other positions,
    so that a watcher behind the lost ones misses nothing of it.
    """

    async def play() -> None:
        await prepared(store)
        log, listener = FakeLog("lifecycle", branch(1, 5)), FakeListener()
        await until_read(follower(log, store), store, log)
        log.append(*branch(6, 9))
        await follower(log, store, listener).read()
        log.restore(3)
        log.append(*branch(4, 12, 1))
        await until_read(follower(log, store), store, log)

        told, rows = listener.told, await rows_of(store)
        assert told == [6, 7, 8, 9]
        assert min(row.position for row in rows if row.position > 5) > max(told)
        assert [_id(row.event) for row in rows[5:]] == [event_id("lifecycle", at, 1) for at in range(4, 13)]

    asyncio.run(play())


def test_what_was_told_is_kept_before_a_restore_is_believed(sqlite_store: Store) -> None:
    """
    Read, told, and gone before it was kept: it is kept all the same, as lost, for there may be no other copy.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log, listener = FakeLog("lifecycle", branch(1, 5)), FakeListener()
        one = follower(log, sqlite_store, listener)
        await one.read()
        log.restore(3)
        log.append(*branch(4, 6, 1))
        for _ in range(8):
            await one.read()
        assert await rows_of(sqlite_store) == []
        await until_read(one, sqlite_store, log)

        assert numbers(await rows_of(sqlite_store)) == list(range(1, 9))
        assert listener.told[:5] == [1, 2, 3, 4, 5]

    asyncio.run(play())


def test_two_followers_go_on_together(store: Store) -> None:
    """
    Two replicas that notice at once agree on where to go on.
    """

    async def play() -> None:
        await prepared(store)
        log = FakeLog("lifecycle", branch(1, 8))
        pair = [follower(log, store), follower(log, store)]
        await until_read(pair[0], store, log)
        await until_read(pair[1], store, log)
        log.restore(3)
        log.append(*branch(4, 20, 1))
        while await standing(store) != [event.SerializeToString() for event in log.events]:
            await asyncio.gather(*(one.step() for one in pair))

        assert numbers(await rows_of(store)) == list(range(1, 26))
        assert len(await outgoing_ids(store)) == 26

    asyncio.run(play())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.sampled_from(["append", "restore", "lose", "repeat", "restart", "step"]), max_size=25),
    data=st.data(),
)
def test_whatever_happens_to_the_database(folder: Path, script: list[str], data: st.DataObject) -> None:
    """
    Restored at any time, answers lost and repeated, followers begun anew: in the end the log as it is was read whole
    and in order, and nothing was ever kept twice.
    """
    database = open_sqlite(folder)
    store = Store(database)

    async def play() -> None:
        await prepared(store)
        log, number = FakeLog("lifecycle"), 0
        one = follower(log, store)
        for act in script:
            match act:
                case "append":
                    end = len(log.events)
                    log.append(*branch(end + 1, end + data.draw(st.integers(1, 4)), number))
                case "restore":
                    number += 1
                    log.restore(data.draw(st.integers(0, len(log.events))))
                case "lose":
                    log.lost_answers = 2
                case "repeat":
                    log.repeats = not log.repeats
                case "restart":
                    one = follower(log, store)
                case _:
                    await one.step()
        log.append(*branch(len(log.events) + 1, len(log.events) + 1, number + 1))
        await until_read(one, store, log)

        rows = await rows_of(store)
        assert numbers(rows) == list(range(1, len(rows) + 1))
        assert len({_id(row.event) for row in rows}) == len(rows)

    try:
        asyncio.run(play())
    finally:
        database.close()


def test_a_log_that_repeats_itself_is_not_asked_for_ever(sqlite_store: Store) -> None:
    """
    Shorter than what was read, and answering with its last events whatever it is asked: there is nothing behind them.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", branch(1, 8))
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        log.restore(4)
        log.repeats = True
        log.append(*branch(5, 5, 1))
        await until_read(one, sqlite_store, log)

        assert numbers(await rows_of(sqlite_store)) == list(range(1, 10))

    asyncio.run(play())


def test_a_server_is_what_the_log_still_says(store: Store) -> None:
    """
    State and instance fall back with the log; the isolation is UNKNOWN until the next clean, for those concerned alone.
    """

    async def play() -> None:
        await prepared(store)
        log = FakeLog("lifecycle", [stored(after="available"), stored(position=2, stream=f"servers/{OTHER}")])
        log.append(stored(position=3, before="available", after="active", instance="projects/demo/instances/web"))
        listener = FakeListener()
        one = follower(log, store, listener)
        await until_read(one, store, log)
        before = await known_of(store, OTHER)
        log.restore(2)
        await until_read(one, store, log)
        known = await known_of(store)

        assert (known.state, known.instance) == ("available", "")
        assert (known.standing.verdict, known.standing.cause.kind) == (Verdict.UNKNOWN, "log_restored")
        assert await known_of(store, OTHER) == before
        assert listener.servers[-1] == frozenset({SERVER})
        log.append(stored(position=3, branch=1, type="clean.passed"))
        await until_read(one, store, log)
        assert (await known_of(store)).standing.verdict is Verdict.PASS

    asyncio.run(play())


def test_what_was_broken_stays_broken(sqlite_store: Store) -> None:
    """
    A violation that the log forgot was one all the same.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", [stored(), stored(position=2, type="server.violated")])
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        log.restore(1)
        await until_read(one, sqlite_store, log)

        assert (await known_of(sqlite_store)).standing.verdict is Verdict.FAIL

    asyncio.run(play())


def test_inventory_is_asked_again(sqlite_store: Store) -> None:
    """
    What its log lost may have been another server, or none.
    """

    async def play() -> None:
        await prepared(sqlite_store, "inventory")
        log = FakeLog("inventory", [stored("inventory", 1, type="server.created")])
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        ((uuid, wish),) = await sqlite_store.read(lambda tx: bridge.to_ask(tx, 9))
        await sqlite_store.write(lambda tx: bridge.answered(tx, [(uuid, wish)]), "test")
        log.restore(0)
        await until_read(one, sqlite_store, log)

        assert [uuid for uuid, _ in await sqlite_store.read(lambda tx: bridge.to_ask(tx, 9))] == [SERVER]
        assert not (await known_of(sqlite_store)).present

    asyncio.run(play())


def test_the_alarm_is_an_object_log(sqlite_store: Store) -> None:
    """
    Under the log's key, with where the log goes on and how much it lost.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", branch(1, 5))
        one = follower(log, sqlite_store)
        await until_read(one, sqlite_store, log)
        log.restore(2)
        await until_read(one, sqlite_store, log)
        alarm = (await sqlite_store.read(lambda tx: bridge.outgoing(tx, 99)))[-1].fields

        assert (alarm["name"], alarm["event_type"], alarm["position"]) == ("logs/lifecycle", "log.restored", 2)
        assert alarm["text"] == (
            "ALARM: the log of lifecycle does not go on where it was read to: it ends at, or is another one behind,"
            " position 2 of 5; 3 events are lost to it and stay here"
        )

    asyncio.run(play())


def test_servers_of_an_older_release_are_put_together_anew(store: Store) -> None:
    """
    After an upgrade every server has the verdict that its kept events say, once; facts of inventory stay.
    """

    async def play() -> None:
        await prepared(store)
        events = [stored(after="active"), stored(position=2, type="server.violated", after="active")]
        await follower(FakeLog("lifecycle", events), store).step()
        wanted = await known_of(store)

        def age(tx: Any) -> None:
            old = '{"state":"active","event_type":"server.violated"}'
            tx.execute("UPDATE servers SET known = ?", (old,))

        await store.write(age, "test")
        told: list[frozenset[str]] = []
        await catch_up(store, told.append)
        await catch_up(store, told.append)

        assert await known_of(store) == wanted
        assert wanted.standing.verdict is Verdict.FAIL
        assert told == [frozenset({SERVER})]

    asyncio.run(play())


def _id(event: bytes) -> str:
    return event_pb2.EventHeader.FromString(event_pb2.StoredEvent.FromString(event).header).id
