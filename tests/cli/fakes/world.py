# SPDX-License-Identifier: Apache-2.0
"""What the five services know, and what they were asked."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import lease_pb2, prefix_pb2
from bms.lifecycle.v1 import brake_pb2, forced_action_pb2, instance_pb2, operation_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from bms.telemetry.v1 import telemetry_pb2
from services.kernel.errors import BmsError
from services.runtime import status as statuses

State = server_status_pb2.ServerStatus.State


@dataclass
class World:
    """What all five know, and what they were asked.

    Attributes:
        calls: (method, request, metadata) of every call, in order.
        refusals: method -> what it answers instead of doing anything.
        delays: method -> seconds before it answers.
        steps: how often an operation is looked at before it ends.
        operation_error: how operations end, if not well.
        streams: what WatchEvents answers, a list for each call: batches, or a code to end with.
    """

    calls: list[tuple[str, Message, dict[str, str]]] = field(default_factory=list)
    refusals: dict[str, BmsError] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    servers: dict[str, server_pb2.Server] = field(default_factory=dict)
    statuses: dict[str, server_status_pb2.ServerStatus] = field(default_factory=dict)
    flavors: dict[str, catalogue_pb2.Flavor] = field(default_factory=dict)
    images: dict[str, catalogue_pb2.Image] = field(default_factory=dict)
    networks: dict[str, network_pb2.Network] = field(default_factory=dict)
    prefixes: dict[str, prefix_pb2.Prefix] = field(default_factory=dict)
    leases: dict[str, lease_pb2.AddressLease] = field(default_factory=dict)
    instances: dict[str, instance_pb2.Instance] = field(default_factory=dict)
    forced: dict[str, forced_action_pb2.ForcedAction] = field(default_factory=dict)
    operations: dict[str, operations_pb2.Operation] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    faults: list[server_pb2.ImportFault] = field(default_factory=list)
    events: list[telemetry_pb2.SourcedEvent] = field(default_factory=list)
    streams: list[list[telemetry_pb2.WatchEventsResponse | grpc.StatusCode]] = field(default_factory=list)
    messages: list[telemetry_pb2.SandeshMessage] = field(default_factory=list)
    handed: dict[str, int] = field(default_factory=dict)
    uve_streams: list[list[telemetry_pb2.WatchUvesResponse | grpc.StatusCode]] = field(default_factory=list)
    brake: brake_pb2.Brake = field(default_factory=brake_pb2.Brake)
    steps: int = 2
    operation_error: BmsError | None = None

    def asked(self, method: str) -> list[Any]:
        """The requests of *method* so far, whose type is the method's."""
        return [request for name, request, _ in self.calls if name == method]

    def add_server(self, name: str, state: str = "available", **facts: Any) -> server_pb2.Server:
        """A server called *name* in *state*."""
        number = len(self.servers) + 1
        full = f"servers/00000000-0000-4000-8000-{number:012d}"
        server = server_pb2.Server(name=full, display_name=name, etag='"1"', **facts)
        self.servers[full] = server
        if state:
            self.statuses[full] = server_status_pb2.ServerStatus(
                name=f"{full}/status",
                server=full,
                display_name=name,
                state=State.Value(f"STATE_{state.upper()}"),
                power=server_status_pb2.ServerStatus.POWER_OFF,
            )
        return server

    def begin(self, verb: str, target: str, project: str = "", *, erases: bool = False) -> operations_pb2.Operation:
        """An operation that has just begun."""
        name = f"operations/lifecycle-{uuid.uuid4()}"
        operation = operations_pb2.Operation(name=f"projects/{project}/{name}" if project else name)
        metadata = operation_pb2.OperationMetadata(verb=verb, target=target, stage="first", percent=10)
        metadata.plan.add(step="first", description="what comes first")
        metadata.plan.add(step="clean", description="erase", erases=erases, disks=["SER1"] if erases else [])
        metadata.stage_limit.FromSeconds(300)
        operation.metadata.Pack(metadata)
        self.operations[operation.name] = operation
        return operation

    def plan(self, verb: str, target: str, *, erases: bool = False) -> operations_pb2.Operation:
        """The answer to validate_only."""
        operation = self.begin(verb, target, erases=erases)
        del self.operations[operation.name]
        operation.name, operation.done = "", True
        return operation

    def look(self, name: str) -> operations_pb2.Operation:
        """The operation, one step further than when it was last looked at."""
        operation = self.operations[name]
        self.looks[name] = self.looks.get(name, 0) + 1
        metadata = operation_pb2.OperationMetadata()
        operation.metadata.Unpack(metadata)
        if self.looks[name] >= self.steps:
            operation.done = True
            metadata.percent = 100
            if self.operation_error is not None:
                operation.error.CopyFrom(statuses.to_status(self.operation_error))
            elif metadata.target in self.instances:
                operation.response.Pack(self.instances[metadata.target])
            else:
                operation.response.Pack(empty_pb2.Empty())
        else:
            metadata.stage, metadata.percent = "second", 50
            metadata.wait.code, metadata.wait.reason = "BMC_SILENT", "it does not answer"
        operation.metadata.Pack(metadata)
        return operation
