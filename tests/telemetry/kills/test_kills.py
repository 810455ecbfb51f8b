# SPDX-License-Identifier: Apache-2.0
"""Everything dies at any moment, and analytics has each event once, in order; by hand for hours, with MINUTES."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import grpc
import psycopg
import pytest

from bms.telemetry.v1 import telemetry_pb2 as pb
from bms.telemetry.v1 import telemetry_service_pb2_grpc
from tests.site.client import wait_for
from tests.telemetry.builders import OTHER, SERVER
from tests.telemetry.kills.foreign import NAME, NODES
from tests.telemetry.kills.rig import Rig, running_rig, writing

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

SEED = os.environ.get("BMS_KILL_SEED", "1")
"""Another seed kills at other moments."""
MINUTES = float(os.environ.get("BMS_KILL_MINUTES") or 1)
PER_SECOND = 60.0
REST_SECONDS = 90.0


class Watcher(threading.Thread):
    """Follows a stream over every cut, from its beginning.

    Attributes:
        told: what it was told, in order.
        failures: what should not have ended it.
    """

    def __init__(self, rig: Rig, method: str, request: Any, field: str) -> None:
        super().__init__(daemon=True)
        self.told: list[Any] = []
        self.failures: list[BaseException] = []
        self.token = request.after
        self._rig, self._method, self._request, self._field = rig, method, request, field
        self._over = threading.Event()
        self._call: Any = None

    def run(self) -> None:
        """Until `end`."""
        with grpc.insecure_channel(f"127.0.0.1:{self._rig.grpc_port}") as channel:
            stub = telemetry_service_pb2_grpc.TelemetryServiceStub(channel)
            while not self._over.is_set():
                self._request.after = self.token
                if not self.token:
                    self.told.clear()  # not everything was told once: it is told again
                try:
                    self._call = getattr(stub, self._method)(
                        self._request, metadata=self._rig.metadata, wait_for_ready=True
                    )
                    for batch in self._call:
                        self.told += getattr(batch, self._field)
                        self.token = batch.token
                except grpc.RpcError as error:
                    known = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
                    if error.code() not in known:
                        self.failures.append(error)
                        return

    def end(self) -> None:
        """Follows no more."""
        self._over.set()
        if self._call is not None:
            self._call.cancel()
        self.join(20)


def in_order(pairs: list[tuple[str, int]]) -> None:
    """Each stream counts from one, without a hole or a repeat."""
    last: dict[str, int] = defaultdict(int)
    for stream, sequence in pairs:
        assert sequence == last[stream] + 1, (stream, last[stream], sequence)
        last[stream] = sequence


def identity(event: Any) -> tuple[str, int]:
    return event.event.header.stream, event.event.header.sequence


def object_logs(rig: Rig) -> Counter[tuple[str, int]]:
    """(stream, sequence) in the object logs that analytics has."""
    found: Counter[tuple[str, int]] = Counter()
    with psycopg.connect(rig.url) as connection:
        frames = connection.execute("SELECT frame FROM messages WHERE message_type = 'BmsLifecycleEventLog'")
        for (frame,) in frames:
            text = bytes(frame).decode()
            found[_field(text, "stream"), int(_field(text, "sequence"))] += 1
    return found


def _field(text: str, name: str) -> str:
    return text.split(f"<{name} ")[1].partition(">")[2].partition("<")[0]


@pytest.mark.timeout(MINUTES * 60 + 400)
def test_nothing_is_lost_doubled_or_out_of_order() -> None:
    """
    Telemetry, another's generator and the database are killed and connections cut, while two services write. In the end
    events, object logs and watchers have the (stream, sequence) of the logs, each once, in order within its stream;
    and UVEs are what is true now.
    """
    chance = random.Random(f"{SEED}/kills")
    with running_rig() as rig:
        events = Watcher(rig, "WatchEvents", pb.WatchEventsRequest(after="0"), "events")
        uves = Watcher(rig, "WatchUves", pb.WatchUvesRequest(types=["server"]), "changes")
        for watcher in (events, uves):
            watcher.start()
        with writing(rig, random.Random(f"{SEED}/events"), PER_SECOND):
            rig.disturb(chance, time.monotonic() + MINUTES * 60)
        sys.stdout.write(f"seed {SEED}: {dict(rig.counts)}\n")
        rig.serves()
        wanted = [pair for source in rig.sources.values() for pair in source.told]
        assert len(wanted) > 100

        wait_for("every event is an object log", lambda: len(object_logs(rig)) >= len(wanted), REST_SECONDS)
        wait_for("the watcher has every event", lambda: len(events.told) >= len(wanted), REST_SECONDS)
        with grpc.insecure_channel(f"127.0.0.1:{rig.grpc_port}") as channel:
            stub = telemetry_service_pb2_grpc.TelemetryServiceStub(channel)

            def present() -> dict[str, Any]:
                answer = stub.ListUves(
                    pb.ListUvesRequest(type="server", page_size=1000), metadata=rig.metadata, timeout=20
                )
                return {uve.name.removeprefix("uves/server/"): uve.contents for uve in answer.uves}

            wait_for("both generators' UVEs are back", lambda: len(present()) == NODES + 2, REST_SECONDS)
            assert rig.foreign is not None
            rig.foreign.kill()
            rig.foreign.wait(20)
            wait_for("a dead generator's UVEs are gone", lambda: len(present()) == 2, REST_SECONDS)
            now = present()
        wait_for("the watcher of UVEs knows it", lambda: state_of(uves) == now, REST_SECONDS)
        for watcher in (events, uves):
            watcher.end()

        assert events.failures == uves.failures == []
        assert object_logs(rig) == Counter(wanted)
        seen = list(map(identity, events.told))
        assert Counter(seen) == Counter(wanted)
        in_order(seen)
        with psycopg.connect(rig.url) as connection:
            for service, source in rig.sources.items():
                rows = connection.execute(
                    "SELECT position FROM events WHERE service = %s ORDER BY id", (service,)
                ).fetchall()
                assert [position for (position,) in rows] == list(range(1, len(source.told) + 1))
            assert connection.execute("SELECT COUNT(*) FROM outbox").fetchone() == (0,)
            assert connection.execute("SELECT COUNT(*) FROM gaps").fetchone() == (0,)
            left = connection.execute("SELECT DISTINCT generator FROM uve_attributes").fetchall()
        assert str(NAME) not in {generator for (generator,) in left}
        assert set(now) == {SERVER, OTHER}


def state_of(watcher: Watcher) -> dict[str, Any]:
    """What is known to who was told all that *watcher* was."""
    state: dict[str, dict[str, Any]] = defaultdict(dict)
    for change in tuple(watcher.told):
        key = change.name.removeprefix("uves/server/")
        if change.HasField("contents"):
            state[key][change.struct] = change.contents
        else:
            state[key].pop(change.struct, None)
    return {key: _as_one(structs) for key, structs in state.items() if structs}


def _as_one(structs: dict[str, Any]) -> Any:
    from google.protobuf.struct_pb2 import Struct

    whole = Struct()
    for name, contents in structs.items():
        whole.fields[name].struct_value.CopyFrom(contents)
    return whole
