# SPDX-License-Identifier: Apache-2.0
"""Other collectors than our own, TLS, and other generators than our own."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from bms.telemetry.v1 import telemetry_pb2 as pb
from services.runtime.database import Database
from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.header import Identity
from telemetry.sandesh.reception import Announcement, Received
from telemetry.sandesh.schema import Kind, Level
from telemetry.sandesh.settings import Address
from tests.telemetry.builders import SERVER, T0
from tests.telemetry.fakes import until
from tests.telemetry.rig import Rig, bearer, rig
from tests.telemetry.sandesh.certificates import certificates
from tests.telemetry.test_app import a_life, a_server, all_handed, logs_of, status, uve_of

GOLDEN = Path(__file__).parent / "sandesh" / "golden"
RECORDED = 1795431938000000
"""When the session of the genuine generator was recorded, microseconds since 1970."""
MINUTE = 60_000_000


class Elsewhere:
    """The sink of somebody else's collector."""

    def __init__(self) -> None:
        self.messages: list[Received] = []

    async def admit(self, announcement: Announcement) -> None:
        """Takes anybody."""

    async def store(self, message: Received) -> None:
        self.messages.append(message)

    async def forget(self, generator: Identity) -> None:
        """Keeps what it has."""

    def of(self, name: str) -> list[str]:
        return [message.xml for message in self.messages if message.message.body.name == name]


def test_a_genuine_collector_gets_everything(sqlite_database: Database) -> None:
    """
    Told of collectors, telemetry sends to the first that answers; what a session took is off the outbox.
    """

    async def play() -> None:
        sink = Elsewhere()
        settings = CollectorSettings(Identity("analytics-1", "contrail-collector", "Analytics", "0"), port=0)
        async with Collector(settings, sink, lambda: T0) as collector:
            addresses = (Address("127.0.0.1", 9), Address("127.0.0.1", collector.port))
            async with rig(sqlite_database, a_life(), a_server(), addresses) as given:
                await given.eventually(lambda: status(given), all_handed)
                await until(lambda: any("r1u7" in xml for xml in sink.of("IronicNodeInfo")))
                answer = await status(given)

                assert answer.collector == f"127.0.0.1:{collector.port}"
                assert len(sink.of("BmsLifecycleEventLog")) == 5
                assert await logs_of(given) == []

    asyncio.run(play())


def test_sessions_over_tls(sqlite_database: Database, tmp_path: Path) -> None:
    """
    With certificates both ends speak TLS from the first byte.
    """

    async def play() -> None:
        files = certificates(tmp_path / "tls", "host-1")
        async with rig(sqlite_database, a_life(), a_server(), tls=files) as given:
            await given.eventually(lambda: status(given), all_handed)
            reader, writer = await asyncio.open_connection("127.0.0.1", given.ports.collector)
            writer.write((GOLDEN / "22-ctrl-c2s-no-uves.xml").read_bytes())
            answer = await reader.read(100)
            writer.close()

            assert not answer.startswith(b"<sandesh")

    asyncio.run(play())


def test_any_generator_is_taken(sqlite_database: Database) -> None:
    """
    A frame of the reference generator, behind its introduction, is in the store and in the UVEs while it is connected.
    """
    key = "9f1a3c52-6c0c-4b1e-9a47-0d6c7a5b1e01"

    async def play() -> None:
        async with rig(sqlite_database) as given:
            reader, writer = await asyncio.open_connection("127.0.0.1", given.ports.collector)
            writer.write((GOLDEN / "23-ctrl-c2s.xml").read_bytes())
            assert (await reader.read(29)).startswith(b"<sandesh length=")
            writer.write((GOLDEN / "01-ironic-full.xml").read_bytes())
            uve = await given.eventually(lambda: uve_of(given), bool)
            request = pb.ListSandeshMessagesRequest(object_key=f"ObjectServerTable:{key}")
            listed = await given.stub.ListSandeshMessages(request, metadata=bearer("admin"))
            writer.close()
            await given.eventually(lambda: uve_of(given), lambda uve: not uve)

            assert key == SERVER
            assert uve["host_name"] == "bms-rack1-u07"
            assert listed.messages[0].xml.encode() == (GOLDEN / "01-ironic-full.xml").read_bytes()

    asyncio.run(play())


async def rows_of(given: Rig) -> Any:
    """What the store has of the recorded session."""
    query = {
        "table": "MessageTable",
        "start_time": RECORDED - MINUTE,
        "end_time": RECORDED + MINUTE,
        "select_fields": ["Messagetype", "Type", "Level", "Category", "Xmlmessage"],
        "where": [[{"name": "Source", "value": "node-7", "op": 1}]],
    }
    async with given.http.post(
        f"http://127.0.0.1:{given.ports.rest}/analytics/query", json=query, headers={"X-Auth-Token": "admin"}
    ) as response:
        return (await response.json())["value"]


def test_a_recorded_session_of_the_genuine_generator(sqlite_database: Database) -> None:
    """
    What the reference's Python generator said in a session is what REST answers: UVEs of its deltas, deletions, texts
    that are not ASCII (for which its frames say a length in characters), logs, traces and an alarm.
    """
    told = (GOLDEN / "sessions" / "python-generator.sandesh").read_bytes()
    messages = told.count(b"<sandesh length=") - 1  # the first introduces the generator

    async def play() -> None:
        async with rig(sqlite_database) as given:
            _, writer = await asyncio.open_connection("127.0.0.1", given.ports.collector)
            writer.write(told)
            uve = await given.eventually(
                lambda: uve_of(given), lambda uve: uve.get("provision_state") == "deploy failed"
            )
            servers = await given.get("/analytics/uves/servers?cfilt=IronicNode")
            node = await given.get("/analytics/uves/config-node/node-7?flat")
            alarms = await given.get("/analytics/alarms")
            rows = await given.eventually(lambda: rows_of(given), lambda rows: len(rows) == messages)
            writer.close()

            assert [server["name"] for server in servers] == [SERVER]
            assert uve["host_name"] == "rack1-u07"
            assert uve["power_state"] == "power off"
            assert uve["publisher_id"] == "Zürich-電源"
            assert uve["driver_info"] == {"ipmi_address": "10.1.1.7", "ipmi_terminal_port": 623}
            assert [port["name"] for port in uve["port_info"]] == ["p0", "p1"]
            assert node["NodeStatus"]["process_status"][0]["state"] == "Non-Functional"
            assert [alarm["value"]["UVEAlarms"]["alarms"][0]["type"] for alarm in alarms["server"]] == ["bms-hot"]
            kinds = Counter((row["Messagetype"], row["Type"], row["Level"], row["Category"]) for row in rows)
            assert kinds["TruthServerObjectLog", Kind.OBJECT, Level.INFO, "__default__"] == 1
            assert kinds["TruthSystemLog", Kind.SYSTEM, Level.ERR, "BMS"] == 1
            assert kinds["TruthTrace", Kind.TRACE, Level.DEBUG, "Buf"] == 3
            log = next(row["Xmlmessage"] for row in rows if row["Messagetype"] == "TruthSystemLog")
            assert '<str3 type="string">has</str3><count type="u32">3</count>' in log

    asyncio.run(play())


def test_a_generators_absurd_numbers_harm_nobody(sqlite_database: Database) -> None:
    """
    What claims to be a number and is none that JSON knows is answered all the same.
    """

    async def play() -> None:
        async with rig(sqlite_database) as given:
            reader, writer = await asyncio.open_connection("127.0.0.1", given.ports.collector)
            writer.write((GOLDEN / "23-ctrl-c2s.xml").read_bytes())
            await reader.read(29)
            golden = (GOLDEN / "02-ironic-minimal.xml").read_bytes()
            name = b"</IronicNode>"
            strange = b'<a type="u64" identifier="90">' + b"9" * 400 + b'</a><b type="double" identifier="91">nan</b>'
            frame = golden.replace(name, strange + name)
            frame = b'<sandesh length="%010d">' % len(frame) + frame[29:]
            writer.write(frame)

            async def listed() -> Any:
                return await given.stub.ListUves(pb.ListUvesRequest(type="server"), metadata=bearer("admin"))

            answer = await given.eventually(listed, lambda answer: bool(answer.uves))
            rest = await given.get("/analytics/uves/server/*")
            writer.close()

            assert answer.uves[0].contents["IronicNode"]["b"] == "nan"
            assert answer.uves[0].contents["IronicNode"]["a"] == "9" * 400
            assert rest["value"][0]["value"]["IronicNode"]["a"] == int("9" * 400)

    asyncio.run(play())
