# SPDX-License-Identifier: Apache-2.0
"""What analytics does not have is found out and sent again."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from services.runtime.database import Database
from telemetry.audit import TRIES, Audit
from telemetry.publisher import UNREAD_SECONDS, Publisher
from telemetry.readback import Analytics, UnreadableError
from telemetry.store import Store, audits
from telemetry.store.audits import Tally
from tests.telemetry.builders import event_id
from tests.telemetry.fakes import FakeSender
from tests.telemetry.rig import rig
from tests.telemetry.test_app import a_life, all_handed, status
from tests.telemetry.test_publisher import Clock, queued, waiting


class FakeAnalytics:
    """A site's analytics, which does not get or show everything."""

    def __init__(self, sender: FakeSender, clock: Clock) -> None:
        self.sender = sender
        self.clock = clock
        self.loses: set[int] = set()
        self.doubles: set[int] = set()
        self.away = ""

    async def object_logs(self, start: int, end: int) -> Counter[str]:
        if self.away:
            raise UnreadableError(self.away)
        assert start < end
        found: Counter[str] = Counter()
        for number, log in enumerate(self.sender.logs):
            if number not in self.loses:
                found[log["event_id"]] += 2 if number in self.doubles else 1
        return found


class Rig:
    """A publisher and its audit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.sender = FakeSender()
        self.analytics = FakeAnalytics(self.sender, self.clock)
        self.complaints: list[str] = []
        self.publisher = Publisher(
            self.sender, store, acknowledged=False, grace_seconds=UNREAD_SECONDS, clock=self.clock
        )
        self.audit = Audit(self.publisher, self.analytics, store, self.clock, self.complaints.append)

    async def after(self, seconds: int) -> None:
        self.clock.seconds += seconds
        await self.audit.look()
        while await self.publisher.step():
            pass

    async def tally(self) -> Tally:
        return await self.store.read(audits.tally)

    @property
    def sent(self) -> list[int]:
        return [log["position"] for log in self.sender.logs]


def play(store: Store, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    async def whole() -> None:
        given = Rig(store)
        await queued(store, 1, 2, 3)
        await given.publisher.step()
        await scenario(given)

    asyncio.run(whole())


def test_what_is_there_is_confirmed(store: Store) -> None:
    """
    It leaves the outbox; one that is there twice is counted.
    """

    async def scenario(given: Rig) -> None:
        given.analytics.doubles = {1}
        await given.after(10)
        assert len(await waiting(store)) == 3  # analytics needs a moment, and is not asked yet
        await given.after(10)
        assert await waiting(store) == []
        tally = await given.tally()
        assert (tally.found, tally.duplicates, tally.holes, tally.lost) == (3, 1, 0, 0)
        assert given.sent == [1, 2, 3]

    play(store, scenario)


def test_a_hole_is_sent_again(store: Store) -> None:
    """
    In the same session, and nothing else with it; then it is there.
    """

    async def scenario(given: Rig) -> None:
        given.analytics.loses = {1}
        await given.after(30)
        assert await waiting(store) == [event_id("lifecycle", 2)]
        assert given.sent == [1, 2, 3]
        await given.after(60)
        assert given.sent == [1, 2, 3, 2]
        await given.after(30)
        assert await waiting(store) == []
        tally = await given.tally()
        assert (tally.found, tally.holes, tally.lost) == (3, 1, 0)

    play(store, scenario)


def test_what_never_arrives_is_given_up_as_an_error(store: Store) -> None:
    """
    After a few times, so that one message cannot hold up the log's position for ever.
    """

    async def scenario(given: Rig) -> None:
        given.analytics.loses = {1, *range(3, 100)}
        for _ in range(TRIES):
            await given.after(100)
        assert await waiting(store) == []
        assert given.sent.count(2) == TRIES
        tally = await given.tally()
        assert (tally.found, tally.holes, tally.lost) == (2, TRIES - 1, 1)

    play(store, scenario)


def test_analytics_that_cannot_be_asked_holds_nothing_up_for_ever(store: Store) -> None:
    """
    Nothing is confirmed or repeated meanwhile, people are told; after a quarter of an hour it counts as arrived.
    """

    async def scenario(given: Rig) -> None:
        given.analytics.away = "the analytics API answered 503"
        await given.after(300)
        assert len(await waiting(store)) == 3
        assert given.complaints == ["the analytics API answered 503"]
        given.clock.seconds += 600
        await given.publisher.step()
        assert await waiting(store) == []
        assert given.sent == [1, 2, 3]

    play(store, scenario)


def test_read_back_over_the_genuine_form(database: Database) -> None:
    """
    An analytics API is asked in its own words; one that refuses is told from one that has nothing.
    """

    async def whole() -> None:
        async with rig(database, a_life()) as given:
            await given.eventually(lambda: status(given), all_handed)
            url = f"http://127.0.0.1:{given.ports.rest}"
            found = await Analytics(url, "admin").object_logs(0, 2**52)
            assert found == Counter(
                [event_id("inventory", 1), event_id("ipam", 1), *(event_id("lifecycle", n) for n in (1, 2, 3))]
            )
            assert await Analytics(url, "admin").object_logs(0, 1) == Counter()
            with pytest.raises(UnreadableError, match="401"):
                await Analytics(url, "nobody").object_logs(0, 1)
        with pytest.raises(UnreadableError, match="does not answer"):
            await Analytics(url, "admin").object_logs(0, 1)

    asyncio.run(whole())


@asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Any:
    app = web.Application()
    app.add_routes([web.post("/analytics/query", handler)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"value": 1}', b"<html>"])
def test_nonsense_is_no_answer(content: bytes) -> None:
    """
    What is no list of rows is refused, not taken for an empty one.
    """

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content)

    async def whole() -> None:
        async with answering(answer) as url:
            with pytest.raises(UnreadableError):
                await Analytics(url).object_logs(0, 1)

    asyncio.run(whole())


def test_rows_that_are_no_object_logs_are_passed_over() -> None:
    """
    And a name with a password is sent as the local administrator's port wants it.
    """
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        log = "<BmsLifecycleEventLog type='sandesh'><event_id type='string'>e1</event_id></BmsLifecycleEventLog>"
        rows = [{"Xmlmessage": log}, {"Xmlmessage": "<a"}, {"Xmlmessage": "<a/>"}, {"Xmlmessage": None}, 7]
        return web.json_response({"value": rows})

    async def whole() -> None:
        async with answering(answer) as url:
            assert await Analytics(url, "anna:hunter2").object_logs(0, 1) == Counter({"e1": 1})
        assert base64.b64decode(seen[0].removeprefix("Basic ")) == b"anna:hunter2"

    asyncio.run(whole())
    assert "hunter2" not in repr(Analytics("http://h", "anna:hunter2"))
