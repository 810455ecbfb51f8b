# SPDX-License-Identifier: Apache-2.0
"""Between the wire and a servicer: who, whether, and what comes back when it goes wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import grpc
import pytest
import structlog
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import error_details_pb2
from structlog.testing import capture_logs

from services.kernel.calls import Call, Role
from services.kernel.errors import NotFound, WrongState
from services.runtime.auth import Rule
from services.runtime.context import current, current_call
from services.runtime.database import UniqueViolation
from services.runtime.interceptors import Arrived, arrival
from services.runtime.metrics import Metrics
from tests.support.clocks import START, FakeClock
from tests.support.wire import Wire, admin, detail, fields, member, reason, remedy

GET = "/google.longrunning.Operations/GetOperation"
REQUEST = operations_pb2.GetOperationRequest(name="projects/demo/operations/x")
RULES = {GET: Rule(roles=frozenset({Role.MEMBER}), project_field="name")}


class Servicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # it has no stubs
    """Does what the test says."""

    def __init__(self, serve: Callable[[], None] = lambda: None) -> None:
        self.serve = serve
        self.calls: list[Call] = []

    def GetOperation(  # noqa: N802 -- the contract's name
        self, request: operations_pb2.GetOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        self.calls.append(current_call())
        self.serve()
        return operations_pb2.Operation(name=request.name)


def test_the_servicer_knows_the_call() -> None:
    """
    Inside, current_call() says who calls what and when, under the caller's request id; outside there is none.
    """
    servicer = Servicer()
    wire = Wire(servicer, rules=RULES, clock=FakeClock())
    reply = wire.call("GetOperation", REQUEST, caller=member(), metadata=[("x-request-id", "abc")])

    assert reply.message.name == REQUEST.name
    assert servicer.calls == [Call(caller=member(), method=GET, correlation="abc", now=START)]
    assert current.get(None) is None


@pytest.mark.parametrize("given", ["", "x" * 129])
def test_senseless_request_ids_are_replaced(given: str) -> None:
    """
    A request id that is empty or too long is not taken over into logs; a fresh one is made.
    """
    servicer = Servicer()
    Wire(servicer, rules=RULES).call("GetOperation", REQUEST, caller=admin(), metadata=[("x-request-id", given)])

    assert str(uuid.UUID(servicer.calls[0].correlation)) == servicer.calls[0].correlation


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", "Bearer unknown", "bearer "])
def test_no_token_no_answer(authorization: str | None) -> None:
    """
    Without a known bearer token a call is UNAUTHENTICATED, and the servicer never sees it.
    """
    servicer = Servicer()
    metadata = [] if authorization is None else [("authorization", authorization)]
    reply = Wire(servicer, rules=RULES).call("GetOperation", REQUEST, metadata=metadata)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert remedy(reply.status)
    assert servicer.calls == []


def test_a_method_without_rule_is_refused() -> None:
    """
    Nobody, not even the administrator, may call a method that the table forgot.
    """
    servicer = Servicer()
    reply = Wire(servicer, admin(), rules={}).call("GetOperation", REQUEST)

    assert reply.code is grpc.StatusCode.PERMISSION_DENIED
    assert servicer.calls == []


def test_another_projects_rows_do_not_exist() -> None:
    """
    A caller without a role in the project is told NOT_FOUND.
    """
    reply = Wire(Servicer(), member("other"), rules=RULES).call("GetOperation", REQUEST)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_refusals_carry_their_details() -> None:
    """
    A BmsError of the servicer arrives with reason, facts, remedy and the request's id.
    """

    def refuse() -> None:
        raise WrongState("it sleeps", remedy="Wake it.", subject="servers/a")

    reply = Wire(Servicer(refuse), member(), rules=RULES).call(
        "GetOperation", REQUEST, metadata=[("x-request-id", "abc")]
    )

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (reason(reply.status), remedy(reply.status), reply.status.message) == (
        "WRONG_STATE",
        "Wake it.",
        "it sleeps",
    )
    info = detail(reply.status, error_details_pb2.RequestInfo)
    assert info is not None
    assert info.request_id == "abc"


def test_what_nobody_foresaw_is_opaque_and_logged() -> None:
    """
    Any other exception is INTERNAL with the request id alone; the log has the rest.
    """

    def burst() -> None:
        raise RuntimeError("password=hunter2")

    wire = Wire(Servicer(burst), member(), rules=RULES)
    with capture_logs() as lines:
        reply = wire.call("GetOperation", REQUEST, metadata=[("x-request-id", "abc")])

    assert reply.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(reply.status)
    assert "abc" in reply.status.message
    (line,) = lines
    assert (line["code"], line["log_level"]) == ("INTERNAL", "error")
    assert isinstance(line["exc_info"], RuntimeError)


def test_a_race_is_told_to_come_again() -> None:
    """
    A key that another transaction took in the same moment is ABORTED with a RetryInfo, not INTERNAL.
    """

    def race() -> None:
        raise UniqueViolation("notes.name")

    reply = Wire(Servicer(race), member(), rules=RULES).call("GetOperation", REQUEST)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.ABORTED, "BUSY")
    assert detail(reply.status, error_details_pb2.RetryInfo) is not None


def test_checks_come_before_the_servicer_and_after_the_rules() -> None:
    """
    A malformed request is refused with its fields, but only to those who may call at all.
    """
    servicer = Servicer()
    broken = operations_pb2.GetOperationRequest(name="projects/demo/\x00")

    assert fields(Wire(servicer, member(), rules=RULES).call("GetOperation", broken).status) == ["name"]
    assert Wire(servicer, member("other"), rules=RULES).call("GetOperation", broken).code is grpc.StatusCode.NOT_FOUND
    assert servicer.calls == []


def test_bytes_that_are_no_message_are_an_invalid_field() -> None:
    """
    What cannot be parsed does not raise in the deserialiser, where gRPC would answer INTERNAL.
    """
    parse = arrival(operations_pb2.GetOperationRequest.FromString)

    assert parse(b"\xff\xff\xff") == Arrived(None)
    assert parse(b"\x0a\x02\xff\xfe") == Arrived(None)  # not UTF-8
    assert parse(b"\x0a\x01a") == Arrived(operations_pb2.GetOperationRequest(name="a"), suspect=False)
    assert parse(b"\x0a\x01\x00").suspect


def test_one_line_a_call() -> None:
    """
    Each call writes one line with method, code, duration, caller and request id; a refusal also its reason.
    """

    def refuse() -> None:
        raise NotFound("x does not exist", name="x")

    with capture_logs() as lines:
        Wire(Servicer(), member(), rules=RULES).call("GetOperation", REQUEST)
        Wire(Servicer(refuse), member(), rules=RULES).call("GetOperation", REQUEST)

    assert [(line["event"], line["method"], line["code"], line["caller"]) for line in lines] == [
        ("rpc", GET, "OK", "demo-member"),
        ("rpc", GET, "NOT_FOUND", "demo-member"),
    ]
    assert lines[1]["reason"] == "NOT_FOUND"
    assert structlog.contextvars.get_contextvars() == {}


def test_metrics_count_and_measure() -> None:
    """
    Calls are counted by method and code; the histogram's buckets are cumulative and end in the count.
    """
    metrics = Metrics()
    for seconds, code in ((0.0005, "OK"), (0.003, "OK"), (99, "UNAVAILABLE")):
        metrics.observe("/a.B/C", code, seconds)
    lines = metrics.text().splitlines()

    assert 'bms_rpc_total{method="/a.B/C",code="OK"} 2' in lines
    assert 'bms_rpc_seconds_bucket{method="/a.B/C",le="0.001"} 1' in lines
    assert 'bms_rpc_seconds_bucket{method="/a.B/C",le="30.0"} 2' in lines
    assert 'bms_rpc_seconds_bucket{method="/a.B/C",le="+Inf"} 3' in lines
    assert 'bms_rpc_seconds_count{method="/a.B/C"} 3' in lines
