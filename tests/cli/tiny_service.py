# SPDX-License-Identifier: Apache-2.0
"""A service that does nothing but say that it serves: ``python tiny_service.py ADDRESS [NOTES]``.

When told to stop it writes its address to the file NOTES, so that a test sees in which order services ended.
"""

from __future__ import annotations

import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main(address: str, notes: str = "") -> None:
    """Serves until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server = grpc.server(futures.ThreadPoolExecutor(2))
    checks = health.HealthServicer(experimental_non_blocking=True)
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    if not server.add_insecure_port(address):
        sys.exit(1)
    server.start()
    sys.stderr.write(f"serving at {address}\n")
    sys.stderr.flush()
    stop.wait()
    if notes:
        with Path(notes).open("a") as file:
            file.write(f"{address}\n")
    server.stop(0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
