# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N802 -- the contracts' names
# The verbs that no test calls are left to the generated classes, which refuse them.
# mypy: disable-error-code="abstract,method-assign,misc"
"""The five services as far as the command line needs them: with state, over real gRPC, on ports of their own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2_grpc, pool_pb2, server_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, prefix_pb2
from bms.lifecycle.v1 import (
    brake_pb2,
    console_pb2,
    forced_action_pb2,
    instance_pb2,
    lifecycle_service_pb2_grpc,
    operation_pb2,
    server_status_pb2,
)
from bms.network.v1 import network_pb2, network_service_pb2_grpc
from bms.telemetry.v1 import telemetry_pb2, telemetry_service_pb2_grpc
from services.kernel.errors import AlreadyExists, BmsError, NotFound, WrongState
from services.runtime import status as statuses

State = server_status_pb2.ServerStatus.State


def refuse(context: grpc.ServicerContext, error: BmsError) -> NoReturn:
    """Ends a call as our services do."""
    status = statuses.to_status(error)
    context.set_trailing_metadata(statuses.trailers(status))
    context.abort(statuses.code_of(error), status.message)
    raise AssertionError


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


def _paged(request: Any, rows: list[Any]) -> tuple[list[Any], str]:
    start = int(request.page_token or 0)
    end = start + (request.page_size or 50)
    return rows[start:end], str(end) if end < len(rows) else ""


def _matches(server: server_pb2.Server, filter_: str) -> bool:
    known = {
        "display_name": server.display_name,
        "resource_class": server.resource_class,
        "rack": server.location.rack,
        **{f"labels.{key}": value for key, value in server.labels.items()},
    }
    for term in filter(None, filter_.split(" AND ")):
        name, _, value = term.partition("=")
        negated = name.strip().endswith("!")
        if (known.get(name.strip(" !")) == value.strip(' "')) is negated:
            return False
    return True


def _found(kept: dict[str, Any], name: str, context: grpc.ServicerContext) -> Any:
    if name not in kept:
        refuse(context, NotFound(f"{name} does not exist", remedy="List what there is.", name=name))
    return kept[name]


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Servers, flavors, images."""

    def __init__(self, world: World) -> None:
        self.world = world

    def GetServer(self, request: Any, context: Any) -> Any:
        return _found(self.world.servers, request.name, context)

    def ListServers(self, request: Any, context: Any) -> Any:
        found = [server for server in self.world.servers.values() if _matches(server, request.filter)]
        rows, token = _paged(request, found)
        return server_pb2.ListServersResponse(servers=rows, next_page_token=token)

    def CreateServer(self, request: Any, context: Any) -> Any:
        if any(each.display_name == request.server.display_name for each in self.world.servers.values()):
            refuse(context, AlreadyExists(f"{request.server.display_name} exists", remedy="Choose another name."))
        if request.validate_only:
            return request.server
        made = self.world.add_server(request.server.display_name, "enrolled")
        made.MergeFrom(request.server)
        made.bmc.password = made.bmc.username = ""
        return made

    def UpdateServer(self, request: Any, context: Any) -> Any:
        server = _found(self.world.servers, request.server.name, context)
        request.update_mask.MergeMessage(
            request.server, server, replace_message_field=True, replace_repeated_field=True
        )
        server.etag = '"2"'
        return server

    def DeleteServer(self, request: Any, context: Any) -> Any:
        server = _found(self.world.servers, request.name, context)
        if server.pool.reserved_by:
            refuse(
                context,
                WrongState("it is held", remedy=f"Delete {server.pool.reserved_by} first.", subject=server.name),
            )
        if request.validate_only:
            return self.world.plan("delete", request.name)
        return self.world.begin("delete", request.name)

    def ImportServers(self, request: Any, context: Any) -> Any:
        if self.world.faults:
            return server_pb2.ImportServersResponse(faults=self.world.faults, fault_count=len(self.world.faults) + 2)
        answer = server_pb2.ImportServersResponse()
        for row, name in enumerate(request.content.decode().split(), start=1):
            existing = next((each for each in self.world.servers.values() if each.display_name == name), None)
            if existing is None and not request.validate_only:
                existing = self.world.add_server(name, "enrolled")
                answer.created_count += 1
                action = server_pb2.ImportedServer.ACTION_CREATE
            elif existing is None:
                answer.created_count += 1
                action = server_pb2.ImportedServer.ACTION_CREATE
            else:
                answer.unchanged_count += 1
                action = server_pb2.ImportedServer.ACTION_UNCHANGED
            answer.servers.add(
                row=row, display_name=name, action=action, can_be_provided=not name.startswith("esx"),
                server=existing.name if existing else "",
            )  # fmt: skip
        return answer

    def GetFlavor(self, request: Any, context: Any) -> Any:
        return _found(self.world.flavors, request.name, context)

    def ListFlavors(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.flavors.values()))
        return catalogue_pb2.ListFlavorsResponse(flavors=rows, next_page_token=token)

    def CreateFlavor(self, request: Any, context: Any) -> Any:
        request.flavor.name = f"flavors/{request.flavor_id}"
        self.world.flavors[request.flavor.name] = request.flavor
        return request.flavor

    def UpdateFlavor(self, request: Any, context: Any) -> Any:
        flavor = _found(self.world.flavors, request.flavor.name, context)
        for path in request.update_mask.paths:
            flavor.ClearField(path)
        request.update_mask.MergeMessage(request.flavor, flavor, replace_message_field=True)
        return flavor

    def DeleteFlavor(self, request: Any, context: Any) -> Any:
        _found(self.world.flavors, request.name, context)
        if not request.validate_only:
            del self.world.flavors[request.name]
        return empty_pb2.Empty()

    def GetImage(self, request: Any, context: Any) -> Any:
        return _found(self.world.images, request.name, context)

    def ListImages(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.images.values()))
        return catalogue_pb2.ListImagesResponse(images=rows, next_page_token=token)

    def CreateImage(self, request: Any, context: Any) -> Any:
        request.image.name = f"images/{request.image_id}"
        self.world.images[request.image.name] = request.image
        return request.image

    def ListPools(self, request: Any, context: Any) -> Any:
        pool = pool_pb2.Pool(
            name="pools/rack.r1", kind=pool_pb2.POOL_KIND_RACK, value="R1", total_count=3, available_count=1
        )
        pool.unavailable.add(reason="CLEANING", count=2, servers=["servers/x"])
        return pool_pb2.ListPoolsResponse(pools=[pool])

    def ExplainPlacement(self, request: Any, context: Any) -> Any:
        answer = pool_pb2.ExplainPlacementResponse(eligible_count=1)
        answer.candidates.add(server="servers/a", display_name="good", eligible=True)
        bad = answer.candidates.add(server="servers/b", display_name="bad")
        bad.failures.add(constraint="min_cpus", wanted="32", found="16")
        bad.failures.add(constraint="manufacturer", wanted="Dell Inc.")
        return answer


class Lifecycle(lifecycle_service_pb2_grpc.LifecycleServiceServicer):
    """States and instances. Every verb on a server answers an operation; on an instance too."""

    def __init__(self, world: World) -> None:
        self.world = world
        for verb in ("Start", "Stop", "Reboot", "Rebuild", "Rescue", "Unrescue", "Delete"):
            setattr(self, f"{verb}Instance", self._instance_verb(verb.lower()))
        self.AttachNetwork = self._instance_verb("attach")
        self.DetachNetwork = self._instance_verb("detach")
        self.ProvideServer = self._server_verb("provide", erases=True)
        self.RecoverServer = self._server_verb("recover", erases=True)
        self.QuarantineServer = self._server_verb("quarantine")
        self.AdoptServer = self._server_verb("adopt")

    def _server_verb(self, verb: str, *, erases: bool = False) -> Any:
        def call(request: Any, context: Any) -> Any:
            _found(self.world.statuses, request.name, context)
            if request.validate_only:
                return self.world.plan(verb, request.name, erases=erases)
            return self.world.begin(verb, request.name)

        return call

    def _instance_verb(self, verb: str) -> Any:
        def call(request: Any, context: Any) -> Any:
            _found(self.world.instances, request.name, context)
            if request.validate_only:
                return self.world.plan(verb, request.name)
            return self.world.begin(verb, request.name, request.name.split("/")[1])

        return call

    def GetServerStatus(self, request: Any, context: Any) -> Any:
        return _found(self.world.statuses, request.name.removesuffix("/status"), context)

    def ListServerStatuses(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.statuses.values()))
        return server_status_pb2.ListServerStatusesResponse(statuses=rows, next_page_token=token)

    def SummarizeFleet(self, request: Any, context: Any) -> Any:
        answer = server_status_pb2.SummarizeFleetResponse(total_count=len(self.world.statuses))
        for state in sorted({status.state for status in self.world.statuses.values()}):
            count = sum(status.state == state for status in self.world.statuses.values())
            answer.states.add(state=state, count=count)
        answer.waits.add(code="BMC_SILENT", count=1)
        answer.overdue.extend(list(self.world.statuses.values())[:1])
        answer.overdue_count = 1
        if self.world.brake.pulled:
            answer.brake.CopyFrom(self.world.brake)
        return answer

    def DiagnoseServer(self, request: Any, context: Any) -> Any:
        return server_status_pb2.DiagnoseServerResponse(
            status=_found(self.world.statuses, request.name, context),
            blocked_on="BMC_SILENT",
            meaning="The BMC does not answer.",
            who_must_act="administrator",
            remedy="Bring it back.",
            commands=["bms server recover X", "bms status"],
            wait_limit=Duration(seconds=300),
            wait_overdue_by=Duration(seconds=60),
            self_remedy=server_status_pb2.SelfRemedy(description="asks again", attempts=2, budget=3, left=1),
            runbook="docs/runbook.md#bmc_silent",
        )

    def GetBrake(self, request: Any, context: Any) -> Any:
        return self.world.brake

    def ReleaseBrake(self, request: Any, context: Any) -> Any:
        if not self.world.brake.pulled:
            refuse(context, WrongState("the brake is not pulled"))
        released = brake_pb2.Brake(release_reason=request.reason, released_by="ann", release_time=Timestamp(seconds=1))
        if not request.validate_only:
            self.world.brake = released
        return released

    def CreateForcedAction(self, request: Any, context: Any) -> Any:
        action = forced_action_pb2.ForcedAction()
        action.CopyFrom(request.forced_action)
        action.name = f"{request.parent}/forcedActions/{uuid.uuid5(uuid.NAMESPACE_OID, request.parent)}"
        action.requester, action.state, action.etag = "ann", forced_action_pb2.ForcedAction.STATE_PENDING, '"1"'
        action.shown.extend(["state quarantined", "power unknown"])
        if not request.validate_only:
            self.world.forced[action.name] = action
        return action

    def GetForcedAction(self, request: Any, context: Any) -> Any:
        return _found(self.world.forced, request.name, context)

    def ListForcedActions(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.forced.values()))
        return forced_action_pb2.ListForcedActionsResponse(forced_actions=rows, next_page_token=token)

    def ApproveForcedAction(self, request: Any, context: Any) -> Any:
        action = _found(self.world.forced, request.name, context)
        if request.validate_only:
            return self.world.plan("force_release", request.name)
        action.state, action.approver = forced_action_pb2.ForcedAction.STATE_APPROVED, "bob"
        return self.world.begin("force_release", "servers/" + request.name.split("/")[1])

    def DeleteForcedAction(self, request: Any, context: Any) -> Any:
        action = _found(self.world.forced, request.name, context)
        action.state, action.withdrawer = forced_action_pb2.ForcedAction.STATE_WITHDRAWN, "ann"
        return action

    def SetMaintenance(self, request: Any, context: Any) -> Any:
        status = _found(self.world.statuses, request.name, context)
        status.maintenance, status.maintenance_reason = True, request.reason
        return status

    def ClearMaintenance(self, request: Any, context: Any) -> Any:
        status = _found(self.world.statuses, request.name, context)
        status.maintenance, status.maintenance_reason = False, ""
        return status

    def RetireServer(self, request: Any, context: Any) -> Any:
        status = _found(self.world.statuses, request.name, context)
        status.retired, status.retired_reason = True, request.reason
        return status

    def UnretireServer(self, request: Any, context: Any) -> Any:
        status = _found(self.world.statuses, request.name, context)
        status.retired, status.retired_reason = False, ""
        return status

    def ProtectInstance(self, request: Any, context: Any) -> Any:
        found = _found(self.world.instances, request.name, context)
        found.protected, found.protected_reason = True, request.reason
        return found

    def UnprotectInstance(self, request: Any, context: Any) -> Any:
        found = _found(self.world.instances, request.name, context)
        found.protected, found.protected_reason = False, ""
        return found

    def GetServerConsole(self, request: Any, context: Any) -> Any:
        return console_pb2.Console(server=request.name, type="socat", url="tcp://192.0.2.9:10023")

    def GetInstanceConsole(self, request: Any, context: Any) -> Any:
        _found(self.world.instances, request.name, context)
        return console_pb2.Console(server="servers/x", type="socat", url="tcp://192.0.2.9:10023")

    def SetServerPower(self, request: Any, context: Any) -> Any:
        if request.validate_only:
            return self.world.plan("power_on", request.name)
        return self.world.begin("power_on", request.name)

    def MoveServer(self, request: Any, context: Any) -> Any:
        if request.validate_only:
            return self.world.plan("move", request.name)
        return self.world.begin("move", request.name)

    def ConfirmServerMove(self, request: Any, context: Any) -> Any:
        return _found(self.world.statuses, request.name, context)

    def CleanServer(self, request: Any, context: Any) -> Any:
        if request.validate_only:
            return self.world.plan("clean", request.name)
        return self.world.begin("clean", request.name)

    def CreateInstance(self, request: Any, context: Any) -> Any:
        name = f"{request.parent}/instances/{request.instance_id}"
        if request.validate_only:
            return self.world.plan("create", name)
        made = request.instance
        made.name, made.login_address, made.state = name, "10.1.0.7", instance_pb2.Instance.STATE_ACTIVE
        made.user_data = b""
        self.world.instances[name] = made
        return self.world.begin("create", name, request.parent.removeprefix("projects/"))

    def GetInstance(self, request: Any, context: Any) -> Any:
        return _found(self.world.instances, request.name, context)

    def ListInstances(self, request: Any, context: Any) -> Any:
        wanted = [
            each
            for each in self.world.instances.values()
            if request.parent.endswith("/-") or each.name.startswith(request.parent)
        ]
        rows, token = _paged(request, wanted)
        return instance_pb2.ListInstancesResponse(instances=rows, next_page_token=token)

    def ListEvents(self, request: Any, context: Any) -> Any:
        return event_pb2.ListEventsResponse(next_after=request.after)


class Operations(operations_pb2_grpc.OperationsServicer):
    """Operations that end after `World.steps` looks."""

    def __init__(self, world: World) -> None:
        self.world = world

    def GetOperation(self, request: Any, context: Any) -> Any:
        return _found(self.world.operations, request.name, context)

    def WaitOperation(self, request: Any, context: Any) -> Any:
        _found(self.world.operations, request.name, context)
        return self.world.look(request.name)

    def ListOperations(self, request: Any, context: Any) -> Any:
        return operations_pb2.ListOperationsResponse(operations=list(self.world.operations.values()))


class Network(network_service_pb2_grpc.NetworkServiceServicer):
    """Networks."""

    def __init__(self, world: World) -> None:
        self.world = world

    def CreateNetwork(self, request: Any, context: Any) -> Any:
        request.network.name = f"{request.parent}/networks/{request.network_id}"
        request.network.vlan_id = request.network.vlan_id or 100
        self.world.networks[request.network.name] = request.network
        return request.network

    def GetNetwork(self, request: Any, context: Any) -> Any:
        return _found(self.world.networks, request.name, context)

    def ListNetworks(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.networks.values()))
        return network_pb2.ListNetworksResponse(networks=rows, next_page_token=token)

    def DeleteNetwork(self, request: Any, context: Any) -> Any:
        _found(self.world.networks, request.name, context)
        return empty_pb2.Empty()


class Ipam(ipam_service_pb2_grpc.IpamServiceServicer):
    """Prefixes and leases."""

    def __init__(self, world: World) -> None:
        self.world = world

    def CreatePrefix(self, request: Any, context: Any) -> Any:
        request.prefix.name = f"{request.parent}/prefixes/{request.prefix_id}"
        self.world.prefixes[request.prefix.name] = request.prefix
        return request.prefix

    def ListPrefixes(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.prefixes.values()))
        return prefix_pb2.ListPrefixesResponse(prefixes=rows, next_page_token=token)

    def UpdatePrefix(self, request: Any, context: Any) -> Any:
        prefix = _found(self.world.prefixes, request.prefix.name, context)
        for path in request.update_mask.paths:
            prefix.ClearField(path)
        request.update_mask.MergeMessage(request.prefix, prefix, replace_message_field=True)
        return prefix

    def LeaseAddress(self, request: Any, context: Any) -> Any:
        lease = lease_pb2.AddressLease(
            name=f"{request.parent}/leases/{uuid.uuid4()}", address=request.address or "10.1.0.9", owner=request.owner,
            network=request.network, epoch=3, state=lease_pb2.AddressLease.STATE_LEASED,
        )  # fmt: skip
        self.world.leases[lease.name] = lease
        return lease

    def LeaseAddresses(self, request: Any, context: Any) -> Any:
        leases = [
            lease_pb2.AddressLease(name=f"{request.parent}/leases/{version}", address=address, owner=request.owner)
            for version, address in ((4, "10.1.0.9"), (6, "2001:db8::9"))
        ]
        self.world.leases.update({lease.name: lease for lease in leases})
        return lease_pb2.LeaseAddressesResponse(leases=leases)

    def GetLease(self, request: Any, context: Any) -> Any:
        return _found(self.world.leases, request.name, context)

    def ListLeases(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, list(self.world.leases.values()))
        return lease_pb2.ListLeasesResponse(leases=rows, next_page_token=token)

    def ReleaseLease(self, request: Any, context: Any) -> Any:
        lease = _found(self.world.leases, request.name, context)
        lease.state = lease_pb2.AddressLease.STATE_COOLING
        return lease


def _played(scripts: list[Any], context: Any) -> Iterator[Any]:
    for part in scripts.pop(0) if scripts else []:
        if isinstance(part, grpc.StatusCode):
            context.abort(part, "cut")
        yield part


class Telemetry(telemetry_service_pb2_grpc.TelemetryServiceServicer):
    """Events, UVEs, messages."""

    def __init__(self, world: World) -> None:
        self.world = world

    def QueryEvents(self, request: Any, context: Any) -> Any:
        rows, token = _paged(request, self.world.events)
        return telemetry_pb2.QueryEventsResponse(events=rows, next_page_token=token)

    def WatchEvents(self, request: Any, context: Any) -> Iterator[Any]:
        yield from _played(self.world.streams, context)

    def WatchUves(self, request: Any, context: Any) -> Iterator[Any]:
        yield from _played(self.world.uve_streams, context)

    def GetUve(self, request: Any, context: Any) -> Any:
        uve = telemetry_pb2.Uve(name=request.name)
        uve.contents.update({"IronicNode": {"provision_state": "available"}})
        return uve

    def ListUves(self, request: Any, context: Any) -> Any:
        return telemetry_pb2.ListUvesResponse(uves=[telemetry_pb2.Uve(name=f"uves/{request.type}/k1")])

    def ListSandeshMessages(self, request: Any, context: Any) -> Any:
        message = telemetry_pb2.SandeshMessage(message_type="IronicNodeInfo", xml="<IronicNodeInfo/>", sequence=7, id=1)
        rows, token = _paged(request, self.world.messages or [message])
        return telemetry_pb2.ListSandeshMessagesResponse(messages=rows, next_page_token=token)

    def GetPipelineStatus(self, request: Any, context: Any) -> Any:
        logs = [telemetry_pb2.LogPosition(service=name, position=at) for name, at in self.world.handed.items()]
        return telemetry_pb2.GetPipelineStatusResponse(logs=logs)


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
