# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from telemetry.sandesh.actions import Fate
from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.generator import Generator
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.sockets import KEEPALIVE, TlsFiles, client_context, keep_alive, server_context
from telemetry.sandesh.states import State
from telemetry.sandesh.status import Connection, ConnectionStatus
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.certificates import certificates
from tests.telemetry.sandesh.fakes import SENDER, Clock, FakeSink
from tests.telemetry.sandesh.vectors import FULL

THEM = Identity("analytics-1", "contrail-collector", "Analytics", "0")
LOOPS = pytest.mark.parametrize("loop", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(scenario: Callable[[], Coroutine[Any, Any, None]], loop: Callable[[], Any] | None = None) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            await scenario()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


@asynccontextmanager
async def collecting(sink: FakeSink, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Address]:
    async with Collector(CollectorSettings(identity=THEM, port=port), sink, Clock(), tls=tls) as found:
        yield Address("127.0.0.1", found.port)


@asynccontextmanager
async def generating(
    *collectors: Address, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Generator]:
    patience = {"first_hold": 0.01, "longest_hold": 0.05, "settle": 0.0}
    settings = GeneratorSettings(identity=SENDER, collectors=collectors, pid=1, **{**patience, **changes})
    found = Generator(settings, Clock(), (IRONIC_NODE_INFO,), tls=tls, dscp=8)
    running = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        found.stop()
        await running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def attempts(found: Generator, number: int) -> None:
    """Waits until the generator has tried so often."""
    while found.session.attempt < number:
        await found._changed.wait()


def unsent(found: Generator) -> bool:
    return found.session.unsent


def state_of(sink: FakeSink) -> Any:
    return sink.store_.view("ObjectGeneratorInfo", str(SENDER)).flat().get("ModuleClientState")


@LOOPS
def test_tells_everything(loop: Callable[[], Any] | None) -> None:
    """
    What was told before there was a session, and what is told in it, arrives; and who told it can be seen.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collecting(sink) as address, generating(address) as found:
            found.update(IRONIC_NODE_INFO, FULL.values["data"])
            number = await found.established()
            found.replace(IRONIC_NODE_INFO, {"name": "m", "driver": "x"})
            found.update(IRONIC_NODE_INFO, {"name": "gone", "driver": "x"})
            found.delete(IRONIC_NODE_INFO, {"name": "gone"})
            assert found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "m", "sequence": 1}) is Fate.QUEUED
            assert await found.deliver(BMS_LIFECYCLE_EVENT_LOG, {"name": "m", "sequence": 2}) == number
            await sink.until(lambda: sink.names().count("BmsLifecycleEventLog") == 2)

            assert sink.store_.view("ObjectServerTable", FULL.values["data"]["name"]).flat()
            assert sink.store_.view("ObjectServerTable", "m").flat()["IronicNode"]["driver"] == "x"
            assert sink.store_.view("ObjectServerTable", "gone").flat() == {}
            assert state_of(sink)["client_info"]["status"] == state_of(sink)["sm_stats"]["state"] == "Established"
            assert state_of(sink)["msg_type_agg"]["SandeshCtrlClientToServer"]["messages_sent"] == 1
            numbers = [fields(one.message.body)["sequence"] for one in sink.messages if "EventLog" in one.xml]
            assert numbers == [1, 2]
            assert found.session.dscp == 8
            assert sink.admitted[0].types == ("SandeshModuleClientTrace", "NodeStatusUVE", "IronicNodeInfo")
        await sink.until(lambda: bool(sink.forgotten))

    run(scenario, loop)


@LOOPS
def test_fails_over(loop: Callable[[], Any] | None) -> None:
    """
    When a collector goes, the next one gets everything; when that goes too, the first one again.
    """

    async def scenario() -> None:
        dead = Address("127.0.0.1", free_port())
        first, second = FakeSink(), FakeSink()
        async with collecting(first) as a, collecting(second) as b, generating(dead, a, b) as found:
            found.update(IRONIC_NODE_INFO, {"name": "n", "driver": "x"})
            await first.until(lambda: "IronicNodeInfo" in first.names())
            assert await found.established() == 1
            found.move((a, b))
            # A collector whose disk is full throws everybody out.
            first.broken = True
            found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"})
            await second.until(lambda: "IronicNodeInfo" in second.names())
            assert await found.established() == 2
            first.broken, second.broken = False, True
            found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"})
            await first.until(lambda: first.names().count("IronicNodeInfo") == 2)

    with capture_logs():  # or each traceback is drawn, for seconds where the machine is busy
        run(scenario, loop)


def test_delivers_across_sessions() -> None:
    """
    A message that must be delivered waits for a collector that is not there yet.
    """

    async def scenario() -> None:
        sink, port = FakeSink(), free_port()
        async with generating(Address("127.0.0.1", port)) as found:
            assert found.log(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}) is Fate.NO_SESSION
            waiting = asyncio.create_task(found.deliver(BMS_LIFECYCLE_EVENT_LOG, {"name": "n"}))
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            assert not done
            async with collecting(sink, port):
                assert await waiting == 1
                await sink.until(lambda: "BmsLifecycleEventLog" in sink.names())

    run(scenario)


def test_what_does_not_fit_is_made_to() -> None:
    """
    No bad value costs a message or a session, none is sent as it is, and a secret never is; an object without a
    key is refused.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collecting(sink) as address, generating(address) as found:
            await found.deliver(BMS_LIFECYCLE_EVENT_LOG, {"name": "\0", "sequence": "x", "text": 7})
            properties = {"memory_mb": "8192", "cpus": -1}
            driver_info = {"ipmi_password": "hunter2", "ipmi_terminal_port": "623"}
            whole = {"name": "n", "driver": 1, "node_properties": properties, "driver_info": driver_info}
            found.replace(IRONIC_NODE_INFO, {**whole, "host_name": "x" * 200_000})
            await sink.until(lambda: {"BmsLifecycleEventLog", "IronicNodeInfo"} <= set(sink.names()))
            with pytest.raises(EncodeError):
                found.update(IRONIC_NODE_INFO, {"driver": "ipmi"})
        (log,) = (one.message for one in sink.messages if one.message.body.name == "BmsLifecycleEventLog")
        assert fields(log.body) == {"name": "\ufffd", "text": "7"}
        (node,) = (one.message for one in sink.messages if one.message.body.name == "IronicNodeInfo")
        data: Any = fields(node.body)["data"]
        assert data["driver"] == "1"
        assert data["node_properties"] == {"memory_mb": 8192}
        assert data["driver_info"] == {"ipmi_password": "******", "ipmi_terminal_port": 623}
        assert 10_000 < len(data["host_name"]) < 100_000
        assert len(sink.admitted) == 1

    run(scenario)


@LOOPS
def test_large_resync(loop: Callable[[], Any] | None) -> None:
    """
    Many large objects are told again at the pace of a slow collector, without filling the memory.
    """

    async def scenario() -> None:
        sink = FakeSink()
        large = "x" * 60_000
        async with collecting(sink) as address, generating() as found:
            for number in range(300):
                found.update(IRONIC_NODE_INFO, {"name": f"n{number}", "host_name": large})
            sink.open.clear()
            found.move((address,))
            await found.established()
            most = 0
            for _ in range(200):
                await asyncio.sleep(0)
                most = max(most, found.queued)
            assert unsent(found)
            assert most < 1_000_000
            sink.open.set()
            await sink.until(lambda: sink.names().count("IronicNodeInfo") == 300)
            assert not unsent(found)
            assert {one.message.header.hints for one in sink.messages if "IronicNode" in one.xml} == {5}

    run(scenario, loop)


def test_other_connections() -> None:
    """
    What else a process needs is part of its node's status.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collecting(sink) as address, generating(address) as found:
            await found.established()
            found.connection(Connection("Database", "store", ConnectionStatus.DOWN, (), "gone"))
            await sink.until(lambda: sink.names().count("NodeStatusUVE") == 2)
            status = sink.store_.view("ObjectConfigNode", SENDER.source).flat()["NodeStatus"]
            assert status["process_status"][0]["state"] == "Non-Functional"

    run(scenario)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70 + ".example", "127.0.0.1"])
def test_unreachable(host: str) -> None:
    """
    A collector that is not there, or whose name is none, is tried again, and stopping does not wait for it.
    """

    async def scenario() -> None:
        async with generating(Address(host, free_port())) as found:
            await attempts(found, 3)
            assert found.session.state is not State.ESTABLISHED

    run(scenario)


def test_stopping_sends_what_is_queued() -> None:
    """
    What was told just before the end is still sent.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collecting(sink) as address:
            async with generating(address) as found:
                await found.established()
                for number in range(500):
                    found.update(IRONIC_NODE_INFO, FULL.values["data"] | {"name": f"n{number}"})
            await sink.until(lambda: sink.names().count("IronicNodeInfo") == 500)

    run(scenario)


def test_run_again() -> None:
    """
    A generator that was stopped may run again, in a new session, and tells only what it was told since.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collecting(sink) as address:
            settings = GeneratorSettings(identity=SENDER, collectors=(address,), settle=0.0)
            found = Generator(settings, Clock(), (IRONIC_NODE_INFO,))
            for name in ("before", "after"):
                running = asyncio.create_task(found.run())
                found.replace(IRONIC_NODE_INFO, {"name": name, "driver": "ipmi"})
                await found.established()
                view = sink.store_.view
                await sink.until(lambda: bool(view("ObjectServerTable", name).flat()))  # noqa: B023 -- awaited here
                assert view("ObjectConfigNode", SENDER.source).flat()
                found.stop()
                await running
                found.forget()
                await sink.until(lambda: not view("ObjectServerTable", name).flat())  # noqa: B023 -- the same
        assert found.session.established == len(sink.admitted) == 2
        told = "".join(message.xml for message in sink.messages)
        assert told.count(">before<") == told.count(">after<") == 1

    run(scenario)


def test_cancelled() -> None:
    """
    A generator that is cancelled leaves nothing running.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with collecting(sink) as address:
            settings = GeneratorSettings(identity=SENDER, collectors=(address,))
            found = Generator(settings, Clock())
            running = asyncio.create_task(found.run())
            await found.established()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await sink.until(lambda: bool(sink.forgotten))

    run(scenario)


# --- TLS and socket options ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return certificates(tmp_path_factory.mktemp("ours"), "collector")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return certificates(tmp_path_factory.mktemp("theirs"), "stranger")


@LOOPS
def test_tls(loop: Callable[[], Any] | None, ours: TlsFiles) -> None:
    """
    Both ends show certificates of one authority, and speak TLS 1.2.
    """

    async def scenario() -> None:
        sink = FakeSink()
        async with (
            collecting(sink, tls=server_context(ours)) as address,
            generating(address, tls=client_context(ours)) as found,
        ):
            await found.established()
            assert found._writer is not None
            assert found._writer.get_extra_info("ssl_object").version() == "TLSv1.2"

    run(scenario, loop)


@pytest.mark.parametrize("who", ["stranger", "nobody", "plain"])
def test_tls_refusals(who: str, ours: TlsFiles, theirs: TlsFiles) -> None:
    """
    A generator with another authority's certificate, with none, or without TLS gets no session.
    """

    async def scenario() -> None:
        sink = FakeSink()
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nobody.check_hostname = False
        nobody.load_verify_locations(ours.authority)
        tls = {"stranger": client_context(theirs), "nobody": nobody, "plain": None}[who]
        async with collecting(sink, tls=server_context(ours)) as address, generating(address, tls=tls) as found:
            await attempts(found, 4)
        assert sink.admitted == []

    run(scenario)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_socket_options(family: socket.AddressFamily) -> None:
    """
    A dead peer is noticed by the reference's own keepalive settings, and the class of service is set.
    """
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        keep_alive(connection.fileno(), dscp=8)

        for level, name, value in KEEPALIVE:
            assert value == connection.getsockopt(level, name)
        where = (socket.IPPROTO_IP, socket.IP_TOS)
        if family == socket.AF_INET6:
            where = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
        assert connection.getsockopt(*where) == 32
