# SPDX-License-Identifier: Apache-2.0
"""Callers who wait at the same moment are served as one.

Few callers are served at once, each by himself and in his own thread. Whoever comes while so many are being served
waits for the first of them to end; then the first who waits leads, and all who wait by then are served together. While
he leads, those who come are the next to be led: as soon as he has ended, or beside him if they are enough to be worth
it. So nobody waits in the hope that others come, and no thread stands between a caller and his answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from services.kernel.errors import BmsError
from services.runtime.database import UniqueViolation

Q = TypeVar("Q")
A = TypeVar("A")

AT_ONCE = 2
"""How many are served at once, alone or leading others: one is in the database while another computes."""
ENOUGH = 8
"""How many wait at least before one of them leads beside another who leads: a small group costs each of them more."""
MOST = 64
"""How many are served together at most, so that the first of them is not held up without bound."""
_PATIENCE_SECONDS = 1.0
"""How long a caller waits for those before him, who may stand still; then he goes alone."""

_log = structlog.get_logger("bms.together")


class _Place(Generic[Q, A]):
    """One caller's place in the queue."""

    __slots__ = ("answer", "leads", "question", "turn")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.turn = threading.Lock()
        self.turn.acquire()  # released when the caller shall lead, or was served as far as he is
        self.leads = False
        self.answer: A | None = None


class Together(Generic[Q, A]):
    """Serves callers together.

    Args:
        serve: answers several questions; None to whoever must go alone. Whatever it raises, all of them go alone.
    """

    def __init__(self, serve: Callable[[Sequence[Q]], Sequence[A | None]]) -> None:
        self._serve = serve
        self._mutex = threading.Lock()
        self._queue: deque[_Place[Q, A]] = deque()
        self._busy = 0
        self._leading = 0  # of those

    def ask(self, question: Q, alone: Callable[[], A]) -> A:
        """The answer to *question*: given together with others', or by *alone*, which raises what is to be raised."""
        with self._mutex:
            free = self._busy < AT_ONCE and not self._leading and not self._queue
            if free:
                self._busy += 1
            else:
                place: _Place[Q, A] = _Place(question)
                self._queue.append(place)
                if self._busy < AT_ONCE and self._pass_on():
                    self._busy += 1
        if free:
            return self._by_himself(alone)
        self._wait(place)
        if place.leads:
            with self._mutex:
                others = [self._queue.popleft() for _ in range(min(len(self._queue), MOST - 1))]
            if others:
                self._lead(place, others)
            else:
                return self._by_himself(alone, leads=True)
        return alone() if place.answer is None else place.answer

    def _by_himself(self, alone: Callable[[], A], *, leads: bool = False) -> A:
        try:
            return alone()
        finally:
            self._hand_on(leads=leads)

    def _wait(self, place: _Place[Q, A]) -> None:
        if place.turn.acquire(timeout=_PATIENCE_SECONDS):
            return
        with self._mutex:
            if place in self._queue:
                self._queue.remove(place)
                return
        place.turn.acquire()  # he is being served

    def _lead(self, own: _Place[Q, A], others: Sequence[_Place[Q, A]]) -> None:
        group = [own, *others]
        try:
            for place, answer in zip(group, self._serve([one.question for one in group]), strict=True):
                place.answer = answer
        except Exception as error:  # noqa: BLE001 -- each goes alone, and is told there what is his
            foreseen = isinstance(error, (BmsError, UniqueViolation))
            _log.warning("together.undone", callers=len(group), error=type(error).__name__, exc_info=not foreseen)
        finally:
            for place in others:
                place.turn.release()
            self._hand_on(leads=True)

    def _hand_on(self, *, leads: bool) -> None:
        """Gives the place of one who ends to who waits; if he need not have it, one less is being served.

        Args:
            leads: whoever ends has led.
        """
        with self._mutex:
            self._leading -= leads
            if not self._pass_on():
                self._busy -= 1

    def _pass_on(self) -> bool:
        """Has the first who waits lead, unless those who wait are too few to be led beside others."""
        if len(self._queue) < (ENOUGH if self._leading else 1):
            return False
        first = self._queue.popleft()
        first.leads = True
        self._leading += 1
        first.turn.release()
        return True
