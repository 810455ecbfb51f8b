# SPDX-License-Identifier: Apache-2.0
"""What a session took and nobody has confirmed yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way.

    Attributes:
        id: its place in the outbox.
        time: when it was sent, microseconds since 1970; its header says no less.
        tries: how often it was sent, this time included.
    """

    id: int
    event_id: str
    time: int
    tries: int


class Underway:
    """Messages on their way in the present session.

    Args:
        clock: gives microseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._sent: dict[int, Sent] = {}
        self._tries: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def ids(self) -> frozenset[int]:
        """Their places in the outbox."""
        return frozenset(self._sent)

    def add(self, number: int, event_id: str, time: int) -> None:
        """One was sent at *time*."""
        self._tries[number] += 1
        self._sent[number] = Sent(number, event_id, time, self._tries[number])

    def keep(self, numbers: Collection[int]) -> None:
        """The others have left the outbox."""
        self.done([number for number in self._sent if number not in numbers])

    def repeat(self, numbers: Iterable[int] | None = None) -> None:
        """These, or all, may be lost: they are to be sent again."""
        for number in list(self._sent) if numbers is None else numbers:
            self._sent.pop(number, None)

    def done(self, numbers: Iterable[int]) -> None:
        """These have left the outbox."""
        for number in numbers:
            self._sent.pop(number, None)
            self._tries.pop(number, None)

    def older(self, seconds: float) -> list[Sent]:
        """Those that were sent so long ago, the oldest first."""
        last = self._clock() - round(seconds * 1_000_000)
        return sorted((sent for sent in self._sent.values() if sent.time <= last), key=lambda sent: sent.time)
