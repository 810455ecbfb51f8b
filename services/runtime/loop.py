# SPDX-License-Identifier: Apache-2.0
"""The threads around what has no loop of its own: they wait, and call it when it is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog

from services.kernel.clock import Clock
from services.kernel.errors import BmsError

_log = structlog.get_logger("bms.loop")

_POLL = timedelta(seconds=1)
"""The safety net under wake-ups: how long nothing is looked at, at most."""


class Loop:
    """Calls a tick when it is due, when woken, and every second unless told otherwise.

    Args:
        tick: answers when it wants to be called again, None for when something happens.
        most: how long it may be before it is called again; None: a second, as the safety net under wake-ups.
    """

    def __init__(
        self, name: str, tick: Callable[[datetime], datetime | None], clock: Clock, *, most: timedelta | None = None
    ) -> None:
        self._tick = tick
        self._clock = clock
        self._most = most
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to tick, in a thread of its own."""
        self._thread.start()

    def wake(self) -> None:
        """Something happened: tick now."""
        self._woken.set()

    def stop(self) -> None:
        """Ends after the tick under way."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            now = self._clock.now()
            try:
                due = self._tick(now)
            except BmsError as error:
                if self._stopping.is_set():
                    return
                # The database or a peer is away: the next round tries again.
                _log.warning("loop.failed", loop=self._thread.name, reason=error.reason, error=str(error))
                due = now + _POLL
            except Exception:  # noqa: BLE001 -- a defect must not end the loop for good and unseen
                _log.exception("loop.defect", loop=self._thread.name)
                due = now + _POLL
            most = _POLL if self._most is None else self._most
            pause = min(most, due - self._clock.now()) if due is not None else most
            if pause > timedelta(0):
                self._woken.wait(pause.total_seconds())


class Pool:
    """Runs walks on threads."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="walk")

    def run(self, walk: Callable[[], None]) -> None:
        """Runs *walk* on a free thread."""
        self._executor.submit(walk)

    def stop(self) -> None:
        """Lets the walks under way end."""
        self._executor.shutdown(wait=True, cancel_futures=True)
