# SPDX-License-Identifier: Apache-2.0
"""How the load calls: any replica, often two at once with one request id, until there is an answer."""

from __future__ import annotations

import importlib
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from bms.event.v1 import event_log_service_pb2_grpc
from bms.lifecycle.v1 import audit_service_pb2_grpc
from services.runtime import status as statuses
from tests.support.paging import all_pages

CALL_SECONDS = 15.0
PATIENCE = 180.0
"""Longer than any replica is stopped."""

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_NEVER = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
)
_MOMENTARY = ("BUSY", "STALE")
_MOST_REPLAYED = 80
_STUBS: Mapping[str, tuple[str, Any]] = {
    "operations": ("lifecycle", operations_pb2_grpc.OperationsStub),
    "audit": ("lifecycle", audit_service_pb2_grpc.AuditServiceStub),
}
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


class Refused(Exception):
    """The service says no."""

    def __init__(self, method: str, failure: grpc.RpcError) -> None:
        status = statuses.details_of(failure.trailing_metadata())
        known = statuses.revive(status) if status is not None else None
        self.code = failure.code()
        self.reason = known.reason if known is not None else self.code.name
        super().__init__(f"{method}: {self.code.name} {self.reason}: {failure.details()}")


class GaveUp(AssertionError):
    """No answer, though every replica runs again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the replicas are, and the tokens."""

    data: str
    replicas: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, path: Path) -> Place:
        """From its file."""
        found = json.loads(path.read_text())
        return cls(found["data"], found["replicas"])


@dataclass(slots=True)
class Book:
    """What a caller saw.

    Attributes:
        counts: what was answered how often.
        wrong: what must not be.
        acked: request id -> method, and the name of what was answered.
        done: what was answered, to be asked again: service, method, request, answer.
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    acked: dict[str, tuple[str, str]] = field(default_factory=dict)
    done: list[tuple[str, str, Any, Any]] = field(default_factory=list, repr=False)

    def write(self, path: Path) -> None:
        """For the parent."""
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"counts": self.counts, "wrong": self.wrong, "acked": self.acked}))
        draft.replace(path)


class Caller:
    """Calls as *login*.

    Args:
        twice: how often a request with an id goes to two replicas at once.
    """

    def __init__(self, place: Place, login: str, chance: random.Random, twice: float = 0.0) -> None:
        self.chance = chance
        self.book = Book()
        self._place = place
        self._twice = twice
        token = Path(place.data, f"{login}.token").read_text().strip()
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._channels: dict[str, grpc.Channel] = {}
        self._stubs: dict[tuple[str, str], Any] = {}

    def call(self, service: str, method: str, request: Any) -> Any:
        """What *service* answers to *request*, sooner or later.

        Raises:
            Refused: it will not.
        """
        has_id = "request_id" in request.DESCRIPTOR.fields_by_name
        if has_id and not request.request_id:
            request.request_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        until = time.monotonic() + PATIENCE
        pause, moments = 0.05, 0
        while True:
            twice = has_id and self.chance.random() < self._twice
            answers, refusals = self._ask(service, method, request, 2 if twice else 1)
            if answers:
                self._settle(service, method, request, answers)
                return answers[0]
            lasting = [one for one in refusals if one.code not in _PASSING and one.reason not in _MOMENTARY]
            if lasting:
                self.book.counts[f"{method} {lasting[0].reason}"] += 1
                raise lasting[0]
            momentary = [one for one in refusals if one.reason in _MOMENTARY]
            moments += bool(momentary)
            if moments > 5 and momentary:
                # Somebody else is at work on the same thing for longer than a moment.
                self.book.counts[f"{method} {momentary[0].reason}"] += 1
                raise momentary[0]
            self.book.counts[f"lost {refusals[0].code.name}"] += not momentary
            if time.monotonic() > until:
                raise GaveUp(str(refusals[0]))
            time.sleep(pause * self.chance.random())
            pause = min(2 * pause, 2.0)

    def pages(self, service: str, method: str, request: Any, field_: str) -> list[Any]:
        """All of *field_* over all pages."""
        return all_pages(lambda asked: self.call(service, method, asked), request, field_)

    def done(self, operation: Any, seconds: float = PATIENCE) -> Any:
        """*operation* when it has ended, or as it is after *seconds*."""
        until = time.monotonic() + seconds
        while not operation.done and time.monotonic() < until:
            request = operations_pb2.WaitOperationRequest(name=operation.name)
            request.timeout.FromSeconds(2)
            operation = self.call("operations", "WaitOperation", request)
        return operation

    def again(self) -> None:
        """Asks once more what was answered long ago: it is answered the same, by whichever replica."""
        for service, method, request, answer in self.chance.sample(
            self.book.done, min(_MOST_REPLAYED, len(self.book.done))
        ):
            try:
                repeated = self.call(service, method, request)
            except Refused as refused:
                self.book.wrong.append(f"{request.request_id} was answered, and is refused later: {refused}")
                continue
            if _essence(repeated) != _essence(answer):
                self.book.wrong.append(f"{method} {request.request_id} answers {answer} and later {repeated}")
            self.book.counts["asked again"] += 1

    def _ask(self, service: str, method: str, request: Any, copies: int) -> tuple[list[Any], list[Refused]]:
        serving = _STUBS.get(service, (service.removeprefix("events of "), None))[0]
        addresses = list(self._place.replicas[serving])
        chosen = self.chance.sample(addresses, min(copies, len(addresses)))
        calls = [
            getattr(self._stub(service, address), method).future(request, timeout=CALL_SECONDS, metadata=self._metadata)
            for address in chosen
        ]
        answers, refusals = [], []
        for one in calls:
            try:
                answers.append(one.result())
            except grpc.RpcError as failure:
                refused = Refused(method, failure)
                refusals.append(refused)
                if refused.code in _NEVER:
                    self.book.wrong.append(f"{refused}; asked {request}"[:1500])
        return answers, refusals

    def _settle(self, service: str, method: str, request: Any, answers: list[Any]) -> None:
        self.book.counts[method] += 1
        request_id = getattr(request, "request_id", "")
        if not request_id:
            return
        if len(answers) > 1:
            self.book.counts["answered twice"] += 1
            if _essence(answers[0]) != _essence(answers[1]):
                self.book.wrong.append(f"{method} {request_id} answers {answers[0]} and {answers[1]}")
        self.book.acked[request_id] = (method, getattr(answers[0], "name", ""))
        self.book.done.append((service, method, type(request).FromString(request.SerializeToString()), answers[0]))

    def _stub(self, service: str, address: str) -> Any:
        key = (service, address)
        if key not in self._stubs:
            if address not in self._channels:
                self._channels[address] = grpc.insecure_channel(address, options=_OPTIONS)
            stub = _STUBS.get(service, ("", None))[1]
            if service.startswith("events of "):
                stub = event_log_service_pb2_grpc.EventLogServiceStub
            if stub is None:
                module = importlib.import_module(f"bms.{service}.v1.{service}_service_pb2_grpc")
                stub = getattr(module, f"{service.capitalize()}ServiceStub")
            self._stubs[key] = stub(self._channels[address])
        return self._stubs[key]


def _essence(answer: Any) -> bytes:
    """What of an answer must be the same each time; of an operation, its name."""
    if isinstance(answer, operations_pb2.Operation):
        return str(answer.name).encode()
    return bytes(answer.SerializeToString(deterministic=True))
