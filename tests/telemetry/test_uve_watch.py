# SPDX-License-Identifier: Apache-2.0
"""Whoever follows UVEs knows at the end what the store knows, whatever happened on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms.telemetry.v1 import telemetry_pb2 as pb
from services.kernel.errors import Exhausted, InvalidField, PeerUnavailable
from services.runtime.database import Transaction
from telemetry import uve_watch, uves
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import IRONIC_NODE_INFO, SANDESH_MODULE_CLIENT_TRACE
from telemetry.sandesh.verdict import BMS_SERVER_VERDICT_INFO
from telemetry.store import Store, analytics, changes
from telemetry.store.changes import Place
from telemetry.uve_changes import NAMES, ChosenUves, Told
from telemetry.uve_watch import UveHub
from telemetry.uves import Filters
from tests.telemetry.builders import OTHER, SENDER, SERVER, T0, received
from tests.telemetry.conftest import open_sqlite

TABLE = "ObjectServerTable"
RIVAL = Identity("host-2", "bms-telemetry", "Config", "0")
State = dict[tuple[str, str, str], Any]


async def put(store: Store, *messages: Any) -> None:
    await store.write(lambda tx: analytics.store(tx, [(each, T0 * 2) for each in messages]), "test")


def node(key: str = SERVER, *, sender: Identity = SENDER, **attributes: Any) -> Any:
    return received(IRONIC_NODE_INFO, {"data": {"name": key, **attributes}}, sender=sender)


def verdict(key: str = SERVER) -> Any:
    return received(BMS_SERVER_VERDICT_INFO, {"data": {"name": key, "verdict": "pass"}})


async def present(store: Store) -> State:
    """What the store knows."""

    def read(tx: Transaction) -> State:
        return {
            (table, key, struct): contents
            for table in NAMES
            for key in uves.keys(tx, table, Filters())
            for struct, contents in uves.one(tx, table, key, Filters(), flat=True).items()
        }

    return await store.read(read)


def learn(state: State, told: Told) -> None:
    """Changes *state* as somebody does who is told *told*."""
    for change in told.changes:
        where = (change.place.table, change.place.key, change.place.struct)
        if change.contents is None:
            state.pop(where, None)
        else:
            state[where] = change.contents
        if change.gone:
            assert not [known for known in state if known[:2] == where[:2]]


async def some(watch: AsyncGenerator[Told, None]) -> Told:
    """The next batch that tells something."""
    async with asyncio.timeout(10):
        while True:
            told = await anext(watch)
            if told.changes:
                return told


_KEYS = st.sampled_from([SERVER, OTHER, "k3", "k4"])
_ACTS = st.one_of(
    st.tuples(st.just("set"), _KEYS, st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("rival"), _KEYS, st.sampled_from(["a", "b"])),
    st.tuples(st.just("judge"), _KEYS, st.just("")),
    st.tuples(st.just("delete"), _KEYS, st.just("")),
    st.tuples(st.just("forget"), st.just(""), st.just("")),
    st.tuples(st.just("read"), st.just(""), st.just("")),
    st.tuples(st.just("cut"), st.just(""), st.just("")),
    st.tuples(st.just("restart"), st.just(""), st.just("")),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(_ACTS, max_size=20))
def test_cut_anywhere_a_watcher_learns_it_all(folder: Path, script: list[tuple[str, str, str]]) -> None:
    """
    Set, deleted and forgotten in any order, with watches cut or slow, and restarts: what was learned is what is.
    """
    database = open_sqlite(folder)
    store = Store(database)

    async def play() -> None:
        hub, token, state = UveHub(store, held_changes=3, heartbeat_seconds=0.01), "", State()
        watch = hub.watch(token, ChosenUves())

        async def one_batch() -> Told:
            nonlocal token, watch, state
            try:
                told = await anext(watch)
            except Exhausted as slow:
                watch = hub.watch(slow.facts["token"], ChosenUves())
                told = await anext(watch)
            learn(state, told)
            token = told.token
            return told

        async def begin_again() -> None:
            nonlocal watch, state
            await watch.aclose()
            if not token:
                state = State()  # nothing is known to be whole: all is told again
            watch = hub.watch(token, ChosenUves())

        for act, key, value in script:
            match act:
                case "set":
                    await put(store, node(key, driver=value))
                case "rival":
                    await put(store, node(key, driver=value, sender=RIVAL))
                case "judge":
                    await put(store, verdict(key))
                case "delete":
                    await put(store, node(key, deleted=True))
                case "forget":
                    await store.write(lambda tx: analytics.admit(tx, str(RIVAL), "c", T0), "test")
                case "read":
                    await one_batch()
                case "cut":
                    await begin_again()
                case _:
                    hub = UveHub(store, held_changes=3, heartbeat_seconds=0.01)
                    await begin_again()
            await hub.refresh()
        wanted, last = await present(store), await store.read(changes.last)
        async with asyncio.timeout(10):
            # With the last revision told, everything is.
            while token != str(last):
                await one_batch()

        assert state == wanted
        await watch.aclose()

    try:
        asyncio.run(play())
    finally:
        database.close()


def test_pages_of_everything(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However small the pages, also of changes that were made together: first everything, then what changes.
    """
    monkeypatch.setattr(uve_watch, "PAGE", 2)

    async def play() -> None:
        keys = [f"k{number}" for number in range(7)]
        await put(sqlite_store, *(node(key, driver="a") for key in keys), verdict("k3"))
        hub, state = UveHub(sqlite_store), State()
        watch = hub.watch("", ChosenUves())
        while len(state) < 8:
            learn(state, await some(watch))
        await put(sqlite_store, *(node(key, driver="b") for key in keys))
        await hub.refresh()
        while state != await present(sqlite_store):
            learn(state, await some(watch))
        await watch.aclose()
        resumed, again = State(), hub.watch("1", ChosenUves())
        while len(resumed) < 7:
            learn(resumed, await some(again))
        await again.aclose()

        assert {where[2] for where in resumed} == {"IronicNode"}

    asyncio.run(play())


def test_what_was_chosen(store: Store) -> None:
    """
    Types, keys, structs and attributes; what is left of a struct is told, too, when it goes.
    """

    async def play() -> None:
        trace = received(SANDESH_MODULE_CLIENT_TRACE, {"data": {"name": "g", "sm_queue_count": 1}})
        await put(store, node(driver="a", power_state="on"), verdict(), node(OTHER, driver="a"), trace)
        chosen = ChosenUves(frozenset({TABLE}), Filters(("9f*1",), {"IronicNode": ["driver"]}))
        hub = UveHub(store)
        watch = hub.watch("", chosen)
        (first,) = (await some(watch)).changes
        await put(store, verdict(), node(OTHER, driver="b"), node(deleted=True))
        await hub.refresh()
        (second,) = (await some(watch)).changes
        await watch.aclose()

        assert (first.place.key, first.contents) == (SERVER, {"driver": "a"})
        assert (second.place.struct, second.contents, second.gone) == ("IronicNode", None, False)

    asyncio.run(play())


def test_watchers_share_one_serialisation(sqlite_store: Store) -> None:
    """
    Who watches everything gets the very same bytes; with nobody watching nothing is held.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store)
        watches = [hub.watch("", ChosenUves()) for _ in range(3)]
        for watch in watches:
            await anext(watch)
        for key in ("a", "b"):
            # All must be at the head before it moves.
            reading = [asyncio.create_task(some(watch)) for watch in watches]
            await asyncio.sleep(0.05)
            await put(sqlite_store, node(key, driver="a"))
            await hub.refresh()
            told = await asyncio.gather(*reading)
            assert len({id(batch.encoded.data) for batch in told}) == 1
            assert len({id(batch.sse) for batch in told}) == 1
        for watch in watches:
            await watch.aclose()

        assert not hub._batches

    asyncio.run(play())


def test_a_slow_watcher_is_told_where_to_go_on(sqlite_store: Store) -> None:
    """
    He hears it, with the revision, and misses nothing.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store, held_changes=2)
        watch, state = hub.watch("", ChosenUves()), State()
        token = (await anext(watch)).token
        reading = asyncio.create_task(some(watch))
        await asyncio.sleep(0.05)
        for value in "abcdef":
            await put(sqlite_store, node(driver=value), node(OTHER, driver=value))
            await hub.refresh()
        learn(state, await reading)

        async def read_on() -> None:
            while True:
                learn(state, await some(watch))

        with pytest.raises(Exhausted) as slow:
            await read_on()
        watch = hub.watch(slow.value.facts["token"], ChosenUves())
        learn(state, await some(watch))
        await watch.aclose()

        assert int(slow.value.facts["token"]) >= int(token)
        assert state == await present(sqlite_store)

    asyncio.run(play())


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "9" * 19, "4", "٣"])
def test_what_is_no_token_is_refused(sqlite_store: Store, token: str) -> None:
    """
    Nonsense, and tokens ahead of the store, which are another's.
    """

    async def play() -> None:
        await put(sqlite_store, node(driver="a"))
        watch = UveHub(sqlite_store).watch(token, ChosenUves())
        with pytest.raises(InvalidField) as caught:
            await anext(watch)

        assert caught.value.violations[0].field == "after"

    asyncio.run(play())


def test_what_went_is_forgotten_after_long(store: Store) -> None:
    """
    Changes of what is there stay; of what went, until long after. A token from before that is refused.
    """

    async def play() -> None:
        await put(store, node(driver="a"), node(OTHER, driver="a"))
        await put(store, node(deleted=True))
        await put(store, verdict(OTHER))
        early = await store.write(lambda tx: changes.forget_gone(tx, 2, 10), "test")
        late = await store.write(lambda tx: changes.forget_gone(tx, 1, 10), "test")
        left = await store.read(lambda tx: changes.behind(tx, Place(0), 10))
        with pytest.raises(InvalidField):
            await anext(UveHub(store).watch("1", ChosenUves()))
        watch = UveHub(store).watch("2", ChosenUves())
        told = await some(watch)
        await watch.aclose()

        assert (early, late) == (0, 1)
        assert [(place.key, place.struct) for place in left] == [(OTHER, "IronicNode"), (OTHER, "BmsServerVerdict")]
        assert [change.place.struct for change in told.changes] == ["BmsServerVerdict"]

    asyncio.run(play())


def test_silence_and_the_end(sqlite_store: Store) -> None:
    """
    A watcher without news hears that the stream lives; when telemetry stops, where to go on.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store, heartbeat_seconds=0.01)
        watch = hub.watch("0", ChosenUves())
        alive = [await anext(watch) for _ in range(3)]
        hub.drain()
        with pytest.raises(PeerUnavailable) as stopped:
            await anext(watch)

        assert [(told.changes, told.token) for told in alive] == [((), "0")] * 3
        assert stopped.value.facts["token"] == "0"

    asyncio.run(play())


def test_bytes_are_those_of_the_contract(sqlite_store: Store) -> None:
    """
    What is put together by hand is the message; absurd numbers harm nobody.
    """

    async def play() -> None:
        await put(sqlite_store, node(driver="a"))
        huge = f'<big type="u64">{"9" * 30}</big>'
        await sqlite_store.write(
            lambda tx: tx.execute(
                "INSERT INTO uve_attributes (object_table, object_key, struct, generator, attribute, xml, time)"
                " VALUES (?, ?, 'IronicNode', ?, 'big', ?, 0)",
                (TABLE, SERVER, str(SENDER), huge),
            ),
            "test",
        )
        told = await some(watch := UveHub(sqlite_store).watch("", ChosenUves()))
        await watch.aclose()
        answer = pb.WatchUvesResponse.FromString(told.encoded.data)

        assert answer.changes[0].name == f"uves/server/{SERVER}"
        assert answer.changes[0].struct == "IronicNode"
        assert answer.changes[0].contents["driver"] == "a"
        assert answer.changes[0].contents["big"] == "9" * 30
        assert answer.token == told.token
        assert b'"big":"' + b"9" * 30 in told.sse

    asyncio.run(play())
