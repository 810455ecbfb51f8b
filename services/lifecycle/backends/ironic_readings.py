# SPDX-License-Identifier: Apache-2.0
"""Readings of nodes that many ask for at once: one listing answers them all.

Whoever asks is answered by a request that began after he asked, so a shared reading is as fresh as one of his own.
While a request is under way, those who come wait for the next one together, as commits do that share a write to disk.
docs/decisions/0051-calls-to-ironic.md says what that is worth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row")

WORTH = 3
"""From so many on, a listing costs Ironic less than a request for each."""
_GATHER = 0.03
"""Seconds for which the first one waits for others, where others were there lately."""
_LATELY = 2.0
_PATIENCE = 2.0
"""Seconds for which the request under way is waited for; it may hang until its own end."""
_LEAST, _MOST = 8, 128
_EACH = 2
"""Rows of a page for each who waits: others' nodes change as well. Each row costs Ironic a quarter of a request."""
_HOLD_OFF = 16
"""How many rounds go without after a listing that had less than half of what was wanted."""


@dataclass(slots=True)
class _Round(Generic[Row]):
    """Those who are answered together.

    Attributes:
        told: set when there is an answer for all, or each has to ask for himself.
        over: set when whoever comes next may ask.
    """

    wanted: set[str]
    found: Mapping[str, Row] = field(default_factory=dict)
    told: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


class Readings(Generic[Row]):
    """Shares readings; may be used from any thread.

    Args:
        latest: the rows that changed last, at most so many, by key; where it fails, each asks for himself.
    """

    def __init__(self, latest: Callable[[int], Mapping[str, Row]]) -> None:
        self._latest = latest
        self._lock = threading.Lock()
        self._under_way: _Round[Row] | None = None
        self._next: _Round[Row] | None = None
        self._shared_at = 0.0
        self._hold_off = 0

    @property
    def waiting(self) -> int:
        """How many wait for the next request."""
        with self._lock:
            return len(self._next.wanted) if self._next is not None else 0

    def read(self, key: str, alone: Callable[[], Row]) -> Row:
        """The row of *key* by a request that began after this was called: a shared one, or *alone*."""
        with self._lock:
            own = self._next
            if own is not None:
                own.wanted.add(key)
                before = None
            else:
                leading = self._next = _Round({key})
                before = self._under_way
        if own is not None:
            own.told.wait(2 * _PATIENCE)
            row = own.found.get(key)
            return alone() if row is None else row
        try:
            self._gather(before)
            self._list(leading)
            row = leading.found.get(key)
            # Those who come while it is read alone gather behind it, too.
            return alone() if row is None else row
        finally:
            with self._lock:
                self._under_way = None if self._under_way is leading else self._under_way
                self._next = None if self._next is leading else self._next
            leading.told.set()
            leading.over.set()

    def _gather(self, before: _Round[Row] | None) -> None:
        if before is not None:
            before.over.wait(_PATIENCE)
        elif time.monotonic() - self._shared_at < _LATELY:
            time.sleep(_GATHER)

    def _list(self, leading: _Round[Row]) -> None:
        """Begins the round, from where on nobody joins it; lists if that is worth it."""
        with self._lock:
            self._under_way, self._next = leading, None
            wanted = len(leading.wanted)
            if wanted > 1:
                self._shared_at = time.monotonic()
            worth = wanted >= WORTH and not self._hold_off
            if wanted >= WORTH and self._hold_off:
                self._hold_off -= 1
        if worth:
            try:
                leading.found = self._latest(max(_LEAST, min(_MOST, _EACH * wanted)))
            except Exception:  # noqa: BLE001 -- whatever it was, those who now ask for themselves meet it and tell
                leading.found = {}
            if 2 * len(leading.wanted & leading.found.keys()) < wanted:
                self._hold_off = _HOLD_OFF
        leading.told.set()
