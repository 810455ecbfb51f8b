# SPDX-License-Identifier: Apache-2.0
"""A caller who does not give up: what was lost on the way is asked again, under the same request id."""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from services.runtime import status as statuses
from tests.site.rig import CALL_SECONDS, Site
from tests.support.paging import all_pages

# What passes by itself: the process is being started again, or an earlier try of ours is still at work.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_PASSING_REASONS = ("BUSY",)


class Client:
    """Calls as *login*.

    Args:
        patience: for how many seconds a call is repeated; 0 for not at all.
    """

    def __init__(self, site: Site, login: str, *, patience: float = 60.0) -> None:
        self._site = site
        self._patience = patience
        self._metadata = site.metadata(login)
        self._stubs: dict[str, Any] = {}

    def call(self, service: str, method: str, request: Any) -> Any:
        """What *service* answers to *request*; a request id is put in where there is place for one."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not getattr(request, "request_id", ""):
            request.request_id = str(uuid.uuid4())
        return self._persist(getattr(self._stub(service), method), request)

    def done(self, operation: operations_pb2.Operation, seconds: float = 120.0) -> operations_pb2.Operation:
        """*operation* when it has ended well."""
        service = operation.name.rpartition("/")[2].partition("-")[0]
        stub = operations_pb2_grpc.OperationsStub(self._site.channel(service))
        until = time.monotonic() + seconds
        while not operation.done:
            assert time.monotonic() < until, f"{operation}"
            request = operations_pb2.WaitOperationRequest(name=operation.name)
            request.timeout.FromSeconds(2)
            operation = self._persist(stub.WaitOperation, request)
        assert not operation.HasField("error"), f"{operation}"
        return operation

    def pages(self, service: str, method: str, request: Any, field: str) -> list[Any]:
        """All of *field* over all pages."""
        return all_pages(lambda asked: self.call(service, method, asked), request, field)

    def _persist(self, method: Callable[..., Any], request: Message) -> Any:
        until = time.monotonic() + self._patience
        while True:
            try:
                return method(request, timeout=CALL_SECONDS, metadata=self._metadata)
            except grpc.RpcError as error:
                if not passes(error) or time.monotonic() > until:
                    raise
            time.sleep(0.05)

    def _stub(self, service: str) -> Any:
        if service not in self._stubs:
            module = importlib.import_module(f"bms.{service}.v1.{service}_service_pb2_grpc")
            self._stubs[service] = getattr(module, f"{service.capitalize()}ServiceStub")(self._site.channel(service))
        return self._stubs[service]


def rich(error: grpc.RpcError) -> status_pb2.Status:
    """The details that came with *error*; none if there were none."""
    return statuses.details_of(error.trailing_metadata()) or status_pb2.Status()


def reason(error: grpc.RpcError) -> str:
    """The reason in *error*'s details; empty if it has none."""
    known = statuses.revive(rich(error))
    return known.reason if known is not None else ""


def passes(error: grpc.RpcError) -> bool:
    """Whether the same call may go through later."""
    return error.code() in _PASSING or reason(error) in _PASSING_REASONS


def wait_for(what: str, look: Callable[[], Any], seconds: float = 60.0, every: float = 0.1) -> Any:
    """What *look* answers once it is true."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(every)
    return found


def names(items: Iterable[Any]) -> list[str]:
    """The names of *items*."""
    return [item.name for item in items]
