# SPDX-License-Identifier: Apache-2.0
"""The loop that keeps the services running until it is told to stop."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Self

from services.cli.failures import CliError, ExitCode
from services.cli.supervise.children import Child, describe_exit
from services.cli.supervise.logs import LogFollower
from services.cli.supervise.plan import STOP_ORDER, ChildPlan
from services.cli.supervise.ready import ReadinessProbe

START_SECONDS = 60.0
DEATHS_AT_START = 3
GRACE_SECONDS = 12.0

Say = Callable[[str], None]


class _Wakes:
    """Signals, as something that a wait can be woken by."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.stops = 0
        self._reading, self._writing = socket.socketpair()
        for end in (self._reading, self._writing):
            end.setblocking(False)
        self._numbers = numbers
        self._before: dict[int, object] = {}
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in (*self._numbers, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal answered
        signal.set_wakeup_fd(self._fd)
        self._reading.close()
        self._writing.close()

    def wait(self, seconds: float, *others: int) -> None:
        """Until a signal, something to read on one of *others*, or *seconds* have passed."""
        ready, _, _ = select.select([self._reading.fileno(), *others], [], [], max(0.0, seconds))
        if self._reading.fileno() in ready:
            self._reading.recv(4096)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.stops += 1


class Supervisor:
    """Runs children, starts again what dies, and stops them in order.

    Args:
        plans: what to run.
        say: tells the person at the terminal.
        show_logs: whether the children's logs are told too.
    """

    def __init__(self, plans: Sequence[ChildPlan], say: Say, *, show_logs: bool = False) -> None:
        self._children = {plan.name: Child(plan) for plan in plans}
        self._say = say
        self._logs = LogFollower({plan.name: plan.log for plan in plans}, say) if show_logs else None

    def run(self, when_ready: Callable[[], None]) -> ExitCode:
        """Runs until SIGINT or SIGTERM; calls *when_ready* once all children serve.

        Raises:
            CliError: a child cannot start, or does not serve within a minute.
        """
        with _Wakes((signal.SIGINT, signal.SIGTERM)) as wakes:
            try:
                self._start_due(time.monotonic())
                self._become_ready(wakes)
                if not wakes.stops:
                    when_ready()
                while not wakes.stops:
                    self._turn(wakes)
            finally:
                self._stop(wakes)
        return ExitCode.OK

    def _become_ready(self, wakes: _Wakes) -> None:
        deadline = time.monotonic() + START_SECONDS
        addresses = {name: child.plan.address for name, child in self._children.items()}
        with ReadinessProbe(addresses, START_SECONDS) as probe:
            while not wakes.stops and not probe.done:
                self._turn(wakes, probe)
                for name, child in self._children.items():
                    if child.deaths >= DEATHS_AT_START and name not in probe.ready:
                        raise _cannot_start(child, "keeps ending while it starts")
                late = next((child for name, child in self._children.items() if name not in probe.ready), None)
                if time.monotonic() > deadline and late is not None:
                    raise _cannot_start(late, f"does not serve after {START_SECONDS:.0f} seconds")

    def _turn(self, wakes: _Wakes, probe: ReadinessProbe | None = None) -> None:
        """Waits until something is to be done, and does it."""
        now = time.monotonic()
        dues = [child.due - now for child in self._children.values() if child.due is not None]
        pause = min([*dues, 0.3 if self._logs else 5.0])
        wakes.wait(pause, *([probe.fileno()] if probe and probe.open else []))
        if probe is not None:
            probe.read()
        now = time.monotonic()
        for name, child in self._children.items():
            code = child.reap(now)
            if code is not None and not wakes.stops:
                again = (child.due or now) - now
                self._say(f"{name} ended ({describe_exit(code)}); starting it again in {again:.1f} s")
        if not wakes.stops:
            self._start_due(now)
        if self._logs:
            self._logs.tell()

    def _start_due(self, now: float) -> None:
        for name, child in self._children.items():
            if child.due is not None and child.due <= now:
                child.start(now)
                if child.deaths:
                    self._say(f"{name} is running again (pid {child.pid})")

    def _stop(self, wakes: _Wakes) -> None:
        """Ends all, who acts before who listens; a second Ctrl-C ends them at once."""
        known = {name for group in STOP_ORDER for name in group}
        groups = [*STOP_ORDER, tuple(name for name in self._children if name not in known)]
        for group in groups:
            going = [self._children[name] for name in group if name in self._children]
            for child in going:
                child.signal(signal.SIGTERM)
            deadline, asked = time.monotonic() + GRACE_SECONDS, wakes.stops
            while any(child.pid for child in going):
                now = time.monotonic()
                if now > deadline or wakes.stops > asked:
                    for child in going:
                        child.signal(signal.SIGKILL)
                wakes.wait(min(1.0, max(0.05, deadline - now)))
                for child in going:
                    child.reap(time.monotonic())
        if self._logs:
            self._logs.tell()


def _cannot_start(child: Child, what: str) -> CliError:
    tail = "\n".join(f"    {line[:400]}" for line in child.log_tail(12))
    msg = f"{child.plan.name} {what}; the end of its log:\n{tail}"
    return CliError(msg, reason="SERVICE_DOES_NOT_START", remedy=f"Read {child.plan.log}; then run `bms up` again.")
