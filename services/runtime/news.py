# SPDX-License-Identifier: Apache-2.0
"""Waiting for news without holding a transaction: woken after commits, and looking again now and then all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 1.0
"""How often a waiting caller looks by itself: another process may have written, whose wake-up does not reach us."""


class News:
    """Lets a bounded number of threads wait until something they look for is there.

    Args:
        waiting: how many may wait at a time; whoever comes next is answered at once, since a waiting caller holds a
            thread.
    """

    def __init__(self, waiting: int = 8) -> None:
        self._places = threading.Semaphore(waiting)
        self._changed = threading.Condition()
        self._count = 0
        self._drained = False

    def wake(self) -> None:
        """Says that there is news. Give it to `Transaction.after_commit`."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def drain(self) -> None:
        """Wakes everybody; from now on nobody waits."""
        with self._changed:
            self._drained = True
            self._changed.notify_all()

    def _is_drained(self) -> bool:
        return self._drained

    def look(self, find: Callable[[], T], found: Callable[[T], bool], wait: float) -> T:
        """What *find* answers, once *found* is true of it, or when *wait* seconds have passed."""
        count = self._count
        answer = find()
        if wait <= 0 or found(answer) or self._drained or not self._places.acquire(blocking=False):
            return answer
        try:
            deadline = time.monotonic() + wait
            while not found(answer):
                with self._changed:
                    left = deadline - time.monotonic()
                    if left <= 0 or self._is_drained():
                        break
                    if count == self._count:
                        self._changed.wait(min(left, POLL_SECONDS))
                    count = self._count
                answer = find()
        finally:
            self._places.release()
        return answer
