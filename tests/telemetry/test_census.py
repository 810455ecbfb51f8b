# SPDX-License-Identifier: Apache-2.0
"""Our collector tells of each generator what a genuine one tells: when it came and went, and what it sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from telemetry import census as census_module
from telemetry.census import GONE_MICROS, Census
from telemetry.sandesh.collector import GeneratorState
from telemetry.sandesh.encode import encode
from telemetry.sandesh.flat import LARGEST
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.messages import IRONIC_NODE_INFO, OBJECT_GENERATOR_INFO
from telemetry.sandesh.reception import Announcement
from telemetry.sandesh.schema import Field, Kind, Level, Message, Scalar
from telemetry.sandesh.server_state import (
    MOST_TYPES,
    OTHERS,
    SANDESH_MODULE_SERVER_TRACE,
    GeneratorRecord,
    counts,
)
from telemetry.sink import StoreSink
from telemetry.store import Store, analytics, server_states
from telemetry.uves import Filters, one
from tests.telemetry.builders import SENDER, SERVER, T0, received
from tests.telemetry.rig import Rig, rig

TELLER = Identity("an-1", "bms-collector", "Analytics", "0")
SYSTEM_LOG = Message("Complaint", Kind.SYSTEM, (Field("text", Scalar.STRING, 1),), level=Level.ERR)


@dataclass
class Site:
    """A collector's sink and its census, over a store; time stands still."""

    store: Store
    sink: StoreSink
    census: Census
    now: list[int]
    sessions: list[GeneratorState] = field(default_factory=list)

    async def come(self, generator: Identity = SENDER) -> None:
        announcement = Announcement(generator, 1, (), 1, 0)
        await self.census.admit(announcement)
        self.sessions.append(GeneratorState(announcement, "peer", self.now[0], 3, 3000, 2, 400, 0))

    async def go(self, generator: Identity = SENDER) -> None:
        self.sessions[:] = [one for one in self.sessions if one.announcement.identity != generator]
        await self.census.forget(generator)

    async def state(self, generator: Identity = SENDER) -> Any:
        """What is shown of a generator, once all that waits is written."""
        await self.sink._done(TELLER, lambda _: None)
        uve = await self.store.read(lambda tx: one(tx, OBJECT_GENERATOR_INFO, str(generator), Filters(), flat=True))
        return uve.get("ModuleServerState", {})


@asynccontextmanager
async def site(store: Store, name: str = "an-1:0", teller: Identity = TELLER) -> AsyncIterator[Site]:
    now = [T0]
    sink = StoreSink(store, name, 3600, lambda: now[0])
    await sink.start()
    made = Site(store, sink, Census(sink, teller, lambda: now[0]), now)
    made.census.sessions = lambda: made.sessions
    running = asyncio.create_task(sink.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def attributes(**given: Any) -> Any:
    none = {"connects": 0, "connect_time": 0, "resets": 0, "reset_time": 0, "in_clear": False}
    return [{"hostname": "an-1", "gen_attr": none | given}]


def test_a_session_that_begins_and_ends_is_told_at_once(store: Store) -> None:
    """
    Whoever reads ``generator_info`` sees by it whether the generator is connected; it stays when the generator goes.
    """

    async def play() -> None:
        async with site(store) as given:
            await given.come()
            assert (await given.state())["generator_info"] == attributes(connects=1, connect_time=T0)
            given.now[0] += 7
            await given.go()
            left = {"connects": 1, "connect_time": T0, "resets": 1, "reset_time": T0 + 7}
            assert (await given.state())["generator_info"] == attributes(**left)
            given.now[0] += 7
            await given.come()
            back = left | {"connects": 2, "connect_time": T0 + 14}
            assert (await given.state())["generator_info"] == attributes(**back)

    asyncio.run(play())


def test_what_was_sent_is_counted(store: Store) -> None:
    """
    By type, of system logs by level too, with the time of the newest; beside it what its session took. All numbers are
    told once a minute, and nothing of a generator that sent nothing.
    """

    async def play() -> None:
        async with site(store) as given:
            await given.come()
            uve = received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}, time=T0 + 5)
            log = received(SYSTEM_LOG, {"text": "hot"}, time=T0 + 6)
            for message in (uve, log, log):
                await given.census.store(message)
            await given.census.tell()
            told = await given.state()

            (sent,) = told["msg_stats"]
            of_log = {"messages": 2, "bytes": 2 * len(log.frame), "last_msg_timestamp": T0 + 6}
            assert sent["hostname"] == "an-1"
            assert sent["msgtype_stats"] == [
                {"message_type": "Complaint", **of_log},
                {
                    "message_type": "IronicNodeInfo",
                    "messages": 1,
                    "bytes": len(uve.frame),
                    "last_msg_timestamp": T0 + 5,
                },
            ]
            assert sent["log_level_stats"] == [{"level": "SYS_ERR", **of_log}]
            assert told["sm_stats"] == {"state": "Established", "state_since": T0, "last_state": "ServerInit"}
            assert (told["session_stats"]["num_recv_msg"], told["session_stats"]["num_send_msg"]) == (3, 1)
            assert told["session_rx_socket_stats"]["average_bytes"] == 1500.0
            assert told["session_tx_socket_stats"]["bytes"] == 400
            assert told["generator_info"] == attributes(connects=1, connect_time=T0)

            stamp = told["__T"]
            given.now[0] += 60_000_000
            await given.census.tell()
            assert (await given.state())["__T"] == stamp

    asyncio.run(play())


def test_the_history_has_no_message_of_it(sqlite_store: Store) -> None:
    """
    A thousand generators would fill it with what is told again a minute later.
    """

    async def play() -> None:
        async with site(sqlite_store) as given:
            await given.come()
            await given.state()
            asked = analytics.Asked()
            kept = await given.store.read(lambda tx: analytics.messages(tx, asked, 9, newest_first=True, behind=None))
            assert kept == []

    asyncio.run(play())


def test_who_left_long_ago_is_forgotten(sqlite_store: Store, monkeypatch: Any) -> None:
    """
    After a day, or when too many have left since; who is connected never is.
    """
    others = [Identity(f"host-{number}", "m", "Config", "0") for number in range(3)]
    monkeypatch.setattr(census_module, "MOST_GONE", 2)

    async def play() -> None:
        async with site(sqlite_store) as given:
            await given.come()
            for other in others:
                await given.come(other)
                await given.go(other)
            await given.census.tell()
            assert [bool(await given.state(other)) for other in others] == [False, True, True]
            given.now[0] += GONE_MICROS
            await given.come(others[2])
            await given.census.tell()
            assert [bool(await given.state(other)) for other in (*others, SENDER)] == [False, False, True, True]

    asyncio.run(play())


def test_a_collector_that_starts_again_begins_anew(store: Store) -> None:
    """
    What the process before it told is gone, and so is what another told that a generator left without a word.
    """

    async def play() -> None:
        async with site(store) as given:
            await given.come()
            assert await given.state()
        async with site(store) as given:
            assert await given.state() == {}
            await given.come()
            assert await given.state()
        elsewhere = Identity("an-2", "bms-collector", "Analytics", "0")
        async with site(store, "an-2:0", elsewhere) as given:
            assert (await given.state())["generator_info"][0]["hostname"] == "an-1"
            await given.come()
            (found,) = (await given.state())["generator_info"]
            assert (found["hostname"], found["gen_attr"]["connects"]) == ("an-2", 1)

    asyncio.run(play())


def test_the_teller_of_a_collector() -> None:
    """
    By its name in the store.
    """
    assert server_states.teller("an-1:0") == str(TELLER)


def test_however_many_types_there_are_it_is_shown() -> None:
    """
    Analytics shows no attribute of 100,000 characters: from some number on, types are counted together.
    """
    record = GeneratorRecord(1, T0)
    for number in range(MOST_TYPES + 50):
        name = f"T{number}" + "x" * 200
        record.count(received(Message(name, Kind.OBJECT, (Field("a", Scalar.STRING, 1),)), {"a": "b"}))
    told = counts(SENDER, record, "h", None)["msg_stats"][0]["msgtype_stats"]

    assert len(told) == MOST_TYPES + 1
    assert next(row["messages"] for row in told if row["message_type"] == OTHERS) == 50
    values = {"data": counts(SENDER, record, "h", None)}
    header = header_of(SANDESH_MODULE_SERVER_TRACE, SENDER, T0, 1)
    assert len(encode(header, SANDESH_MODULE_SERVER_TRACE, values)) < LARGEST


def test_it_is_shown_of_our_own_generator_too(sqlite_store: Store) -> None:
    """
    Beside what the generator tells itself, as contrail-status and the web interface look for it.
    """

    async def of_us(given: Rig) -> Any:
        return await given.get(f"/analytics/uves/generator/{SENDER}?flat")

    async def play() -> None:
        async with rig(sqlite_store._database) as given:
            uve = await given.eventually(
                lambda: of_us(given), lambda uve: {"ModuleServerState", "ModuleClientState"} <= uve.keys()
            )
            (info,) = uve["ModuleServerState"]["generator_info"]
            assert info["hostname"] == "host-1"
            assert info["gen_attr"]["connects"] == 1
            assert info["gen_attr"]["connect_time"] > info["gen_attr"]["reset_time"] == 0

    asyncio.run(play())
