# SPDX-License-Identifier: Apache-2.0
"""The thread around a reconciler, which has no loop of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from services.kernel.clock import Clock
from services.kernel.errors import BmsError

_log = structlog.get_logger("bms.mirror")
_AGAIN = timedelta(seconds=5)


class MirrorLoop:
    """Calls a tick when it is due.

    Args:
        tick: answers when it wants to be called again.
    """

    def __init__(self, name: str, tick: Callable[[datetime], datetime], clock: Clock) -> None:
        self._tick = tick
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to tick, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the round under way, or leaves it after 30 s: the next process's first round does what it left."""
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopping.is_set():
            now = self._clock.now()
            try:
                due = self._tick(now)
            except BmsError as error:
                # The database is away: the next round tries again.
                _log.warning("mirror.failed", loop=self._thread.name, reason=error.reason, error=str(error))
                due = now + _AGAIN
            except Exception:  # noqa: BLE001 -- a defect must not end the loop for good and unseen
                _log.exception("mirror.defect", loop=self._thread.name)
                due = now + _AGAIN
            self._stopping.wait(max(0.0, (due - self._clock.now()).total_seconds()))
