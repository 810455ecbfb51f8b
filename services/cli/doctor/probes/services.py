# SPDX-License-Identifier: Apache-2.0
"""Asks our own services."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.cli.doctor.facts import Endpoint, Seen, Service
from services.cli.doctor.probes.certificates import days_left
from services.cli.doctor.probes.http import is_here
from services.cli.errors import explain
from services.cli.failures import CliError

if TYPE_CHECKING:
    import grpc

    from services.cli.tokens import Token

CONTRACTS: Mapping[str, tuple[str, ...]] = {
    "inventory": ("inventory.v1.inventory_service:InventoryService", "event.v1.event_log_service:EventLogService"),
    "lifecycle": (
        "lifecycle.v1.lifecycle_service:LifecycleService",
        "lifecycle.v1.audit_service:AuditService",
        "event.v1.event_log_service:EventLogService",
    ),
    "ipam": ("ipam.v1.ipam_service:IpamService", "event.v1.event_log_service:EventLogService"),
    "network": ("network.v1.network_service:NetworkService", "event.v1.event_log_service:EventLogService"),
    "telemetry": ("telemetry.v1.telemetry_service:TelemetryService",),
}
"""The contracts that each serves: ``package.module:Service`` below ``bms``."""


class Ways:
    """How our services are reached.

    Attributes:
        token: what is shown; None if there is none, and *tokenless* says why.
        seconds: how long one call may take.
    """

    def __init__(
        self, token: Token | None, tokenless: str, seconds: float, ca: Path | None, cert: Path | None, key: Path | None
    ) -> None:
        self.token = token
        self.tokenless = tokenless
        self.seconds = seconds
        self.ca = ca
        self.cert = cert
        self.key = key


def look(name: str, address: str, ways: Ways) -> Service:
    """What is seen of the service *name* at *address*."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from services.cli.channel import open_channel

    host = address.rpartition(":")[0].strip("[]")
    found = Endpoint(address, tls=ways.ca is not None, local=address.startswith("unix:") or is_here(host))
    if found.tls:
        pair = (str(ways.cert), str(ways.key)) if ways.cert and ways.key else None
        found = replace(found, days=days_left(address, ways.seconds, pair))
    with open_channel(address, ways.ca, ways.cert, ways.key) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # the stubs forget it
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=ways.seconds)
        except grpc.RpcError as error:
            return Service(name, replace(found, why=why_not(error), kind="silent"))
        health = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).lower().replace("_", " ")
        seen = Service(name, found, health, lacks=_lacks(channel, name, ways.seconds))
        return _known(channel, seen, ways)


def why_not(error: Exception) -> str:
    """Why one of our services gave no answer, in a few words."""
    told = explain(error)
    text = str(told) if told is not None else type(error).__name__
    if "Connection refused" in text:
        return "nobody listens there (connection refused)"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted by our CA"
    return text.removeprefix("no answer: ")


def _lacks(channel: grpc.Channel, name: str, seconds: float) -> Seen[tuple[str, ...]]:
    """The methods of its contracts that it has not."""
    import grpc
    from google.protobuf import descriptor_pb2
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    lacks = []
    info: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    for contract in CONTRACTS[name]:
        module, _, short = contract.partition(":")
        ours: Any = importlib.import_module(f"bms.{module}_pb2").DESCRIPTOR.services_by_name[short]
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=ours.full_name)
        try:
            (answer,) = info(iter([request]), timeout=seconds)
        except (grpc.RpcError, ValueError) as error:
            return Seen(None, f"reflection: {why_not(error)}")
        theirs = set()
        for raw in answer.file_descriptor_response.file_descriptor_proto:
            for service in descriptor_pb2.FileDescriptorProto.FromString(raw).service:
                theirs |= {f"{service.name}.{method.name}" for method in service.method}
        lacks += [f"{short}.{each.name}" for each in ours.methods if f"{short}.{each.name}" not in theirs]
    return Seen(tuple(lacks))


def _known(channel: grpc.Channel, seen: Service, ways: Ways) -> Service:
    """Whether it knows our token; and what it tells those whom it knows."""
    import grpc

    if ways.token is None:
        return replace(seen, login=Seen(None, ways.tokenless))
    try:
        ways.token.may_cross(seen.endpoint.url, tls=seen.endpoint.tls)
        metadata = (("authorization", f"Bearer {ways.token.read()}"),)
        if seen.name == "telemetry":
            return replace(seen, login=Seen(True), reads=_pipeline(channel, metadata, ways.seconds))
        return replace(seen, login=Seen(True), newest=_newest(channel, metadata, ways.seconds))
    except CliError as error:
        return replace(seen, login=Seen(None, str(error)))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:
            # It knows us; what it tells is for others.
            may_not = "our login may not"
            return replace(seen, login=Seen(True), newest=Seen(None, may_not), reads=Seen(None, may_not))
        return replace(seen, login=Seen(None, why_not(error)))


def _newest(channel: grpc.Channel, metadata: Any, seconds: float) -> Seen[float]:
    from bms.event.v1 import event_pb2
    from bms.event.v1.event_log_service_pb2_grpc import EventLogServiceStub

    log = EventLogServiceStub(channel)
    found = log.ListCheckpoints(
        event_pb2.ListCheckpointsRequest(newest=True), timeout=seconds, metadata=metadata
    ).checkpoints
    if not found:
        return Seen(None, "its log is empty: nothing tells its time")
    signed = event_pb2.Checkpoint.FromString(found[0].checkpoint)
    return Seen(time.time() - signed.time.ToNanoseconds() / 1e9)


def _pipeline(channel: grpc.Channel, metadata: Any, seconds: float) -> Seen[Mapping[str, bool]]:
    from bms.telemetry.v1 import telemetry_pb2
    from bms.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub

    answer = TelemetryServiceStub(channel).GetPipelineStatus(
        telemetry_pb2.GetPipelineStatusRequest(), timeout=seconds, metadata=metadata
    )
    return Seen({each.service: each.reachable for each in answer.logs})
