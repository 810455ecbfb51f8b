# SPDX-License-Identifier: Apache-2.0
"""Going on when the database comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from services.kernel.errors import PeerUnavailable

T = TypeVar("T")

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0

_log = structlog.get_logger("bms.telemetry")


async def patiently(step: Callable[[], Awaitable[T]], what: str) -> T:
    """What *step* answers; it is begun again while the database does not answer.

    Args:
        step: may be begun again after any of its awaits.
        what: names it in the log.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await step()
        except PeerUnavailable as error:
            _log.warning("waiting", step=what, error=str(error)[:300])
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
