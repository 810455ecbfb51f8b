# SPDX-License-Identifier: Apache-2.0
"""Tasks that run beside each other until they are cancelled, and whose failure is heard of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

_log = structlog.get_logger("bms.telemetry")


class Parts:
    """The tasks; see `parts`."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, work: object, name: str) -> asyncio.Task[None]:
        """Begins *work*, a coroutine."""
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)  # type: ignore[arg-type] # a coroutine
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("part.failed", part=task.get_name(), exc_info=error)
            self._failed(error)


@asynccontextmanager
async def parts(failed: Callable[[BaseException], None]) -> AsyncIterator[Parts]:
    """Parts that are cancelled when the block ends.

    Args:
        failed: called with what ended one that should not end.
    """
    found = Parts(failed)
    try:
        yield found
    finally:
        for task in found.tasks:
            task.cancel()
        await asyncio.gather(*found.tasks, return_exceptions=True)
