# SPDX-License-Identifier: Apache-2.0
"""Following a stream until it is enough: over cuts and restarts, with a token to go on from at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from services.cli.failures import ExitCode

if TYPE_CHECKING:
    from datetime import timedelta

    from services.cli.session import Session

_RETRY_SECONDS: Final = 60.0


def follow(
    session: Session,
    stream: Callable[..., Iterator[Any]],
    request: Any,
    field: str,
    line: Callable[[Any], str],
    *,
    again: str,
    count: int | None,
    span: timedelta | None,
) -> ExitCode:
    """Prints what *stream* tells, until Ctrl-C, *count* things, or *span*.

    Args:
        stream: the method; its request has `after`, its batches have `token`.
        field: of a batch, with the things in it.
        line: what to print of one.
        again: the command that *after* belongs to.
    """
    import grpc

    def end(token: str) -> ExitCode:
        if token:
            session.screen.note(f"Go on from here: {again} --after {token}")
        return ExitCode.OK

    until = time.monotonic() + span.total_seconds() if span else None
    silent_until = time.monotonic() + _RETRY_SECONDS
    seen = 0
    try:
        while True:
            left = None if until is None else max(0.1, until - time.monotonic())
            try:
                for batch in stream(request, timeout=left, wait_for_ready=bool(request.after)):
                    things: Sequence[Any] = getattr(batch, field)
                    for each in things:
                        click.echo(line(each))
                        seen += 1
                        if count is not None and seen >= count:
                            # The token is of the whole batch; if some of it was not seen, the one before is told.
                            return end(request.after if each is not things[-1] else batch.token)
                    request.after = batch.token or request.after
                    silent_until = time.monotonic() + _RETRY_SECONDS
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and until is not None:
                    return end(request.after)
                lost = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
                if not lost or not request.after or time.monotonic() > silent_until:
                    raise
                session.screen.note("the stream was cut; going on where it was")
    except KeyboardInterrupt:
        return end(request.after)
