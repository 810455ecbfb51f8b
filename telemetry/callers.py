# SPDX-License-Identifier: Apache-2.0
"""Who calls, without holding up the loop while somebody is asked for him."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from services.kernel.calls import Caller
from services.kernel.errors import PeerUnavailable
from services.runtime.auth import AskingCallers, Callers

_THREADS = 8
_MOST_WAITING = 64


class AioCallers:
    """`services.runtime.auth.Callers`, awaited: what asks somebody does so on a thread that serves nothing else."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._asking = callers if isinstance(callers, AskingCallers) else None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="callers")
        self._waiting = 0

    async def caller_of(self, bearer: str) -> Caller:
        """See `services.runtime.auth.Callers`.

        Raises:
            PeerUnavailable: also if too many wait already.
        """
        if self._asking is None:
            return self._callers.caller_of(bearer)
        known = self._asking.known(bearer)
        if known is not None:
            return known
        if self._waiting >= _MOST_WAITING:
            msg = "too many callers wait to be recognised"
            raise PeerUnavailable(msg, remedy="Try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._asking.caller_of, bearer)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Asks for nobody any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
