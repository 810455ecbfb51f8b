# SPDX-License-Identifier: Apache-2.0
"""What stands between the wire and a servicer, outermost first:

request id and log context, log line and metrics, errors, authentication and authorisation, checks of the contract.

The layers are functions around the servicer's method, put together once per method. A request then costs one
interceptor of gRPC's, not five.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from services.kernel.calls import Call, Caller, always
from services.kernel.clock import Clock, Ids, RandomIds, SystemClock
from services.kernel.errors import BmsError, Busy, Forbidden, InvalidField, Unauthenticated
from services.runtime import status as statuses
from services.runtime.auth import Callers, Check, Rule, compile_rule
from services.runtime.checks import MAX_STRING, Checker
from services.runtime.context import current, current_call
from services.runtime.database import UniqueViolation
from services.runtime.logs import line
from services.runtime.metrics import Metrics

__all__ = ["Guard", "current_call", "interceptors"]

REQUEST_ID = "x-request-id"
MAX_STREAMS = 4
"""How many reflection streams, and how many watches of health, may be open: each holds a worker thread."""

ANONYMOUS = Caller(subject="")
"""Who calls what is for anyone."""
_MAX_CORRELATION = 128

_log = structlog.get_logger("bms.rpc")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request as it came off the wire.

    Attributes:
        message: the parsed request; None if its bytes are no such message.
        suspect: see `services.runtime.checks.Checker.check`.
    """

    message: Message | None
    suspect: bool = False


class Guard:
    """Everything about a call that needs no gRPC server: shared by the synchronous and the asyncio interceptor."""

    def __init__(
        self,
        callers: Callers,
        rules: Mapping[str, Rule],
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.callers = callers
        self._rules = rules
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._checks: dict[str, Check] = {}
        self.checker = Checker()
        self.metrics = metrics

    def is_open(self, method: str) -> bool:
        """Whether *method* is for anyone."""
        rule = self._rules.get(method)
        return rule is not None and rule.anyone

    def correlation(self, metadata: Mapping[str, str | bytes]) -> str:
        """The caller's request id if he gave a sensible one, else a fresh one."""
        given = metadata.get(REQUEST_ID)
        if isinstance(given, str) and 0 < len(given) <= _MAX_CORRELATION and given.isprintable():
            return given
        return self._ids.uuid()

    def admit(
        self,
        method: str,
        metadata: Mapping[str, str | bytes],
        correlation: str,
        arrived: Arrived,
        awaited: Callable[[], bool] = always,
    ) -> Call:
        """The call, if its caller may make it and its request is well-formed. May wait for whoever knows the caller.

        Args:
            awaited: see `Call`.

        Raises:
            BmsError: why not.
        """
        bearer = self.bearer(method, metadata)
        caller = ANONYMOUS if bearer is None else self.callers.caller_of(bearer)
        return self.admit_as(caller, method, correlation, arrived, awaited)

    def bearer(self, method: str, metadata: Mapping[str, str | bytes]) -> str | None:
        """The token that *method* asks for; None where anyone may call.

        Raises:
            Forbidden: the method has no rule.
            Unauthenticated: no token was sent.
        """
        rule = self._rules.get(method)
        if rule is None:
            msg = f"{method} has no rule, so nobody may call it"
            raise Forbidden(msg, method=method)
        return None if rule.anyone else _bearer(metadata)

    def admit_as(
        self, caller: Caller, method: str, correlation: str, arrived: Arrived, awaited: Callable[[], bool] = always
    ) -> Call:
        """As `admit`, of a method with a rule and a caller who is known; waits for nobody."""
        request = arrived.message
        if request is None:
            raise InvalidField(
                "", "the request's bytes are not a message of this method", remedy="Send what the contract says."
            )
        check = self._checks.get(method)
        if check is None:
            check = self._checks[method] = compile_rule(self._rules[method])
        check(caller, request)
        self.checker.check(request, suspect=arrived.suspect)
        return Call(
            caller=caller,
            method=method,
            correlation=correlation,
            now=self._clock.now(),
            request_id=getattr(request, "request_id", ""),
            validate_only=getattr(request, "validate_only", False),
            awaited=awaited,
        )

    def told(
        self, method: str, call: Call | None, correlation: str, code: str, started: float, error: BaseException | None
    ) -> None:
        """Writes the one log line of a call, and counts it."""
        seconds = time.perf_counter() - started
        if self.metrics is not None:
            self.metrics.observe(method, code, seconds)
        facts: dict[str, Any] = {
            "method": method,
            "code": code,
            "ms": round(seconds * 1000, 2),
            "request_id": correlation,
        }
        if call is not None:
            facts["caller"] = call.caller.subject
        if error is None:
            line("rpc", facts)
        elif isinstance(error, BmsError):
            _log.info("rpc", **facts, reason=error.reason, error=str(error)[:500])
        else:
            _log.error("rpc", **facts, exc_info=error)


def interceptors(
    callers: Callers,
    rules: Mapping[str, Rule],
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    metrics: Metrics | None = None,
) -> tuple[grpc.ServerInterceptor, ...]:
    """The interceptors of a synchronous server.

    Args:
        callers: knows the bearer tokens.
        rules: who may call what, by full method; a method without a rule is refused.
    """
    return (_Layers(Guard(callers, rules, clock=clock, ids=ids, metrics=metrics)),)


class _Layers(grpc.ServerInterceptor):
    """All layers around each method, built once per method."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._built: dict[str, Any] = {}
        self._reflections = threading.BoundedSemaphore(MAX_STREAMS)
        self._watches = threading.BoundedSemaphore(MAX_STREAMS)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        built = self._built.get(method)
        if built is None:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            built = self._built[method] = self._build(method, handler)
        return built

    def _build(self, method: str, handler: Any) -> Any:
        if handler.request_streaming or handler.response_streaming:
            if not self._guard.is_open(method):
                return grpc.unary_unary_rpc_method_handler(_no_streams)
            # Each holds a thread as long as the caller likes, and needs no token.
            return self._bounded(handler._replace(request_deserializer=forgiving(handler.request_deserializer)))
        return grpc.unary_unary_rpc_method_handler(
            self._around(method, handler.unary_unary),
            request_deserializer=arrival(handler.request_deserializer),
            response_serializer=serialized,
        )

    def _bounded(self, handler: Any) -> Any:
        reflecting = handler.request_streaming
        serve = handler.stream_stream if reflecting else handler.unary_stream
        places, what = (self._reflections, "reflection streams") if reflecting else (self._watches, "watches of health")

        def few(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            if not places.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {MAX_STREAMS} {what} are open")
            try:
                yield from serve(request, context)
            finally:
                places.release()

        make = grpc.stream_stream_rpc_method_handler if reflecting else grpc.unary_stream_rpc_method_handler
        return make(
            few, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )

    def _around(self, method: str, serve: Callable[[Any, Any], Any]) -> Callable[[Arrived, grpc.ServicerContext], Any]:
        guard = self._guard

        def layered(arrived: Arrived, context: grpc.ServicerContext) -> Any:
            started = time.perf_counter()
            metadata = dict(context.invocation_metadata())
            correlation = guard.correlation(metadata)
            call: Call | None = None
            try:
                call = guard.admit(method, metadata, correlation, arrived, partial(_awaited, context))
                token = current.set(call)
                try:
                    answer = serve(arrived.message, context)
                finally:
                    current.reset(token)
            except UniqueViolation as error:
                # Two requests did the same in one moment and a store did not foresee it: the loser comes again.
                guard.told(method, call, correlation, "ABORTED", started, error)
                _abort(context, statuses.to_status(raced(), correlation))
            except BmsError as error:
                guard.told(method, call, correlation, statuses.code_of(error).name, started, error)
                _abort(context, statuses.to_status(error, correlation))
            except NotImplementedError:
                guard.told(method, call, correlation, "UNIMPLEMENTED", started, None)
                _abort(context, statuses.unimplemented(method, correlation))
            except Exception as error:  # noqa: BLE001 -- nobody foresaw it: the log has everything, the caller an id
                guard.told(method, call, correlation, "INTERNAL", started, error)
                _abort(context, statuses.internal(correlation))
            guard.told(method, call, correlation, "OK", started, None)
            return answer

        return layered


def _bearer(metadata: Mapping[str, str | bytes]) -> str:
    given = metadata.get("authorization")
    if isinstance(given, str) and given[:7].lower() == "bearer ":
        return given[7:].strip()
    # As OpenStack's own tools send it.
    given = metadata.get("x-auth-token")
    if isinstance(given, str) and given:
        return given.strip()
    msg = "no bearer token was sent"
    raise Unauthenticated(msg, remedy="Send the metadata `authorization: Bearer <token>`.")


def arrival(parse: Callable[[bytes], Message]) -> Callable[[bytes], Arrived]:
    """A deserialiser that never fails: what cannot be parsed is refused later, in our words, instead of as INTERNAL."""

    def parsed(data: bytes) -> Arrived:
        try:
            return Arrived(parse(data), len(data) > MAX_STRING or b"\x00" in data)
        except (DecodeError, ValueError):
            return Arrived(None)

    return parsed


def forgiving(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    """As `arrival`, for health's and reflection's streams: what they answer to an empty request will do for none."""

    def parsed(data: bytes) -> Message:
        try:
            return parse(data)
        except (DecodeError, ValueError):
            return parse(b"")

    return parsed


def serialized(message: Any) -> bytes:
    """A response's bytes; also of one that is stored as bytes (`services.runtime.eventlog.Stored`)."""
    data: bytes = message.SerializeToString()
    return data


def raced() -> Busy:
    """What a caller is told whose transaction met another with the same key."""
    return Busy("another request did the same in this moment", remedy="Send the same request again.")


def _awaited(context: grpc.ServicerContext) -> bool:
    left: float | None = context.time_remaining()
    return left is None or left > 0


def _abort(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    # abort_with_status would do the same on the wire, but grpc_testing does not know it.
    context.set_trailing_metadata(statuses.trailers(status))
    context.abort(statuses.code_number(status.code), status.message)


def _no_streams(_request: object, context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "this service offers no streams")
