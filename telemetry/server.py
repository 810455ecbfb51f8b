# SPDX-License-Identifier: Apache-2.0
"""The gRPC server of telemetry: grpc.aio, with health and reflection as every service has them."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bms.telemetry.v1 import telemetry_service_pb2, telemetry_service_pb2_grpc
from services.kernel.errors import PeerUnavailable
from services.runtime.interceptors import Guard
from services.runtime.outbound import MAX_MESSAGE
from services.runtime.settings import ServerSettings
from telemetry.callers import AioCallers
from telemetry.interceptors import AioLayers
from telemetry.servicer import TelemetryServicer

# grpcurl prints our details because reflection finds their contract in the pool; importing it has put it there.
_REFLECTED = error_details_pb2.DESCRIPTOR.name
_NAME = telemetry_service_pb2.DESCRIPTOR.services_by_name["TelemetryService"].full_name


@dataclass(frozen=True, slots=True)
class AioServer:
    """A server that has its port; *port* is the one it got."""

    server: grpc.aio.Server
    health: health.aio.HealthServicer
    port: int

    async def start(self) -> None:
        """Answers from now on."""
        await self.server.start()
        for name in ("", _NAME):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and gives those that run *grace* seconds to end."""
        await self.health.enter_graceful_shutdown()
        await self.server.stop(grace)


def build(settings: ServerSettings, servicer: TelemetryServicer, guard: Guard, callers: AioCallers) -> AioServer:
    """A server bound to its port.

    Raises:
        PeerUnavailable: the port is taken.
    """
    server = grpc.aio.server(
        interceptors=(AioLayers(guard, callers),),
        options=(
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            # Two processes on one port would take each other's calls in turns.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 30000),
        ),
    )
    checks = health.aio.HealthServicer()
    telemetry_service_pb2_grpc.add_TelemetryServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return AioServer(server, checks, _bind(server, settings))


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> int:
    try:
        if settings.tls is None:
            port = server.add_insecure_port(settings.address)
        else:
            tls = settings.tls
            client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
            credentials = grpc.ssl_server_credentials(
                [(tls.key.read_bytes(), tls.cert.read_bytes())],
                root_certificates=client_ca,
                require_client_auth=client_ca is not None,
            )
            port = server.add_secure_port(settings.address, credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise taken(settings.address, "BMS_TELEMETRY_ADDRESS")
    return int(port)


def taken(address: str, variable: str) -> PeerUnavailable:
    """The failure to listen on *address*, which *variable* gave."""
    msg = f"{address} cannot be listened on"
    return PeerUnavailable(
        msg, remedy=f"Stop whatever listens there, or set another {variable}.", peer="telemetry", address=address
    )
