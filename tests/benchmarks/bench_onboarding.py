# SPDX-License-Identifier: Apache-2.0
"""How many simulated servers are onboarded per second and core, and what four times as many cost.

Onboarded is: imported, provided (verified, inspected, cleaned) and available, with no simulated delay, and all of its
events in telemetry's store. Counted is the processor time of all five processes; the client's own is told beside it.
What else runs on the machine makes a processor's second worth less, by a third and more: a fixed piece of Python is
timed in the same minute, and should cost the same before and after.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from bms.lifecycle.v1 import server_status_pb2
from bms.telemetry.v1 import telemetry_pb2
from tests.site.client import Client, wait_for
from tests.site.furnish import bring_in, lay_ground
from tests.site.rig import Site, running_site

SMALL, LARGE = 1000, 4000
RATE = 10.0
FACTOR = 4.8
_IMPORT = 500
_PATIENCE = 1800.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What onboarding cost, in seconds: on the clock, of the five processes' cores, and of the client's."""

    servers: int
    wall: float
    services: dict[str, float]
    client: float

    @property
    def cpu(self) -> float:
        """Of all five."""
        return sum(self.services.values())

    @property
    def rate(self) -> float:
        """Servers per second of one core."""
        return self.servers / self.cpu


def onboard(count: int) -> Cost:
    """Onboards *count* servers on a fresh site."""
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder)) as site:
        admin = Client(site, "admin")
        lay_ground(admin, Client(site, "tenant-a"))
        own = psutil.Process()
        before, began, spent = _cpu(site), time.perf_counter(), _seconds(own)
        servers: list[str] = []
        for first in range(0, count, _IMPORT):
            servers += bring_in(admin, min(_IMPORT, count - first), first=first + 1)
        wait_for("lifecycle has heard of all", lambda: _fleet(admin).total_count == count, _PATIENCE, every=1)
        _provide(admin, servers)
        wait_for("all are available", lambda: _available(admin) == count, _PATIENCE, every=2)
        wait_for("telemetry has everything", lambda: _told(admin), _PATIENCE, every=0.5)
        wall, after = time.perf_counter() - began, _cpu(site)
        used = {name: after[name] - before[name] for name in after}
        return Cost(count, wall, used, _seconds(own) - spent)


def _provide(admin: Client, servers: Sequence[str]) -> None:
    def one(server: str) -> None:
        admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=server))

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(one, servers))


def _fleet(admin: Client) -> server_status_pb2.SummarizeFleetResponse:
    found: server_status_pb2.SummarizeFleetResponse = admin.call(
        "lifecycle", "SummarizeFleet", server_status_pb2.SummarizeFleetRequest()
    )
    return found


def _available(admin: Client) -> int:
    wanted = server_status_pb2.ServerStatus.STATE_AVAILABLE
    return sum(each.count for each in _fleet(admin).states if each.state == wanted)


def _told(admin: Client) -> bool:
    """Whether telemetry's places stand still: the logs have ended, and it has read them."""

    def places() -> list[tuple[str, int]]:
        answer = admin.call("telemetry", "GetPipelineStatus", telemetry_pb2.GetPipelineStatusRequest())
        return [(log.service, log.position) for log in answer.logs]

    first = places()
    time.sleep(0.5)
    return first == places()


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _cpu(site: Site) -> dict[str, float]:
    return {name: _seconds(process) for name, process in site.processes().items()}


def baseline() -> float:
    """Processor milliseconds of a fixed piece of Python; the least of five times."""
    times = []
    for _ in range(5):
        began = time.process_time()
        sum(len(str((number, str(number)))) for number in range(200_000))
        times.append(time.process_time() - began)
    return min(times) * 1000


def show(cost: Cost) -> None:
    """Prints where the time went."""
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in cost.services.items())
    sys.stdout.write(
        f"  {cost.servers} servers in {cost.wall:.1f} s on the clock; seconds of a core: {cost.cpu:.1f} ({parts});"
        f" the client beside them {cost.client:.1f}\n"
    )


def main(counts: Sequence[str]) -> int:
    """Runs it; 1 if a promise is not kept.

    Args:
        counts: other numbers of servers than 1,000 and 4,000.
    """
    small, large = (int(counts[0]), int(counts[1])) if len(counts) == 2 else (SMALL, LARGE)
    sys.stdout.write(f"  a fixed piece of Python: {baseline():.0f} ms\n")
    first = onboard(small)
    show(first)
    second = onboard(large)
    show(second)
    sys.stdout.write(f"  a fixed piece of Python: {baseline():.0f} ms\n")
    factor, most = second.cpu / first.cpu, FACTOR * large / small / (LARGE / SMALL)
    fast, even = first.rate >= RATE, factor <= most
    sys.stdout.write(
        f"onboarded per second and core: {first.rate:.1f} (at least {RATE:.0f}):"
        f" {'as promised' if fast else 'MISSED'}\n"
        f"{large} servers / {small} servers: {factor:.2f} times the processor time (at most {most:.1f}):"
        f" {'as promised' if even else 'MISSED'}\n"
    )
    return 0 if fast and even else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
