# SPDX-License-Identifier: Apache-2.0
"""How quickly lifecycle looks at what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from services.lifecycle.domain.remedies import Budget


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly the worker looks again, and for how long a claim holds.

    Attributes:
        least, most: bounds of the delay between two looks at the same wait; it grows with the wait's age. What lasts
            long is looked at once in a hundredth of its age: nobody notices, and a clean of hours is no load.
        claim: how long a claim holds; every call's deadline ends before it does.
        walk: how long one walk may take before it gives the claim back; claim less the longest call.
        limit_scale: multiplies every step's time limit: a fast clock for rehearsals.
        patrol: how often a server at rest is looked at.
        budget: how often a wait's own remedy may run by itself.
    """

    least: timedelta = timedelta(milliseconds=50)
    most: timedelta = timedelta(seconds=5)
    claim: timedelta = timedelta(seconds=60)
    walk: timedelta = timedelta(seconds=20)
    limit_scale: float = 1.0
    patrol: timedelta = timedelta(minutes=15)
    budget: Budget = field(default_factory=Budget)
