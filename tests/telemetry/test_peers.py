# SPDX-License-Identifier: Apache-2.0
"""Following over the genuine wire: runtime's server on the other side, processes that are killed on this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.telemetry.v1 import telemetry_pb2 as pb
from bms.telemetry.v1 import telemetry_service_pb2_grpc
from services.kernel.calls import Role
from services.kernel.clock import RandomIds
from services.kernel.errors import PeerUnavailable
from services.runtime.auth import Tokens, make_token, token_entry
from services.runtime.migrations import migrate
from telemetry.peers import AioPeer, InventoryPeer
from tests.telemetry.builders import OTHER, SERVER
from tests.telemetry.service import Service, serving


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with tokens of an administrator and of a service."""
    tokens = {"admin": make_token(), "service": make_token()}
    roles = {"admin": (Role.ADMIN,), "service": (Role.SERVICE,)}
    entries = [token_entry(token, name, site_roles=roles[name]) for name, token in tokens.items()]
    for name, content in (
        *((f"{name}.token", token) for name, token in tokens.items()),
        ("tokens.json", json.dumps(entries)),
    ):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def token(data: Path, name: str = "service") -> str:
    return (data / f"{name}.token").read_text()


@pytest.fixture
def service(data: Path) -> Any:
    made = Service(data / "ipam-log.sqlite")  # type: ignore[abstract] # its log is all that is served
    yield made
    made.database.close()


def test_events_come_as_they_are_stored(data: Path, service: Service) -> None:
    """
    Positions, pages and bytes are those of the service's own log; a question that waits is answered by news.
    """
    service.append(5)

    async def play(port: int) -> None:
        peer = AioPeer("ipam", f"127.0.0.1:{port}", token=token(data), tls=None, ids=RandomIds())
        first = await peer.list(0, limit=3, wait=0)
        rest = await peer.list(3, limit=10, wait=0)
        waiting = asyncio.create_task(peer.list(5, limit=10, wait=10))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(service.append, 1)
        news = await waiting
        await peer.close()

        assert [event.position for event in (*first, *rest, *news)] == [1, 2, 3, 4, 5, 6]
        rows = service.log.list(after=0, limit=10, wait=0).events
        for event, row in zip((*first, *rest, *news), rows, strict=True):
            assert row.header in event.stored
            assert row.body in event.stored
            assert event.digest == row.digest

    with serving(service, Tokens.load(data / "tokens.json")) as port:
        asyncio.run(play(port))


def test_a_server_is_asked_for_by_name(data: Path, service: Service) -> None:
    """
    A server that is not there is None, not an error.
    """

    async def play(port: int) -> None:
        peer = InventoryPeer("inventory", f"127.0.0.1:{port}", token=token(data), tls=None, ids=RandomIds())
        found, missing = await peer.get_server(SERVER), await peer.get_server(OTHER)
        await peer.close()

        assert found is not None
        assert found.display_name == "r1u7"
        assert missing is None

    with serving(service, Tokens.load(data / "tokens.json")) as port:
        asyncio.run(play(port))


def test_refusals_and_absence_are_unavailable(data: Path, service: Service) -> None:
    """
    A port where nobody listens, and a token that is not ours.
    """

    async def play(port: int) -> None:
        for address, shown in (("127.0.0.1:9", token(data)), (f"127.0.0.1:{port}", "nobody's")):
            peer = AioPeer("ipam", address, token=shown, tls=None, ids=RandomIds())
            with pytest.raises(PeerUnavailable) as caught:
                await peer.list(0, limit=3, wait=0)
            await peer.close()
            assert caught.value.facts["peer"] == "ipam"

    with serving(service, Tokens.load(data / "tokens.json")) as port:
        asyncio.run(play(port))


class Process:
    """``python -m telemetry`` over a data directory."""

    def __init__(self, data: Path, ipam: int) -> None:
        self.data = data
        self.environ = {
            **os.environ,
            "BMS_DATA_DIR": str(data),
            "BMS_LOG_JSON": "1",
            "BMS_GRACE_SECONDS": "1",
            "BMS_TELEMETRY_ADDRESS": "127.0.0.1:0",
            "BMS_TELEMETRY_COLLECTOR_ADDRESS": "127.0.0.1:0",
            "BMS_TELEMETRY_REST_ADDRESS": "off",
            "BMS_TELEMETRY_INTROSPECT_ADDRESS": "off",
            "BMS_IPAM_ADDRESS": f"127.0.0.1:{ipam}",
            **{f"BMS_{name}_ADDRESS": "127.0.0.1:9" for name in ("INVENTORY", "LIFECYCLE", "NETWORK")},
        }
        self.log = data / "telemetry.log"
        self.start()

    def start(self) -> None:
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "telemetry"], env=self.environ, stdout=output, stderr=output
            )
        deadline = time.monotonic() + 30
        while True:
            for line in self.log.read_bytes()[seen:].splitlines():
                if b'"serving"' in line:
                    self.port = json.loads(line)["port"]
                    return
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.child.send_signal(number)
        return self.child.wait(20)

    def messages(self) -> list[int]:
        """The positions in the object logs that analytics has, by place in the store."""
        metadata = (("authorization", f"Bearer {token(self.data, 'admin')}"),)
        request = pb.ListSandeshMessagesRequest(message_type="BmsLifecycleEventLog", page_size=1000)
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            stub = telemetry_service_pb2_grpc.TelemetryServiceStub(channel)
            answer = stub.ListSandeshMessages(request, metadata=metadata, timeout=10)
        return [int(one.xml.split('identifier="14">')[1].split("<")[0]) for one in answer.messages]


def test_killed_at_any_moment_it_goes_on_where_it_was(data: Path, service: Service) -> None:
    """
    Killed again and again while events come: in the end analytics has each event once. Told to stop, it ends well.
    """
    migrate(f"sqlite:///{data / 'telemetry.sqlite'}", "telemetry")
    with serving(service, Tokens.load(data / "tokens.json")) as port:
        process = Process(data, port)
        try:
            for pause in (0.0, 0.15, 0.4):
                service.append(40)
                time.sleep(pause)
                process.end(signal.SIGKILL)
                process.start()
            deadline = time.monotonic() + 40
            while len(process.messages()) < 120:
                assert time.monotonic() < deadline, process.log.read_text()[-3000:]
                time.sleep(0.1)

            assert sorted(process.messages()) == list(range(1, 121))
        finally:
            code = process.end()
    assert code == 0
    assert b'"stopped"' in process.log.read_bytes()


def test_says_in_one_line_why_it_cannot_begin(data: Path) -> None:
    """
    A database without its schema is refused with what to do.
    """
    environ = {**os.environ, "BMS_DATA_DIR": str(data), "BMS_LOG_JSON": "1", "BMS_TELEMETRY_ADDRESS": "127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-m", "telemetry"], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    told = json.loads(done.stderr.strip().splitlines()[-1])

    assert done.returncode == 1
    assert "services.runtime.migrate" in told["remedy"]
