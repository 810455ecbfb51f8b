# SPDX-License-Identifier: Apache-2.0
"""Asks a service for its health, as the container's health check: exit code 0 only if it is SERVING.

    python /opt/bms/healthcheck.py [HOST:PORT]

Without an address it asks the one service whose ``BMS_<SERVICE>_ADDRESS`` is ``BMS_HEALTH_ADDRESS``. TLS is taken from
the variables the services read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

DEADLINE_SECONDS = 3.0


def _content(variable: str) -> bytes | None:
    path = os.environ.get(variable, "")
    return Path(path).read_bytes() if path else None


def main(arguments: list[str]) -> int:
    """Prints the status; answers the exit code."""
    address = arguments[0] if arguments else os.environ["BMS_HEALTH_ADDRESS"]
    authority = _content("BMS_TLS_CA")
    if authority is None:
        channel = grpc.insecure_channel(address)
    else:
        credentials = grpc.ssl_channel_credentials(authority, _content("BMS_TLS_KEY"), _content("BMS_TLS_CERT"))
        channel = grpc.secure_channel(address, credentials)
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # typeshed lacks it
                health_pb2.HealthCheckRequest(), timeout=DEADLINE_SECONDS, wait_for_ready=True
            )
        except grpc.RpcError as error:
            print(f"{address}: {error}")
            return 1
    print(f"{address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}")
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
