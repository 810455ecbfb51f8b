# SPDX-License-Identifier: Apache-2.0
"""Which collector a generator tries next, and how long it waits before."""

from __future__ import annotations

from collections.abc import Callable

from telemetry.sandesh.settings import Address, GeneratorSettings


class Rotation:
    """Goes round a list of collectors.

    Attributes:
        collectors: the list.
        address: the one in use or being tried; None between two attempts.

    Args:
        settings: how long pauses are.
        chance: gives a number from 0 to 1. Pauses last at least half of what they could, so that the generators of a
            collector that died do not all come to the next one in step.
    """

    def __init__(self, settings: GeneratorSettings, chance: Callable[[], float]) -> None:
        self.collectors = settings.collectors
        self.address: Address | None = None
        self._settings = settings
        self._chance = chance
        self._next = 0
        self._failures = 0

    def move(self, collectors: tuple[Address, ...], *, using: bool) -> bool:
        """Takes another list; answers whether the collector that is in use, if one is (*using*), is on it."""
        self.collectors = collectors
        stays = using and self.address in collectors
        self._next = collectors.index(self.address) if stays and self.address is not None else 0
        if not stays:
            self._failures = 0
        return stays

    def take(self) -> Address | None:
        """The collector to try now; None if there is none."""
        self.address = self.collectors[self._next % len(self.collectors)] if self.collectors else None
        return self.address

    def pause(self, *, settled: bool, refused: bool) -> float:
        """It did not work, or is over: the next one's turn comes after so many seconds.

        Args:
            settled: the session was there for so long that this counts as the first failure.
            refused: the collector would not have us.
        """
        self.address = None
        self._next += 1
        if settled:
            self._failures = 0
            if len(self.collectors) > 1 and not refused:
                return 0.0
        pause: float = min(self._settings.longest_hold, self._settings.first_hold * 2 ** min(self._failures, 16))
        self._failures += 1
        return pause * (1 + self._chance()) / 2
