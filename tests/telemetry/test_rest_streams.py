# SPDX-License-Identifier: Apache-2.0
"""UVEs and alarms as server-sent events, in the reference's form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientResponse

from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.store import Store, analytics
from telemetry.uve_watch import UveHub
from tests.telemetry.builders import OTHER, SERVER, T0, received
from tests.telemetry.fakes import until
from tests.telemetry.test_rest import api
from tests.telemetry.test_rest_later import ALARM_TRACE

ADMIN = {"X-Auth-Token": "admin"}


def node(key: str = SERVER, **attributes: Any) -> Any:
    return received(IRONIC_NODE_INFO, {"data": {"name": key, **attributes}})


async def put(store: Store, hub: UveHub, *messages: Any) -> None:
    await store.write(lambda tx: analytics.store(tx, [(each, T0 * 2) for each in messages]), "test")
    await hub.refresh()


async def events(answer: ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Events as a browser reads them; an id alone as ``("id", ..)``."""
    name = ""
    async with asyncio.timeout(10):
        async for line in answer.content:
            word, _, value = line.decode().rstrip("\n").partition(": ")
            if word == "event":
                name = value
            elif word == "data":
                yield name, json.loads(value)
            elif word == "id":
                yield "id", value


def test_a_stream_of_uves(sqlite_store: Store) -> None:
    """
    First everything, then changes; a struct that goes is null, and so is the type when nothing is left.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store, heartbeat_seconds=0.05)
        async with api(sqlite_store, hub) as given:
            await put(sqlite_store, hub, node(driver="ipmi"), node(OTHER, driver="x"))
            path = f"/analytics/uve-stream?tablefilt=server&kfilt={SERVER}&cfilt=IronicNode:driver"
            async with given.http.get(given.base + path, headers=ADMIN) as answer:
                told = events(answer)
                first = [await anext(told) for _ in range(3)]
                await put(sqlite_store, hub, node(driver="redfish"))
                changed = await anext(told)
                behind = await anext(told)
                await put(sqlite_store, hub, node(deleted=True))
                gone = [await anext(told) for _ in range(2)]
                kind = answer.content_type
                assert answer.headers["Cache-Control"] == "no-cache"
                hub.drain()
                rest = [one async for one in told]
            resumed = UveHub(sqlite_store)
        async with (
            api(sqlite_store, resumed) as given,
            given.http.get(given.base + path, headers=ADMIN | {"Last-Event-ID": behind[1]}) as answer,
        ):
            told = events(answer)
            again = [await anext(told) for _ in range(3)]
            resumed.drain()

        key = f"ObjectServerTable:{SERVER}"
        assert kind == "text/event-stream"
        assert first == [
            ("init", None),
            ("update", {"key": key, "type": "IronicNode", "value": {"driver": "ipmi"}}),
            ("id", "1"),
        ]
        assert changed == ("update", {"key": key, "type": "IronicNode", "value": {"driver": "redfish"}})
        assert behind == ("id", "2")
        assert gone == [
            ("update", {"key": key, "type": "IronicNode", "value": None}),
            ("update", {"key": key, "type": None, "value": None}),
        ]
        assert rest[-1] == ("stop", None)
        assert again == [("init", None), ("id", "2"), gone[0]]

    asyncio.run(play())


def test_a_stream_of_alarms(sqlite_store: Store) -> None:
    """
    Alarms alone, whatever else is said of the object.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store)
        async with api(sqlite_store, hub) as given:
            await put(
                sqlite_store, hub, node(driver="ipmi"), received(ALARM_TRACE, {"data": {"name": SERVER, "alarms": "x"}})
            )
            async with given.http.get(given.base + "/analytics/alarm-stream", headers=ADMIN) as answer:
                told = events(answer)
                first = [await anext(told) for _ in range(2)]
                hub.drain()

        assert first[1][1]["type"] == "UVEAlarms"
        assert first[1][1]["value"]["alarms"] == "x"

    asyncio.run(play())


def test_refusals(sqlite_store: Store) -> None:
    """
    Unknown types and tokens are said by a status; tenants may not read; a reader that goes away leaves nothing behind.
    """

    async def play() -> None:
        hub = UveHub(sqlite_store, heartbeat_seconds=0.01)
        async with api(sqlite_store, hub) as given:
            assert "error" in await given.ask("/analytics/uve-stream?tablefilt=x", status=404)
            assert "error" in await given.ask("/analytics/uve-stream", status=400, **ADMIN, **{"Last-Event-ID": "77"})
            assert "error" in await given.ask("/analytics/uve-stream", status=403, **{"X-Auth-Token": "demo-member"})
            assert "error" in await given.ask("/analytics/alarm-stream", status=401, **{"X-Other": "1"})
            async with given.http.get(given.base + "/analytics/uve-stream", headers=ADMIN) as answer:
                await anext(events(answer))
                assert hub._watchers == 1
            await until(lambda: not hub._watchers)
            hub.drain()
            assert "error" in await given.ask("/analytics/uve-stream", status=503)

    asyncio.run(play())
