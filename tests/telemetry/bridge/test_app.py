# SPDX-License-Identifier: Apache-2.0
"""A bridge at work, over an Ironic in memory and our own collector: what the analytics API then shows."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.kernel.errors import InvalidField
from services.runtime.database import Database
from telemetry.bridge.app import active, run
from telemetry.bridge.bridge import Bridge
from telemetry.bridge.conf import BridgeSettings, read
from telemetry.bridge.listening import Ear
from telemetry.sandesh.generator import Generator
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.settings import Address
from tests.telemetry.bridge.fake_ironic import FakeIronic
from tests.telemetry.bridge.notes import NODE, OTHER, PORT, SECRET, body, node, port
from tests.telemetry.rig import Rig, rig
from tests.telemetry.sandesh.certificates import certificates

LATER = "2026-11-22T10:00:00Z"
Play = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A bridge, what it reads and what is told."""

    def __init__(self, ironic: FakeIronic, told: Rig, bridge: Bridge) -> None:
        self.ironic = ironic
        self.told = told
        self.bridge = bridge

    async def uve(self, uuid: str, wanted: Callable[[Any], bool]) -> Any:
        """The UVE of a node by REST, once it is as wanted."""
        found = await self.told.eventually(
            lambda: self.told.get(f"/analytics/uves/server/{uuid}?flat"), lambda all_: wanted(all_.get("IronicNode"))
        )
        return found.get("IronicNode")

    async def status(self, wanted: Callable[[dict[str, str]], bool]) -> dict[str, Any]:
        """Our NodeStatus: the connections by name, once they are as wanted."""

        def states(found: Any) -> dict[str, str]:
            if "NodeStatus" not in found:
                return {}
            (process,) = [each for each in found["NodeStatus"]["process_status"] if "ironic" in each["module_id"]]
            return {each["name"]: each["status"] for each in process["connection_infos"]}

        found = await self.told.eventually(
            lambda: self.told.get("/analytics/uves/config-node/the-host?flat"), lambda all_: wanted(states(all_))
        )
        (process,) = [each for each in found["NodeStatus"]["process_status"] if "ironic" in each["module_id"]]
        return dict(process)


def settings(ironic: FakeIronic, folder: Path, **more: str) -> BridgeSettings:
    """Of the old daemon's file for this Ironic."""
    file = folder / "old.conf"
    file.write_text(ironic.conf(**more))
    return read([file], {}, lambda _: "the-host")


def clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


@asynccontextmanager
async def stage(ironic: FakeIronic, database: Database, folder: Path) -> AsyncIterator[Stage]:
    """All of it, until the block ends."""
    failures: list[BaseException] = []
    async with rig(database) as told:
        own = replace(settings(ironic, folder), collectors=(Address("127.0.0.1", told.ports.collector),))
        async with active(own, clock, failures.append, least=0.02) as bridge:
            yield Stage(ironic, told, bridge)
    assert failures == []


@pytest.fixture
def play(ironic: FakeIronic, sqlite_database: Database, tmp_path: Path) -> Callable[[Play], None]:
    """Plays a test's coroutine on a stage."""

    def run(scene: Play) -> None:
        async def all_() -> None:
            async with stage(ironic, sqlite_database, tmp_path) as ready:
                await scene(ready)

        asyncio.run(all_())

    return run


def test_nodes_appear_as_they_did_under_the_old_name(ironic: FakeIronic, play: Callable[[Play], None]) -> None:
    """
    As IronicNode in ObjectServerTable, by a generator of the old identity, with a session that is established.
    """
    ironic.put(node(properties={"memory_mb": "8192"}, driver_info={"ipmi_address": "10.0.0.1"}), port())

    async def scene(at: Stage) -> None:
        uve = await at.uve(NODE, lambda found: found is not None and found.get("port_info") is not None)
        assert {name: uve[name] for name in ("provision_state", "power_state", "host_name", "instance_uuid")} == {
            "provision_state": "available", "power_state": "power off", "host_name": "rack1-u1", "instance_uuid": None,
        }  # fmt: skip
        assert uve["node_properties"] == {"memory_mb": 8192}
        assert uve["driver_info"] == {"ipmi_address": "10.0.0.1"}
        assert [each["mac_address"] for each in uve["port_info"]] == ["52:54:00:00:00:01"]
        name = "the-host:Config:ironic-notification-manager:0"
        generators = await at.told.get("/analytics/uves/generators")
        assert name in [each["name"] for each in generators]
        state = await at.told.get(f"/analytics/uves/generator/{name}?flat")
        assert state["ModuleClientState"]["client_info"]["status"] == "Established"
        assert at.bridge.take([body("node.delete.end", node(updated_at=LATER))]) == [""]
        await at.uve(NODE, lambda found: found is None)

    play(scene)


def test_5_a_message_that_cannot_be_handled_is_parked_and_the_next_is_read(
    ironic: FakeIronic, play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The original neither acknowledged nor refused it: it came again at each connection. A defect of ours does no more
    harm than one of the sender's.
    """
    ironic.put(node())

    async def scene(at: Stage) -> None:
        await at.uve(NODE, lambda found: found is not None)
        hear = at.bridge.fleet.hear

        def broken(told: Any) -> bool:
            if told.uuid == OTHER:
                raise KeyError(SECRET)
            return hear(told)

        monkeypatch.setattr(type(at.bridge.fleet), "hear", lambda _, told: broken(told))
        reasons = at.bridge.take(
            [b"x", body("node.update.end", node(uuid=OTHER)), body("node.update.end", node(name="n", updated_at=LATER))]
        )
        assert reasons == ["it is not JSON", "it could not be handled: KeyError", ""]
        await at.uve(NODE, lambda found: found["host_name"] == "n")

    play(scene)


def test_11_it_says_how_its_connections_are(ironic: FakeIronic, play: Callable[[Play], None]) -> None:
    """
    The original had no NodeStatus. Functional only if RabbitMQ, Ironic and the collector are there.
    """
    ironic.put(node())

    async def scene(at: Stage) -> None:
        await at.status(lambda all_: all_.get("Ironic API") == "Up" and all_.get("Collector") == "Up")
        ironic.status = 503
        at.bridge.list_anew()
        said = await at.status(lambda all_: all_.get("Ironic API") == "Down")
        assert said["state"] == "Non-Functional"
        assert "Ironic API[it refuses to list (503)" in said["description"]
        assert SECRET not in json.dumps(said)
        ironic.status = 0
        await at.status(lambda all_: all_.get("Ironic API") == "Up")
        assert await at.uve(NODE, lambda found: found is not None)

    play(scene)


def test_12_everything_is_listed_again_and_who_vanished_is_gone(
    ironic: FakeIronic, play: Callable[[Play], None]
) -> None:
    """
    The original listed once, before it listened. A notification of a node that is not known leads to a listing too.
    """
    ironic.put(node(), node(uuid=OTHER), port())

    async def scene(at: Stage) -> None:
        await at.uve(NODE, lambda found: found is not None and found.get("port_info") is not None)
        await at.uve(OTHER, lambda found: found is not None)
        del ironic.nodes[OTHER]
        del ironic.ports[PORT]
        at.bridge.list_anew()
        await at.uve(OTHER, lambda found: found is None)
        await at.uve(NODE, lambda found: found is not None and found.get("port_info") is None)
        third = node(uuid="33333333-3333-4333-8333-333333333333", name="third")
        ironic.put(third)
        at.bridge.take([body("node.power_set.end", third)])
        uve = await at.uve(third["uuid"], lambda found: found is not None)
        assert uve["host_name"] == "third"

    play(scene)


def test_19_each_notification_of_a_node_is_an_entry_in_its_history(
    ironic: FakeIronic, play: Callable[[Play], None]
) -> None:
    """
    The original sent no object log. An error is one; what came twice or late, or was only asked for, is none.
    """
    ironic.put(node())

    async def scene(at: Stage) -> None:
        await at.uve(NODE, lambda found: found is not None)
        failed = node(provision_state="deploy failed", updated_at=LATER, instance_info={"configdrive": SECRET})
        at.bridge.take([
            body("node.update.start", node(name="wish", updated_at=LATER)),
            body("node.provision_set.error", failed),
            body("node.provision_set.start", node(provision_state="deploying")),
            body("port.update.end", port()),
        ])  # fmt: skip
        question = {
            "table": "MessageTable", "start_time": "now-1d", "end_time": "now",
            "select_fields": ["Level", "ModuleId", "Xmlmessage"],
            "where": [[{"name": "Messagetype", "value": "BmsLifecycleEventLog", "op": 1}]],
        }  # fmt: skip

        async def ask() -> Any:
            url = f"http://127.0.0.1:{at.told.ports.rest}/analytics/query"
            async with at.told.http.post(url, json=question, headers={"X-Auth-Token": "admin"}) as answer:
                return (await answer.json())["value"]

        (entry,) = await at.told.eventually(ask, bool)
        assert (entry["Level"], entry["ModuleId"]) == (3, "ironic-notification-manager")
        assert "Ironic: provision_set error, available to deploy failed" in entry["Xmlmessage"]
        assert SECRET not in json.dumps(entry)

    play(scene)


def test_introspection_shows_the_cache_on_loopback(
    ironic: FakeIronic, sqlite_database: Database, tmp_path: Path
) -> None:
    """
    As contrail-status asks for it; a port that somebody has is said.
    """
    ironic.put(node())

    async def scene() -> None:
        async with rig(sqlite_database) as told, aiohttp.ClientSession() as http:
            port_ = free_port()
            own = replace(
                settings(ironic, tmp_path, introspect_port=str(port_)),
                collectors=(Address("127.0.0.1", told.ports.collector),),
            )
            async with active(own, clock, lambda error: None, least=0.02) as bridge:
                await told.eventually(cached(bridge), bool)
                url = f"http://127.0.0.1:{port_}/Snh_SandeshUVECacheReq?x=IronicNode"
                async with http.get(url) as answer:
                    assert NODE in await answer.text()
                with pytest.raises(InvalidField, match=r"introspect_port: 127\.0\.0\.1"):
                    async with active(own, clock, lambda error: None):
                        pass

    asyncio.run(scene())


def test_10_tls_and_dscp_reach_the_sockets(ironic: FakeIronic, sqlite_database: Database, tmp_path: Path) -> None:
    """
    The original read them and passed them to nobody: it spoke plain TCP to collectors that wanted TLS.
    """
    files = certificates(tmp_path / "tls", "analytics")
    ironic.put(node())
    file = tmp_path / "old.conf"
    sandesh = {
        "sandesh_ssl_enable": True, "introspect_ssl_enable": True, "sandesh_keyfile": files.key,
        "sandesh_certfile": files.certificate, "sandesh_ca_cert": files.authority, "sandesh_dscp_value": 46,
    }  # fmt: skip
    port_ = free_port()
    lines = "".join(f"{name} = {value}\n" for name, value in sandesh.items())
    file.write_text(ironic.conf(introspect_port=str(port_)) + f"[SANDESH]\n{lines}")

    async def scene() -> None:
        async with rig(sqlite_database, tls=files) as told, aiohttp.ClientSession() as http:
            own = read([file], {}, lambda _: "the-host")
            own = replace(own, collectors=(Address("127.0.0.1", told.ports.collector),))
            async with active(own, clock, lambda error: None, least=0.02) as bridge:
                await asyncio.wait_for(bridge.generator.established(), 15)
                writer = bridge.generator._writer
                assert writer is not None
                assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
                assert writer.get_extra_info("socket").getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
                async with http.get(f"https://127.0.0.1:{port_}/Snh_SandeshUVETypesReq", ssl=False) as answer:
                    assert "IronicNode" in await answer.text()

    asyncio.run(scene())


class PlayedListening:
    """Listening in the test's hands, in place of a broker."""

    made: PlayedListening

    def __init__(
        self, _cluster: object, _queues: object, handle: Callable[[list[bytes]], list[str]], told: Any
    ) -> None:
        self.handle = handle
        self.told = told
        self.started = self.stopped = False
        type(self).made = self

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.stopped = True


def test_19_who_waits_tells_nothing_and_who_takes_over_lists_anew(
    ironic: FakeIronic, sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is brought before there is a bridge waits for it, and is not acknowledged if there will be none. The UVEs go
    with the turn, and come with it.
    """
    monkeypatch.setattr("telemetry.bridge.app.Listening", PlayedListening)
    ironic.put(node())

    async def scene() -> None:
        stop = asyncio.Event()
        async with rig(sqlite_database) as told:
            own = replace(settings(ironic, tmp_path), collectors=(Address("127.0.0.1", told.ports.collector),))
            running = asyncio.create_task(run(own, stop, clock=clock, least=0.02))

            async def shows(wanted: Callable[[Any], bool]) -> None:
                await told.eventually(lambda: told.get(f"/analytics/uves/server/{NODE}?flat"), wanted)

            await asyncio.sleep(0)
            ear = PlayedListening.made
            assert ear.started
            ear.told(Ear.STANDBY, "another bridge reads")
            ironic.put(node(name="renamed", updated_at=LATER))
            renamed = body("node.update.end", ironic.nodes[NODE])
            early = asyncio.create_task(asyncio.to_thread(ear.handle, [renamed]))
            ear.told(Ear.ACTIVE, "")
            assert await asyncio.wait_for(early, 15) == [""]
            await shows(lambda found: found.get("IronicNode", {}).get("event_type") == "baremetal.node.update.end")
            ear.told(Ear.AWAY, "ConnectionClosed")
            ear.told(Ear.STANDBY, "another bridge reads")
            await shows(lambda found: found == {})
            ironic.put(node(name="anew"))
            ear.told(Ear.ACTIVE, "")
            await shows(lambda found: found.get("IronicNode", {}).get("host_name") == "anew")
            ear.told(Ear.STANDBY, "another bridge reads")
            await shows(lambda found: found == {})
            late = asyncio.create_task(asyncio.to_thread(ear.handle, [renamed]))
            stop.set()
            with pytest.raises(ConnectionAbortedError):
                await asyncio.wait_for(late, 15)
            await asyncio.wait_for(running, 30)
            assert ear.stopped

    asyncio.run(scene())


def test_without_a_broker_it_lists_once_its_patience_is_over(
    ironic: FakeIronic, sqlite_database: Database, tmp_path: Path
) -> None:
    """
    And says that RabbitMQ is away.
    """
    ironic.put(node())

    async def scene() -> None:
        stop = asyncio.Event()
        async with rig(sqlite_database) as told:
            own = settings(ironic, tmp_path, rabbit_server=f"127.0.0.1:{free_port()}")
            own = replace(own, collectors=(Address("127.0.0.1", told.ports.collector),))
            running = asyncio.create_task(run(own, stop, clock=clock, least=0.02, patience=0.1))
            url = f"/analytics/uves/server/{NODE}?flat"
            await told.eventually(lambda: told.get(url), lambda found: "IronicNode" in found)
            url = "/analytics/uves/config-node/the-host?flat"
            await told.eventually(lambda: told.get(url), lambda found: "RabbitMQ[" in json.dumps(found))
            stop.set()
            await asyncio.wait_for(running, 30)

    asyncio.run(scene())


def test_a_part_that_fails_ends_the_process(
    ironic: FakeIronic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever supervises it starts it anew: half a bridge would look like a whole one.
    """

    async def broken(_: Generator) -> None:
        msg = "a defect"
        raise RuntimeError(msg)

    monkeypatch.setattr(Generator, "run", broken)

    own = settings(ironic, tmp_path, rabbit_server=f"127.0.0.1:{free_port()}", collectors="127.0.0.1:1")

    async def scene() -> None:
        await asyncio.wait_for(run(own, asyncio.Event(), clock=clock, patience=0.1), 30)

    with pytest.raises(RuntimeError, match="a defect"):
        asyncio.run(scene())


def cached(bridge: Bridge) -> Callable[[], Awaitable[Any]]:
    """Asks for the node in its cache."""

    async def ask() -> Any:
        return bridge.generator.session.cache.get(IRONIC_NODE_INFO, NODE)

    return ask


def free_port() -> int:
    """One that nobody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_the_process_says_in_one_line_why_it_cannot_begin(tmp_path: Path) -> None:
    """
    With the option and what to do; and it ends with 1.
    """
    file = tmp_path / "old.conf"
    file.write_text("[DEFAULTS]\nnotification_level = loud\n")
    done = subprocess.run(
        [sys.executable, "-m", "telemetry.bridge", "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert json.loads(line)["event"] == "bridge.failed"
    assert "DEFAULTS.notification_level" in json.loads(line)["error"]


def test_the_process_without_a_broker_tries_on_and_ends_when_told(ironic: FakeIronic, tmp_path: Path) -> None:
    """
    It logs to the old file at the old level, says which options do nothing, and no password.
    """
    log, file = tmp_path / "inm.log", tmp_path / "old.conf"
    options = {"log_local": "1", "log_file": str(log), "log_level": "SYS_NOTICE", "rabbit_ha_mode": "True"}
    broker = {"rabbit_server": f"127.0.0.1:{free_port()}", "rabbit_password": SECRET, "collectors": "127.0.0.1:1"}
    file.write_text(ironic.conf(**options, **broker))
    process = subprocess.Popen(
        [sys.executable, "-m", "telemetry.bridge", "--conf_file", str(file)], stderr=subprocess.PIPE
    )
    try:
        seen = ""
        while "notifications.away" not in seen:
            assert process.poll() is None, process.communicate()
            seen = log.read_text() if log.exists() else ""
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()
    events = {json.loads(line)["event"]: json.loads(line) for line in log.read_text().splitlines()}
    assert events["options.not_followed"]["options"] == ["DEFAULTS.rabbit_ha_mode"]
    assert "stopped" in events
    assert SECRET not in log.read_text()
