# SPDX-License-Identifier: Apache-2.0
"""Puts together anew what is known of servers, of the events that are kept.

Needed when a log lost some of them, and once after an upgrade that reads more of events than the release before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from bms.event.v1 import event_pb2
from services.runtime.database import Transaction
from telemetry.events import Followed
from telemetry.known import Known, learn
from telemetry.patience import patiently
from telemetry.store import Store, bridge, places

TELLING: Final = ("inventory", "lifecycle")
"""Whose events tell of servers."""
BATCH: Final = 20

_log = structlog.get_logger("bms.telemetry")


def refold(tx: Transaction, uuids: Iterable[str]) -> tuple[dict[str, Known], dict[str, Known]]:
    """What was known of *uuids*, and what their events say; nobody changes it before the transaction ends."""
    before = bridge.lock_known(tx, uuids)
    after = {}
    for uuid, known in before.items():
        told = Known(facts=known.facts)
        for service, event in places.of_stream(tx, f"servers/{uuid}", TELLING):
            told = learn(told, Followed.of(service, event_pb2.StoredEvent.FromString(event)))
        after[uuid] = told
    return before, after


async def catch_up(store: Store, told: Callable[[frozenset[str]], None]) -> None:
    """Refolds every server that an older release put together; once.

    Args:
        told: called with the servers of which more is known.
    """

    async def step() -> frozenset[str]:
        return await store.write(_batch, "refold")

    total = 0
    while uuids := await patiently(step, "refold"):
        total += len(uuids)
        told(uuids)
    if total:
        _log.info("servers.refolded", servers=total)


def _batch(tx: Transaction) -> frozenset[str]:
    _, after = refold(tx, bridge.outdated(tx, BATCH))
    bridge.put_known(tx, after)
    return frozenset(after)
