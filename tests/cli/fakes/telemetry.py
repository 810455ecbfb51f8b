# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N802 -- the contracts' names
# The verbs that no test calls are left to the generated classes, which refuse them.
# mypy: disable-error-code="abstract,misc"
"""Telemetry, as far as the command line needs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from bms.telemetry.v1 import telemetry_pb2, telemetry_service_pb2_grpc
from tests.cli.fakes.answers import paged
from tests.cli.fakes.world import World


class Telemetry(telemetry_service_pb2_grpc.TelemetryServiceServicer):
    """Events, UVEs, messages."""

    def __init__(self, world: World) -> None:
        self.world = world

    def QueryEvents(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, self.world.events)
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
        rows, token = paged(request, self.world.messages or [message])
        return telemetry_pb2.ListSandeshMessagesResponse(messages=rows, next_page_token=token)

    def GetPipelineStatus(self, request: Any, context: Any) -> Any:
        logs = [telemetry_pb2.LogPosition(service=name, position=at) for name, at in self.world.handed.items()]
        return telemetry_pb2.GetPipelineStatusResponse(logs=logs)


def _played(scripts: list[Any], context: Any) -> Iterator[Any]:
    for part in scripts.pop(0) if scripts else []:
        if isinstance(part, grpc.StatusCode):
            context.abort(part, "cut")
        yield part
