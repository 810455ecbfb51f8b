# SPDX-License-Identifier: Apache-2.0
"""How many addresses a second ipam grants, as a share of bare one-row inserts in the same database and minute.

    python -m tests.benchmarks.bench_ipam [postgresql://...]

Sixteen threads call the servicer's LeaseAddress in its own process: no gRPC, no interceptors, but the whole verb with
its event, its chain and its durable commit. Rounds of the baseline and of each prefix alternate.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import structlog

from bms.ipam.v1 import ipam_service_pb2
from services.kernel.calls import Call
from services.kernel.clock import RandomIds
from services.kernel.errors import Exhausted
from services.runtime.context import current
from services.runtime.database import Database, open_database
from services.runtime.migrations import migrate
from tests.ipam.rig import ADMIN, Rig, wish

THREADS = 16
ROUNDS = 3
SECONDS = 1.5
PREFIXES = {"/24 to exhaustion": "10.{}.0.0/24", "/16": "10.{}.0.0/16", "/64": "2001:db8:{}::/64"}

_SERVICE = ipam_service_pb2.DESCRIPTOR.services_by_name["IpamService"].full_name


def per_second(work: Callable[[int, int], bool], seconds: float) -> tuple[float, int]:
    """How often a second *work* (thread, turn) ends, by `THREADS` threads, until it answers False or time is up."""
    barrier = threading.Barrier(THREADS + 1)

    def run(thread: int) -> int:
        barrier.wait()
        turn = 0
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline and work(thread, turn):
            turn += 1
        return turn

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(run, thread) for thread in range(THREADS)]
        barrier.wait()
        started = time.perf_counter()
        done = sum(one.result() for one in running)
        return done / (time.perf_counter() - started), done


def granting(rig: Rig, network: str) -> Callable[[int, int], bool]:
    """Leases one address after the other, each for another owner."""

    def work(thread: int, turn: int) -> bool:
        token = current.set(Call(ADMIN, f"/{_SERVICE}/LeaseAddress", "bench", rig.clock.now()))
        try:
            rig.servicer.LeaseAddress(wish(f"vm-{thread}-{turn}", network=network), None)  # type: ignore[arg-type]
        except Exhausted:
            return False
        finally:
            current.reset(token)
        return True

    return work


def inserting(database: Database) -> Callable[[int, int], bool]:
    """Inserts one short row in a transaction of its own."""
    ids = RandomIds()

    def work(thread: int, turn: int) -> bool:
        database.transact(
            lambda tx: tx.execute("INSERT INTO owner_fences (owner, fence) VALUES (?, ?)", (ids.uuid(), turn)),
            label="baseline",
        )
        return True

    return work


def main() -> None:
    """Measures and prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with ExitStack() as stack:
        url = sys.argv[1] if len(sys.argv) > 1 else ""
        if not url:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{Path(folder, 'bench.sqlite')}"
        migrate(url, "services.ipam")
        database = open_database(url)
        stack.callback(database.close)
        rig = Rig(database, ids=RandomIds())
        bare: list[float] = []
        found: dict[str, list[float]] = {name: [] for name in PREFIXES}
        for turn in range(ROUNDS):
            bare.append(per_second(inserting(database), SECONDS)[0])
            for number, (name, cidr) in enumerate(PREFIXES.items()):
                network = f"projects/demo/networks/n{turn}-{number}"
                rig.prefix(cidr.format(turn + 1), f"p{turn}-{number}", network=network)
                rate, done = per_second(granting(rig, network), 30 if "exhaustion" in name else SECONDS)
                if "exhaustion" in name and done != 253:
                    sys.exit(f"a /24 gave {done} addresses")
                found[name].append(rate)
        baseline = statistics.median(bare)
        kind = url.partition(":")[0]
        sys.stdout.write(f"{kind}, {THREADS} threads in the process; 1.00 = {baseline:,.0f} one-row inserts/s\n")
        for name, rates in found.items():
            rate = statistics.median(rates)
            sys.stdout.write(f"  {name:20} {rate / baseline:5.2f}  ({rate:,.0f} grants/s)\n")


if __name__ == "__main__":
    main()
