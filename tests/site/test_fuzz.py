# SPDX-License-Identifier: Apache-2.0
"""Whatever anybody sends to any method: it gets an answer of our own, and the service lives on."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.access import RULES
from services.cli.supervise.plan import SERVICES
from services.runtime import status as statuses
from tests.site.furnish import Furnished
from tests.site.requests import Requests, Sent
from tests.site.rig import CALL_SECONDS, Site

pytestmark = pytest.mark.story

EXAMPLES = int(os.environ.get("BMS_FUZZ_EXAMPLES", "30"))
"""Requests for each method; more for a long night."""

_SURPRISES = ("Traceback", '"exception":', '"level":"error"', '"level":"critical"', "INTERNAL", "DATA_LOSS")
_NEVER = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
# Not ours: their answers have no details.
_FOREIGN = ("/grpc.health.", "/grpc.reflection.")
_STREAMING = frozenset(
    {
        "/bms.telemetry.v1.TelemetryService/WatchEvents",
        "/bms.telemetry.v1.TelemetryService/WatchUves",
        "/grpc.health.v1.Health/Watch",
    }
)
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

_CALLERS = (*["admin", "service", "tenant-a"] * 4, "site", "tenant-b", "nobody", "wrong")
_WRONG = ("Bearer", "Bearer ", "Bearer x", "Basic YTpi", "bearer bms_" + "A" * 43, "Bearer " + "x" * 4_000, "")
_IDS = (None, None, None, "x", "x" * 129, "x" * 3_000, "a b", "%00")

for _service in SERVICES:
    importlib.import_module(f"bms.{_service}.v1.{_service}_service_pb2")
importlib.import_module("bms.event.v1.event_log_service_pb2")
importlib.import_module("bms.lifecycle.v1.audit_service_pb2")
_OWN = {f"bms.{service}.v1.{service.capitalize()}Service": service for service in SERVICES}
_OWN["bms.lifecycle.v1.AuditService"] = "lifecycle"


def _targets() -> list[tuple[str, str]]:
    """Every service with every method it might serve."""
    found = []
    # What takes things away comes last, so that there is something to ask for before.
    for method in sorted(RULES, key=lambda each: (each.rpartition("/")[2].startswith(("Delete", "Quarantine")), each)):
        owner = _OWN.get(method.split("/")[1])
        found += [(owner, method)] if owner else [(service, method) for service in SERVICES]
    return found


def _request_type(method: str) -> Any:
    _, service, name = method.split("/")
    known = {
        "grpc.health.v1.Health": health_pb2.DESCRIPTOR,
        "grpc.reflection.v1alpha.ServerReflection": reflection_pb2.DESCRIPTOR,
        "google.longrunning.Operations": operations_pb2.DESCRIPTOR,
    }.get(service)
    if known is not None:
        return known.services_by_name[service.rpartition(".")[2]].methods_by_name[name].input_type
    return descriptor_pool.Default().FindMethodByName(f"{service}.{name}").input_type


@pytest.fixture(scope="module")
def target(site: Site, furnished: Furnished) -> Iterator[Target]:
    """The site under fire; afterwards its logs tell of no surprise."""
    target = Target(site, furnished)
    yield target
    target.check_logs()


class Target:
    """The site, and what is known of it before."""

    def __init__(self, site: Site, furnished: Furnished) -> None:
        self.site = site
        self.requests = Requests((*furnished.servers, *furnished.instances, *furnished.leases, *_operations(site)))
        self.processes = {name: process.pid for name, process in site.processes().items()}
        self.served = {service: _served(site, service) for service in SERVICES}
        self._told = {service: len(site.log(service)) for service in SERVICES}
        self._metadata = {login: site.metadata(login) for login in set(_CALLERS) - {"wrong"}}

    def metadata(self, caller: str, token: str, identity: str | None) -> tuple[tuple[str, str], ...]:
        """What a call by *caller* sends."""
        shown = (("authorization", token),) if caller == "wrong" else self._metadata[caller]
        return shown if identity is None else (*shown, ("x-request-id", identity))

    def check_logs(self) -> None:
        """Nothing was written that nobody foresaw."""
        for service, start in self._told.items():
            lines = self.site.log(service)[start:].splitlines()
            surprises = [line for line in lines if any(word in line for word in _SURPRISES)]
            assert not surprises, f"{service}: {surprises[0][:4000]}"


def _operations(site: Site) -> list[str]:
    stub = importlib.import_module("google.longrunning.operations_pb2_grpc").OperationsStub(site.channel("lifecycle"))
    answer = stub.ListOperations(
        operations_pb2.ListOperationsRequest(name="projects/-", page_size=20), metadata=site.metadata("admin")
    )
    return [operation.name for operation in answer.operations]


def _served(site: Site, service: str) -> frozenset[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(site.channel(service))
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    return frozenset(
        each.name
        for answer in stub.ServerReflectionInfo(asked, timeout=CALL_SECONDS)
        for each in answer.list_services_response.service
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("service", "method"), _targets(), ids=lambda value: value.rpartition("/")[2])
def test_no_request_surprises(target: Target, service: str, method: str) -> None:
    """
    Whoever sends whatever: no INTERNAL, UNKNOWN or DATA_LOSS; a refusal says why in ErrorInfo, and which field in
    BadRequest.
    """
    call = _caller(target.site, service, method)
    served = method.split("/")[1] in target.served[service]

    @settings(
        max_examples=EXAMPLES if served else 1,
        derandomize="BMS_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        # What is sent changes what is there: the same again may have another answer, so there is no shrinking.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        sent=target.requests.bytes_of(_request_type(method)),
        caller=st.sampled_from(_CALLERS),
        token=st.sampled_from(_WRONG),
        identity=st.sampled_from(_IDS),
    )
    def send(sent: Sent, caller: str, token: str, identity: str | None) -> None:
        outcome = call(sent.data, target.metadata(caller, token, identity))
        what = f"{caller} {method} {sent}: {outcome}"
        assert_sensible(outcome, foreign=not served or method.startswith(_FOREIGN), what=what)

    send()


class Outcome:
    """How a call ended."""

    def __init__(self, code: grpc.StatusCode, text: str, status: status_pb2.Status) -> None:
        self.code = code
        self.text = text
        self.status = status

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text[:600]}"


def assert_sensible(outcome: Outcome, *, foreign: bool, what: str) -> None:
    """*outcome* is one of ours, with everything that belongs to it."""
    assert outcome.code not in _NEVER, what
    if outcome.code is grpc.StatusCode.OK or foreign:
        return
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert any(_unpack(detail, info) for detail in outcome.status.details), f"no ErrorInfo: {what}"
    assert info.reason, what
    assert info.domain == statuses.DOMAIN, what
    if outcome.code is grpc.StatusCode.INVALID_ARGUMENT:
        assert any(_unpack(detail, bad) for detail in outcome.status.details), f"no BadRequest: {what}"
        assert all(violation.description for violation in bad.field_violations), what
        # Bytes that are no message at all have no field.
        named = all(violation.field for violation in bad.field_violations)
        assert named or "not a message of this method" in outcome.text, f"no field: {what}"


def _unpack(detail: AnyMessage, message: Any) -> bool:
    return bool(detail.Unpack(message))


def _caller(site: Site, service: str, method: str) -> Callable[[bytes, Any], Outcome]:
    channel = site.channel(service)
    if method == _REFLECTION:
        both = channel.stream_stream(method, _same, _same)
        return lambda data, metadata: _outcome(lambda: next(both(iter([data]), metadata=metadata, timeout=2), b""))
    if method in _STREAMING:
        stream = channel.unary_stream(method, _same, _same)
        return lambda data, metadata: _outcome(lambda: _first(stream(data, metadata=metadata, timeout=0.3)))
    plain = channel.unary_unary(method, _same, _same)
    return lambda data, metadata: _outcome(lambda: plain(data, metadata=metadata, timeout=CALL_SECONDS))


def _same(data: bytes) -> bytes:
    return data


def _first(stream: Any) -> bytes:
    """The first answer of *stream*; empty if there was nothing to tell for a while."""
    try:
        return next(stream, b"")
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return b""
        raise
    finally:
        stream.cancel()


def _outcome(send: Callable[[], Any]) -> Outcome:
    try:
        send()
    except grpc.RpcError as error:
        known = statuses.details_of(error.trailing_metadata())
        return Outcome(error.code(), error.details() or "", known or status_pb2.Status())
    return Outcome(grpc.StatusCode.OK, "", status_pb2.Status())


@pytest.mark.timeout(120)
def test_everybody_lives_on(target: Target) -> None:
    """
    After all of that the same five processes run, and serve a tenant as before.
    """
    assert target.processes == {name: process.pid for name, process in target.site.processes().items()}
    for service in SERVICES:
        target.site.serves(service)


@pytest.mark.timeout(60)
def test_a_message_beyond_all_bounds_is_refused(target: Target) -> None:
    """
    65 MiB are refused before they are read whole, and the next caller is served.
    """
    for service, method in (
        ("inventory", "/bms.inventory.v1.InventoryService/ImportServers"),
        ("telemetry", "/bms.telemetry.v1.TelemetryService/GetUve"),
    ):
        outcome = _caller(target.site, service, method)(bytes(65 * 1024 * 1024), target.metadata("admin", "", None))

        assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED, outcome
        target.site.serves(service)
