# SPDX-License-Identifier: Apache-2.0
"""How far behind what analytics was sent is, and telemetry's own alarms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from services.kernel.errors import PeerUnavailable
from telemetry.alarms import own_alarms
from telemetry.desk import Desk
from telemetry.sandesh.messages import OBJECT_CONFIG_NODE

LOOK_SECONDS: Final = 10.0


class Outgoing(Protocol):
    """What sends (`telemetry.publisher.Publisher`)."""

    async def oldest_unsent(self) -> int | None:
        """When the event was recorded that is to be sent next (microseconds); None if all were sent."""
        ...


class Lag:
    """Looks again and again.

    Args:
        host: the key of our alarms in ``ObjectConfigNode``.
        clock: gives microseconds since 1970.
        told: called with what is wrong with the database, "" if nothing is.

    Attributes:
        seconds: the age of the oldest event that was not sent yet; 0 if all were.
    """

    def __init__(
        self,
        publisher: Outgoing,
        desk: Desk,
        host: str,
        clock: Callable[[], int],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._publisher = publisher
        self._desk = desk
        self._host = host
        self._clock = clock
        self._told = told
        self.seconds = 0.0
        self._since = 0

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            try:
                await self.look()
            except PeerUnavailable as error:
                self._told(str(error)[:200])
            else:
                self._told("")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Looks once."""
        oldest, now = await self._publisher.oldest_unsent(), self._clock()
        self.seconds = 0.0 if oldest is None else max(0.0, (now - oldest) / 1_000_000)
        alarms = own_alarms(oldest, now, self._since)
        self._since = alarms[0].since if alarms else 0
        self._desk.tell(OBJECT_CONFIG_NODE, self._host, alarms)
