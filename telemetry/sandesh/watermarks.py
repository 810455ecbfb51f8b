# SPDX-License-Identifier: Apache-2.0
"""What to drop when the collector does not keep up, and when to give the session up.

The marks are those of the reference generators: bytes that wait to be sent, and the level from which
on messages are dropped while they wait.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from telemetry.sandesh.schema import Level

KIB: Final = 1024
MIB: Final = 1024 * KIB


class Mark(NamedTuple):
    """A step: above *high* bytes messages of *level* and less urgent are dropped, until below *low* bytes."""

    high: int
    low: int
    level: int


MARKS: Final = (
    Mark(1 * MIB, 2 * KIB, Level.DEBUG),
    Mark(20 * MIB, 15 * MIB, Level.ERR),
    Mark(30 * MIB, 25 * MIB, Level.EMERG),
    Mark(50 * MIB, 35 * MIB, Level.SYS_UVE),
)
"""The steps, from the mildest. UVEs are dropped in the last only, and then the session is given up, since
only a resync can mend what was dropped."""

_FIRST_PAUSE: Final = 10_000_000
_LONGEST_PAUSE: Final = 60_000_000


class Watermarks:
    """The present step. Fed with the length of the queue before each message."""

    def __init__(self) -> None:
        self._step = 0
        self._pause = _FIRST_PAUSE
        self._closed_at: int | None = None

    @property
    def level(self) -> int:
        """Messages of this level and less urgent are dropped; `Level.INVALID` if none are."""
        return MARKS[self._step - 1].level if self._step else Level.INVALID

    @property
    def closed_at(self) -> int:
        """When a session was last given up, microseconds; 0 for never."""
        return self._closed_at or 0

    @property
    def close_interval(self) -> int:
        """How long after that the next may be given up, milliseconds; 0 as long as none was."""
        return 0 if self._closed_at is None else self._pause // 1000

    def observe(self, queued: int) -> None:
        """Moves to the step for *queued* waiting bytes; going down takes less than coming up did."""
        risen = sum(queued > mark.high for mark in MARKS)
        kept = sum(queued >= mark.low for mark in MARKS)
        self._step = min(max(self._step, risen), kept)

    def admits(self, level: int) -> bool:
        """Whether a message of *level* is queued. UVEs are asked for with `Level.SYS_UVE`."""
        return level < self.level

    def may_close(self, now: int) -> bool:
        """Whether a hopeless session may be closed at *now* (microseconds); a yes is counted as done.

        At most once in 10 seconds, doubling to 60 while it keeps happening, so that a collector that
        is merely slow is not stormed.
        """
        if self._closed_at is not None:
            passed = now - self._closed_at
            if passed < self._pause:
                return False
            self._pause = _FIRST_PAUSE if passed > 2 * _LONGEST_PAUSE else min(2 * self._pause, _LONGEST_PAUSE)
        self._closed_at = now
        return True

    def reset(self) -> None:
        """A new session: its queue is empty. When the last was given up is remembered."""
        self._step = 0
