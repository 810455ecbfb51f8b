# SPDX-License-Identifier: Apache-2.0
"""What stands between the wire and the servicer of a grpc.aio server: the layers of `services.runtime.interceptors`.

Request id and log line, errors, authentication and authorisation, checks of the contract. Streams of answers are served
too; streams of requests only where anyone may call (health, reflection).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.rpc import status_pb2

from services.kernel.calls import Call
from services.kernel.errors import BmsError
from services.runtime import status as statuses
from services.runtime.context import current
from services.runtime.interceptors import ANONYMOUS, Arrived, Guard, arrival, forgiving, serialized
from telemetry.callers import AioCallers


class AioLayers(grpc.aio.ServerInterceptor):
    """All layers around each method, built once per method.

    Args:
        callers: the guard's, to be awaited.
    """

    def __init__(self, guard: Guard, callers: AioCallers) -> None:
        self._guard = guard
        self._callers = callers
        self._built: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """The handler of the method, inside its layers; None if there is no such method."""
        method = handler_call_details.method
        built = self._built.get(method)
        if built is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            built = self._built[method] = self._build(method, handler)
        return built

    def _build(self, method: str, handler: Any) -> Any:
        streaming = handler.request_streaming or handler.response_streaming
        if streaming and self._guard.is_open(method):
            return handler._replace(request_deserializer=forgiving(handler.request_deserializer))
        if handler.request_streaming:
            return grpc.unary_unary_rpc_method_handler(_no_streams)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._around_stream(method, handler.unary_stream),
                request_deserializer=arrival(handler.request_deserializer),
                response_serializer=serialized,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._around(method, handler.unary_unary),
            request_deserializer=arrival(handler.request_deserializer),
            response_serializer=serialized,
        )

    def _around(self, method: str, serve: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        async def layered(arrived: Arrived, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            one = _Served(self._guard, self._callers, method, context)
            try:
                call = await one.admit(arrived)
                token = current.set(call)
                try:
                    answer = await serve(arrived.message, context)
                finally:
                    current.reset(token)
            except grpc.aio.AbortError:
                # Health's own servicer, which knows nothing of our table, has told the caller.
                code: Any = context.code()
                one.ended(code.name if isinstance(code, grpc.StatusCode) else statuses.code_number(code).name, None)
                raise
            except Exception as error:  # noqa: BLE001 -- one table decides what the caller learns of it
                await one.refuse(error)
                return None
            one.ended("OK", None)
            return answer

        return layered

    def _around_stream(self, method: str, serve: Callable[[Any, Any], AsyncGenerator[Any, None]]) -> Any:
        async def layered(arrived: Arrived, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            one = _Served(self._guard, self._callers, method, context)
            ended = False
            try:
                call = await one.admit(arrived)
                # The servicer reads the call when it is asked, not while it answers.
                token = current.set(call)
                try:
                    answers = serve(arrived.message, context)
                finally:
                    current.reset(token)
                async with aclosing(answers):
                    async for answer in answers:
                        yield answer
                ended = True
                one.ended("OK", None)
            except Exception as error:  # noqa: BLE001 -- as above
                ended = True
                await one.refuse(error)
            finally:
                if not ended:
                    # Nobody refused anything: the caller went away.
                    one.ended("CANCELLED", None)

        return layered


class _Served:
    """One call being served."""

    def __init__(
        self, guard: Guard, callers: AioCallers, method: str, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        self._guard = guard
        self._callers = callers
        self._method = method
        self._context = context
        self._started = time.perf_counter()
        self._metadata: Mapping[str, str | bytes] = dict(context.invocation_metadata() or ())
        self._correlation = guard.correlation(self._metadata)
        self._call: Call | None = None

    async def admit(self, arrived: Arrived) -> Call:
        """See `Guard.admit`; the loop goes on meanwhile."""
        bearer = self._guard.bearer(self._method, self._metadata)
        caller = ANONYMOUS if bearer is None else await self._callers.caller_of(bearer)
        self._call = self._guard.admit_as(caller, self._method, self._correlation, arrived)
        return self._call

    async def refuse(self, error: Exception) -> None:
        """Ends the call with the status of *error*."""
        if isinstance(error, BmsError):
            status = statuses.to_status(error, self._correlation)
            self.ended(statuses.code_of(error).name, error)
        elif isinstance(error, NotImplementedError):
            status = statuses.unimplemented(self._method, self._correlation)
            self.ended("UNIMPLEMENTED", None)
        else:
            status = statuses.internal(self._correlation)
            self.ended("INTERNAL", error)
        await _abort(self._context, status)

    def ended(self, code: str, error: BaseException | None) -> None:
        """Writes the log line."""
        self._guard.told(self._method, self._call, self._correlation, code, self._started, error)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status) -> None:
    context.set_trailing_metadata(statuses.trailers(status))
    await context.abort(statuses.code_number(status.code), status.message)


async def _no_streams(_request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this service takes no streams of requests")
