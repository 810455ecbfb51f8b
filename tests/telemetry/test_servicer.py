# SPDX-License-Identifier: Apache-2.0
"""TelemetryService over a genuine grpc.aio server: who may, what is refused, and that pages and streams are whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from bms.telemetry.v1 import telemetry_pb2 as pb
from services.runtime import status as statuses
from services.runtime.database import Database
from tests.support.wire import detail, fields, reason, remedy
from tests.telemetry.builders import OTHER, SERVER, T0, event_id, stamp, stored
from tests.telemetry.fakes import FakeLog
from tests.telemetry.rig import Rig, bearer, rig

NAME = "bms.telemetry.v1.TelemetryService"


def some_logs() -> dict[str, FakeLog]:
    return {
        "lifecycle": FakeLog(
            "lifecycle",
            [
                stored(position=position, project=project, stream=f"servers/{server}", type=type_)
                for position, (project, server, type_) in enumerate(
                    [
                        ("", SERVER, "server.enrolled"),
                        ("demo", SERVER, "port.attach_observed"),
                        ("other", OTHER, "port.attach_observed"),
                        ("demo", SERVER, "server.state_changed"),
                    ],
                    start=1,
                )
            ],
        ),
        "ipam": FakeLog(
            "ipam", [stored("ipam", 1, project="demo", stream="vrfs/r/addresses/10.0.0.1", type="address.leased")]
        ),
    }


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, Any]:
    """The code and status of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), statuses.details_of(caught.value.trailing_metadata())


async def settled(given: Rig) -> None:
    """Waits until everything of `some_logs` is in analytics."""

    async def handed() -> int:
        answer = await given.stub.GetPipelineStatus(pb.GetPipelineStatusRequest(), metadata=bearer("admin"))
        return sum(log.position for log in answer.logs)

    await given.eventually(handed, lambda count: count == 5)


async def events(given: Rig, who: str = "admin", **asked: Any) -> list[str]:
    """All that QueryEvents answers, page by page."""
    seen: list[str] = []
    token = ""
    while True:
        request = pb.QueryEventsRequest(page_token=token, **{"page_size": 2, **asked})
        answer = await given.stub.QueryEvents(request, metadata=bearer(who))
        seen += [f"{sourced.service}-{sourced.event.position}" for sourced in answer.events]
        token = answer.next_page_token
        if not token:
            return seen


def test_past_events(database: Database) -> None:
    """
    By time, in pages, filtered; tenants get those of their projects alone.
    """

    async def play() -> None:
        async with rig(database, some_logs()) as given:
            await settled(given)
            everything = await events(given)
            newest = await events(given, newest_first=True)
            later = T0 + 3_000_000

            assert sorted(everything) == ["ipam-1", *(f"lifecycle-{number}" for number in range(1, 5))]
            assert newest == everything[::-1]
            assert await events(given, stream=f"servers/{OTHER}") == ["lifecycle-3"]
            assert await events(given, type_prefix="port.") == ["lifecycle-2", "lifecycle-3"]
            assert await events(given, service="ipam") == ["ipam-1"]
            assert await events(given, start_time=stamp(later)) == ["lifecycle-3", "lifecycle-4"]
            assert await events(given, end_time=stamp(later), service="lifecycle") == ["lifecycle-1", "lifecycle-2"]
            assert await events(given, "auditor") == everything
            assert sorted(await events(given, "demo-member")) == ["ipam-1", "lifecycle-2", "lifecycle-4"]
            assert await events(given, "other-member") == ["lifecycle-3"]
            assert await events(given, "demo-member", stream=f"servers/{OTHER}") == []

    asyncio.run(play())


def test_watches_show_tenants_their_own(sqlite_database: Database) -> None:
    """
    A tenant's watch has only events of projects that he may read, from the beginning and live.
    """

    async def play() -> None:
        async with rig(sqlite_database, some_logs()) as given:
            await settled(given)
            call = given.stub.WatchEvents(pb.WatchEventsRequest(after="0"), metadata=bearer("demo-member"))
            seen = [sourced.event.header.id for sourced in (await call.read()).events]
            given.logs["lifecycle"].append(
                stored(position=5, project="other"), stored(position=6, project="demo"), stored(position=7)
            )
            live = [sourced.event.header.id for sourced in (await call.read()).events]
            call.cancel()

            wanted = {event_id("ipam", 1), event_id("lifecycle", 2), event_id("lifecycle", 4)}
            assert set(seen) == wanted
            assert live == [event_id("lifecycle", 6)]

    asyncio.run(play())


def test_uves_and_messages(sqlite_database: Database) -> None:
    """
    UVEs by name and in pages; raw messages by object, name and place.
    """

    async def play() -> None:
        async with rig(sqlite_database, some_logs()) as given:
            await settled(given)
            stub, admin = given.stub, bearer("admin")

            async def listed() -> Any:
                return await stub.ListUves(pb.ListUvesRequest(type="server", page_size=1), metadata=admin)

            first = await given.eventually(listed, lambda answer: bool(answer.next_page_token))
            second = await stub.ListUves(
                pb.ListUvesRequest(type="server", page_size=1, page_token=first.next_page_token), metadata=admin
            )
            uve = await stub.GetUve(pb.GetUveRequest(name=f"uves/server/{SERVER}"), metadata=admin)
            generator = await stub.GetUve(
                pb.GetUveRequest(name="uves/generator/host-1:Config:bms-telemetry:0"), metadata=admin
            )
            messages: list[Any] = []
            token = ""
            while True:
                asked = pb.ListSandeshMessagesRequest(
                    object_key=f"ObjectServerTable:{SERVER}",
                    message_type="BmsLifecycleEventLog",
                    page_size=2,
                    page_token=token,
                    newest_first=True,
                )
                answer = await stub.ListSandeshMessages(asked, metadata=admin)
                messages += answer.messages
                token = answer.next_page_token
                if not token:
                    break

            assert [one.name for one in (*first.uves, *second.uves)] == [
                f"uves/server/{key}" for key in (SERVER, OTHER)
            ]
            assert uve.contents["IronicNode"]["provision_state"] == "enroll"
            assert generator.contents["ModuleClientState"]["client_info"]["status"] == "Established"
            assert len(messages) == 3
            assert [one.id for one in messages] == sorted((one.id for one in messages), reverse=True)
            assert messages[0].source == "host-1"
            assert list(messages[0].object_keys) == [f"ObjectServerTable:{SERVER}"]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("QueryEvents", pb.QueryEventsRequest(page_size=-1), "page_size"),
        ("QueryEvents", pb.QueryEventsRequest(page_token="x"), "page_token"),
        ("QueryEvents", pb.QueryEventsRequest(service="nova"), "service"),
        ("QueryEvents", pb.QueryEventsRequest(stream="a\x00b"), "stream"),
        ("QueryEvents", pb.QueryEventsRequest(start_time=Timestamp(nanos=-1)), "start_time"),
        ("GetUve", pb.GetUveRequest(), "name"),
        ("GetUve", pb.GetUveRequest(name="uves/server"), "name"),
        ("GetUve", pb.GetUveRequest(name="uves/nonsense/x"), "name"),
        ("ListUves", pb.ListUvesRequest(), "type"),
        ("ListUves", pb.ListUvesRequest(type="nonsense"), "type"),
        ("ListUves", pb.ListUvesRequest(type="server", page_token="x"), "page_token"),
        ("ListSandeshMessages", pb.ListSandeshMessagesRequest(object_key="x"), "object_key"),
        ("ListSandeshMessages", pb.ListSandeshMessagesRequest(page_size=-5), "page_size"),
    ],
    ids=str,
)  # fmt: skip
def test_malformed_requests_name_their_field(sqlite_database: Database, method: str, request_: Any, field: str) -> None:
    """
    Each malformed field is refused with its name.
    """

    async def play() -> None:
        async with rig(sqlite_database) as given:
            code, status = await refusal(getattr(given.stub, method)(request_, metadata=bearer("admin")))

            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert field in fields(status)

    asyncio.run(play())


def test_refusals(sqlite_database: Database) -> None:
    """
    No token, a token of nobody, too low a role, unknown fields, nothing there, a bad watch token: each its status.
    """

    async def play() -> None:
        async with rig(sqlite_database) as given:
            stub, admin = given.stub, bearer("admin")
            status_request = pb.GetPipelineStatusRequest()
            code, status = await refusal(stub.GetPipelineStatus(status_request))
            assert (code, reason(status)) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
            code, _ = await refusal(stub.GetPipelineStatus(status_request, metadata=bearer("nobody")))
            assert code is grpc.StatusCode.UNAUTHENTICATED
            code, _ = await refusal(stub.GetPipelineStatus(status_request, metadata=bearer("demo-member")))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            code, status = await refusal(stub.GetUve(pb.GetUveRequest(name="uves/server/none"), metadata=admin))
            assert code is grpc.StatusCode.NOT_FOUND
            assert remedy(status)
            unknown = pb.QueryEventsRequest.FromString(b"\xf8\x3f\x01")
            code, _ = await refusal(stub.QueryEvents(unknown, metadata=admin))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            raw: Any = given.channel.unary_unary(f"/{NAME}/QueryEvents")
            code, _ = await refusal(raw(b"\xff\xff", metadata=admin))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            for token in ("nonsense", "lifecycle-99"):
                call = stub.WatchEvents(pb.WatchEventsRequest(after=token), metadata=admin)
                code, status = await refusal(call.read())
                assert code is grpc.StatusCode.INVALID_ARGUMENT
                assert fields(status) == ["after"]
            code, _ = await refusal(stub.WatchEvents(pb.WatchEventsRequest()).read())
            assert code is grpc.StatusCode.UNAUTHENTICATED

    asyncio.run(play())


def test_a_page_token_serves_its_own_listing_alone(sqlite_database: Database) -> None:
    """
    Another filter with a token is refused.
    """

    async def play() -> None:
        async with rig(sqlite_database, some_logs()) as given:
            await settled(given)
            answer = await given.stub.QueryEvents(pb.QueryEventsRequest(page_size=1), metadata=bearer("admin"))
            other = pb.QueryEventsRequest(page_token=answer.next_page_token, type_prefix="port.")
            code, _ = await refusal(given.stub.QueryEvents(other, metadata=bearer("admin")))

            assert code is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(play())


def test_a_drained_watch_ends_as_unavailable_with_its_token(sqlite_database: Database) -> None:
    """
    The token is in the error's details too, for a client that kept none.
    """

    async def play() -> None:
        async with rig(sqlite_database, some_logs()) as given:
            await settled(given)
            call = given.stub.WatchEvents(pb.WatchEventsRequest(after="0"), metadata=bearer("admin"))
            token = (await call.read()).token
            reading = asyncio.create_task(refusal(call.read()))
        code, status = await reading
        info = detail(status, error_details_pb2.ErrorInfo)

        assert code is grpc.StatusCode.UNAVAILABLE
        assert info is not None
        assert info.metadata["token"] == token

    asyncio.run(play())


def test_uves_are_followed(sqlite_database: Database) -> None:
    """
    What there is, then what changes; tenants may not; at the end a token to go on from.
    """

    async def play() -> None:
        logs = some_logs()
        async with rig(sqlite_database, logs) as given:
            await settled(given)
            request = pb.WatchUvesRequest(types=["server"], keys=["9f*"], structs=["IronicNode"])
            call = given.stub.WatchUves(request, metadata=bearer("auditor"))
            names, token = set(), ""
            while not token:
                batch = await call.read()
                token = batch.token
                names |= {(change.name, change.struct) for change in batch.changes}
            logs["lifecycle"].append(stored(position=5, type="server.state_changed", before="", after="active"))
            async with asyncio.timeout(15):
                while not any(change.contents["provision_state"] == "active" for change in batch.changes):
                    batch = await call.read()
            denied = await refusal(given.stub.WatchUves(request, metadata=bearer("demo-member")).read())
            unknown = pb.WatchUvesRequest(types=["x"])
            wrong = await refusal(given.stub.WatchUves(unknown, metadata=bearer("admin")).read())
            reading = asyncio.create_task(refusal(call.read()))
        code, status = await reading
        info = detail(status, error_details_pb2.ErrorInfo)

        assert names == {(f"uves/server/{key}", "IronicNode") for key in (SERVER, OTHER)}
        assert denied[0] is grpc.StatusCode.PERMISSION_DENIED
        assert fields(wrong[1]) == ["types"]
        assert code is grpc.StatusCode.UNAVAILABLE
        assert info is not None
        assert int(info.metadata["token"]) >= int(token)

    asyncio.run(play())


def test_health_and_reflection_need_no_token(sqlite_database: Database) -> None:
    """
    Every port tells whether it serves and what, error details included.
    """

    async def play() -> None:
        async with rig(sqlite_database) as given:
            untyped: Any = given.channel  # the stubs know the synchronous channel alone
            checks: Any = health_pb2_grpc.HealthStub(untyped)
            for service in ("", NAME):
                answer = await checks.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
            call = reflection.ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            listed = await call.read()
            await call.write(reflection_pb2.ServerReflectionRequest(file_by_filename="google/rpc/error_details.proto"))
            details = await call.read()
            call.cancel()

            assert NAME in {service.name for service in listed.list_services_response.service}
            assert details.file_descriptor_response.file_descriptor_proto

    asyncio.run(play())
