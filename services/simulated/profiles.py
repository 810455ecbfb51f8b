# SPDX-License-Identifier: Apache-2.0
"""How long things take: profiles of durations, and the factor of the fast clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.kernel.errors import InvalidField

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """*moment* in whole microseconds since the epoch, as the rack's file holds times."""
    return (moment - EPOCH) // MICROSECOND


def moment(value: int) -> datetime:
    """The aware UTC moment of *value* microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=value)


@dataclass(frozen=True, slots=True)
class Profile:
    """Durations in seconds, before the fast clock's factor is applied."""

    deploy: float
    clean: float
    manual_clean: float
    inspect: float
    rescue: float
    power: float
    switch: float

    def of(self, what: str, speed: float) -> int:
        """How many microseconds *what* takes when the clock runs *speed* times as fast."""
        seconds: float = getattr(self, what)
        return int(seconds * 1_000_000 / speed)


PROFILES = {
    "instant": Profile(deploy=0, clean=0, manual_clean=0, inspect=0, rescue=0, power=0, switch=0),
    # Long enough to be seen moving, short enough to be watched.
    "demo": Profile(deploy=1.6, clean=1.2, manual_clean=0.8, inspect=0.6, rescue=0.6, power=0.3, switch=0.2),
    "genuine": Profile(
        deploy=15 * 60, clean=2 * 3600, manual_clean=10 * 60, inspect=5 * 60, rescue=5 * 60, power=5, switch=2
    ),
}

MAX_SPEED = 10_000.0


def check_profile(name: str) -> str:
    """*name*, if it is a profile.

    Raises:
        InvalidField: it is not.
    """
    if name in PROFILES:
        return name
    known = ", ".join(PROFILES)
    raise InvalidField(
        field="profile",
        description=f"{name[:60]!r} is not a profile",
        remedy=f"Choose one of {known}.",
        given=name[:60],
    )


def check_speed(speed: float) -> float:
    """*speed*, if it may be the factor of the fast clock: 1 to 10,000.

    Raises:
        InvalidField: it is outside.
    """
    if 1.0 <= speed <= MAX_SPEED:
        return speed
    raise InvalidField(field="speed", description=f"{speed} is not between 1 and 10000", given=str(speed))
