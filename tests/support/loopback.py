# SPDX-License-Identifier: Apache-2.0
"""A genuine server on a port of the loopback, for the few things that only the wire shows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from services.access import RULES
from services.kernel.calls import Caller
from services.kernel.clock import Clock
from services.kernel.errors import Unauthenticated
from services.runtime.auth import Rule
from services.runtime.interceptors import interceptors
from services.runtime.metrics import Metrics
from services.runtime.server import Bound, build_server, serve
from services.runtime.settings import ServerSettings, ServerTls


class OneCaller:
    """Takes the token ``good`` for one caller, and knows no other."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def caller_of(self, bearer: str) -> Caller:
        """The caller, for the token ``good``."""
        if bearer != "good":
            msg = "the token is not known"
            raise Unauthenticated(msg)
        return self.caller


class Running:
    """A server that answers.

    Attributes:
        bound: the server with its port.
        stop: ends it.
        thread: serves until then.
    """

    def __init__(self, bound: Bound, stop: threading.Event, thread: threading.Thread) -> None:
        self.bound = bound
        self.stop = stop
        self.thread = thread

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"localhost:{self.bound.port}"


@contextmanager
def running(
    servicers: Sequence[tuple[Callable[[Any, Any], None], object]],
    caller: Caller,
    *,
    rules: Mapping[str, Rule] | None = None,
    settings: ServerSettings | None = None,
    tls: ServerTls | None = None,
    metrics: Metrics | None = None,
    drain: Sequence[Callable[[], None]] = (),
    clock: Clock | None = None,
) -> Iterator[Running]:
    """Serves *servicers* to *caller*, whose token is ``good``, until the block ends."""
    given = settings or ServerSettings("127.0.0.1:0", grace=5.0)
    chain = interceptors(OneCaller(caller), {**RULES, **(rules or {})}, metrics=metrics, clock=clock)
    bound = build_server(replace(given, tls=tls), servicers, chain, metrics=metrics)
    stop, started = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=serve, args=(bound,), kwargs={"stop": stop, "started": lambda _port: started.set(), "drain": drain}
    )
    thread.start()
    assert started.wait(10)
    try:
        yield Running(bound, stop, thread)
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
