# SPDX-License-Identifier: Apache-2.0
"""The analytics REST forms answer what the reference answers for the same messages."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.clock import RandomIds
from services.kernel.errors import InvalidField
from telemetry import query
from telemetry.callers import AioCallers
from telemetry.rest import AnalyticsApi
from telemetry.sandesh.decode import decode
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.sandesh.reception import Received
from telemetry.store import Store, analytics
from telemetry.translate import object_log
from telemetry.uve_watch import UveHub
from telemetry.uves import TYPES
from tests.telemetry.builders import OTHER, SENDER, SERVER, T0, followed, received
from tests.telemetry.rig import KnownCallers

GOLDEN = Path(__file__).parent / "sandesh" / "golden"
REFERENCE = Identity("cfg-node-1.example.net", "ironic-notification-manager", "Config", "0")


def golden(name: str) -> Received:
    frame = (GOLDEN / f"{name}.xml").read_bytes()
    return Received(REFERENCE, decode(frame), frame, T0)


class Api:
    """A client of the REST forms."""

    def __init__(self, http: ClientSession, base: str, store: Store) -> None:
        self.http, self.base, self.store = http, base, store

    async def put(self, *messages: Received) -> None:
        def write(tx: Any) -> None:
            for generator in {str(message.generator) for message in messages}:
                analytics.admit(tx, generator, "c", T0)
            analytics.store(tx, [(message, T0 * 2) for message in messages])

        await self.store.write(write, "test")

    async def ask(self, path: str, *, body: Any = None, status: int = 200, **headers: str) -> Any:
        shown = headers or {"X-Auth-Token": "admin"}
        method = "GET" if body is None else "POST"
        data = body if isinstance(body, bytes | io.BytesIO) else None if body is None else json.dumps(body)
        async with self.http.request(method, self.base + path, data=data, headers=shown) as response:
            text = await response.text()
            assert response.status == status, text
            return json.loads(text)

    async def rows(self, **asked: Any) -> list[Any]:
        whole = {"table": "ObjectServerTable", "start_time": 0, "end_time": T0 * 2, "select_fields": ["MessageTS"]}
        answer = await self.ask("/analytics/query", body={**whole, **asked})
        return list(answer["value"])


@asynccontextmanager
async def api(store: Store, hub: UveHub | None = None) -> AsyncIterator[Api]:
    hub = hub or UveHub(store)
    app = AnalyticsApi(store, hub, AioCallers(KnownCallers()), RandomIds(), lambda: T0).application()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with ClientSession() as http:
            yield Api(http, f"http://127.0.0.1:{runner.addresses[0][1]}", store)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("01-ironic-full", "9f1a3c52-6c0c-4b1e-9a47-0d6c7a5b1e01"),
        ("05-ironic-escapes", "node-esc"),
        ("13-ironic-empty-list", "node-noports"),
    ],
)
def test_uves_are_the_references_answers(store: Store, name: str, key: str) -> None:
    """
    Flat and not, byte values and odd corners included.
    """
    wanted = json.loads((GOLDEN / "rest" / f"{name}.json").read_text())

    async def play() -> None:
        async with api(store) as given:
            await given.put(golden(name))

            assert (
                await given.ask(f"/analytics/uves/server/{key}?flat")
                == wanted["GET /analytics/uves/<type>/<name>?flat"]
            )
            assert await given.ask(f"/analytics/uves/server/{key}") == wanted["GET without flat"]

    asyncio.run(play())


def test_a_life_of_a_uve_is_the_references(sqlite_store: Store) -> None:
    """
    Whole, changed in part, deleted, told again: each step shows what the reference shows.
    """
    steps = json.loads((GOLDEN / "rest" / "LIFECYCLE.json").read_text())
    key = "9f1a3c52-6c0c-4b1e-9a47-0d6c7a5b1e01"
    frames = {"full": "01-ironic-full", "partial update": "20-ironic-update-partial", "full again": "01-ironic-full"}

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put()
            for step in steps:
                if step["step"] in frames:
                    message = golden(frames[step["step"]])
                elif step["step"] == "deleted=true":
                    message = received(IRONIC_NODE_INFO, {"data": {"name": key, "deleted": True}}, sender=REFERENCE)
                else:
                    continue
                await given.store.write(lambda tx: analytics.store(tx, [(message, T0 * 2)]), "test")  # noqa: B023 -- now
                if "rest_flat" in step:
                    assert await given.ask(f"/analytics/uves/server/{key}?flat") == step["rest_flat"], step["step"]

    asyncio.run(play())


def two_servers() -> list[Received]:
    return [
        received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "power_state": "power on", "driver": "ipmi"}}),
        received(IRONIC_NODE_INFO, {"data": {"name": OTHER, "power_state": "power off"}}),
    ]


def test_lists_and_several(sqlite_store: Store) -> None:
    """
    Types, objects, patterns, filters in the path's query and in JSON.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            await given.put(*two_servers())
            types = await given.ask("/analytics/uves")
            servers = await given.ask("/analytics/uves/servers")
            all_of = await given.ask("/analytics/uves/server/*")
            posted = await given.ask("/analytics/uves/server", body={"kfilt": [SERVER], "cfilt": ["IronicNode:driver"]})
            filtered = await given.ask("/analytics/uves/servers?cfilt=IronicNode:driver")
            implied = await given.ask(f"/analytics/uves/server/{SERVER}?cfilt=IronicNode:driver")
            nobody = await given.ask(f"/analytics/uves/server/{SERVER}?sfilt=elsewhere")
            module = await given.ask(f"/analytics/uves/server/{SERVER}?mfilt=Config:bms-telemetry:0")

            assert {"href": f"{given.base}/analytics/uves/servers", "name": "servers"} in types
            assert servers == [
                {"name": key, "href": f"{given.base}/analytics/uves/server/{key}?flat"} for key in (SERVER, OTHER)
            ]
            assert [one["name"] for one in all_of["value"]] == [SERVER, OTHER]
            assert posted == {"value": [{"name": SERVER, "value": {"IronicNode": {"driver": "ipmi"}}}]}
            assert [one["name"] for one in filtered] == [SERVER]
            assert implied == {"IronicNode": {"driver": "ipmi"}}
            assert nobody == {}
            assert module["IronicNode"]["power_state"] == "power on"

    asyncio.run(play())


def test_generators_that_disagree(sqlite_store: Store) -> None:
    """
    Two generators with different values for one attribute show as pairs of value and generator.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            rival = Identity("host-2", "bms-telemetry", "Config", "0")
            await given.put(
                received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}),
                received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "redfish"}}, sender=rival),
            )
            uve = await given.ask(f"/analytics/uves/server/{SERVER}?flat")

            assert uve["IronicNode"]["driver"] == [["ipmi", str(SENDER)], ["redfish", str(rival)]]

    asyncio.run(play())


def test_tables(sqlite_store: Store) -> None:
    """
    Tables, types and schemas are listed.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            tables = await given.ask("/analytics/tables")
            types = await given.ask("/analytics/uve-types")
            schema = await given.ask("/analytics/table/ObjectServerTable/schema")
            table = await given.ask("/analytics/table/MessageTable")
            root = await given.ask("/analytics")

            assert {row["name"]: row["type"] for row in tables} == {
                "MessageTable": "LOG",
                **{kind.table: "OBJECT" for kind in TYPES.values()},
            }
            assert types["server"] == {"global_system_object": True}
            assert [column["name"] for column in schema["columns"]] == list(query.OBJECT_COLUMNS)
            assert table[0]["name"] == "schema"
            assert root[0]["href"] == f"{given.base}/analytics/uves"

    asyncio.run(play())


def test_the_history_of_a_server_can_be_asked(store: Store) -> None:
    """
    Object logs and UVE changes of one server, by time; system logs would be in a column of their own.
    """

    async def play() -> None:
        async with api(store) as given:
            logs = [
                received(BMS_LIFECYCLE_EVENT_LOG, object_log(followed(position=position)), time=T0 + position)
                for position in range(1, 6)
            ]
            await given.put(*two_servers(), *logs)
            of_server = [[{"name": "ObjectId", "value": SERVER, "op": 1}]]
            rows = await given.rows(where=of_server, select_fields=list(query.OBJECT_COLUMNS), sort=2, limit=3)
            both = await given.rows(where=[*of_server, [{"name": "ObjectId", "value": OTHER, "op": 1}]])
            typed = await given.rows(where=[[{"name": "Messagetype", "value": "BmsLifecycleEventLog", "op": 1}]])
            early = await given.rows(end_time=T0 + 2)
            messages = await given.rows(
                table="MessageTable", select_fields=["Xmlmessage", "Type", "SequenceNum"],
                where=[[{"name": "Source", "value": "host-1", "op": 1}]],
            )  # fmt: skip

            assert [row["MessageTS"] for row in rows] == [T0 + 5, T0 + 4, T0 + 3]
            assert rows[0]["ObjectId"] == SERVER
            assert rows[0]["SystemLog"] is None
            assert rows[0]["ObjectLog"].startswith('<BmsLifecycleEventLog type="sandesh"><name type="string" key=')
            assert "identifier" not in rows[0]["ObjectLog"]
            assert len(both) == 7
            assert len(typed) == 5
            assert len(early) == 4
            assert len(messages) == 7
            assert set(messages[0]) == {"Xmlmessage", "Type", "SequenceNum"}

    asyncio.run(play())


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ([], ""),
        ({}, "table"),
        ({"table": "FlowRecordTable"}, "table"),
        ({"table": ["x"]}, "table"),
        ({"having": 1}, "having"),
        ({"start_time": None}, "start_time"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"start_time": True}, "start_time"),
        ({"end_time": 2**70}, "end_time"),
        ({"start_time": "9" * 30}, "start_time"),
        ({"select_fields": []}, "select_fields"),
        ({"select_fields": ["COUNT(*)"]}, "select_fields"),
        ({"select_fields": [["x"]]}, "select_fields"),
        ({"where": {"name": "x"}}, "where"),
        ({"where": [{"name": "x"}]}, "where"),
        ({"where": [["x"]]}, "where"),
        ({"where": [[{"name": "Level", "value": "1", "op": 1}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a", "op": 5}]]}, "where"),
        ({"where": [[{"name": "MessageTS", "value": 1, "op": 7}]]}, "where"),
        ({"where": [[{"name": "MessageTS", "value": "many", "op": 5}]]}, "where"),
        ({"where": [[{"name": "MessageTS", "value": 2**63, "op": 5}]]}, "where"),
        ({"where": [[{"name": "MessageTS", "value": 1, "op": 3}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a", "op": 10}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a", "op": True}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "(", "op": 8}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": 1, "op": 1}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a\x00", "op": 1}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a", "op": 1, "suffix": {"name": "b"}}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a", "op": 1, "more": 1}]]}, "where"),
        ({"where": [[{"name": "ObjectId", "value": "a", "op": 1}]] * 101}, "where"),
        ({"filter": [[{"name": "x"}]]}, "filter"),
        ({"sort": 3}, "sort"),
        ({"sort_fields": ["ObjectLog"]}, "sort_fields"),
        ({"sort_fields": [["x"]]}, "sort_fields"),
        ({"limit": 0}, "limit"),
        ({"limit": "many"}, "limit"),
    ],
)
def test_what_is_not_supported_is_refused(asked: Any, field: str) -> None:
    """
    A query that we do not speak is refused with its field; never answered in part.
    """
    whole = {"table": "ObjectServerTable", "start_time": 0, "end_time": 1, "select_fields": ["MessageTS"]}
    given = {**whole, **asked} if asked else asked
    with pytest.raises(InvalidField) as caught:
        query.parse(given, T0)

    assert caught.value.violations[0].field == field


@pytest.mark.parametrize(
    ("text", "moment"),
    [("now", T0), ("now-10m", T0 - 600_000_000), ("now - 2h", T0 - 7_200_000_000), ("12", 12), (-5, -5)],
)
def test_moments(text: Any, moment: int) -> None:
    """
    Microseconds, or relative to now.
    """
    asked = {"table": "MessageTable", "start_time": text, "end_time": "now", "select_fields": ["Source"]}

    assert query.parse(asked, T0).start == moment


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Other": "1"}, 401),
        ({"X-Auth-Token": "nobody"}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"X-Auth-Token": "demo-member"}, 403),
        ({"Authorization": "Bearer demo-member"}, 403),
        ({"Authorization": "bearer auditor"}, 200),
        ({"X-Auth-Token": "auditor"}, 200),
    ],
)
def test_only_those_who_may_read_the_sites_analytics(sqlite_store: Store, headers: dict[str, str], status: int) -> None:
    """
    No token, no answer; a tenant's token is not enough, an auditor's is.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            answer = await given.ask("/analytics/uves", status=status, **headers)

            assert status == 200 or answer["error"]["remedy"] or answer["error"]["reason"] == "UNAUTHENTICATED"

    asyncio.run(play())


def test_what_is_not_there(sqlite_store: Store) -> None:
    """
    Unknown types and tables are 404 with what there is; an unknown object is empty, as in the reference.
    """

    async def play() -> None:
        async with api(sqlite_store) as given:
            assert await given.ask("/analytics/uves/server/none?flat") == {}
            for path in ("/analytics/uves/nonsenses", "/analytics/uves/server", "/analytics/uves/nonsense/x",
                         "/analytics/table/x", "/analytics/table/x/schema", "/elsewhere"):  # fmt: skip
                assert "error" in await given.ask(path, status=404), path
            assert "error" in await given.ask("/analytics/query", body=b"{", status=400)
            assert "error" in await given.ask("/analytics/uves/server", body=b"[1]", status=400)
            assert "error" in await given.ask("/analytics/uves/server", body={"kfilt": [1]}, status=400)
            assert "error" in await given.ask("/analytics/query", body=io.BytesIO(b" " * 2_000_000), status=413)

    asyncio.run(play())


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["ObjectServerTable", "Source"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.booleans(),
    asked=st.dictionaries(
        st.sampled_from(
            ["table", "start_time", "end_time", "select_fields", "where", "filter", "limit", "sort", "sort_fields"]
        ),
        _json,
        max_size=4,
    ),
)
def test_no_query_is_an_internal_error(sqlite_store: Store, whole: bool, asked: dict[str, Any]) -> None:
    """
    Any JSON is answered or refused.
    """
    base = {"table": "ObjectServerTable", "start_time": 0, "end_time": 1, "select_fields": ["MessageTS"]}
    try:
        parsed = query.parse({**base, **asked} if whole else asked, T0)
    except InvalidField:
        return
    assert sqlite_store._database.read(lambda tx: query.run(tx, parsed)) == []
