# SPDX-License-Identifier: Apache-2.0
"""Several real processes of each service over one real PostgreSQL: production's form, on one machine."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.datadir import DataDir
from services.cli.supervise.prepare import add_token, make_tokens
from services.runtime.migrations import migrate
from services.simulated import control
from services.simulated.rack import Rack
from tests.races.calling import Place

REPLICAS: Mapping[str, int] = {"lifecycle": 3, "ipam": 2, "inventory": 2, "network": 2}
PROJECTS = ("t0", "t1", "t2")
START_SECONDS = 90.0


@dataclass(slots=True)
class Replica:
    """One process.

    Attributes:
        name: ``lifecycle-0``.
        deaths: how often it was killed.
    """

    name: str
    service: str
    address: str
    environ: Mapping[str, str]
    log: Path
    deaths: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Starts it, as `python -m services.<service>`."""
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.service}"],
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                process_group=0,
            )

    def send(self, number: signal.Signals) -> None:
        """Sends it *number*."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.deaths += 1

    def end(self) -> int:
        """Asks it to end, as an orchestrator does; answers its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)

    def serves(self, seconds: float = START_SECONDS) -> None:
        """Waits until it says that it serves."""
        until = time.monotonic() + seconds
        with grpc.insecure_channel(self.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # the stubs forget it
            while True:
                try:
                    if check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=True).status == 1:
                        return
                except grpc.RpcError:
                    pass  # it does not serve yet
                assert self.process is not None
                assert self.process.poll() is None, f"{self.name} ended\n{self.log.read_text()[-3000:]}"
                assert time.monotonic() < until, f"{self.name} does not serve\n{self.log.read_text()[-3000:]}"


@dataclass(frozen=True, slots=True)
class Site:
    """What runs.

    Attributes:
        urls: each service's database.
        server: the maintenance database's URL.
    """

    folder: Path
    data: DataDir
    replicas: tuple[Replica, ...]
    urls: Mapping[str, str]
    server: str
    place: Place

    def of(self, service: str) -> list[Replica]:
        """The replicas of *service*."""
        return [one for one in self.replicas if one.service == service]

    def write_place(self) -> Path:
        """What a caller's process needs to know, as a file."""
        path = self.folder / "place.json"
        path.write_text(json.dumps({"data": str(self.data.path), "replicas": self.place.replicas}))
        return path


@contextmanager
def running(
    folder: Path, server: str, settings: Mapping[str, str], replicas: Mapping[str, int] = REPLICAS
) -> Iterator[Site]:
    """All replicas, started at one moment in an empty directory, until the block ends."""
    data = DataDir(folder / "data")
    data.path.mkdir(parents=True)
    data.logs.mkdir()
    make_tokens(data)
    for project in PROJECTS:
        add_token(data, project, (), {project: ("member",)})
    rack = Rack(data.path / "rack.sqlite")
    # Long enough that a kill falls between two steps, short enough for many lives.
    control.set_settings(rack, profile="demo", speed=10)
    rack.close()
    with ExitStack() as stack:
        urls = {service: stack.enter_context(_database(server, service)) for service in replicas}
        addresses = _addresses(replicas)
        made = _replicas(data, urls, addresses, settings)
        place = Place(str(data.path), {name: list(found) for name, found in addresses.items()})
        try:
            for one in made:
                one.start()
            for one in made:
                one.serves()
            yield Site(folder, data, tuple(made), urls, server, place)
        finally:
            for service in ("lifecycle", *sorted(set(replicas) - {"lifecycle"})):
                for one in made:
                    if one.service == service and one.process is not None and one.process.poll() is None:
                        one.end()


@contextmanager
def _database(server: str, service: str) -> Iterator[str]:
    name = f"races_{service}_{os.getpid()}_{random.randrange(10**6)}"
    base, _, query = server.partition("?")
    url = f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        migrate(url, f"services.{service}")
        yield url
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _addresses(replicas: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Free ports below those that the kernel takes for outgoing connections: who was killed comes back on his own."""
    found: dict[str, tuple[str, ...]] = {}
    port = random.randrange(12000, 30000)
    for service, count in replicas.items():
        taken: list[str] = []
        while len(taken) < count:
            port += 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue  # somebody has it: the next
            taken.append(f"127.0.0.1:{port}")
        found[service] = tuple(taken)
    return found


def _replicas(
    data: DataDir, urls: Mapping[str, str], addresses: Mapping[str, tuple[str, ...]], settings: Mapping[str, str]
) -> list[Replica]:
    shared = {
        **{key: value for key, value in os.environ.items() if not key.startswith("BMS_")},
        "BMS_DATA_DIR": str(data.path),
        "BMS_TOKENS_FILE": str(data.tokens_file),
        "BMS_SERVICE_TOKEN_FILE": str(data.token_file("service")),
        "BMS_KEY_FILE": str(data.key_file),
        "BMS_DIE_WITH_PARENT": "1",
        "BMS_LOG_JSON": "1",
        "BMS_GRACE_SECONDS": "3",
        "PYTHONUNBUFFERED": "1",
        **{f"BMS_{service.upper()}_DATABASE_URL": url for service, url in urls.items()},
        **settings,
    }
    made = []
    for service, mine in addresses.items():
        for number, address in enumerate(mine):
            # Each begins with another replica of the others and goes on with the next when that one is gone.
            peers = {f"BMS_{name.upper()}_ADDRESS": _turned(theirs, number) for name, theirs in addresses.items()}
            environ = {**shared, **peers, f"BMS_{service.upper()}_ADDRESS": address}
            name = f"{service}-{number}"
            made.append(Replica(name, service, address, environ, data.logs / f"{name}.log"))
    return made


def _turned(addresses: tuple[str, ...], by: int) -> str:
    by %= len(addresses)
    return "ipv4:" + ",".join((*addresses[by:], *addresses[:by]))
