# SPDX-License-Identifier: Apache-2.0
"""Following operations to their end: a bar on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from services.cli.errors import from_status, tell_of
from services.cli.failures import CliError, ExitCode, TimedOut
from services.cli.screen import Screen, as_dict, moment, seconds, short, span
from services.cli.session import Session

if TYPE_CHECKING:
    from google.longrunning.operations_pb2 import Operation

LOOK_SECONDS = 0.4
_SILENCE_SECONDS = 60.0
_PORT = re.compile(r"servers/[0-9a-f-]{36}/ports/(\w+)")


@dataclass(frozen=True, slots=True)
class Progress:
    """How an operation stands, as people want to know it."""

    percent: int = 0
    stage: str = ""
    limit: str = ""
    since: str = ""
    waits: str = ""
    warnings: tuple[str, ...] = ()
    address: str = ""


def progress_of(operation: Operation) -> Progress:
    """What *operation* says of itself in its metadata."""
    from bms.inventory.v1.server_pb2 import DeleteServerMetadata
    from bms.lifecycle.v1.operation_pb2 import OperationMetadata

    deletion, metadata = DeleteServerMetadata(), OperationMetadata()
    if operation.metadata.Unpack(deletion):
        return Progress(100 if operation.done else 0, deletion.stage)
    if not operation.metadata.Unpack(metadata):
        return Progress()
    wait = metadata.wait
    since = moment(metadata.stage_since)
    return Progress(
        metadata.percent,
        metadata.stage,
        seconds(metadata.stage_limit),
        span(datetime.now(UTC) - since) if since else "",
        f"{wait.code}: {wait.reason}" if wait.code else "",
        tuple(metadata.warnings),
        metadata.login_address,
    )


class _Shown(Protocol):
    """Where progress is shown."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def update(self, label: str, progress: Progress) -> None:
        """Shows how *label* stands."""
        ...

    def end(self, label: str, text: str, style: str) -> None:
        """Shows how *label* ended."""
        ...


@dataclass(slots=True)
class _Lines:
    """A line for each change of stage or wait, and for each fifth of the way."""

    screen: Screen
    width: int
    _last: dict[str, tuple[str, str, int]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, label: str, progress: Progress) -> None:
        """See `_Shown`."""
        key = (progress.stage, progress.waits, progress.percent // 20)
        if self._last.get(label) == key or not progress.stage:
            return
        self._last[label] = key
        limit = f"  (at most {progress.limit})" if progress.limit else ""
        self._say(f"{label:<{self.width}}  {progress.percent:>3}%  {progress.stage}{limit}{_because(progress.waits)}")

    def end(self, label: str, text: str, style: str) -> None:
        """See `_Shown`."""
        self._say(f"{label:<{self.width}}  {self.screen.styled(text, style)}")

    def _say(self, text: str) -> None:
        if self.screen.structured or self.screen.format == "name":
            self.screen.note(text)
        else:
            self.screen.print(text)


class _Bars:
    """A bar for each operation, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[text]}"),
            console=Console(highlight=False),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, label: str, progress: Progress) -> None:
        """See `_Shown`."""
        limit = f" of at most {progress.limit}" if progress.limit else ""
        waits = f"[yellow]{_escape(_because(progress.waits))}[/]"
        text = f"{progress.stage} [dim]{progress.since}{limit}[/]{waits}" if progress.stage else ""
        self._bars.update(self._task(label), completed=progress.percent, text=text)

    def end(self, label: str, text: str, style: str) -> None:
        """See `_Shown`."""
        completed = 100 if style == "green" else None
        self._bars.update(self._task(label), completed=completed, text=f"[{style}]{_escape(text)}[/]")

    def _task(self, label: str) -> Any:
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=100, text="")
        return self._tasks[label]


def _because(waits: str) -> str:
    """What an operation waits for, in few words: a job at work is told by what it does, a port by its own name."""
    code, _, reason = waits.partition(": ")
    if not code:
        return ""
    short_reason = _PORT.sub(r"port \1", reason)
    return f"  {short_reason}" if code == "JOB_RUNNING" else f"  waits for {code}: {short_reason}"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def service_of(operation: str) -> str:
    """Whose operation it is: its name says so.

    Raises:
        CliError: it is no operation's name.
    """
    found = re.fullmatch(r"(?:projects/[^/]+/)?operations/([a-z]+)-[0-9a-f-]+", operation)
    if found is None:
        raise CliError(
            f"{operation!r} is not the name of an operation",
            reason="INVALID_FIELD",
            remedy="Names are [projects/PROJECT/]operations/SERVICE-UUID; see `bms operation list`.",
        )
    return found[1]


def follow(session: Session, operations: Mapping[str, Operation], limit: timedelta | None) -> dict[str, Operation]:
    """Follows operations until all have ended.

    Args:
        operations: what to call each, and the operation.
        limit: how long to wait; None for as long as it takes.

    Returns:
        The operations as they ended, by label; failed ones too.

    Raises:
        TimedOut: not all ended within *limit*, or Ctrl-C was pressed; they go on.
    """
    deadline = time.monotonic() + limit.total_seconds() if limit else float("inf")
    width = max(map(len, operations), default=0)
    screen = session.screen
    live = screen.live and screen.format in ("table", "wide")
    ended: dict[str, Operation] = {}
    display: _Shown = _Bars() if live else _Lines(screen, width)
    with display as shown:
        try:
            while pending := [label for label in operations if label not in ended]:
                for label in pending:
                    left = deadline - time.monotonic()
                    operation = operations[label]
                    if not operation.done:
                        operation = look(session, operation.name, min(LOOK_SECONDS, left) / len(pending))
                    progress = progress_of(operation)
                    shown.update(label, progress)
                    if operation.done:
                        ended[label] = operation
                        failed = operation.HasField("error")
                        shown.end(label, operation.error.message if failed else "done", "red" if failed else "green")
                if time.monotonic() > deadline and len(ended) < len(operations):
                    raise TimedOut(
                        f"not done within {span(limit or timedelta())}",
                        remedy=_resume([operations[each].name for each in pending]),
                    )
        except KeyboardInterrupt:
            going = [operation.name for label, operation in operations.items() if label not in ended]
            raise TimedOut("you stopped following; it goes on", remedy=_resume(going)) from None
    for label, operation in ended.items():
        for warning in progress_of(operation).warnings:
            screen.warn(f"{label}: {warning}")
    return ended


def look(session: Session, name: str, wait: float) -> Operation:
    """The operation when it is done, or as it is after *wait* seconds. A service that restarts is waited for."""
    import grpc
    from google.longrunning import operations_pb2
    from google.protobuf.duration_pb2 import Duration

    request = operations_pb2.WaitOperationRequest(
        name=name, timeout=Duration(nanos=int(max(wait, 0.001) * 1e9) % 10**9)
    )
    silent_until = time.monotonic() + _SILENCE_SECONDS
    stub = session.operations(service_of(name))
    while True:
        try:
            answer: Operation = stub.WaitOperation(request, wait_for_ready=True, timeout=10.0)
        except grpc.RpcError as error:
            again = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if not again or time.monotonic() > silent_until:
                raise
        else:
            return answer


def _resume(names: Sequence[str]) -> str:
    return f"Follow it again: bms operation wait {' '.join(names)}"


def report(session: Session, ended: Mapping[str, Operation]) -> ExitCode:
    """Tells why operations failed; answers the exit code."""
    code = ExitCode.OK
    for label, operation in ended.items():
        if operation.HasField("error"):
            tell_of(label, from_status(operation.error), color=session.screen.color)
            code = ExitCode.REFUSED
    return code


def operation_data(operation: Operation) -> dict[str, object]:
    """*operation* for programs, with what it holds spelled out."""
    # Their descriptors must be known, or JSON cannot spell out the metadata and the response.
    import bms.inventory.v1.server_pb2
    import bms.lifecycle.v1.instance_pb2
    import bms.lifecycle.v1.operation_pb2  # noqa: F401

    return as_dict(operation)


def conclude(session: Session, operations: Mapping[str, Operation], *, wait: bool, limit: timedelta | None) -> ExitCode:
    """Ends a verb that began *operations*: follows them, or says how to."""
    if wait:
        ended = follow(session, operations, limit)
        if session.screen.structured:
            session.screen.data([operation_data(each) for each in ended.values()])
        return report(session, ended)
    screen = session.screen
    if screen.structured:
        screen.data([operation_data(each) for each in operations.values()])
    elif screen.format == "name":
        for operation in operations.values():
            print(operation.name)
    else:
        width = max(map(len, operations), default=0)
        for label, operation in operations.items():
            screen.print(f"{label:<{width}}  {operation.name}")
        screen.note(_resume([each.name for each in operations.values()]))
    return ExitCode.OK


def plan_of(operation: Operation) -> Any:
    """The lifecycle metadata of *operation*, whose type is in stubs that are loaded late."""
    from bms.lifecycle.v1.operation_pb2 import OperationMetadata

    metadata = OperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def show_plan(screen: Screen, plans: Mapping[str, Operation]) -> None:
    """Prints the steps that each operation would take, and every disk that would be erased."""
    if screen.structured:
        screen.data([operation_data(each) for each in plans.values()])
        return
    rows = []
    for label, operation in plans.items():
        for step in plan_of(operation).plan:
            erased = ", ".join(step.disks) if step.disks else "every disk that inspection finds"
            rows.append((label, step.step, seconds(step.limit) or "-", erased if step.erases else "", step.description))
    screen.table(("TARGET", "STEP", "AT MOST", "ERASES", "WHAT"), rows)


__all__ = [
    "Progress",
    "conclude",
    "follow",
    "operation_data",
    "progress_of",
    "report",
    "service_of",
    "short",
    "show_plan",
]
