# SPDX-License-Identifier: Apache-2.0
"""Whoever watches gets every event once, wherever the watch is cut and begun again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bms.telemetry.v1 import telemetry_pb2 as pb
from services.kernel.errors import Exhausted, InvalidField, PeerUnavailable
from services.runtime.database import Transaction
from telemetry.events import Followed
from telemetry.follower import take
from telemetry.store import Store
from telemetry.store import events as kept
from telemetry.store.events import Chosen
from telemetry.tokens import BEGINNING, from_token, to_token
from telemetry.watch import Encoded, Hub
from tests.telemetry.builders import OTHER, SERVER, T0, event_id, stored
from tests.telemetry.conftest import open_sqlite
from tests.telemetry.fakes import until

T = TypeVar("T")

SERVICES = ("inventory", "lifecycle")


async def keep(store: Store, service: str, count: int, **given: object) -> None:
    """*count* more events of *service*, as a follower keeps them."""

    def write(tx: object) -> None:
        kept.add_logs(tx, SERVICES, T0)  # type: ignore[arg-type]
        position = kept.position(tx, service)  # type: ignore[arg-type]
        events = [
            Followed.of(service, stored(service, position + step, **given))  # type: ignore[arg-type]
            for step in range(1, count + 1)
        ]
        take(tx, service, position, events, (), T0)  # type: ignore[arg-type]

    await store.write(write, "test")


def parsed(batch: Encoded) -> pb.WatchEventsResponse:
    return pb.WatchEventsResponse.FromString(batch.data)


def ids(batch: pb.WatchEventsResponse) -> list[str]:
    return [sourced.event.header.id for sourced in batch.events]


async def read(watch: AsyncGenerator[Encoded, None], count: int) -> tuple[list[str], str]:
    """At least *count* events of *watch*, and the token behind them."""
    seen: list[str] = []
    token = ""
    async with asyncio.timeout(10):
        while len(seen) < count:
            batch = parsed(await anext(watch))
            seen += ids(batch)
            token = batch.token
    return seen, token


async def started(store: Store, **given: object) -> Hub:
    hub = Hub(store, **given)  # type: ignore[arg-type]
    await store.write(lambda tx: kept.add_logs(tx, SERVICES, T0), "test")
    await hub.start()
    return hub


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(
        st.one_of(
            st.tuples(st.just("keep"), st.sampled_from(SERVICES), st.integers(1, 5)),
            st.tuples(st.just("read"), st.just(""), st.integers(1, 3)),
            st.tuples(st.just("cut"), st.just(""), st.just(0)),
            st.tuples(st.just("restart"), st.just(""), st.just(0)),
        ),
        max_size=14,
    )
)
def test_cut_anywhere_a_watch_goes_on_without_loss(folder: Path, script: list[tuple[str, str, int]]) -> None:
    """
    Events kept, batches read, watches cut and telemetry restarted in any order: every event once, in its log's order.
    """
    database = open_sqlite(folder)
    store = Store(database)

    async def play() -> None:
        hub = await started(store, held_events=6, heartbeat_seconds=0.01)
        token, seen, total = BEGINNING, list[str](), 0
        watch = hub.watch(token, Chosen())

        async def one_batch() -> None:
            nonlocal token, watch
            try:
                batch = parsed(await anext(watch))
            except Exhausted as slow:
                watch = hub.watch(slow.facts["token"], Chosen())
                batch = parsed(await anext(watch))
            seen.extend(ids(batch))
            token = batch.token

        for act, service, count in script:
            match act:
                case "keep":
                    await keep(store, service, count)
                    total += count
                    await hub.refresh()
                case "read":
                    for _ in range(count):
                        await one_batch()
                case "cut":
                    await watch.aclose()
                    watch = hub.watch(token, Chosen())
                case _:
                    await watch.aclose()
                    hub = await started(store, held_events=6, heartbeat_seconds=0.01)
                    watch = hub.watch(token, Chosen())
        async with asyncio.timeout(10):
            while len(seen) < total:
                await one_batch()

        assert len(seen) == len(set(seen)) == total
        for service in SERVICES:
            own = [one for one in seen if one.startswith(event_id(service, 0)[:8])]
            assert own == [event_id(service, position) for position in range(1, len(own) + 1)]

    try:
        asyncio.run(play())
    finally:
        database.close()


def test_stored_bytes_arrive_unchanged(sqlite_store: Store) -> None:
    """
    A watcher parses as StoredEvent the very bytes that the service stored.
    """

    async def play() -> None:
        event = stored()
        event.body += b"\xf8\x3f\x01"  # field 1023, of a version to come
        await sqlite_store.write(lambda tx: kept.add_logs(tx, SERVICES, T0), "test")
        await sqlite_store.write(lambda tx: take(tx, "lifecycle", 0, [Followed.of("lifecycle", event)], (), T0), "test")
        hub = await started(sqlite_store)
        batch = await anext(hub.watch(BEGINNING, Chosen()))

        assert event.SerializeToString() in batch.data

    asyncio.run(play())


def test_all_watchers_share_one_serialisation(sqlite_store: Store) -> None:
    """
    Watchers of everything that stand at the same place get the very same bytes.
    """

    async def play() -> None:
        hub = await started(sqlite_store)
        watches = [hub.watch("", Chosen()) for _ in range(3)]
        reading = asyncio.gather(*(anext(watch) for watch in watches))
        await asyncio.sleep(0.05)
        await keep(sqlite_store, "lifecycle", 3)
        await hub.refresh()
        batches = await reading

        assert all(batch is batches[0] for batch in batches)

    asyncio.run(play())


def test_now_is_from_now_on(sqlite_store: Store) -> None:
    """
    An empty token gives only what comes later.
    """

    async def play() -> None:
        await keep(sqlite_store, "lifecycle", 3)
        hub = await started(sqlite_store)
        watch = hub.watch("", Chosen())
        reading = asyncio.create_task(read(watch, 1))
        await asyncio.sleep(0.05)
        await keep(sqlite_store, "lifecycle", 1)
        await hub.refresh()
        seen, token = await reading

        assert seen == [event_id("lifecycle", 4)]
        assert from_token(token)["lifecycle"] == 4

    asyncio.run(play())


class Counting(Store):
    """A store that counts what is read of it."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner._database)
        self.reads = 0

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        self.reads += 1
        return await super().read(fn)


def test_with_nobody_watching_nothing_is_read(sqlite_store: Store) -> None:
    """
    News costs nothing while nobody wants it, and what is held goes with the last who does.
    """

    async def play() -> None:
        store = Counting(sqlite_store)
        hub = await started(store)
        one, other = hub.watch(BEGINNING, Chosen()), hub.watch(BEGINNING, Chosen())
        await keep(store, "lifecycle", 1)
        store.reads = 0
        await hub.refresh()
        unwatched = store.reads
        await anext(one)
        await anext(other)
        await keep(store, "lifecycle", 1)
        await hub.refresh()
        await one.aclose()
        held = len(hub._batches)
        await other.aclose()
        watched, store.reads = store.reads, 0
        await hub.refresh()

        assert (unwatched, store.reads) == (0, 0)
        assert watched > 0
        assert (held, len(hub._batches)) == (1, 0)

    asyncio.run(play())


def test_who_comes_back_when_nobody_watched_misses_nothing(sqlite_store: Store) -> None:
    """
    Behind a token comes all that was kept meanwhile; without one, what comes from now on.
    """

    async def play() -> None:
        hub = await started(sqlite_store)
        watch = hub.watch(BEGINNING, Chosen())
        await keep(sqlite_store, "lifecycle", 1)
        first, token = await read(watch, 1)
        await watch.aclose()
        await keep(sqlite_store, "lifecycle", 2)
        reading = asyncio.create_task(read(watch := hub.watch("", Chosen()), 1))
        await until(lambda: hub._holds)
        second, _ = await read(again := hub.watch(token, Chosen()), 2)
        await keep(sqlite_store, "lifecycle", 1)
        await hub.refresh()
        now, _ = await reading
        third, _ = await read(again, 1)
        await watch.aclose()
        await again.aclose()

        assert first + second + third == [event_id("lifecycle", position) for position in (1, 2, 3, 4)]
        assert now == [event_id("lifecycle", 4)]

    asyncio.run(play())


def test_a_watcher_without_news_hears_that_the_stream_lives(sqlite_store: Store) -> None:
    """
    An empty batch with the token comes again and again; it moves on past events that were not chosen.
    """

    async def play() -> None:
        hub = await started(sqlite_store, heartbeat_seconds=0.02)
        watch = hub.watch("", Chosen(type_prefix="port."))
        first = parsed(await anext(watch))
        await keep(sqlite_store, "lifecycle", 2)
        await hub.refresh()
        second = parsed(await anext(watch))

        assert ids(first) == ids(second) == []
        assert from_token(first.token)["lifecycle"] == 0
        assert from_token(second.token)["lifecycle"] == 2

    asyncio.run(play())


def test_a_slow_watcher_is_told_where_to_go_on(sqlite_store: Store) -> None:
    """
    Nothing is skipped: the watch ends with RESOURCE_EXHAUSTED's error and the token, from which all the rest comes.
    """

    async def play() -> None:
        hub = await started(sqlite_store, held_events=4)
        watch = hub.watch(BEGINNING, Chosen())
        reading = asyncio.create_task(read(watch, 1))
        await asyncio.sleep(0.05)
        await keep(sqlite_store, "lifecycle", 1)
        await hub.refresh()
        seen, _ = await reading
        for _ in range(4):
            await keep(sqlite_store, "lifecycle", 3)
            await hub.refresh()
        with pytest.raises(Exhausted) as caught:
            await read(watch, 100)
        rest, _ = await read(hub.watch(caught.value.facts["token"], Chosen()), 12)

        assert seen + rest == [event_id("lifecycle", position) for position in range(1, 14)]

    asyncio.run(play())


def test_only_what_was_chosen(store: Store) -> None:
    """
    Stream, type, instance and projects choose, in what is read from the store and in what comes live.
    """

    async def play() -> None:
        hub = await started(store)
        for stream, type_, project, instance in (
            (SERVER, "port.attach_observed", "demo", "projects/demo/instances/a"),
            (OTHER, "port.attach_observed", "demo", "projects/demo/instances/a"),
            (SERVER, "power.observed", "demo", "projects/demo/instances/a"),
            (SERVER, "port.attach_observed", "other", "projects/other/instances/b"),
            (SERVER, "port.attach_observed", "", ""),
        ):
            await keep(
                store, "lifecycle", 1, stream=f"servers/{stream}", type=type_, project=project, instance=instance
            )
        await hub.refresh()
        chosen = Chosen(
            stream=f"servers/{SERVER}",
            type_prefix="port.",
            instance="projects/demo/instances/a",
            projects=frozenset({"demo"}),
        )
        watch = hub.watch(BEGINNING, chosen)
        seen, _ = await read(watch, 1)
        reading = asyncio.create_task(read(watch, 1))
        await asyncio.sleep(0.05)
        await keep(store, "lifecycle", 1, type="port.detach_observed", project="other", instance=chosen.instance)
        await keep(store, "lifecycle", 1, type="port.detach_observed", project="demo", instance=chosen.instance)
        await hub.refresh()
        live, _ = await reading

        assert seen == [event_id("lifecycle", 1)]
        assert live == [event_id("lifecycle", 7)]

    asyncio.run(play())


def test_no_project_is_no_event(sqlite_store: Store) -> None:
    """
    A caller without any role sees nothing, neither of the past nor live.
    """

    async def play() -> None:
        await keep(sqlite_store, "lifecycle", 2, project="demo")
        hub = await started(sqlite_store, heartbeat_seconds=0.02)
        batch = parsed(await anext(hub.watch(BEGINNING, Chosen(projects=frozenset()))))

        assert ids(batch) == []

    asyncio.run(play())


def test_a_drain_ends_every_watch_with_its_token(sqlite_store: Store) -> None:
    """
    Telemetry that stops says so, with where to go on.
    """

    async def play() -> None:
        await keep(sqlite_store, "lifecycle", 2)
        hub = await started(sqlite_store)
        watch = hub.watch(BEGINNING, Chosen())
        await anext(watch)
        hub.drain()
        with pytest.raises(PeerUnavailable) as caught:
            await anext(watch)

        assert caught.value.facts["token"] == to_token({"lifecycle": 2})

    asyncio.run(play())


def test_a_token_of_another_store_is_refused(sqlite_store: Store) -> None:
    """
    A token ahead of the logs would skip what is still to come.
    """

    async def play() -> None:
        await keep(sqlite_store, "lifecycle", 2)
        hub = await started(sqlite_store, ahead_seconds=0.05)
        with pytest.raises(InvalidField) as caught:
            await anext(hub.watch(to_token({"lifecycle": 3}), Chosen()))

        assert caught.value.facts["position"] == "2"

    asyncio.run(play())


def test_another_replicas_events_are_found_without_being_told(sqlite_store: Store) -> None:
    """
    What another process kept in the same store comes to our watchers too.
    """

    async def play() -> None:
        hub = await started(sqlite_store)
        running = asyncio.create_task(hub.run())
        watch = hub.watch("", Chosen())
        reading = asyncio.create_task(read(watch, 1))
        await asyncio.sleep(0.05)
        await keep(sqlite_store, "lifecycle", 1)
        seen, _ = await reading
        running.cancel()

        assert seen == [event_id("lifecycle", 1)]

    asyncio.run(play())


def test_tokens() -> None:
    """
    A token is read back as the vector it was made of; a log that it does not name is at its beginning.
    """
    vector = {"inventory": 1, "ipam": 0, "lifecycle": 340, "network": 7}

    assert from_token(to_token(vector)) == vector
    assert from_token("lifecycle-5") == {"inventory": 0, "ipam": 0, "lifecycle": 5, "network": 0}
    assert from_token(BEGINNING) == dict.fromkeys(vector, 0)


@pytest.mark.parametrize(
    "token", ["x", "1", "-", "lifecycle", "lifecycle-", "lifecycle--1", "lifecycle-1.lifecycle-2", "nova-1",
              "lifecycle-" + "9" * 19, "lifecycle-１", "lifecycle-1.", "lifecycle-1\x00"]
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    """
    Anything but a token is an error of the field `after`.
    """
    with pytest.raises(InvalidField) as caught:
        from_token(token)

    assert caught.value.violations[0].field == "after"
