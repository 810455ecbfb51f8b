# SPDX-License-Identifier: Apache-2.0
"""What it takes to attach a server's ports and to read them back, on the simulated fabric over PostgreSQL.

    python -m tests.benchmarks.bench_attachments [postgresql://... [ports]]

The database is empty; without one, a server is started. Each of 256 servers has so many *ports* (1). A pair is
AttachPorts of all of them and ReadServerPorts: in turns onto a tenant's network and back into quarantine, so that every
pair changes what is asked and what is seen, and tells of both in the log. Each caller has servers of his own.

First what is exact: statements and transactions of an attachment, of its reading, and of readings that show nothing
new, counted at the effect points; and how often the client waits for PostgreSQL. Then rates, slice by slice in turn,
as shares of a bare durable insert of one row (at the operations: the servicer without gRPC) and of an empty method
over gRPC; and the processor time that a pair takes of the process that serves it, for one caller and for many. Client,
service and database share the machine.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import structlog
from google.protobuf import empty_pb2

from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from bms.network.v1 import network_service_pb2_grpc
from services.kernel.calls import Call, Caller, Role
from services.kernel.clock import RandomIds, SystemClock
from services.kernel.effect import observed
from services.network.backends.simulated import SimulatedFabric
from services.network.servicer import NetworkServicer
from services.runtime.context import current
from services.runtime.database import Database, open_database
from services.runtime.eventlog import EventLog
from services.runtime.migrations import migrate
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from services.simulated import control
from services.simulated.rack import Rack
from tests.benchmarks.bench_stack import serve_nothing
from tests.benchmarks.served import Work, compared, own_server, serving

SERVERS = 256
CALLERS = 32
ROUNDS = 5
SECONDS = 1.5
WISHED = 500
"""Attachments with their reading a second."""
_COUNTED = 20
_SERVICE = Caller("lifecycle", frozenset({Role.SERVICE}))
_CLOCK = SystemClock()
_NETWORK = "projects/demo/networks/blue"

Ask = Callable[[str, Any], Any]
"""Calls a method of network's."""


def say(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Fleet:
    """Servers that are asked onto a tenant's network and back, one after the other."""

    def __init__(self, ask: Ask, ports: int) -> None:
        self._ask = ask
        self.ports = ports
        self.servers = [f"servers/{uuid.uuid4()}" for _ in range(SERVERS)]
        self._attached = [False] * SERVERS

    def bring_in(self) -> None:
        """Makes the network, registers all servers and reads them in quarantine."""
        self._ask("CreateNetwork", net.CreateNetworkRequest(parent="projects/demo", network_id="blue"))
        for number, server in enumerate(self.servers):
            links = [
                at.PortLink(
                    port=self._port(server, index),
                    mac_address=f"0c:c4:7a:{number:02x}:00:{index:02x}",
                    switch_name=f"leaf{index}",
                    switch_port=f"xe-0/0/{number}",
                )
                for index in range(self.ports)
            ]
            self._ask("RegisterServerPorts", at.RegisterServerPortsRequest(server=server, links=links, fence=1))
            self.read(number)

    def attach(self, number: int) -> None:
        """Asks all ports of a server to be elsewhere."""
        server, there = self.servers[number], not self._attached[number]
        wishes = [
            at.PortWish(
                port=self._port(server, index),
                port_class=net.PORT_CLASS_TENANT if there else net.PORT_CLASS_QUARANTINE,
                networks=[at.NetworkTag(network=_NETWORK)] if there else [],
            )
            for index in range(self.ports)
        ]
        request = at.AttachPortsRequest(
            server=server, wishes=wishes, fence=1, request_id=str(uuid.uuid4()), project="projects/demo"
        )
        self._ask("AttachPorts", request)
        self._attached[number] = there

    def read(self, number: int) -> None:
        """Reads it back, as whoever holds the claim does."""
        request = at.ReadServerPortsRequest(server=self.servers[number], fence=1)
        (first, *_) = self._ask("ReadServerPorts", request).readings
        wished = net.PORT_CLASS_TENANT if self._attached[number] else net.PORT_CLASS_QUARANTINE
        if first.port_class != wished:
            raise AssertionError(first)

    def look(self) -> None:
        """Reads all servers in one call."""
        one = at.ReadServerPortsRequest
        self._ask(
            "BatchReadServerPorts",
            at.BatchReadServerPortsRequest(requests=[one(server=server, fence=1) for server in self.servers]),
        )

    def pair(self, callers: int) -> Work:
        """An attachment and its reading, each caller's of servers of his own."""

        def work(caller: int, turn: int) -> None:
            number = caller + callers * (turn % (SERVERS // callers))
            self.attach(number)
            self.read(number)

        return work

    @staticmethod
    def _port(server: str, index: int) -> str:
        return f"{server}/ports/0cc47a0000{index:02x}"


@dataclass(frozen=True, slots=True)
class Ours:
    """network without gRPC, and its log."""

    database: Database
    ask: Ask
    log: EventLog


@contextmanager
def operating(url: str, folder: Path) -> Iterator[Ours]:
    """network in this process."""
    with closing(open_database(url)) as database, closing(Rack(folder / "rack.sqlite")) as rack:
        control.set_settings(rack, profile="instant")
        ids, log = RandomIds(), EventLog(database, RandomIds(), chained=False)
        writer = Writer(database, Replies(bytes(32)))
        servicer = NetworkServicer(
            database, log, writer, PageTokens(bytes(32)), ids, SimulatedFabric(rack, _CLOCK), None, None
        )

        def ask(method: str, request: Any) -> Any:
            full, own = f"/bms.network.v1.NetworkService/{method}", getattr(request, "request_id", "")
            token = current.set(Call(_SERVICE, full, "bench", _CLOCK.now(), own))
            try:
                return getattr(servicer, method)(request, None)
            finally:
                current.reset(token)

        yield Ours(database, ask, log)
        log.drain()


@contextmanager
def waits() -> Iterator[list[int]]:
    """How often psycopg waits for the server, in its one element."""
    found, wait = [0], psycopg.Connection.wait

    def counted(self: Any, *args: Any, **more: Any) -> Any:
        found[0] += 1
        return wait(self, *args, **more)

    psycopg.Connection.wait = counted  # type: ignore[method-assign]
    try:
        yield found
    finally:
        psycopg.Connection.wait = wait  # type: ignore[method-assign]


def count(what: str, work: Callable[[int], None], each: int = 1) -> None:
    """Prints what *work* takes, a so-manyth part of it."""
    found: Counter[str] = Counter()

    def seen(label: str, when: str) -> None:
        if when == "before":
            kind = label.rpartition(".")[2]
            found["read" if label == "db.read" else kind if kind in ("statement", "commit") else "other"] += 1

    for number in range(_COUNTED):
        work(number)  # every statement is prepared by then
    with observed(seen), waits() as waited:
        for number in range(_COUNTED):
            work(number)
    times = _COUNTED * each
    say(
        f"  {what:32} {found['statement'] / times:6.2f} statements, {found['commit'] / times:5.2f} transactions,"
        f" {found['read'] / times:5.2f} snapshots, {waited[0] / times:6.2f} round trips"
    )


def counts(fleet: Fleet) -> None:
    """Prints the exact figures."""
    say(f"of a server with {fleet.ports} port{'s' if fleet.ports > 1 else ''}:")
    gone: list[int] = []

    def attach(number: int) -> None:
        fleet.attach(number)
        gone.append(number)

    count("AttachPorts", attach)
    for number in set(gone):
        fleet.read(number)

    def pair(number: int) -> None:
        fleet.attach(number)
        fleet.read(number)

    count("AttachPorts, ReadServerPorts", pair)
    count("ReadServerPorts, nothing new", fleet.read)
    fleet.look()
    count(f"BatchReadServerPorts, of {SERVERS}", lambda _: fleet.look(), SERVERS)


class Taken:
    """Processor time by piece of work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds, self._times = 0.0, 0

    def around(self, work: Work, times: int) -> None:
        """Does it so often, by one caller."""
        before = self._clock()
        for turn in range(times):
            work(0, turn)
        self._seconds += self._clock() - before
        self._times += times

    def around_all(self, work: Work, callers: int, times: int) -> None:
        """Does it so often, by each of several callers."""

        def run(caller: int) -> None:
            for turn in range(times):
                work(caller, turn)

        with ThreadPoolExecutor(callers) as pool:
            before = self._clock()
            list(pool.map(run, range(callers)))
            self._seconds += self._clock() - before
            self._times += times * callers

    @property
    def milliseconds(self) -> float:
        """Of one piece of work."""
        return 1000 * self._seconds / self._times


def at_the_operations(url: str, ports: int) -> dict[str, float]:
    """Everything but gRPC."""
    with tempfile.TemporaryDirectory() as folder, operating(url, Path(folder)) as ours:
        fleet = Fleet(ours.ask, ports)
        fleet.bring_in()
        counts(fleet)
        ours.database.transact(lambda tx: tx.execute("CREATE TABLE bare (id text PRIMARY KEY)"), label="bench.make")

        def bare(caller: int, turn: int) -> None:
            row = (str(uuid.uuid4()),)
            ours.database.transact(lambda tx: tx.execute("INSERT INTO bare VALUES (?)", row), label="bench.bare")

        ours.log.start_sealer()
        taken, many, least = Taken(time.process_time), Taken(time.process_time), Taken(time.process_time)
        for _ in range(ROUNDS):
            taken.around(fleet.pair(1), SERVERS // 2)
            many.around_all(fleet.pair(CALLERS), CALLERS, 2 * SERVERS // CALLERS)
            least.around(bare, SERVERS // 2)
        rates = compared(
            {
                "bare 1": (lambda: bare, 1),
                "pair 1": (lambda: fleet.pair(1), 1),
                "bare": (lambda: bare, CALLERS),
                "pair": (lambda: fleet.pair(CALLERS), CALLERS),
            },
            rounds=ROUNDS,
            seconds=SECONDS,
        )
        return rates | {"cpu": taken.milliseconds, "cpu many": many.milliseconds, "cpu bare": least.milliseconds}


def over_the_wire(url: str, ports: int) -> dict[str, float]:
    """One caller and many, over gRPC."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    nobody = spawn.Process(target=serve_nothing, args=(theirs,))
    nobody.start()
    try:
        with tempfile.TemporaryDirectory() as name, grpc.insecure_channel(f"127.0.0.1:{mine.recv()}") as channel:
            folder = Path(name)
            with closing(Rack(folder / "rack.sqlite")) as rack:
                control.set_settings(rack, profile="instant")
            with serving("network", url, folder, site_roles=(Role.SERVICE,)) as service:
                stub = network_service_pb2_grpc.NetworkServiceStub(service.channel)

                def ask(method: str, request: Any) -> Any:
                    return getattr(stub, method)(request, metadata=service.metadata, timeout=60)

                empty = channel.unary_unary(
                    "/bench.Empty/Nothing",
                    request_serializer=empty_pb2.Empty.SerializeToString,
                    response_deserializer=empty_pb2.Empty.FromString,
                )

                def nothing(caller: int, turn: int) -> None:
                    empty(empty_pb2.Empty(), metadata=service.metadata, timeout=60)

                fleet = Fleet(ask, ports)
                fleet.bring_in()
                taken, many = Taken(service.cpu_seconds), Taken(service.cpu_seconds)
                taken.around(fleet.pair(1), 2 * SERVERS)
                many.around_all(fleet.pair(CALLERS), CALLERS, 8 * SERVERS // CALLERS)
                rates = compared(
                    {
                        "empty 1": (lambda: nothing, 1),
                        "rpc 1": (lambda: fleet.pair(1), 1),
                        "empty": (lambda: nothing, CALLERS),
                        "rpc": (lambda: fleet.pair(CALLERS), CALLERS),
                    },
                    rounds=ROUNDS,
                    seconds=SECONDS,
                )
                return rates | {"cpu rpc": taken.milliseconds, "cpu rpc many": many.milliseconds}
    finally:
        mine.send("stop")
        nobody.join()


def report(rates: dict[str, float]) -> None:
    """Prints the ratios."""

    def ratio(what: str, one: str, other: str) -> None:
        say(f"  {what:52} {rates[one] / rates[other]:5.3f}  ({rates[one]:,.0f} / {rates[other]:,.0f} a second)")

    say("attachments with their reading:")
    ratio("one caller, of bare durable inserts", "pair 1", "bare 1")
    ratio(f"{CALLERS} callers, of bare durable inserts", "pair", "bare")
    ratio("one caller over gRPC, of empty calls", "rpc 1", "empty 1")
    ratio(f"{CALLERS} callers over gRPC, of empty calls", "rpc", "empty")
    ratio(f"{CALLERS} callers of one, at the operations", "pair", "pair 1")
    ratio(f"{CALLERS} callers of one, over gRPC", "rpc", "rpc 1")
    for name, where in (("cpu", "at the operations"), ("cpu rpc", "over gRPC")):
        for callers, taken in (("one caller", rates[name]), (f"{CALLERS} callers", rates[f"{name} many"])):
            of = taken / rates["cpu bare"]
            say(f"  processor time of whoever serves {callers} {where}: {taken:.2f} ms, of a bare insert's {of:.1f}")
    best = max(rates[name] for name in ("pair 1", "pair", "rpc 1", "rpc"))
    say(f"  the most here: {best:,.0f} a second; wished for: {WISHED}")


def main() -> None:
    """Measures and prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    url = sys.argv[1] if len(sys.argv) > 1 else own_server()
    ports = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    migrate(url, "services.network")
    rates = at_the_operations(url, ports)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE networks, servers, ports, network_ports")
    report(rates | over_the_wire(url, ports))


if __name__ == "__main__":
    main()
