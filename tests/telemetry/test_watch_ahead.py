# SPDX-License-Identifier: Apache-2.0
"""Watchers are told what was read before it is kept: still every event once, in order, wherever they come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.errors import Exhausted, InvalidField, PeerUnavailable
from telemetry.events import Followed
from telemetry.store import Store
from telemetry.store import events as kept
from telemetry.store.events import Chosen
from telemetry.tokens import BEGINNING, from_token, to_token
from telemetry.watch import Encoded, Hub
from tests.telemetry.builders import event_id, stored
from tests.telemetry.conftest import open_sqlite
from tests.telemetry.fakes import FakeListener, FakeLog, until
from tests.telemetry.test_follower import Stepping, clock, follower, no_pause, prepared, some
from tests.telemetry.test_watch import ids, parsed, read

SERVICES = ("inventory", "lifecycle")


class ToHub(FakeListener):
    """Tells a hub, as telemetry does."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub

    def heard(self, service: str, after: int, events: Sequence[Followed], shift: int) -> bool:
        super().heard(service, after, events, shift)
        return self.hub.heard(service, after, events, shift)

    def news(self, servers: frozenset[str]) -> None:
        super().news(servers)
        self.hub.kept()


class Replica:
    """A telemetry: its hub, and a follower for each log, to be moved by hand."""

    def __init__(self, store: Store, logs: dict[str, FakeLog], *, held: int = 1000, ahead_seconds: float = 5.0) -> None:
        self.logs = logs
        self.hub = Hub(store, held_events=held, heartbeat_seconds=0.01, ahead_seconds=ahead_seconds)
        self.followers = {
            service: Stepping(service, log, store, ToHub(self.hub), clock, no_pause) for service, log in logs.items()
        }

    async def read(self, service: str) -> None:
        """Reads once, if there is anything to read."""
        one = self.followers[service]
        place = one._place
        if place is None or one._front(place).at < len(self.logs[service].events):
            await one.read()

    async def catch_up(self) -> None:
        """Reads everything, keeps it, and tells it."""
        for service, one in self.followers.items():
            await self.read(service)
            while one._ahead:
                await one.keep()
        await self.hub.refresh()


def of(service: str, seen: Sequence[str]) -> list[str]:
    return [one for one in seen if one.startswith(event_id(service, 0)[:8])]


@dataclass
class Watcher:
    """Watches over every cut, at any replica; notes what it is told."""

    token: str = BEGINNING
    seen: list[str] = field(default_factory=list)
    watch: AsyncGenerator[Encoded, None] | None = None

    async def cut(self) -> None:
        if self.watch is not None:
            await self.watch.aclose()
        self.watch = None

    async def one_batch(self, replica: Replica) -> None:
        """The next batch, or nothing if none comes while everything is read and kept."""
        if self.watch is None:
            self.watch = replica.hub.watch(self.token, Chosen())
        reading = asyncio.ensure_future(anext(self.watch))
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=0.02)
                if not reading.done():
                    await replica.catch_up()
            batch = parsed(reading.result())
        except Exhausted as slow:
            self.token, self.watch = slow.facts["token"], None
            return
        self.seen += ids(batch)
        self.token = batch.token


ACTS = ("append", "read", "keep", "look", "batch", "cut", "move", "die", "repeat")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(
        st.tuples(st.sampled_from(ACTS), st.sampled_from((0, 1)), st.sampled_from(SERVICES), st.integers(1, 4)),
        max_size=40,
    )
)
def test_every_event_once_at_any_replica(folder: Path, script: list[tuple[str, int, str, int]]) -> None:
    """
    Two replicas read, tell and keep two logs in any order, and die between telling and keeping; a watcher is cut, falls
    behind, and goes on at either with a token that may be ahead of the store: every event once, in its log's order.
    """
    database = open_sqlite(folder)
    store = Store(database)

    async def play() -> None:
        await prepared(store, *SERVICES)
        logs = {service: FakeLog(service) for service in SERVICES}
        replicas = [Replica(store, logs, held=6), Replica(store, logs, held=6)]
        watcher, at = Watcher(), 0
        for act, number, service, count in script:
            match act:
                case "append":
                    logs[service].append(*some(count, service, len(logs[service].events) + 1))
                case "read":
                    await replicas[number].read(service)
                case "keep":
                    await replicas[number].followers[service].keep()
                case "look":
                    await replicas[number].hub.refresh()
                case "batch":
                    await watcher.one_batch(replicas[at])
                case "cut":
                    await watcher.cut()
                case "move":
                    await watcher.cut()
                    at = number
                case "die":
                    if at == number:
                        await watcher.cut()
                    replicas[number] = Replica(store, logs, held=6)
                case _:
                    logs[service].repeats = not logs[service].repeats
        total = sum(len(log.events) for log in logs.values())
        async with asyncio.timeout(20):
            while len(watcher.seen) < total:
                await replicas[at].catch_up()
                await watcher.one_batch(replicas[at])
        await watcher.cut()

        for service, log in logs.items():
            wanted = [event_id(service, position) for position in range(1, len(log.events) + 1)]
            assert of(service, watcher.seen) == wanted

    try:
        asyncio.run(play())
    finally:
        database.close()


async def watched(store: Store, count: int) -> tuple[Replica, FakeLog, AsyncGenerator[Encoded, None], str]:
    """A replica whose watcher was told *count* events, none of which is kept; and the token behind them."""
    await prepared(store)
    log = FakeLog("lifecycle", some(count))
    replica = Replica(store, {"lifecycle": log})
    watch = replica.hub.watch("", Chosen())
    reading = asyncio.create_task(read(watch, count))
    await until(lambda: replica.hub._holds)
    await replica.followers["lifecycle"].read()
    seen, token = await reading
    assert seen == [event_id("lifecycle", position) for position in range(1, count + 1)]
    assert await store.read(kept.positions) == {"lifecycle": 0}
    return replica, log, watch, token


def test_told_before_it_is_kept_and_not_again(store: Store) -> None:
    """
    What watchers are told is in no store yet; when it is, they are not told again, and what follows follows.
    """

    async def play() -> None:
        replica, log, watch, _ = await watched(store, 3)
        one = replica.followers["lifecycle"]
        await one.keep()
        await replica.hub.refresh()
        log.append(*some(2, first=4))
        await one.read()
        seen, token = await read(watch, 2)

        assert seen == [event_id("lifecycle", 4), event_id("lifecycle", 5)]
        assert from_token(token)["lifecycle"] == 5
        await watch.aclose()

    asyncio.run(play())


def test_who_comes_meanwhile_waits_for_what_he_has_missed(store: Store) -> None:
    """
    A watcher from the beginning, while others were told more than is kept: he gets the rest when it is.
    """

    async def play() -> None:
        replica, log, watch, _ = await watched(store, 3)
        one = replica.followers["lifecycle"]
        reading = asyncio.create_task(read(late := replica.hub.watch(BEGINNING, Chosen()), 5))
        await until(lambda: replica.hub._watchers == 2)
        log.append(*some(2, first=4))
        await one.read()
        await asyncio.sleep(0.05)
        assert not reading.done()
        await one.keep()
        seen, _ = await reading

        assert seen == [event_id("lifecycle", position) for position in range(1, 6)]
        await watch.aclose()
        await late.aclose()

    asyncio.run(play())


def test_who_is_the_first_to_watch_hears_what_was_not_kept(sqlite_store: Store) -> None:
    """
    Read when nobody watched, and not kept: it comes from the store, and then live.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", some(2))
        replica = Replica(sqlite_store, {"lifecycle": log})
        one = replica.followers["lifecycle"]
        await one.read()
        reading = asyncio.create_task(read(watch := replica.hub.watch(BEGINNING, Chosen()), 3))
        await until(lambda: replica.hub._holds)
        log.append(*some(1, first=3))
        await one.read()
        seen, _ = await reading

        assert seen == [event_id("lifecycle", position) for position in (1, 2, 3)]
        await watch.aclose()

    asyncio.run(play())


def test_a_token_ahead_of_the_store_waits_for_it(store: Store) -> None:
    """
    Telemetry died before it kept what it had told: at another one the watcher waits until that has read as far, and is
    told neither less nor more than what follows.
    """

    async def play() -> None:
        _, log, watch, token = await watched(store, 3)
        await watch.aclose()
        other = Replica(store, {"lifecycle": log})
        reading = asyncio.create_task(read(again := other.hub.watch(token, Chosen()), 1))
        await until(lambda: other.hub._holds)
        await asyncio.sleep(0.05)
        assert not reading.done()
        log.append(*some(1, first=4))
        await other.followers["lifecycle"].step()
        seen, _ = await reading

        assert seen == [event_id("lifecycle", 4)]
        await again.aclose()

    asyncio.run(play())


def test_a_token_ahead_of_a_log_that_is_away_is_good(sqlite_store: Store) -> None:
    """
    The service went away with telemetry: nobody can say whether the token is of another store, so it is not refused.
    """

    async def play() -> None:
        _, log, watch, token = await watched(sqlite_store, 3)
        await watch.aclose()
        log.down = True
        other = Replica(sqlite_store, {"lifecycle": log}, ahead_seconds=0.05)
        await other.followers["lifecycle"].read()
        with pytest.raises(PeerUnavailable) as caught:
            await anext(other.hub.watch(token, Chosen()))

        assert caught.value.facts["token"] == token
        log.down = False
        await other.followers["lifecycle"].step()
        with pytest.raises(InvalidField):
            await anext(other.hub.watch(to_token({"lifecycle": 4}), Chosen()))

    asyncio.run(play())


def test_who_waits_with_a_token_is_sent_away_when_telemetry_ends(sqlite_store: Store) -> None:
    """
    With the very token he came with.
    """

    async def play() -> None:
        _, log, watch, token = await watched(sqlite_store, 3)
        await watch.aclose()
        other = Replica(sqlite_store, {"lifecycle": log})
        reading = asyncio.create_task(anext(other.hub.watch(token, Chosen())))
        await until(lambda: other.hub._holds)
        other.hub.drain()
        with pytest.raises(PeerUnavailable) as caught:
            await reading

        assert caught.value.facts["token"] == token

    asyncio.run(play())


def test_a_slow_watcher_of_what_is_not_kept_is_told_where_to_go_on(sqlite_store: Store) -> None:
    """
    His token is behind what was told to others; from there all the rest comes, as soon as it is kept.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle")
        replica = Replica(sqlite_store, {"lifecycle": log}, held=4)
        one = replica.followers["lifecycle"]
        watch = replica.hub.watch("", Chosen())
        await anext(watch)  # a heartbeat: he has his place
        for first in (1, 4, 7):
            log.append(*some(3, first=first))
            await one.read()
        with pytest.raises(Exhausted) as caught:
            await read(watch, 100)
        reading = asyncio.create_task(read(again := replica.hub.watch(caught.value.facts["token"], Chosen()), 9))
        await until(lambda: replica.hub._holds)
        await one.keep()
        await replica.hub.refresh()
        seen, _ = await reading

        assert seen == [event_id("lifecycle", position) for position in range(1, 10)]
        await again.aclose()

    asyncio.run(play())


def test_behind_a_restore_nothing_is_missed(sqlite_store: Store) -> None:
    """
    Telemetry died with something told and not kept, and the log was restored from a backup: a watcher behind what is
    lost is told everything that the log has instead.
    """

    async def play() -> None:
        await prepared(sqlite_store)
        log = FakeLog("lifecycle", some(5))
        await follower(log, sqlite_store).step()
        first = Replica(sqlite_store, {"lifecycle": log})
        reading = asyncio.create_task(read(watch := first.hub.watch("", Chosen()), 4))
        await until(lambda: first.hub._holds)
        log.append(*some(4, first=6))
        await first.followers["lifecycle"].read()
        _, token = await reading
        await watch.aclose()
        log.restore(3)
        log.append(*(stored("lifecycle", position, branch=1) for position in range(4, 12)))
        second = Replica(sqlite_store, {"lifecycle": log})
        reading = asyncio.create_task(read(again := second.hub.watch(token, Chosen()), 8))
        while not reading.done():
            await second.catch_up()
        seen, _ = await reading

        assert seen == [event_id("lifecycle", position, 1) for position in range(4, 12)]
        await again.aclose()

    asyncio.run(play())
