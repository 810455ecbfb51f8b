# SPDX-License-Identifier: Apache-2.0
"""What telemetry takes, how late it tells, and to how many: run as ``python -m tests.benchmarks.bench_analytics``.

Arguments choose parts: ``to-many``, ``object-logs``, ``whole-nodes``, ``telling``. ``MESSAGES=1000000`` takes as many,
and needs 3 KB of disk for each.

Telemetry is a process of its own over a PostgreSQL of its own; services' logs, senders and watchers are in this one.
Each figure stands beside a yardstick of the same run:

- messages a second through the collector into PostgreSQL, object logs (1.4 KB) and whole nodes (5.6 KB), beside plain
  rows of the same size, inserted by psycopg in transactions of as many, with nothing read or looked up; the memory
  after each tenth of them; and messages per second of telemetry's own CPU, which others change least;
- how long after an event is recorded a watcher has it, at 1,000 events a second, beside one who asks the service itself
  without pause;
- events delivered a second to 1,000 watchers of one hub, beside the same with an answer put into bytes for each.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import psutil
import psycopg

from bms.event.v1 import event_pb2
from bms.telemetry.v1 import telemetry_pb2 as pb
from bms.telemetry.v1 import telemetry_service_pb2_grpc
from telemetry.sandesh.encode import encode
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.store.events import Chosen, EventRow
from telemetry.watch import Hub, _entry, _response
from tests.site.client import wait_for
from tests.telemetry.builders import T0, followed
from tests.telemetry.kills.rig import Rig, running_rig
from tests.telemetry.sandesh.vectors import FULL
from tests.telemetry.test_collectors import GOLDEN

MESSAGES = int(os.environ.get("MESSAGES", "20000"))
NODES = 500
IN_A_TRANSACTION = 500
POINTS = 10
WATCHERS = 1000
BATCHES = 20
SECONDS = 8.0
RATE = 1000
TARGETS = {"messages": 3000.0, "late": 0.1, "deliveries": 500_000.0}
SENDER = Identity("cfg-node-1.example.net", "ironic-notification-manager", "Config", "0")

_missed: list[str] = []


def told(what: str, figure: str, yardstick: str, *, kept: bool | None = None) -> None:
    """Prints one line."""
    if kept is False:
        _missed.append(what)
    verdict = "" if kept is None else ": as promised" if kept else ": MISSED"
    sys.stdout.write(f"{what:44} {figure:>12}   beside {yardstick}{verdict}\n")
    sys.stdout.flush()


# --- taking ----------------------------------------------------------------------------------------


def whole_nodes() -> Callable[[int], bytes]:
    """Nodes that change one attribute each time."""
    nodes = []
    for number in range(NODES):
        data = {**FULL.values["data"], "name": f"node-{number}", "event_type": "event-0000000"}
        nodes.append(encode(header_of(IRONIC_NODE_INFO, SENDER, T0, 1), IRONIC_NODE_INFO, {"data": data}))
    return lambda number: nodes[number % NODES].replace(b"event-0000000", b"event-%07d" % number)


def object_logs() -> Callable[[int], bytes]:
    """The reference's own."""
    frame = (GOLDEN / "29-objectlog.xml").read_bytes()
    return lambda _number: frame


def send(sender: socket.socket, frame: Callable[[int], bytes]) -> None:
    """All of them, as fast as they are taken."""
    for start in range(0, MESSAGES, IN_A_TRANSACTION):
        sender.sendall(b"".join(map(frame, range(start, min(start + IN_A_TRANSACTION, MESSAGES)))))


def plain_rows(rig: Rig, size: int, count: int) -> float:
    """Rows a second."""
    row = (T0, "IronicNodeInfo", "source", "module", b"x" * size)
    sql = "INSERT INTO plain (time, a, b, c, frame) VALUES (%s, %s, %s, %s, %s)"
    with psycopg.connect(rig.url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS plain")
        cursor.execute("CREATE TABLE plain (id bigserial, time bigint, a text, b text, c text, frame bytea)")
        connection.commit()
        began = time.perf_counter()
        for _ in range(count // IN_A_TRANSACTION):
            cursor.executemany(sql, [row] * IN_A_TRANSACTION)
            connection.commit()
        return count / (time.perf_counter() - began)


def taking(rig: Rig, what: str, frame: Callable[[int], bytes]) -> None:
    """The collector."""
    assert rig.telemetry is not None
    process = psutil.Process(rig.telemetry.pid)
    base = plain_rows(rig, len(frame(0)), 5000)
    counted = "SELECT message_count FROM generators WHERE generator = %s AND connected = 1"
    with psycopg.connect(rig.url, autocommit=True) as connection:

        def stored() -> int:
            row = connection.execute(counted, (str(SENDER),)).fetchone()
            return int(row[0]) if row else 0

        with socket.create_connection(("127.0.0.1", rig.collector_port)) as sender:
            sender.sendall((GOLDEN / "23-ctrl-c2s.xml").read_bytes())
            sender.recv(100)
            began, spent = time.perf_counter(), sum(process.cpu_times()[:2])
            pushing = threading.Thread(target=send, args=(sender, frame))
            pushing.start()
            sizes: list[float] = []
            while (count := stored()) < MESSAGES:
                if count * POINTS >= MESSAGES * (len(sizes) + 1):
                    sizes.append(process.memory_info().rss / 1e6)
                time.sleep(0.05)
            rate = MESSAGES / (time.perf_counter() - began)
            cpu = MESSAGES / (sum(process.cpu_times()[:2]) - spent)
            sizes.append(process.memory_info().rss / 1e6)
            pushing.join()
        wait_for("the session is over", lambda: not stored())
    yardstick = f"{base:.0f} plain rows ({rate / base:.2f} of them)"
    told(f"{what}/s into PostgreSQL", f"{rate:.0f}", yardstick, kept=rate >= TARGETS["messages"])
    told(f"{what} per second of its CPU", f"{cpu:.0f}", "the same")
    points = " ".join(f"{size:.0f}" for size in sizes)
    told("memory after all of them", f"{sizes[-1]:.0f} MB", f"{points} on the way", kept=sizes[-1] < 1.2 * sizes[0])


# --- telling ---------------------------------------------------------------------------------------


@contextmanager
def noting(read: Callable[[threading.Event, list[float]], None]) -> Iterator[list[float]]:
    """Runs *read* on a thread; gives what it notes."""
    over, late = threading.Event(), list[float]()
    thread = threading.Thread(target=read, args=(over, late))
    thread.start()
    try:
        yield late
    finally:
        over.set()
        thread.join()


def telling(rig: Rig, port: int) -> None:
    """Watchers at a thousand events a second; *port* is the service's."""
    metadata = rig.metadata

    def watch(over: threading.Event, late: list[float]) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{rig.grpc_port}") as channel:
            stub = telemetry_service_pb2_grpc.TelemetryServiceStub(channel)
            call = stub.WatchEvents(pb.WatchEventsRequest(), metadata=metadata)
            for batch in call:
                now = time.time()
                late += [now - each.event.header.time.ToMicroseconds() / 1e6 for each in batch.events]
                if over.is_set():
                    call.cancel()
                    return

    def ask(over: threading.Event, late: list[float]) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_unary(
                "/bms.ipam.v1.IpamService/ListEvents",
                request_serializer=event_pb2.ListEventsRequest.SerializeToString,
                response_deserializer=event_pb2.ListEventsResponse.FromString,
            )
            after = len(rig.sources["ipam"].told)
            while not over.is_set():
                request = event_pb2.ListEventsRequest(after=after, page_size=500, wait_seconds=1)
                answer = method(request, metadata=metadata, timeout=10)
                now = time.time()
                late += [now - each.header.time.ToMicroseconds() / 1e6 for each in answer.events]
                after = answer.next_after

    results = {}
    for name, reader in (("asking", ask), ("watching", watch)):
        with noting(reader) as late:
            time.sleep(1.0)
            chance, begun, count = random.Random(1), time.perf_counter(), 0
            while (spent := time.perf_counter() - begun) < SECONDS:
                due = int(spent * RATE) - count
                if due >= 10:
                    rig.sources["ipam"].append(chance, 10)
                    count += 10
                else:
                    time.sleep(0.002)
            time.sleep(0.5)
            rig.sources["ipam"].append(chance)  # wakes who reads
            time.sleep(0.5)
        results[name] = (late, count / SECONDS)
    late, rate = results["watching"]
    base, _ = results["asking"]
    for share, name in ((50, "median"), (99, "p99")):
        ours, theirs = (statistics.quantiles(each, n=100)[share - 1] for each in (late, base))
        figure = f"{ours * 1000:.1f} ms"
        yardstick = f"{theirs * 1000:.1f} ms at the service itself, {rate:.0f} events/s"
        told(f"late, {name}", figure, yardstick, kept=None if share == 50 else ours < TARGETS["late"])


# --- to many ---------------------------------------------------------------------------------------


class _NoStore:
    """What a hub needs of a store when everything is in memory."""

    async def read(self, fn: Callable[[Any], Any]) -> Any:
        """Nothing is behind anybody."""
        del fn
        return {}


def batch(number: int) -> list[EventRow]:
    """Five hundred events."""
    first = 500 * number + 1
    stored = followed("ipam", 1).stored
    return [EventRow("ipam", position, "s", T0, "t", "", "", stored) for position in range(first, first + 500)]


async def deliver(watchers: int, *, each: bool) -> float:
    """Deliveries a second of one hub to so many; *each*: with an answer put into bytes for every one."""
    hub = Hub(_NoStore())  # type: ignore[arg-type]  # only read is called
    await hub.start()
    pages = [batch(number) for number in range(BATCHES)]

    async def follow() -> int:
        size = got = 0
        async for answer in hub.watch("", Chosen()):
            data = _response(list(map(_entry, pages[got])), {"ipam": got}) if each else answer
            size += len(data.SerializeToString())
            got += 1
            if got == BATCHES:
                break
        return size

    tasks = [asyncio.create_task(follow()) for _ in range(watchers)]
    await asyncio.sleep(0.2)
    began = time.perf_counter()
    for number, page in enumerate(pages, 1):
        hub._hold(page, {"ipam": 500 * number})
        await asyncio.sleep(0)
    async with asyncio.timeout(120):
        await asyncio.gather(*tasks)
    return watchers * BATCHES * 500 / (time.perf_counter() - began)


def to_many() -> None:
    """One hub, a thousand watchers."""
    shared = asyncio.run(deliver(WATCHERS, each=False))
    alone = asyncio.run(deliver(WATCHERS // 50, each=True))
    yardstick = f"{alone:,.0f} with bytes for each ({shared / alone:.0f} times as many)"
    told(f"deliveries/s to {WATCHERS} watchers", f"{shared:,.0f}", yardstick, kept=shared >= TARGETS["deliveries"])


def main(parts: Sequence[str]) -> int:
    """Runs these parts, or all; 1 if a promise is not kept."""

    def asked(*names: str) -> bool:
        return not parts or any(name in parts for name in names)

    if asked("to-many"):
        to_many()
    if asked("object-logs", "whole-nodes", "telling"):
        with running_rig() as rig:
            assert rig.foreign is not None
            rig.foreign.kill()
            rig.foreign.wait(10)
            if asked("object-logs"):
                taking(rig, "object logs", object_logs())
            if asked("whole-nodes"):
                taking(rig, "whole nodes", whole_nodes())
            if asked("telling"):
                telling(rig, rig.wire.to)
    return 1 if _missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
