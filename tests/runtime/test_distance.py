# SPDX-License-Identifier: Apache-2.0
"""Services that are far away, or on a busy machine: a connection takes as long as it takes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from services.cli.channel import open_channel
from services.runtime.outbound import Peer
from tests.support.distance import far_from


def of_the_cli(address: str) -> grpc.Channel:
    return open_channel(address, None, None, None)


def of_a_service(address: str) -> grpc.Channel:
    return Peer(address, token="t", tls=None, service="ipam").channel


@pytest.mark.parametrize("opened", [of_the_cli, of_a_service])
def test_what_is_far_away_is_reached(opened: Callable[[str], grpc.Channel]) -> None:
    """
    Half a second there and back: gRPC takes the least pause between two attempts for the time that one may take.
    """
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with far_from(port, 0.25) as far, opened(f"127.0.0.1:{far}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    finally:
        server.stop(None).wait()
