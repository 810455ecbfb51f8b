# SPDX-License-Identifier: Apache-2.0
"""Object logs stay in the outbox until a collector has them; UVEs follow what is known."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from telemetry import publisher as publisher_module
from telemetry.enricher import Enricher
from telemetry.known import Facts, Known
from telemetry.publisher import Publisher
from telemetry.sandesh.encode import Values
from telemetry.sandesh.schema import Message
from telemetry.store import Store, bridge
from telemetry.translate import object_log
from tests.telemetry.builders import OTHER, SERVER, event_id, followed
from tests.telemetry.fakes import FakeInventory, FakeSender, Turns, until


async def queued(store: Store, *positions: int) -> None:
    messages = [(position, object_log(followed(position=position))) for position in positions]
    await store.write(lambda tx: bridge.add_outgoing(tx, "lifecycle", messages), "test")


async def know(store: Store, ask: bool = False, **known: Known) -> None:
    uuids = {"server": SERVER, "other": OTHER}

    def write(tx: Any) -> None:
        bridge.lock_known(tx, [uuids[name] for name in known])
        bridge.put_known(tx, {uuids[name]: value for name, value in known.items()}, {SERVER} if ask else ())

    await store.write(write, "test")


async def waiting(store: Store) -> list[str]:
    return [row.event_id for row in await store.read(lambda tx: bridge.outgoing(tx, 100))]


def test_towards_our_own_store_nothing_leaves_the_outbox_by_sending(sqlite_store: Store) -> None:
    """
    Sent is not stored: the store takes a message off itself. Nothing is sent twice in one session meanwhile.
    """

    async def play() -> None:
        await queued(sqlite_store, 1, 2, 3)
        sender = FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=True)

        assert await publisher.step()
        assert not await publisher.step()
        assert [log["event_id"] for log in sender.logs] == [event_id("lifecycle", position) for position in (1, 2, 3)]
        assert len(await waiting(sqlite_store)) == 3

    asyncio.run(play())


def test_while_much_is_sent_others_have_a_turn(sqlite_store: Store) -> None:
    """
    A session that takes all at once makes nobody wait; watchers are told in between all the same.
    """

    async def play() -> None:
        at: list[int] = []

        class Noting(FakeSender):
            async def deliver(self, message: Message, values: Values) -> int:
                at.append(turns.count)
                return await super().deliver(message, values)

        await queued(sqlite_store, *range(1, publisher_module.BATCH + 1))
        turns = Turns()
        assert await Publisher(Noting(), sqlite_store, acknowledged=True).step()
        turns.end()

        assert len(at) == publisher_module.BATCH
        assert max(Counter(at).values()) <= publisher_module.TURN

    asyncio.run(play())


class Clock:
    """Seconds, moved by the test; gives microseconds."""

    def __init__(self) -> None:
        self.seconds = 1000

    def __call__(self) -> int:
        return self.seconds * 1_000_000


def test_a_genuine_collector_has_what_its_session_outlived(sqlite_store: Store) -> None:
    """
    Without acknowledgements a message leaves the outbox when TCP would have noticed that it did not arrive.
    """

    async def play() -> None:
        await queued(sqlite_store, 1, 2, 3)
        clock, sender = Clock(), FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=False, clock=clock)
        assert await publisher.step()
        clock.seconds += 34
        assert not await publisher.step()
        assert len(await waiting(sqlite_store)) == 3
        clock.seconds += 1
        assert not await publisher.step()
        assert await waiting(sqlite_store) == []
        assert len(sender.logs) == 3

    asyncio.run(play())


def test_what_a_genuine_collector_took_last_is_sent_to_the_next(sqlite_store: Store) -> None:
    """
    A session that ends within that time may have lost it all: the next one gets it again.
    """

    async def play() -> None:
        await queued(sqlite_store, 1, 2)
        clock, sender = Clock(), FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=False, clock=clock)
        await publisher.step()
        clock.seconds += 20
        await queued(sqlite_store, 3)
        await publisher.step()
        clock.seconds += 20
        assert not await publisher.step()
        assert await waiting(sqlite_store) == [event_id("lifecycle", 3)]
        sender.session += 1
        await publisher.step()

        sent = [log["position"] for log in sender.logs]
        assert sent == [1, 2, 3, 3]

    asyncio.run(play())


def test_a_session_that_breaks_is_made_good_by_the_next(sqlite_store: Store) -> None:
    """
    What the session before took without an acknowledgement is sent again, before anything new.
    """

    async def play() -> None:
        await queued(sqlite_store, 1, 2, 3)
        sender = FakeSender()
        sender.breaks_after = 2
        publisher = Publisher(sender, sqlite_store, acknowledged=True)
        while await publisher.step():
            pass

        wanted = {event_id("lifecycle", position) for position in (1, 2, 3)}
        assert {log["event_id"] for log in sender.logs[3:]} == wanted

    asyncio.run(play())


def test_a_message_that_was_dropped_on_the_way_is_sent_again(sqlite_store: Store) -> None:
    """
    After a while without an acknowledgement, in the same session too.
    """

    async def play() -> None:
        await queued(sqlite_store, 1)
        sender = FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=True, again_seconds=0.02)
        running = asyncio.create_task(publisher.run())
        await until(lambda: len(sender.logs) >= 3)
        running.cancel()

        assert {log["event_id"] for log in sender.logs} == {event_id("lifecycle", 1)}

    asyncio.run(play())


def test_a_lower_number_that_is_committed_later_is_sent(sqlite_store: Store) -> None:
    """
    Two logs are followed at once: the order of numbers is not the order of commits.
    """

    async def play() -> None:
        await queued(sqlite_store, 1, 2, 3)
        await sqlite_store.write(
            lambda tx: tx.execute("UPDATE outbox SET id = id + 10 WHERE event_id <> ?", (event_id("lifecycle", 2),)),
            "t",
        )
        first = (await sqlite_store.read(lambda tx: bridge.outgoing(tx, 1)))[0]
        await sqlite_store.write(lambda tx: bridge.taken(tx, [first.event_id]), "test")
        sender = FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=True)
        await publisher.step()
        await sqlite_store.write(
            lambda tx: tx.execute(
                "INSERT INTO outbox (id, service, position, event_id, message) SELECT 2, service, 2, ?, message"
                " FROM outbox WHERE position = 1",
                (first.event_id,),
            ),
            "test",
        )
        assert await publisher.step()
        assert len(sender.logs) == 3

    asyncio.run(play())


def test_what_cannot_be_written_does_not_stop_the_rest(sqlite_store: Store) -> None:
    """
    An object log with a value no field can hold goes out with what identifies it.
    """

    async def play() -> None:
        broken = {**object_log(followed(position=1)), "sequence": "not a number"}
        await sqlite_store.write(lambda tx: bridge.add_outgoing(tx, "lifecycle", [(1, broken)]), "test")
        await queued(sqlite_store, 2)
        sender = FakeSender()
        await Publisher(sender, sqlite_store, acknowledged=True).step()

        assert sender.logs[0] == {"name": SERVER, "event_id": event_id("lifecycle", 1)}
        assert sender.logs[1]["position"] == 2

    asyncio.run(play())


def test_uves_follow_what_is_known(sqlite_store: Store) -> None:
    """
    Servers are told at the start and when more is known; one that is gone is deleted; a cleared value is sent empty.
    """

    async def play() -> None:
        await know(
            sqlite_store, server=Known(event_type="x", power="power on"), other=Known(removed=True, event_type="x")
        )
        sender = FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=True)
        await publisher.load()
        assert [(act, uve["name"]) for act, uve in sender.uves] == [("replace", SERVER)] * 2

        running = asyncio.create_task(publisher.run())
        await know(sqlite_store, server=Known(event_type="y"))
        publisher.wake(frozenset({SERVER}))
        await until(lambda: len(sender.uves) >= 3)
        assert sender.uves[2][1]["power_state"] == ""

        await know(sqlite_store, server=Known(event_type="z", closed=True))
        publisher.wake(frozenset({SERVER}))
        await until(lambda: len(sender.uves) >= 5)
        running.cancel()

        assert sender.uves[3:] == [("delete", {"name": SERVER})] * 2

    asyncio.run(play())


def test_inventory_is_asked_until_it_answers(sqlite_store: Store) -> None:
    """
    A wish stays until inventory has answered, be it that there is no such server.
    """

    async def play() -> None:
        await know(sqlite_store, ask=True, server=Known(event_type="x"))
        told: list[frozenset[str]] = []
        inventory = FakeInventory()
        inventory.down = True
        enricher = Enricher(inventory, sqlite_store, told.append)
        pauses = [await enricher.step() for _ in range(3)]
        inventory.down = False
        await enricher.step()
        await enricher.step()

        assert pauses == sorted(pauses)
        assert max(pauses) <= 2.0
        assert inventory.asked == [SERVER] * 4
        assert told == [frozenset({SERVER})]
        known = await sqlite_store.read(lambda tx: bridge.get_known(tx, (SERVER,)))
        assert known[SERVER].facts is None
        assert Facts().driver == ""

    asyncio.run(play())


def test_no_more_is_on_its_way_than_a_session_can_hold(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When enough is on its way, the rest waits until the store has taken some; then it goes on at once.
    """
    monkeypatch.setattr(publisher_module, "WINDOW", 3)

    async def play() -> None:
        await queued(sqlite_store, 1, 2, 3, 4, 5)
        sender = FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=True)
        running = asyncio.create_task(publisher.run())
        await until(lambda: len(sender.logs) >= 3)
        await asyncio.sleep(0.05)
        on_their_way = len(sender.logs)
        await sqlite_store.write(lambda tx: bridge.taken(tx, [event_id("lifecycle", 1), event_id("lifecycle", 2)]), "t")
        publisher.stored()
        await until(lambda: len(sender.logs) >= 5)
        running.cancel()

        assert on_their_way == 3
        assert [log["position"] for log in sender.logs] == [1, 2, 3, 4, 5]

    asyncio.run(play())


def test_news_of_a_burst_shares_looks_at_the_outbox(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    At once after a rest; then what comes within a moment waits for one look, however often it is told of.
    """
    monkeypatch.setattr(publisher_module, "LOG_PACE", 0.3)

    async def play() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await queued(sqlite_store, 1)
        sender = FakeSender()
        publisher = Publisher(sender, sqlite_store, acknowledged=True)
        running = asyncio.create_task(publisher.run())
        await until(lambda: len(sender.logs) == 1)
        await queued(sqlite_store, 2)
        publisher.wake()
        await until(lambda: len(sender.logs) == 2)
        running.cancel()

        assert loop.time() - began >= 0.3

    asyncio.run(play())


def test_a_long_outbox_is_sent_without_a_rest(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As long as a look brings all it can, the next one follows at once.
    """
    monkeypatch.setattr(publisher_module, "LOG_PACE", 3600.0)
    monkeypatch.setattr(publisher_module, "BATCH", 2)

    async def play() -> None:
        await queued(sqlite_store, 1, 2, 3, 4, 5)
        sender = FakeSender()
        running = asyncio.create_task(Publisher(sender, sqlite_store, acknowledged=True).run())
        await until(lambda: len(sender.logs) == 5)
        running.cancel()

    asyncio.run(play())
