# SPDX-License-Identifier: Apache-2.0
# The fakes leave to the generated classes what no test calls.
# mypy: disable-error-code="abstract,misc"
"""The five services over real gRPC, all on one port; every call is noted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bms.inventory.v1 import inventory_service_pb2_grpc
from bms.ipam.v1 import ipam_service_pb2_grpc
from bms.lifecycle.v1 import lifecycle_service_pb2_grpc
from bms.network.v1 import network_service_pb2_grpc
from bms.telemetry.v1 import telemetry_service_pb2_grpc
from tests.cli.fakes.answers import refuse
from tests.cli.fakes.inventory import Inventory
from tests.cli.fakes.ipam import Ipam
from tests.cli.fakes.lifecycle import Lifecycle, Operations
from tests.cli.fakes.network import Network
from tests.cli.fakes.telemetry import Telemetry
from tests.cli.fakes.world import World


class _Recorder(grpc.ServerInterceptor):
    """Notes every call, and plays the delays and refusals that a test asked for."""

    def __init__(self, world: World) -> None:
        self.world = world

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        method = handler_call_details.method.rpartition("/")[2]
        if handler is None or handler_call_details.method.startswith("/grpc."):
            return handler
        metadata = {key: value for key, value in handler_call_details.invocation_metadata if isinstance(value, str)}

        def around(serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
            def served(request: Any, context: Any) -> Any:
                copy = type(request)()
                copy.CopyFrom(request)
                self.world.calls.append((method, copy, metadata))
                time.sleep(self.world.delays.get(method, 0.0))
                if method in self.world.refusals:
                    refuse(context, self.world.refusals[method])
                return serve(request, context)

            return served

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                around(handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            around(handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )


@contextmanager
def serving(world: World) -> Iterator[str]:
    """All five on one port; its address."""
    server = grpc.server(futures.ThreadPoolExecutor(8), interceptors=[_Recorder(world)])
    inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server(Inventory(world), server)
    lifecycle_service_pb2_grpc.add_LifecycleServiceServicer_to_server(Lifecycle(world), server)
    network_service_pb2_grpc.add_NetworkServiceServicer_to_server(Network(world), server)
    ipam_service_pb2_grpc.add_IpamServiceServicer_to_server(Ipam(world), server)
    telemetry_service_pb2_grpc.add_TelemetryServiceServicer_to_server(Telemetry(world), server)
    operations_pb2_grpc.add_OperationsServicer_to_server(Operations(world), server)
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
