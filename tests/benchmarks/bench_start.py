# SPDX-License-Identifier: Apache-2.0
"""How soon after its start `bms up` answers a first call on each of its five services, and in how much memory.

Once in an empty data directory, where databases are made, and once more in the same one. Beside it the time that a bare
Python takes to import gRPC, so that a slow machine is seen to be one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bms.inventory.v1 import server_pb2
from bms.ipam.v1 import prefix_pb2
from bms.lifecycle.v1 import server_status_pb2
from bms.network.v1 import attachment_pb2
from bms.telemetry.v1 import telemetry_pb2
from tests.site.client import Client
from tests.site.rig import Site, running_site

SECONDS = 5.0
MEGABYTES = 450

_CALLS = (
    ("inventory", "ListServers", server_pb2.ListServersRequest()),
    ("lifecycle", "SummarizeFleet", server_status_pb2.SummarizeFleetRequest()),
    ("ipam", "ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/-")),
    ("network", "ListPortAttachments", attachment_pb2.ListPortAttachmentsRequest()),
    ("telemetry", "GetPipelineStatus", telemetry_pb2.GetPipelineStatusRequest()),
)


def timed(work: Callable[[], object]) -> float:
    """How many seconds *work* takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def import_grpc() -> None:
    """What nobody who speaks gRPC in Python can do without."""
    subprocess.run([sys.executable, "-c", "import grpc"], check=True)


def start(folder: Path, label: str) -> tuple[float, float]:
    """Starts a site; answers after how many seconds all five answered a call, and their megabytes."""
    began = time.perf_counter()
    with running_site(folder) as site:
        admin = Client(site, "admin")
        for service, method, request in _CALLS:
            admin.call(service, method, request)
        seconds = time.perf_counter() - began
        megabytes = memory(site, label)
    return seconds, megabytes


def memory(site: Site, label: str) -> float:
    """The resident memory of the five, in MB (10**6); what they share is counted in each."""
    found = {name: process.memory_info().rss / 1e6 for name, process in site.processes().items()}
    sys.stdout.write(f"  {label}: " + ", ".join(f"{name} {size:.0f} MB" for name, size in found.items()) + "\n")
    return sum(found.values())


def main() -> int:
    """Runs it; 1 if a promise is not kept."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for label in ("first start", "next start"):
            base = min(timed(import_grpc) for _ in range(3))
            seconds, megabytes = start(Path(folder), label)
            kept = seconds <= SECONDS and megabytes <= MEGABYTES
            good &= kept
            sys.stdout.write(
                f"{label}: all five answered after {seconds:.1f} s (at most {SECONDS:.0f}; {seconds / base:.1f} times"
                f" an import of gRPC, {base:.2f} s), in {megabytes:.0f} MB (at most {MEGABYTES}):"
                f" {'as promised' if kept else 'MISSED'}\n"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
