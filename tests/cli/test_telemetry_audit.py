# SPDX-License-Identifier: Apache-2.0
"""`bms telemetry audit` believes neither side: it reads both."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bms.event.v1 import event_pb2
from bms.telemetry.v1.telemetry_pb2 import SandeshMessage, SourcedEvent
from services.cli import delivered
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


def now() -> datetime:
    """The present moment: collecting tests may have been long ago."""
    return datetime.now(UTC)


def log_of(event_id: str) -> str:
    return f'<BmsLifecycleEventLog type="sandesh"><event_id type="string">{event_id}</event_id></BmsLifecycleEventLog>'


def happened(world: World, *events: tuple[str, str]) -> None:
    for service, event_id in events:
        header = event_pb2.EventHeader(id=event_id)
        world.events.append(SourcedEvent(service=service, event=event_pb2.Event(header=header)))
    world.handed = {"ipam": 4, "lifecycle": 9}


def kept(world: World, *event_ids: str, age: timedelta = timedelta(minutes=5)) -> None:
    for event_id in event_ids:
        message = SandeshMessage(message_type="BmsLifecycleEventLog", xml=log_of(event_id))
        message.time.FromDatetime(now() - age)
        world.messages.append(message)


def test_all_is_there(bms: Shell, world: World) -> None:
    """
    Events, holes, duplicates and the position of each log; one that came twice is counted.
    """
    happened(world, ("lifecycle", "a"), ("ipam", "b"))
    kept(world, "a", "b", "b", "of-nobody")

    said = bms("telemetry audit --output json")

    assert said.code == 0
    assert json.loads(said.out) == [
        {"log": "ipam", "events": 1, "holes": [], "duplicates": 1, "position": 4},
        {"log": "lifecycle", "events": 1, "holes": [], "duplicates": 0, "position": 9},
    ]
    (asked,) = world.asked("QueryEvents")
    assert asked.end_time.ToDatetime(UTC) < now() - timedelta(minutes=1)


def test_holes_are_named(bms: Shell, world: World) -> None:
    """
    What analytics does not have is a hole, and so is what it only had before the time that is asked for.
    """
    happened(world, ("lifecycle", "a"), ("lifecycle", "b"), ("lifecycle", "c"))
    kept(world, "a")
    kept(world, "b", age=timedelta(hours=2))

    said = bms("telemetry audit --since 1h")

    assert said.code == 1
    assert "missing: event b" in said.out + said.err
    assert "missing: event c" in said.out + said.err


class Analytics(ThreadingHTTPServer):
    """A site's analytics API."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.logs: list[tuple[int, str]] = []
        self.status = 200
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Its one request."""

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Analytics)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.seen.append((dict(self.headers), asked))
        rows = [
            {"MessageTS": at, "Xmlmessage": log_of(event_id)}
            for at, event_id in server.logs
            if asked["start_time"] <= at <= asked["end_time"]
        ]
        body = json.dumps({"value": rows[: asked["limit"]]}).encode()
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the base class's
        """Says nothing."""


@pytest.fixture
def analytics() -> Iterator[Analytics]:
    with Analytics() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_sites_own_analytics(bms: Shell, world: World, analytics: Analytics, tmp_path: Path) -> None:
    """
    It is asked in its own words and with its own credentials.
    """
    secret = tmp_path / "secret"
    secret.write_text("anna:hunter2\n")
    happened(world, ("lifecycle", "a"), ("lifecycle", "b"))
    analytics.logs = [(round((now() - timedelta(minutes=9)).timestamp() * 1_000_000), "a")]

    said = bms("telemetry", "audit", "--analytics", analytics.url, "--credentials", str(secret), "--output", "json")

    assert said.code == 1
    assert json.loads(said.out)[1]["holes"] == ["b"]
    headers, asked = analytics.seen[0]
    assert headers["Authorization"].startswith("Basic ")
    assert asked["where"] == [[{"name": "Messagetype", "value": "BmsLifecycleEventLog", "op": 1}]]
    assert "hunter2" not in said.out + said.err


def test_more_than_one_answer_holds(analytics: Analytics, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Shorter times are asked for until each answer is whole; nothing is counted twice.
    """
    monkeypatch.setattr(delivered, "MOST_ROWS", 10)
    start = now() - timedelta(hours=1)
    analytics.logs = [
        (round((start + timedelta(seconds=20 * number)).timestamp() * 1_000_000), str(number)) for number in range(150)
    ]

    found = delivered.theirs(analytics.url, "", start, now())

    assert len(found) == 150
    assert set(found.values()) == {1}


def test_analytics_that_cannot_be_asked(bms: Shell, world: World, analytics: Analytics) -> None:
    """
    Refusals and absence are told apart, and neither is a hole.
    """
    happened(world, ("lifecycle", "a"))
    analytics.status = 401
    assert "answers 401" in bms(f"telemetry audit --analytics {analytics.url}").err
    assert "does not answer" in bms("telemetry audit --analytics http://127.0.0.1:9").err
    assert "no address" in bms("telemetry audit --analytics 127.0.0.1:9").err
    assert "missing" not in bms(f"telemetry audit --analytics {analytics.url}").err
