# SPDX-License-Identifier: Apache-2.0
"""Between the services: real stubs and real interceptors, over bytes, in the thread of the caller.

A call enters the code of another process and comes back, unless that process dies meanwhile, or the weather has it
that the call does not arrive, arrives late, or its answer is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, Self

import grpc

from bms.event.v1 import event_pb2
from services.kernel.calls import Caller
from services.kernel.errors import BmsError, Unauthenticated
from services.runtime import status as statuses
from tests.simulation.engine import Crash, Event, Process, Simulation
from tests.simulation.weather import Fate, Weather

Metadata = tuple[tuple[str, Any], ...]
Serve = tuple[Callable[[Any, Any], None], object]
"""A generated ``add_XServicer_to_server`` and the servicer."""

_LOOK_AGAIN = 0.05
"""Seconds that news may gather before a waiting caller of ListEvents is answered."""


class Lost(grpc.RpcError):
    """How a call ended badly."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Metadata = ()) -> None:
        super().__init__(f"{code.name}: {details}")
        self._ended = code, details, trailing

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._ended[0]

    def details(self) -> str:
        """Its message."""
        return self._ended[1]

    def trailing_metadata(self) -> Any:
        """What came with it."""
        return self._ended[2]


def refused(error: BmsError) -> Lost:
    """*error* as it crosses the wire."""
    status = statuses.to_status(error, "")
    return Lost(statuses.code_of(error), str(error), statuses.trailers(status))


class Tokens:
    """Knows callers by tokens."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = callers

    def caller_of(self, bearer: str) -> Caller:
        """See `services.runtime.auth.Callers`."""
        if bearer not in self._callers:
            msg = "the token is not known"
            raise Unauthenticated(msg)
        return self._callers[bearer]


class _Aborted(Exception):
    """What a context's abort raises."""


class _Context:
    """As much of a grpc.ServicerContext as interceptors and servicers use."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self.trailing: Metadata = ()
        self.ended = (grpc.StatusCode.OK, "")

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def set_trailing_metadata(self, trailing: Metadata) -> None:
        self.trailing = trailing

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.ended = (code, details)
        raise _Aborted

    def time_remaining(self) -> None:
        # Without a deadline: that calls are served after their callers gave up is a fault of its own here.
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def peer_identities(self) -> None:
        return None


class _Details(NamedTuple):
    method: str
    invocation_metadata: Metadata = ()


class _Registrar:
    """Stands where a server would while servicers are added to it."""

    def __init__(self) -> None:
        self.generic: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: tuple[Any]) -> None:
        self.generic += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Takes nothing: they are the same."""


class Server:
    """What one process serves."""

    def __init__(self, process: Process, servicers: Sequence[Serve], chain: Sequence[Any]) -> None:
        self.process = process
        self._registrar = _Registrar()
        self._chain = chain
        self._handlers: dict[str, Any] = {}
        for add, servicer in servicers:
            add(servicer, self._registrar)

    def serve(self, method: str, request: bytes, metadata: Metadata) -> bytes:
        """The answer's bytes; raises `Lost` for a refusal."""
        handler = self._handlers.get(method)
        if handler is None:
            handler = self._handlers[method] = self._found(method)
        context = _Context(metadata)
        try:
            answer = handler.unary_unary(handler.request_deserializer(request), context)
        except _Aborted:
            raise Lost(*context.ended, context.trailing) from None
        data: bytes = handler.response_serializer(answer)
        return data

    def _found(self, method: str) -> Any:
        def found(details: _Details) -> Any:
            for generic in self._registrar.generic:
                handler = generic.service(details)
                if handler is not None:
                    return handler
            return None

        chain: Callable[[Any], Any] = found
        for interceptor in reversed(self._chain):
            chain = partial(interceptor.intercept_service, chain)
        handler = chain(_Details(method))
        assert handler is not None, method
        return handler


class Fabric:
    """Who can be called, and how calls fare."""

    def __init__(self, sim: Simulation, weather: Weather) -> None:
        self.sim = sim
        self.weather = weather
        self.servers: dict[str, list[Server]] = {}
        self.news: dict[str, Event] = {}
        self.listeners: dict[str, Callable[[], None]] = {}
        self.calls = 0

    def up(self, server: Server) -> None:
        """*server* answers from now on."""
        self.servers.setdefault(server.process.service, []).append(server)

    def down(self, process: Process) -> None:
        """Nobody reaches *process* any more."""
        there = self.servers.get(process.service, [])
        self.servers[process.service] = [server for server in there if server.process is not process]

    def committed(self, service: str) -> None:
        """*service* committed something: who waits for its news looks again."""
        if service in self.listeners:
            self.listeners[service]()
        if service in self.news:
            self.news[service].set()

    def channel(self, service: str, source: str) -> Channel:
        """A channel to *service*, for *source*."""
        return Channel(self, service, source)

    def call(self, source: str, service: str, method: str, request: bytes, metadata: Metadata, timeout: float) -> bytes:
        """Calls *method*; a long poll is cut into short ones."""
        if method.endswith("/ListEvents"):
            return self._poll(source, service, method, request, metadata, timeout)
        return self._call(source, service, method, request, metadata, timeout)

    def _poll(
        self, source: str, service: str, method: str, request: bytes, metadata: Metadata, timeout: float
    ) -> bytes:
        asked = event_pb2.ListEventsRequest.FromString(request)
        until = self.sim.micros + asked.wait_seconds * 1_000_000
        asked.wait_seconds = 0
        short = asked.SerializeToString()
        news = self.news.setdefault(service, self.sim.event())
        while True:
            news.clear()
            data = self._call(source, service, method, short, metadata, timeout)
            left = (until - self.sim.micros) / 1_000_000
            if left <= 0 or event_pb2.ListStoredEventsResponse.FromString(data).events:
                return data
            if news.wait(left):
                self.sim.sleep(min(_LOOK_AGAIN, left))

    def _call(
        self, source: str, service: str, method: str, request: bytes, metadata: Metadata, timeout: float
    ) -> bytes:
        self.calls += 1
        sim, fate = self.sim, self.weather.fate(source, service, method)
        until = sim.micros + int(timeout * 1_000_000)
        if fate.before:
            sim.sleep(min(fate.before, timeout))
        if fate.kind is Fate.REFUSED or fate.before >= timeout:
            raise Lost(grpc.StatusCode.UNAVAILABLE, f"{service} does not answer")
        if fate.kind is Fate.BUSY:
            raise refused(self.weather.busy())
        server = self._chosen(service)
        stands = server.process.stopped_until - sim.micros
        if fate.kind is Fate.LATE or stands > (until - sim.micros):
            delay = max(stands / 1_000_000, fate.after)
            sim.spawn(f"late {method}", lambda: self._late(server, method, request, metadata, delay))
            sim.sleep(max(0.0, (until - sim.micros) / 1_000_000))
            raise Lost(grpc.StatusCode.DEADLINE_EXCEEDED, f"{service} did not answer in time")
        data = self._enter(server, method, request, metadata)
        if fate.after:
            sim.sleep(fate.after)
        if fate.kind is Fate.ANSWER_LOST:
            raise Lost(grpc.StatusCode.UNAVAILABLE, f"the connection to {service} broke")
        if sim.micros > until:
            raise Lost(grpc.StatusCode.DEADLINE_EXCEEDED, f"{service} did not answer in time")
        return data

    def _chosen(self, service: str) -> Server:
        there = self.servers.get(service, [])
        if not there:
            raise Lost(grpc.StatusCode.UNAVAILABLE, f"{service} is not there")
        return there[0] if len(there) == 1 else self.weather.one_of(there)

    def _enter(self, server: Server, method: str, request: bytes, metadata: Metadata) -> bytes:
        """Runs the call in the process's code; comes back with whatever happened there."""
        sim, actor = self.sim, self.sim.current
        process = server.process
        actor.frames.append(process)
        try:
            sim.check()
            data = server.serve(method, request, metadata)
        except Crash as crash:
            if crash.process is not process:
                raise
            raise Lost(grpc.StatusCode.UNAVAILABLE, f"the connection to {process} broke") from None
        finally:
            actor.frames.pop()
        # Perhaps our own process is gone by now.
        sim.check()
        return data

    def _late(self, server: Server, method: str, request: bytes, metadata: Metadata, delay: float) -> None:
        self.sim.sleep(delay)
        try:
            if server.process.alive:
                self._enter(server, method, request, metadata)
        except Lost:
            pass  # there is nobody left to tell


class Channel(grpc.Channel):
    """A channel whose calls are made by the caller himself."""

    def __init__(self, fabric: Fabric, service: str, source: str) -> None:
        self._fabric = fabric
        self._service = service
        self._source = source

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """A unary method."""

        def call(request: Any, timeout: float = 10.0, metadata: Metadata = ()) -> Any:
            data = self._fabric.call(
                self._source, self._service, method, request_serializer(request), tuple(metadata), timeout
            )
            return response_deserializer(data)

        return call

    def unary_stream(self, *_: Any, **__: Any) -> Any:
        """None is called."""

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        """None is called."""

    def stream_stream(self, *_: Any, **__: Any) -> Any:
        """None is called."""

    def subscribe(self, *_: Any, **__: Any) -> None:
        """Has no states to tell of."""

    def unsubscribe(self, *_: Any, **__: Any) -> None:
        """Has no states to tell of."""

    def close(self) -> None:
        """Has nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
