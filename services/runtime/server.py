# SPDX-License-Identifier: Apache-2.0
"""The gRPC server of a service: built from its servicers, served until told to stop, then drained."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import grpc
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.kernel.errors import PeerUnavailable
from services.runtime.memory import settle
from services.runtime.metrics import Metrics, serve_metrics
from services.runtime.outbound import MAX_MESSAGE
from services.runtime.settings import ServerSettings

_log = structlog.get_logger("bms.server")

Add = Callable[[Any, Any], None]
"""A generated ``add_XServicer_to_server``."""

# grpcurl prints our details because reflection finds their contract in the pool; importing it has put it there.
_REFLECTED = error_details_pb2.DESCRIPTOR.name


@dataclass(frozen=True, slots=True)
class Bound:
    """A server that has its port and has not started.

    Attributes:
        port: the port it got.
        names: full names of its services.
    """

    server: grpc.Server
    port: int
    health: health.HealthServicer
    names: tuple[str, ...]
    settings: ServerSettings
    metrics: Metrics | None


class _Naming:
    """Stands before the server while a servicer is added, and keeps the service's full name."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server
        self.names: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        # Code generated long ago, as that of Operations, calls this one alone; newer code both.
        self.names += [handler.service_name() for handler in handlers]
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        self._server.add_registered_method_handlers(service, handlers)


def build_server(
    settings: ServerSettings,
    servicers: Sequence[tuple[Add, object]],
    interceptors: Sequence[grpc.ServerInterceptor],
    *,
    metrics: Metrics | None = None,
) -> Bound:
    """A server with *servicers*, health for each and reflection, bound to its port.

    Raises:
        PeerUnavailable: the port is taken.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(settings.threads, thread_name_prefix="rpc"),
        interceptors=list(interceptors),
        options=(
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            # Two processes on one port would take each other's calls in turns.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 30000),
        ),
    )
    naming = _Naming(server)
    for add, servicer in servicers:
        add(servicer, naming)
        _load_contract(add)
    # Its form without threads sends under the lock that ending a watch needs, and waits for the one thread that ends
    # watches: a watch that begins while another ends stops the whole server.
    checks = health.HealthServicer(experimental_non_blocking=False)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = tuple(naming.names)
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return Bound(server, _bind(server, settings), checks, names, settings, metrics)


def _load_contract(add: Add) -> None:
    """Puts a servicer's contract into the pool: ``x_pb2_grpc`` loads the messages' files, not the service's own."""
    module = getattr(add, "__module__", "")
    if module.endswith("_service_pb2_grpc"):
        importlib.import_module(module.removesuffix("_grpc"))


def serve(
    bound: Bound,
    *,
    drain: Sequence[Callable[[], None]] = (),
    stop: threading.Event | None = None,
    started: Callable[[int], None] | None = None,
) -> None:
    """Serves until SIGTERM, SIGINT or *stop*; then says NOT_SERVING, drains, and lets running calls end.

    Args:
        drain: called when the stop begins: they wake waiting callers and stop workers.
        stop: another way to end it; without, the signals are taken over (main thread only).
        started: called with the port when calls are answered.
    """
    # Before anybody is told that we serve: who then kills the parent must not be taken for it.
    parent = os.getppid()
    told = stop.wait if stop is not None else _told_by_signals()
    settings = bound.settings
    scrape = serve_metrics(bound.metrics, settings.metrics_port) if bound.metrics and settings.metrics_port else None
    settle()
    bound.server.start()
    for name in ("", *bound.names):
        bound.health.set(name, health_pb2.HealthCheckResponse.SERVING)
    _log.info("serving", port=bound.port, services=list(bound.names))
    if started is not None:
        started(bound.port)
    _wait(told, parent if settings.die_with_parent else 0)
    _log.info("draining", grace=settings.grace)
    bound.health.enter_graceful_shutdown()
    stopped = bound.server.stop(settings.grace)
    for wake in drain:
        wake()
    stopped.wait()
    if scrape is not None:
        scrape.shutdown()
        scrape.server_close()
    _log.info("stopped")


def _told_by_signals() -> Callable[[float | None], bool]:
    """Waits up to so many seconds (None: for ever) for SIGTERM or SIGINT; answers whether one came.

    An event would not do: the handler runs in the thread that waits, and if that has the event's lock just then, it
    waits for itself for ever.
    """
    came: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: came.put(number))

    def told(seconds: float | None) -> bool:
        try:
            came.get(timeout=seconds)
        except Empty:
            return False
        return True

    return told


def _wait(told: Callable[[float | None], bool], parent: int) -> None:
    """Until *told* to stop, or until the process *parent* is gone (0: whatever becomes of it)."""
    if not parent:
        told(None)
        return
    # Looking is portable, and unlike PR_SET_PDEATHSIG it does not end us when a mere thread of the parent ends.
    while not told(0.5):
        if os.getppid() != parent:
            _log.warning("parent.gone")
            return


def _bind(server: grpc.Server, settings: ServerSettings) -> int:
    taken = f"{settings.address} cannot be listened on"
    remedy = "Stop whatever listens there, or set another BMS_<SERVICE>_ADDRESS."
    try:
        if settings.tls is None:
            port = server.add_insecure_port(settings.address)
        else:
            tls = settings.tls
            client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
            credentials = grpc.ssl_server_credentials(
                [(tls.key.read_bytes(), tls.cert.read_bytes())],
                root_certificates=client_ca,
                require_client_auth=client_ca is not None,
            )
            port = server.add_secure_port(settings.address, credentials)
    except RuntimeError:
        raise PeerUnavailable(taken, remedy=remedy, address=settings.address) from None
    if not port:
        raise PeerUnavailable(taken, remedy=remedy, address=settings.address)
    return int(port)
