# SPDX-License-Identifier: Apache-2.0
"""TelemetryService: one method per RPC."""
# ruff: noqa: N802 -- the contract's names

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from bms.telemetry.v1 import telemetry_pb2, telemetry_service_pb2_grpc
from services.kernel.calls import Caller, Role
from services.kernel.errors import InvalidField, NotFound
from services.runtime.context import current_call
from services.runtime.page_tokens import PageTokens
from telemetry import uves
from telemetry.events import SERVICES
from telemetry.store import Store, analytics
from telemetry.store import events as kept
from telemetry.store.events import Chosen
from telemetry.uve_changes import ChosenUves, Told, as_struct
from telemetry.uve_watch import UveHub
from telemetry.watch import Encoded, Hub, sourced

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class SessionView:
    """How our own generator stands.

    Attributes:
        collector: ``address:port``, empty if it has none.
        state: Idle, Connect, ClientInit or Established.
    """

    collector: str
    state: str


class TelemetryServicer(telemetry_service_pb2_grpc.TelemetryServiceServicer):
    """Serves what telemetry knows.

    Args:
        session: tells how our own generator stands.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        uve_hub: UveHub,
        page_tokens: PageTokens,
        session: Callable[[], SessionView],
    ) -> None:
        self._store = store
        self._hub = hub
        self._uve_hub = uve_hub
        self._page_tokens = page_tokens
        self._session = session

    def WatchEvents(
        self, request: telemetry_pb2.WatchEventsRequest, context: _Context
    ) -> AsyncIterator[telemetry_pb2.WatchEventsResponse]:
        chosen = Chosen(
            stream=request.stream,
            type_prefix=request.type_prefix,
            instance=request.instance,
            projects=_visible(current_call().caller),
        )
        # Bytes that were serialised once for all watchers; the interceptors' serialiser takes them as they are.
        return cast("AsyncIterator[telemetry_pb2.WatchEventsResponse]", self._hub.watch(request.after, chosen))

    async def QueryEvents(
        self, request: telemetry_pb2.QueryEventsRequest, context: _Context
    ) -> telemetry_pb2.QueryEventsResponse:
        call = current_call()
        if request.service and request.service not in SERVICES:
            known = ", ".join(SERVICES)
            raise InvalidField("service", f"{request.service[:60]!r} keeps no log", remedy=f"Give one of {known}.")
        chosen = Chosen(
            stream=request.stream,
            type_prefix=request.type_prefix,
            service=request.service,
            instance=request.instance,
            start=_micros(request, "start_time"),
            end=_micros(request, "end_time"),
            projects=_visible(call.caller),
        )
        parts = (
            chosen.stream,
            chosen.type_prefix,
            chosen.service,
            chosen.instance,
            str(chosen.start),
            str(chosen.end),
            str(request.newest_first),
        )
        page = self._page_tokens.request(request, call, *parts)
        time, _, number = page.after.partition(".")
        behind = (int(time), int(number)) if page.after else None
        rows = await self._store.read(
            lambda tx: kept.query(tx, chosen, page.size + 1, newest_first=request.newest_first, behind=behind)
        )
        shown = rows[: page.size]
        after = f"{shown[-1].time}.{shown[-1].id}" if len(rows) > page.size else ""
        return telemetry_pb2.QueryEventsResponse(
            events=map(sourced, shown), next_page_token=self._page_tokens.next(after, call, *parts)
        )

    async def GetUve(self, request: telemetry_pb2.GetUveRequest, context: _Context) -> telemetry_pb2.Uve:
        table, key = _parse_uve(request.name)
        contents = await self._store.read(lambda tx: uves.one(tx, table, key, uves.Filters(), flat=True))
        if not contents:
            msg = f"{request.name} does not exist: no generator says anything of it"
            raise NotFound(msg, remedy="List the UVEs of this type.", name=request.name[:160])
        return _uve(request.name, contents)

    async def ListUves(
        self, request: telemetry_pb2.ListUvesRequest, context: _Context
    ) -> telemetry_pb2.ListUvesResponse:
        call, table = current_call(), uves.type_of(request.type).table
        page = self._page_tokens.request(request, call, request.type)

        def read(tx: Any) -> tuple[list[str], dict[str, Any]]:
            keys = analytics.uve_keys(tx, table, page.after, page.size + 1)
            shown = keys[: page.size]
            return keys, {key: uves.one(tx, table, key, uves.Filters(), flat=True) for key in shown}

        keys, shown = await self._store.read(read)
        after = keys[page.size - 1] if len(keys) > page.size else ""
        return telemetry_pb2.ListUvesResponse(
            uves=[_uve(f"uves/{request.type}/{key}", contents) for key, contents in shown.items()],
            next_page_token=self._page_tokens.next(after, call, request.type),
        )

    def WatchUves(
        self, request: telemetry_pb2.WatchUvesRequest, context: _Context
    ) -> AsyncIterator[telemetry_pb2.WatchUvesResponse]:
        tables = frozenset(uves.type_of(name, "types").table for name in request.types)
        filters = uves.Filters(tuple(request.keys) or None, dict.fromkeys(request.structs, ()) or None)
        told = self._uve_hub.watch(request.after, ChosenUves(tables or None, filters))
        # Bytes again, as for events.
        return cast("AsyncIterator[telemetry_pb2.WatchUvesResponse]", _bytes(told))

    async def ListSandeshMessages(
        self, request: telemetry_pb2.ListSandeshMessagesRequest, context: _Context
    ) -> telemetry_pb2.ListSandeshMessagesResponse:
        call = current_call()
        table, colon, key = request.object_key.partition(":")
        if request.object_key and not (table and colon and key):
            raise InvalidField(
                "object_key", "is not of the form Table:key", remedy="Give a key such as ObjectServerTable:{uuid}."
            )
        parts = (request.object_key, request.message_type, str(request.newest_first))
        page = self._page_tokens.request(request, call, *parts)
        behind = int(page.after) if page.after else None
        asked = analytics.Asked(table=table, key=key, message_type=request.message_type)
        rows = await self._store.read(
            lambda tx: analytics.messages(tx, asked, page.size + 1, newest_first=request.newest_first, behind=behind)
        )
        shown = rows[: page.size]
        after = str(shown[-1].id) if len(rows) > page.size else ""
        return telemetry_pb2.ListSandeshMessagesResponse(
            messages=map(_message, shown), next_page_token=self._page_tokens.next(after, call, *parts)
        )

    async def GetPipelineStatus(
        self, request: telemetry_pb2.GetPipelineStatusRequest, context: _Context
    ) -> telemetry_pb2.GetPipelineStatusResponse:
        logs, generators = await self._store.read(lambda tx: (kept.logs(tx), analytics.generators(tx)))
        session = self._session()
        return telemetry_pb2.GetPipelineStatusResponse(
            logs=[
                telemetry_pb2.LogPosition(
                    service=log.service,
                    position=log.handed,
                    event_time=None if log.event_time is None else _stamp(log.event_time),
                    reachable=log.reachable,
                )
                for log in logs
            ],
            generators=[
                telemetry_pb2.GeneratorStatus(
                    generator=row.generator, connect_time=_stamp(row.connect_time), message_count=row.message_count
                )
                for row in generators
            ],
            collector=session.collector,
            session_state=session.state,
        )


def _visible(caller: Caller) -> frozenset[str] | None:
    """The projects whose events *caller* may see; None for all events."""
    if caller.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER}:
        return None
    return frozenset(project for project in caller.project_roles if caller.may_read(project))


def _parse_uve(name: str) -> tuple[str, str]:
    parts = name.split("/", 2)
    if len(parts) != 3 or parts[0] != "uves" or not parts[2]:  # a key may hold slashes
        shown = name if len(name) <= 100 else name[:97] + "..."
        raise InvalidField(
            "name",
            f"{shown!r} is not of the form uves/{{type}}/{{key}}",
            remedy="Give a name such as uves/server/{uuid}.",
            given=shown,
        )
    return uves.type_of(parts[1], "name").table, parts[2]


def _uve(name: str, contents: dict[str, dict[str, Any]]) -> telemetry_pb2.Uve:
    return telemetry_pb2.Uve(name=name, contents=as_struct(contents))


async def _bytes(told: AsyncGenerator[Told, None]) -> AsyncGenerator[Encoded, None]:
    async with aclosing(told):
        async for batch in told:
            yield batch.encoded


def _message(row: analytics.MessageRow) -> telemetry_pb2.SandeshMessage:
    return telemetry_pb2.SandeshMessage(
        message_type=row.message_type,
        source=row.source,
        module=row.module,
        time=_stamp(row.time),
        sequence=row.sequence,
        sandesh_type=row.kind,
        object_keys=[f"{table}:{key}" for table, key in row.objects],
        xml=row.frame.decode("utf-8", "replace"),
        id=row.id,
    )


def _micros(request: telemetry_pb2.QueryEventsRequest, name: str) -> int | None:
    if not request.HasField(cast("Any", name)):
        return None
    stamp: Timestamp = getattr(request, name)
    return stamp.ToMicroseconds()


def _stamp(micros: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp
