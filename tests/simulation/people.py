# SPDX-License-Identifier: Apache-2.0
"""Callers who do not give up: what was lost on the way is asked again, under the same request id."""

from __future__ import annotations

import importlib
import random
import uuid
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from bms.event.v1 import event_log_service_pb2_grpc
from bms.lifecycle.v1 import audit_service_pb2_grpc
from services.runtime import status as statuses
from tests.simulation.engine import Simulation
from tests.simulation.site import Site
from tests.simulation.transport import Lost
from tests.support.paging import all_pages

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_LONGEST = 30.0
_MOMENTS = 5
_GIVE_UP = 86400.0
"""Seconds after which an operation that has not ended is taken for one that never will."""


_STUBS: dict[str, tuple[str, Any]] = {
    "operations": ("lifecycle", operations_pb2_grpc.OperationsStub),
    "audit": ("lifecycle", audit_service_pb2_grpc.AuditServiceStub),
}


class NeverEnded(AssertionError):
    """An operation did not end, though nothing was left to wait for."""


class Refused(Exception):
    """The service says no; repeating the same would not help."""

    def __init__(self, method: str, failure: Lost) -> None:
        super().__init__(f"{method}: {failure}")
        status = statuses.details_of(failure.trailing_metadata())
        known = statuses.revive(status) if status is not None else None
        self.reason = known.reason if known is not None else failure.code().name
        self.code = failure.code()


class Person:
    """One caller.

    Args:
        login: his token and subject.
        quick: how long he waits between two looks at first, in seconds.
    """

    def __init__(self, site: Site, login: str, name: str, quick: float = 0.5) -> None:
        self.site = site
        self.sim: Simulation = site.sim
        self.login = login
        self.name = name
        self.chance = random.Random(f"{site.seed}/{name}")
        self._quick = quick
        self._metadata = (("authorization", f"Bearer {login}"),)
        self._stubs: dict[str, Any] = {}

    def call(self, service: str, method: str, request: Any) -> Any:
        """What *service* answers to *request*, sooner or later.

        Raises:
            Refused: it will not.
        """
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        pause, busy, began = 0.5, 0, self.sim.seconds()
        while True:
            try:
                return getattr(self._stub(service), method)(request, timeout=20.0, metadata=self._metadata)
            except Lost as failure:
                refused = Refused(method, failure)
                if failure.code() not in _PASSING and refused.reason not in ("BUSY", "STALE"):
                    raise refused from None
                busy += refused.reason in ("BUSY", "STALE")
                if busy > _MOMENTS and service in ("lifecycle", "audit"):
                    # Somebody else is at work on the same thing for longer than a moment: that is a refusal.
                    raise refused from None
            if self.sim.seconds() - began > _GIVE_UP:
                raise NeverEnded(str(refused))
            self.sim.sleep(pause * (0.5 + self.chance.random()))
            pause = min(2 * pause, _LONGEST)

    def pages(self, service: str, method: str, request: Any, field: str) -> list[Any]:
        """All of *field* over all pages."""
        return all_pages(lambda asked: self.call(service, method, asked), request, field)

    def done(self, operation: Any) -> Any:
        """*operation* when it has ended, well or not."""
        pause, began = self._quick, self.sim.seconds()
        while not operation.done:
            if self.sim.seconds() - began > _GIVE_UP:
                raise NeverEnded(str(operation))
            self.sim.sleep(pause * (0.75 + self.chance.random() / 2))
            pause = min(1.5 * pause, 60 * self._quick)
            operation = self.call("operations", "GetOperation", operations_pb2.GetOperationRequest(name=operation.name))
        return operation

    def _stub(self, service: str) -> Any:
        if service not in self._stubs:
            serving, stub = _STUBS.get(service, (service, None))
            if service.startswith("events of "):
                serving, stub = service.removeprefix("events of "), event_log_service_pb2_grpc.EventLogServiceStub
            if stub is None:
                module = importlib.import_module(f"bms.{service}.v1.{service}_service_pb2_grpc")
                stub = getattr(module, f"{service.capitalize()}ServiceStub")
            self._stubs[service] = stub(self.site.fabric.channel(serving, self.name))
        return self._stubs[service]


def failed(operation: Any) -> bool:
    """Whether *operation* ended badly."""
    return bool(operation.HasField("error"))


def why(operation: Any) -> str:
    """Why *operation* ended badly, in few words."""
    return f"{operation.error.message:.90}"
