# SPDX-License-Identifier: Apache-2.0
"""A servicer as a caller meets it: behind our interceptors, over the bytes of the wire, without a port.

wire = Wire(InventoryServicer(...), caller=admin())
reply, code, status = wire.call("GetServer", GetServerRequest(name=...))
assert code is grpc.StatusCode.NOT_FOUND and reason(status) == "NOT_FOUND"
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeVar

import grpc
import grpc_testing
from google.longrunning import operations_pb2
from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.access import RULES
from services.kernel.calls import Caller, Role
from services.kernel.clock import Clock
from services.kernel.errors import Unauthenticated
from services.runtime import status as statuses
from services.runtime.auth import Rule
from services.runtime.interceptors import interceptors

D = TypeVar("D", bound=Message)


def admin(subject: str = "admin") -> Caller:
    """The site's administrator."""
    return Caller(subject, frozenset({Role.ADMIN}))


def service(subject: str = "lifecycle") -> Caller:
    """One of the services."""
    return Caller(subject, frozenset({Role.SERVICE}))


def auditor(subject: str = "auditor") -> Caller:
    """Somebody who reads everything and changes nothing."""
    return Caller(subject, frozenset({Role.READER}))


def member(project: str = "demo", subject: str = "") -> Caller:
    """Somebody who changes what belongs to *project*."""
    return Caller(subject or f"{project}-member", frozenset(), {project: frozenset({Role.MEMBER})})


def reader(project: str = "demo", subject: str = "") -> Caller:
    """Somebody who reads what belongs to *project*."""
    return Caller(subject or f"{project}-reader", frozenset(), {project: frozenset({Role.READER})})


class Reply(NamedTuple):
    """What came back.

    Attributes:
        message: the response; None if the call was refused.
        code: its status code.
        status: the rich status; its details are empty if there were none.
    """

    message: Any
    code: grpc.StatusCode
    status: status_pb2.Status


class Wire:
    """Calls methods of *servicer* through the interceptors.

    Args:
        caller: who calls, unless a call says otherwise; None calls without a token.
        rules: who may call what; the product's table if None.
    """

    def __init__(
        self,
        servicer: object,
        caller: Caller | None = None,
        *,
        rules: Mapping[str, Rule] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._caller = caller
        self._callers = _KnownCallers()
        self._service, add = _contract(servicer)
        wrapped = Intercepted(
            add, servicer, *interceptors(self._callers, RULES if rules is None else rules, clock=clock)
        )
        self._server = grpc_testing.server_from_dictionary({self._service: wrapped}, grpc_testing.strict_real_time())

    def call(
        self,
        method: str,
        request: Message,
        *,
        caller: Caller | None = None,
        metadata: Iterable[tuple[str, str]] = (),
        timeout: float | None = None,
    ) -> Reply:
        """Calls *method* with *request*; refusals come back, nothing is raised."""
        descriptor = self._service.methods_by_name[method]
        who = caller or self._caller
        shown = list(metadata)
        if who is not None:
            shown.append(("authorization", f"Bearer {self._callers.token_of(who)}"))
        rpc = self._server.invoke_unary_unary(descriptor, tuple(shown), request, timeout)
        message, trailing, code, details = rpc.termination()
        status = statuses.details_of(trailing) or status_pb2.Status(message=details or "")
        return Reply(message if code is grpc.StatusCode.OK else None, code, status)

    def ok(self, method: str, request: Message, *, caller: Caller | None = None) -> Any:
        """Calls *method* and answers its response; fails the test if it was refused."""
        reply = self.call(method, request, caller=caller)
        assert reply.code is grpc.StatusCode.OK, f"{method}: {reply.code} {reply.status}"
        return reply.message


def detail(status: status_pb2.Status, kind: type[D]) -> D | None:
    """The detail of this *kind* in *status*, None if it has none."""
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def reason(status: status_pb2.Status) -> str:
    """The ErrorInfo's reason in *status*, "" if it has none."""
    info = detail(status, error_details_pb2.ErrorInfo)
    return info.reason if info else ""


def fields(status: status_pb2.Status) -> list[str]:
    """The fields that a BadRequest in *status* names."""
    bad = detail(status, error_details_pb2.BadRequest)
    return [violation.field for violation in bad.field_violations] if bad else []


def remedy(status: status_pb2.Status) -> str:
    """What *status* tells the caller to do next, "" if it does not say."""
    found = detail(status, error_details_pb2.Help)
    return found.links[0].description if found else ""


class Intercepted:
    """A servicer behind its interceptors; grpc_testing knows of none."""

    def __init__(self, add_to_server: Callable[[Any, Any], None], servicer: object, *chain: Any) -> None:
        registrar = _Registrar()
        add_to_server(servicer, registrar)
        self._generic = registrar.generic
        self._chain = chain
        pool = descriptor_of(servicer).methods_by_name
        self._answers = {name: message_factory.GetMessageClass(method.output_type) for name, method in pool.items()}

    def __getattr__(self, method: str) -> Any:
        def found(details: _Call) -> Any:
            return self._generic.service(details)

        chain: Callable[[Any], Any] = found
        for interceptor in reversed(self._chain):
            chain = partial(interceptor.intercept_service, chain)
        handler = chain(_Call(f"/{self._generic.service_name()}/{method}"))

        def served(request: Message, context: grpc.ServicerContext) -> Any:
            # Over bytes, both ways: what cannot cross the wire is found here.
            arrived = handler.request_deserializer(request.SerializeToString())
            try:
                answer = handler.unary_unary(arrived, _Context(context))
            except _Aborted:
                return self._answers[method]()
            return self._answers[method].FromString(handler.response_serializer(answer))

        return served


class _Aborted(Exception):
    """What `_Context.abort` raises, as a server's does."""


class _Context:
    """grpc_testing's context, but an abort keeps the trailing metadata: in it are the details of every refusal."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Ends the call with *code*."""
        self._context.set_code(code)
        self._context.set_details(details)
        raise _Aborted


class _Registrar:
    """Stands where a server would while a servicer is added to it."""

    generic: Any = None

    def add_generic_rpc_handlers(self, handlers: tuple[Any]) -> None:
        """Keeps the handlers of the one service."""
        (self.generic,) = handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Takes nothing: these are the same, and code generated long ago has none."""


class _Call(NamedTuple):
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class _KnownCallers:
    """Gives each caller a token, and knows it again."""

    def __init__(self) -> None:
        self._callers: list[Caller] = []

    def token_of(self, caller: Caller) -> str:
        if caller not in self._callers:
            self._callers.append(caller)
        return str(self._callers.index(caller))

    def caller_of(self, bearer: str) -> Caller:
        if bearer.isdigit() and int(bearer) < len(self._callers):
            return self._callers[int(bearer)]
        msg = "the token is not known"
        raise Unauthenticated(msg, remedy="Send a known token.")


def _generated(servicer: object) -> tuple[str, Any]:
    for kind in type(servicer).__mro__:
        if kind.__module__.endswith("_pb2_grpc"):
            return kind.__name__, importlib.import_module(kind.__module__)
    msg = f"{type(servicer).__name__} derives from no generated servicer"
    raise TypeError(msg)


def descriptor_of(servicer: object) -> Any:
    """The service that *servicer* implements."""
    name, module = _generated(servicer)
    if name == "OperationsServicer":
        contract: Any = operations_pb2  # its _pb2 has a longer name than its _pb2_grpc
    else:
        contract = importlib.import_module(module.__name__.removesuffix("_grpc"))
    return contract.DESCRIPTOR.services_by_name[name.removesuffix("Servicer")]


def _contract(servicer: object) -> tuple[Any, Callable[[Any, Any], None]]:
    name, module = _generated(servicer)
    add = getattr(module, f"add_{name}_to_server")
    return descriptor_of(servicer), add
