# SPDX-License-Identifier: Apache-2.0
"""Queries that are answered later, and alarms."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from telemetry.query import rows
from telemetry.rest import queries
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.schema import Field, Kind, Message, Scalar, Struct
from telemetry.store import Store
from tests.telemetry.builders import OTHER, SERVER, T0, received
from tests.telemetry.test_rest import Api, api

UVE_ALARMS = Struct(
    "UVEAlarms",
    (Field("name", Scalar.STRING, 1, (("key", "ObjectServerTable"),)), Field("alarms", Scalar.STRING, 2)),
)
ALARM_TRACE = Message("AlarmTrace", Kind.ALARM, (Field("data", UVE_ALARMS, 1),))
ADMIN: Any = {"X-Auth-Token": "admin"}
LATER: Any = {"X-Auth-Token": "admin", "Expect": "202-accepted"}
ASKED = {"table": "ObjectServerTable", "start_time": 0, "end_time": T0 * 2, "select_fields": ["ObjectId"]}


async def done(given: Api, href: str, status: int = 200) -> Any:
    async with asyncio.timeout(10):
        while True:
            told = await given.ask(href, status=status)
            if status != 200 or told["progress"] == 100:
                return told
            await asyncio.sleep(0.01)


def test_a_query_is_answered_later(sqlite_store: Store) -> None:
    """
    202 with an address; it tells the progress, and then where the rows are. They are read once, and by who asked.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}))
            accepted = await given.ask("/analytics/query", body=ASKED, status=202, **LATER)
            told = await done(given, accepted["href"])
            (chunk,) = told["chunks"]
            await given.ask(accepted["href"], status=404, **{"X-Auth-Token": "auditor"})
            await given.ask(chunk["href"][:-1] + "1", status=404)
            found = await given.ask(chunk["href"])
            await given.ask(chunk["href"], status=404)

            assert chunk["href"] == accepted["href"] + "/chunk-final/0"
            assert (chunk["start_time"], chunk["end_time"]) == (0, T0 * 2)
            assert 0 < chunk["ttl"] <= queries.KEPT_SECONDS
            assert found == {"value": [{"ObjectId": SERVER}]}

    asyncio.run(play())


def test_a_refusal_comes_at_once_or_with_the_progress(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What cannot be asked is refused where it is asked; what turns out to be too much, where it is fetched.
    """
    monkeypatch.setattr(rows, "MOST_SECONDS", -1.0)

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}))
            await given.ask("/analytics/query", body={**ASKED, "table": "x"}, status=400, **LATER)
            accepted = await given.ask("/analytics/query", body=ASKED, status=202, **LATER)
            told: Any = {"progress": 0}
            async with asyncio.timeout(10):
                while "error" not in told:
                    async with given.http.get(
                        given.base + accepted["href"], headers={"X-Auth-Token": "admin"}
                    ) as answer:
                        told, status = await answer.json(), answer.status
            await given.ask(accepted["href"] + "/chunk-final/0", status=400)

            assert status == 400
            assert told["error"]["fields"] == ["start_time"]

    asyncio.run(play())


def test_only_so_many_wait(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Rows that nobody fetches do not pile up; after a while they are gone and there is room again.
    """
    monkeypatch.setattr(queries, "MOST_WAITING", 2)

    async def play() -> None:
        async with api(sqlite_store) as given:
            hrefs = [(await given.ask("/analytics/query", body=ASKED, status=202, **LATER))["href"] for _ in range(2)]
            for href in hrefs:
                await done(given, href)
            refused = await given.ask("/analytics/query", body=ASKED, status=429, **LATER)
            monkeypatch.setattr(queries, "KEPT_SECONDS", 0.0)
            await given.ask((await done(given, hrefs[0]))["chunks"][0]["href"])
            short = await given.ask("/analytics/query", body=ASKED, status=202, **LATER)
            await asyncio.sleep(0.05)
            again = await given.ask("/analytics/query", body=ASKED, status=202, **LATER)

            assert refused["error"]["remedy"]
            assert short["href"] != again["href"]

    asyncio.run(play())


def test_other_expectations(sqlite_store: Store) -> None:
    """
    Clients that wait for 100 get it; what nobody knows is refused.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            hundred: Any = {**ADMIN, "Expect": "100-continue"}
            posted: Any = {**ADMIN, "Postman-Expect": "202-accepted"}
            usual = await given.ask("/analytics/query", body=ASKED, **hundred)
            post_man = await given.ask("/analytics/query", body=ASKED, status=202, **posted)
            async with given.http.post(
                given.base + "/analytics/query", json=ASKED, headers={"X-Auth-Token": "admin", "Expect": "miracles"}
            ) as answer:
                refused = answer.status

            assert usual == {"value": []}
            assert post_man["href"].startswith("/analytics/query/")
            assert refused == 417

    asyncio.run(play())


def test_alarms(sqlite_store: Store) -> None:
    """
    Objects with alarms by type, and of each its alarms alone; filters choose among them.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(
                received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}),
                received(ALARM_TRACE, {"data": {"name": SERVER, "alarms": "the power is off"}}),
                received(IRONIC_NODE_INFO, {"data": {"name": OTHER, "driver": "ipmi"}}),
            )
            alarms = await given.ask("/analytics/alarms")
            none = await given.ask(f"/analytics/alarms?kfilt={OTHER}")

            assert alarms == {
                "server": [{"name": SERVER, "value": {"UVEAlarms": {"alarms": "the power is off", "__T": T0}}}]
            }
            assert none == {}

    asyncio.run(play())
