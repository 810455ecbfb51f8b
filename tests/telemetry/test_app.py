# SPDX-License-Identifier: Apache-2.0
"""From a service's event to analytics' answer, over the genuine wire."""

from __future__ import annotations

import asyncio
from typing import Any

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from bms.telemetry.v1 import telemetry_pb2 as pb
from services.runtime.database import Database
from telemetry.sandesh.schema import Level
from tests.telemetry.builders import SERVER, T0, event_id, stamp, stored
from tests.telemetry.fakes import FakeInventory, FakeLog
from tests.telemetry.rig import Rig, bearer, rig

PORT = f"servers/{SERVER}/ports/525400abcd01"


def a_life() -> dict[str, FakeLog]:
    """A server that is registered and deployed, and an address it got."""
    off = event_pb2.Evidence(power=event_pb2.PowerReading(power="off", read_time=stamp(T0)))
    instance = "projects/demo/instances/web-1"
    return {
        "inventory": FakeLog("inventory", [stored("inventory", 1, type="server.created")]),
        "lifecycle": FakeLog(
            "lifecycle",
            [
                stored(position=1, after="enrolled", type="server.enrolled"),
                stored(position=2, before="enrolled", after="available", evidence=off),
                stored(position=3, before="available", after="active", project="demo", instance=instance),
            ],
        ),
        "ipam": FakeLog(
            "ipam", [stored("ipam", 1, type="address.leased", stream="vrfs/red/addresses/10.0.0.7", project="demo")]
        ),
    }


def a_server() -> FakeInventory:
    return FakeInventory(
        server_pb2.Server(
            name=f"servers/{SERVER}",
            display_name="r1u7",
            bmc=server_pb2.Bmc(address="192.0.2.17", driver="ipmi", password="hunter2"),
            ports=[server_pb2.Port(name=PORT, mac_address="52:54:00:ab:cd:01", switch_name="leaf-1")],
        )
    )


async def status(given: Rig) -> Any:
    return await given.stub.GetPipelineStatus(pb.GetPipelineStatusRequest(), metadata=bearer("admin"))


async def uve_of(given: Rig) -> Any:
    return (await given.get(f"/analytics/uves/server/{SERVER}?flat")).get("IronicNode", {})


async def logs_of(given: Rig, **asked: Any) -> list[Any]:
    request = pb.ListSandeshMessagesRequest(message_type="BmsLifecycleEventLog", page_size=1000, **asked)
    return list((await given.stub.ListSandeshMessages(request, metadata=bearer("admin"))).messages)


def all_handed(answer: Any) -> bool:
    return {log.service: log.position for log in answer.logs} == {
        "inventory": 1,
        "ipam": 1,
        "lifecycle": 3,
        "network": 0,
    }


def test_every_event_reaches_analytics_once(database: Database) -> None:
    """
    Events of four services become object logs and a UVE, which came over TCP with the handshake.
    """

    async def play() -> None:
        async with rig(database, a_life(), a_server()) as given:
            answer = await given.eventually(lambda: status(given), all_handed)
            uve = await given.eventually(lambda: uve_of(given), lambda uve: uve.get("driver") == "ipmi")
            logs = await logs_of(given)
            of_server = await logs_of(given, object_key=f"ObjectServerTable:{SERVER}")

            assert answer.session_state == "Established"
            assert answer.collector == f"127.0.0.1:{given.ports.collector}"
            assert [row.generator for row in answer.generators] == ["host-1:Config:bms-telemetry:0"]
            assert uve["provision_state"] == "active"
            assert uve["power_state"] == "power off"
            assert uve["instance_uuid"] == "web-1"
            assert uve["host_name"] == "r1u7"
            assert uve["port_info"][0]["local_link_connection"]["switch_info"] == "leaf-1"
            assert len(logs) == 5
            assert len(of_server) == 4
            assert all(log.xml.startswith("<sandesh length=") and log.sandesh_type == 7 for log in logs)
            assert "hunter2" not in str(uve) + "".join(log.xml for log in logs)

    asyncio.run(play())


def test_a_verdict_and_its_alarm_are_seen_by_every_reader(database: Database) -> None:
    """
    Beside Ironic's fields, which stay what they are: over REST and gRPC, until a clean pass says otherwise; the alarm
    is the most urgent of the server's object logs.
    """
    logs = a_life()
    invariant = {"invariant": "I1", "witness_first": "a", "witness_second": "b"}
    logs["lifecycle"].append(
        stored(position=4, type="server.violated", before="active", after="active", message="I1: two", facts=invariant)
    )

    async def verdict_of(given: Rig) -> Any:
        return (await given.get(f"/analytics/uves/server/{SERVER}?flat")).get("BmsServerVerdict", {})

    async def alarms(given: Rig) -> list[Any]:
        where = [[{"name": "Messagetype", "value": "BmsLifecycleEventLog", "op": 1}]]
        asked = {"table": "MessageTable", "start_time": "now-1d", "end_time": "now", "where": where,
                 "select_fields": ["Level", "Xmlmessage"]}  # fmt: skip
        async with given.http.post(
            f"http://127.0.0.1:{given.ports.rest}/analytics/query", json=asked, headers={"X-Auth-Token": "admin"}
        ) as response:
            return [row["Xmlmessage"] for row in (await response.json())["value"] if row["Level"] == Level.ALERT]

    async def play() -> None:
        async with rig(database, logs, a_server()) as given:
            failed = await given.eventually(lambda: verdict_of(given), lambda said: said.get("verdict") == "fail")
            asked = pb.GetUveRequest(name=f"uves/server/{SERVER}")
            read = await given.stub.GetUve(asked, metadata=bearer("auditor"))
            (alarm,) = await given.eventually(lambda: alarms(given), bool)
            logs["lifecycle"].append(stored(position=5, type="clean.passed", before="cleaning", after="cleaning"))
            passed = await given.eventually(lambda: verdict_of(given), lambda said: said["verdict"] == "pass")
            node = await uve_of(given)

        assert (failed["cause_kind"], failed["cause_event"]) == ("I1", event_id("lifecycle", 4))
        assert read.contents["BmsServerVerdict"]["verdict"] == "fail"
        assert "ALARM: an invariant of isolation is broken: I1: two" in alarm
        assert (passed["cause_type"], passed["cause_kind"]) == ("clean.passed", None)
        assert "verdict" not in node

    asyncio.run(play())


def test_a_restart_repeats_nothing_and_resyncs_uves(database: Database) -> None:
    """
    Begun again on the same store, telemetry sends no object log twice, and its UVEs are there again.
    """

    async def play() -> None:
        async with rig(database, a_life(), a_server()) as given:
            await given.eventually(lambda: status(given), all_handed)
            await given.eventually(lambda: uve_of(given), lambda uve: uve.get("driver") == "ipmi")
        async with rig(database, a_life(), a_server()) as given:
            uve = await given.eventually(lambda: uve_of(given), bool)

            assert uve["provision_state"] == "active"
            assert len(await logs_of(given)) == 5

    asyncio.run(play())


def test_generator_and_node_show_themselves(sqlite_database: Database) -> None:
    """
    Our generator tells its own state and its node's, as every Contrail process does; introspection shows the same.
    """

    async def play() -> None:
        async with rig(sqlite_database, a_life(), a_server()) as given:

            async def node() -> Any:
                return (await given.get("/analytics/uves/config-node/host-1?flat")).get("NodeStatus", {})

            found = await given.eventually(
                node, lambda node: bool(node) and node["process_status"][0]["state"] == "Functional"
            )
            generator = await given.get("/analytics/uves/generator/host-1:Config:bms-telemetry:0?flat")
            url = f"http://127.0.0.1:{given.ports.introspect}/Snh_SandeshUVECacheReq?x=IronicNode"
            async with given.http.get(url) as response:
                page = await response.text()

            connections = {info["name"] for info in found["process_status"][0]["connection_infos"]}
            assert connections >= {"Collector", "inventory", "ipam", "lifecycle", "network", "store"}
            assert generator["ModuleClientState"]["client_info"]["status"] == "Established"
            assert SERVER in page

    asyncio.run(play())


def test_a_restored_log_is_seen_wherever_one_looks(sqlite_database: Database) -> None:
    """
    In our node's health, on the introspection pages, among the alarms and in the pipeline's status; and whoever watches
    gets on with the events of the log that is there now.
    """

    async def play() -> None:
        logs = a_life()
        async with rig(sqlite_database, logs, a_server()) as given:
            await given.eventually(lambda: status(given), all_handed)
            call = given.stub.WatchEvents(pb.WatchEventsRequest(after="0"), metadata=bearer("admin"))
            token = ""
            while "lifecycle-3" not in token:
                token = (await call.read()).token
            call.cancel()
            logs["lifecycle"].restore(1)
            logs["lifecycle"].append(stored(position=2, branch=1, before="enrolled", after="verifying"))

            async def health() -> Any:
                node = (await given.get("/analytics/uves/config-node/host-1?flat")).get("NodeStatus", {})
                infos = node["process_status"][0]["connection_infos"] if node else []
                return {info["name"]: info["description"] for info in infos}

            said = await given.eventually(health, lambda found: bool(found.get("lifecycle")))
            async with given.http.get(
                f"http://127.0.0.1:{given.ports.introspect}/Snh_SandeshUVECacheReq?x=NodeStatus"
            ) as response:
                page = await response.text()
            alarms = await given.eventually(lambda: logs_of(given, object_key="ObjectServerTable:logs/lifecycle"), bool)
            call = given.stub.WatchEvents(pb.WatchEventsRequest(after=token), metadata=bearer("admin"))
            seen = [sourced.event.header.id for sourced in (await call.read()).events]
            call.cancel()
            uve = await given.eventually(lambda: uve_of(given), lambda uve: uve["provision_state"] == "verifying")
            answer = await given.eventually(
                lambda: status(given), lambda found: {log.service: log.position for log in found.logs}["lifecycle"] == 2
            )

        assert "does not go on where it was read to" in said["lifecycle"]
        assert "does not go on where it was read to" in page
        assert ["ALARM" in alarm.xml for alarm in alarms] == [True]
        assert seen == [event_id("lifecycle", 2, 1)]
        assert uve["instance_uuid"] is None
        assert answer.session_state == "Established"

    asyncio.run(play())


def test_a_service_that_is_away_shows_and_holds_up_nobody(sqlite_database: Database) -> None:
    """
    With inventory away, other services' events still reach analytics, and the node says what is wrong.
    """

    async def play() -> None:
        logs, inventory = a_life(), a_server()
        logs["inventory"].down = inventory.down = True
        async with rig(sqlite_database, logs, inventory) as given:
            uve = await given.eventually(lambda: uve_of(given), bool)
            answer = await given.eventually(
                lambda: status(given), lambda found: not {log.service: log.reachable for log in found.logs}["inventory"]
            )
            assert uve["provision_state"] == "active"
            assert {log.service: log.reachable for log in answer.logs}["lifecycle"]
            logs["inventory"].down = inventory.down = False
            uve = await given.eventually(lambda: uve_of(given), lambda uve: uve.get("driver") == "ipmi")

            assert uve["host_name"] == "r1u7"

    asyncio.run(play())


def test_a_deleted_server_leaves_the_uves_and_keeps_its_history(sqlite_database: Database) -> None:
    """
    The UVE goes when inventory deletes the server; its object logs stay.
    """

    async def play() -> None:
        async with rig(sqlite_database, a_life(), a_server()) as given:
            await given.eventually(lambda: uve_of(given), lambda uve: uve.get("driver") == "ipmi")
            given.logs["inventory"].append(stored("inventory", 2, type="server.deleted"))
            await given.eventually(lambda: uve_of(given), lambda uve: not uve)
            listed = await given.get("/analytics/uves/servers")

            assert listed == []
            await given.eventually(
                lambda: logs_of(given, object_key=f"ObjectServerTable:{SERVER}"), lambda logs: len(logs) == 5
            )

    asyncio.run(play())


def test_watchers_get_tokens_when_telemetry_stops(sqlite_database: Database) -> None:
    """
    A drain ends watches with UNAVAILABLE and the token; going on from it loses and repeats nothing.
    """

    async def watched(given: Rig, after: str, until: int) -> tuple[list[str], str]:
        seen: list[str] = []
        token = after
        call = given.stub.WatchEvents(pb.WatchEventsRequest(after=after), metadata=bearer("admin"))
        async for batch in call:
            seen += [sourced.event.header.id for sourced in batch.events]
            token = batch.token
            if len(seen) >= until:
                break
        call.cancel()
        return seen, token

    async def play() -> None:
        async with rig(sqlite_database, a_life(), a_server()) as given:
            first, token = await watched(given, "0", 5)
        logs = a_life()
        logs["lifecycle"].append(stored(position=4, before="active", after="releasing"))
        async with rig(sqlite_database, logs, a_server()) as given:
            second, _ = await watched(given, token, 1)

        assert len(first) == len(set(first)) == 5
        assert second == [event_id("lifecycle", 4)]

    asyncio.run(play())
