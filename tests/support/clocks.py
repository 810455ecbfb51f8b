# SPDX-License-Identifier: Apache-2.0
"""Time and identity that tests decide."""

from __future__ import annotations

import hashlib
import threading
import uuid
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class FakeClock:
    """A clock that stands until it is told to go on."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        """The moment it shows."""
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Goes on by *seconds*; answers the new moment."""
        self._now += timedelta(seconds=seconds)
        return self._now


class SequentialIds:
    """Identities in a row: the same in every run of a test."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._count = 0
        self._lock = threading.Lock()

    def uuid(self) -> str:
        """The next UUID."""
        return str(uuid.UUID(bytes=self._next(), version=4))

    def salt(self) -> bytes:
        """The next sixteen bytes."""
        return self._next()

    def _next(self) -> bytes:
        with self._lock:
            self._count += 1
            return hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()[:16]
