# SPDX-License-Identifier: Apache-2.0
"""Time and identity as arguments: nothing below the composition roots reads a clock or makes an id."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class Ids(Protocol):
    """Makes identities."""

    def uuid(self) -> str:
        """A fresh UUID in its canonical lower-case form."""
        ...

    def salt(self) -> bytes:
        """Sixteen fresh random bytes, for the salted body of an event."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)


class RandomIds:
    """Identities from the operating system's randomness."""

    def uuid(self) -> str:
        """A fresh random UUID."""
        return str(uuid.uuid4())

    def salt(self) -> bytes:
        """Sixteen fresh random bytes."""
        return uuid.uuid4().bytes
