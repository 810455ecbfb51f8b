# SPDX-License-Identifier: Apache-2.0
"""Asks inventory what a server is made of, whenever its log says that this changed.

Apart from following, so that an inventory that does not answer holds up nobody's events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import structlog

from bms.inventory.v1 import server_pb2
from services.kernel.errors import BmsError
from services.runtime.database import Transaction
from telemetry.known import Facts, facts_of
from telemetry.patience import patiently
from telemetry.store import Store, bridge

BATCH: Final = 50
POLL_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 2.0

_log = structlog.get_logger("bms.enricher")


class Inventory(Protocol):
    """What we ask inventory."""

    async def get_server(self, uuid: str) -> server_pb2.Server | None:
        """The server, None if there is none.

        Raises:
            BmsError: inventory does not answer, or refuses.
        """
        ...


class Enricher:
    """Keeps inventory's half of what is known of servers.

    Args:
        told: called with the servers of which more is known.
    """

    def __init__(self, inventory: Inventory, store: Store, told: Callable[[frozenset[str]], None]) -> None:
        self._inventory = inventory
        self._store = store
        self._told = told
        self._wanted = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Says that there may be something to ask."""
        self._wanted.set()

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            pause = await patiently(self.step, "enrich")
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                continue  # looking again now and then is the safety net

    async def step(self) -> float:
        """Asks for some servers; answers after how many seconds to look again by itself."""
        self._wanted.clear()
        wishes = await self._store.read(lambda tx: bridge.to_ask(tx, BATCH))
        answers: dict[str, Facts | None] = {}
        pause = 0.0 if len(wishes) == BATCH else POLL_SECONDS
        for uuid, _ in wishes:
            try:
                server = await self._inventory.get_server(uuid)
            except BmsError as error:
                self._failures += 1
                _log.warning("server.not_read", server=uuid, reason=error.reason)
                pause = min(LONGEST_PAUSE, 0.1 * 2.0 ** min(self._failures, 10))
                break
            self._failures = 0
            answers[uuid] = None if server is None else facts_of(server)
        if answers:
            # Those that were answered before one was not are kept all the same.
            met = [(uuid, wish) for uuid, wish in wishes if uuid in answers]
            await self._store.write(lambda tx: _keep(tx, met, answers), "enrich")
            self._told(frozenset(answers))
        return pause


def _keep(tx: Transaction, met: Sequence[tuple[str, int]], answers: Mapping[str, Facts | None]) -> None:
    known = bridge.lock_known(tx, answers)
    bridge.put_known(
        tx, {uuid: replace(known[uuid], facts=facts) for uuid, facts in answers.items() if facts is not None}
    )
    bridge.answered(tx, met)
