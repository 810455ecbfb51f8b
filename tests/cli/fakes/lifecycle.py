# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N802 -- the contracts' names
# The verbs that no test calls are left to the generated classes, which refuse them.
# mypy: disable-error-code="abstract,method-assign,misc"
"""Lifecycle and its operations, as far as the command line needs them."""

from __future__ import annotations

import uuid
from typing import Any

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import (
    brake_pb2,
    console_pb2,
    forced_action_pb2,
    instance_pb2,
    lifecycle_service_pb2_grpc,
    server_status_pb2,
)
from services.kernel.errors import WrongState
from tests.cli.fakes.answers import found, paged, refuse
from tests.cli.fakes.world import World


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
        self.SetServerPower = self._server_verb("power_on")
        self.MoveServer = self._server_verb("move")
        self.CleanServer = self._server_verb("clean")
        self.SetMaintenance = self._mark(world.statuses, "maintenance", on=True)
        self.ClearMaintenance = self._mark(world.statuses, "maintenance", on=False)
        self.RetireServer = self._mark(world.statuses, "retired", on=True)
        self.UnretireServer = self._mark(world.statuses, "retired", on=False)
        self.ProtectInstance = self._mark(world.instances, "protected", on=True)
        self.UnprotectInstance = self._mark(world.instances, "protected", on=False)

    def _server_verb(self, verb: str, *, erases: bool = False) -> Any:
        def call(request: Any, context: Any) -> Any:
            found(self.world.statuses, request.name, context)
            if request.validate_only:
                return self.world.plan(verb, request.name, erases=erases)
            return self.world.begin(verb, request.name)

        return call

    def _instance_verb(self, verb: str) -> Any:
        def call(request: Any, context: Any) -> Any:
            found(self.world.instances, request.name, context)
            if request.validate_only:
                return self.world.plan(verb, request.name)
            return self.world.begin(verb, request.name, request.name.split("/")[1])

        return call

    def _mark(self, kept: dict[str, Any], flag: str, *, on: bool) -> Any:
        def call(request: Any, context: Any) -> Any:
            marked = found(kept, request.name, context)
            setattr(marked, flag, on)
            setattr(marked, f"{flag}_reason", request.reason if on else "")
            return marked

        return call

    def GetServerStatus(self, request: Any, context: Any) -> Any:
        return found(self.world.statuses, request.name.removesuffix("/status"), context)

    def ListServerStatuses(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.statuses.values()))
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
            status=found(self.world.statuses, request.name, context),
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
        return found(self.world.forced, request.name, context)

    def ListForcedActions(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.forced.values()))
        return forced_action_pb2.ListForcedActionsResponse(forced_actions=rows, next_page_token=token)

    def ApproveForcedAction(self, request: Any, context: Any) -> Any:
        action = found(self.world.forced, request.name, context)
        if request.validate_only:
            return self.world.plan("force_release", request.name)
        action.state, action.approver = forced_action_pb2.ForcedAction.STATE_APPROVED, "bob"
        return self.world.begin("force_release", "servers/" + request.name.split("/")[1])

    def DeleteForcedAction(self, request: Any, context: Any) -> Any:
        action = found(self.world.forced, request.name, context)
        action.state, action.withdrawer = forced_action_pb2.ForcedAction.STATE_WITHDRAWN, "ann"
        return action

    def GetServerConsole(self, request: Any, context: Any) -> Any:
        return console_pb2.Console(server=request.name, type="socat", url="tcp://192.0.2.9:10023")

    def GetInstanceConsole(self, request: Any, context: Any) -> Any:
        found(self.world.instances, request.name, context)
        return console_pb2.Console(server="servers/x", type="socat", url="tcp://192.0.2.9:10023")

    def ConfirmServerMove(self, request: Any, context: Any) -> Any:
        return found(self.world.statuses, request.name, context)

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
        return found(self.world.instances, request.name, context)

    def ListInstances(self, request: Any, context: Any) -> Any:
        wanted = [
            each
            for each in self.world.instances.values()
            if request.parent.endswith("/-") or each.name.startswith(request.parent)
        ]
        rows, token = paged(request, wanted)
        return instance_pb2.ListInstancesResponse(instances=rows, next_page_token=token)

    def ListEvents(self, request: Any, context: Any) -> Any:
        return event_pb2.ListEventsResponse(next_after=request.after)


class Operations(operations_pb2_grpc.OperationsServicer):
    """Operations that end after `World.steps` looks."""

    def __init__(self, world: World) -> None:
        self.world = world

    def GetOperation(self, request: Any, context: Any) -> Any:
        return found(self.world.operations, request.name, context)

    def WaitOperation(self, request: Any, context: Any) -> Any:
        found(self.world.operations, request.name, context)
        return self.world.look(request.name)

    def ListOperations(self, request: Any, context: Any) -> Any:
        return operations_pb2.ListOperationsResponse(operations=list(self.world.operations.values()))
