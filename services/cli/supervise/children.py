# SPDX-License-Identifier: Apache-2.0
"""One supervised process: started, found dead, started again, stopped."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from services.cli.supervise.plan import ChildPlan

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
PROVEN_SECONDS = 30.0
"""A child that lived this long is no longer held to fail at start: its next death is restarted at once again."""

_LOG_LIMIT = 20 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


def dies_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes its program: ask the kernel to be told to stop when *parent* is gone.

    The parent has one thread and holds no locks, so running Python between fork and exec is safe here.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # It died before we could ask.
            os._exit(1)

    return ask


class Child:
    """A process and what became of it so far."""

    def __init__(self, plan: ChildPlan) -> None:
        self.plan = plan
        self.deaths = 0
        self.due: float | None = 0.0
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; 0 if it does not run."""
        return self._process.pid if self._process else 0

    def start(self, now: float) -> None:
        """Starts it, with its output added to its log."""
        with _log(self.plan.log) as log:
            self._process = subprocess.Popen(
                self.plan.argv,
                env=dict(self.plan.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: Ctrl-C is for us alone, so that the services are stopped in order.
                process_group=0,
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 -- see there
            )
        self._started, self.due = now, None
        self.plan.pid_file.parent.mkdir(exist_ok=True, mode=0o700)
        self.plan.pid_file.write_text(f"{self._process.pid}\n")

    def reap(self, now: float) -> int | None:
        """The exit code if it has ended since (negative: the signal), with `due` set to when it may start again."""
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        self._process = None
        self.plan.pid_file.unlink(missing_ok=True)
        self.deaths = 1 if now - self._started > PROVEN_SECONDS else self.deaths + 1
        self.due = now + min(LONGEST_DELAY, FIRST_DELAY * 2 ** (self.deaths - 1))
        return code

    def signal(self, number: int) -> None:
        """Sends it *number*, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def log_tail(self, lines: int) -> list[str]:
        """The last *lines* of its log."""
        try:
            with self.plan.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []


def describe_exit(code: int) -> str:
    """*code* for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _log(path: Path):  # type: ignore[no-untyped-def]  # a binary file, whose type has no short name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")
