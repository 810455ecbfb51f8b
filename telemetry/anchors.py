# SPDX-License-Identifier: Apache-2.0
"""Keeps a service's word: its newest checkpoint is stored here and sent to analytics, out of the service's reach.

Whoever rewrites a log together with its checkpoints, or restores an older database, contradicts what is kept: that is
looked for at each round, and said.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from bms.event.v1 import event_pb2
from services.kernel.errors import BmsError
from telemetry.patience import patiently
from telemetry.sandesh.messages import BMS_LOG_CHECKPOINT
from telemetry.sandesh.schema import Level, Message, at_level
from telemetry.store import Store, anchors

LOOK_SECONDS: Final = 10.0
"""Between two rounds over the logs."""
SEND_MICROS: Final = 60_000_000
"""Between two object logs of one log; the newest is sent at the end, too."""
FLUSH_SECONDS: Final = 2.0

_log = structlog.get_logger("bms.anchors")

Deliver = Callable[[Message, Mapping[str, Any]], Awaitable[int]]
"""Sends a message, however long it takes to get a session (`telemetry.sandesh.generator.Generator.deliver`)."""


class Signed(Protocol):
    """A service's checkpoints."""

    async def checkpoints(self, after: int = 0, log: str = "") -> Sequence[event_pb2.SignedCheckpoint]:
        """The one behind the number *after* of *log*, or the newest of the present log; empty if there is none.

        Raises:
            BmsError: the service does not answer, or refuses.
        """
        ...


class Anchors:
    """Asks each service for its newest checkpoint.

    Args:
        clock: gives microseconds since 1970.
        doubt: called with a service and what its log no longer stands by, or as what other log it goes on.
    """

    def __init__(
        self,
        logs: Mapping[str, Signed],
        store: Store,
        deliver: Deliver,
        clock: Callable[[], int],
        doubt: Callable[[str, str], None] = lambda _service, _what: None,
    ) -> None:
        self._logs = logs
        self._store = store
        self._deliver = deliver
        self._clock = clock
        self._doubt = doubt
        self._unsent: dict[str, event_pb2.SignedCheckpoint] = {}
        self._sent: dict[str, int] = {}
        self._complaints: dict[str, str] = {}

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            for service in self._logs:
                await patiently(lambda service=service: self.look(service), f"anchor.{service}")  # type: ignore[misc]  # a default
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, service: str) -> None:
        """One round for *service*."""
        kept = await self._store.read(lambda tx: anchors.newest(tx, service))
        try:
            complaint = await self._contradiction(service, kept) if kept else ""
            found = await self._logs[service].checkpoints()
        except BmsError as error:
            _log.debug("anchor.unreachable", log=service, reason=error.reason)
            return
        newest = found[0] if found else kept
        if complaint and complaint != self._complaints.get(service):
            _log.error("log.contradicts_itself", log=service, what=complaint)
            self._said(service, complaint)
        elif not complaint and kept and newest and (complaint := _other_log(kept, newest)):
            _log.warning("log.renewed", log=service, what=complaint)
            self._said(service, complaint)
        self._complaints[service] = complaint
        if newest is None:
            return
        if kept is None or newest.checkpoint != kept.checkpoint:
            read = event_pb2.Checkpoint.FromString(newest.checkpoint)
            now = self._clock()
            await self._store.write(
                lambda tx: anchors.keep(tx, service, read.log, read.number, newest, now), "anchor.keep"
            )
            self._unsent[service] = newest
        elif service not in self._sent:
            # Analytics may never have had it: the process before this one could have ended first.
            self._unsent[service] = newest
        if service not in self._sent or self._clock() - self._sent[service] >= SEND_MICROS:
            await self._send(service)

    def _said(self, service: str, complaint: str) -> None:
        self._sent.pop(service, None)  # analytics hears of it at once
        self._doubt(service, complaint)

    async def flush(self) -> None:
        """Sends what is newest, if there is a session."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                for service in list(self._unsent):
                    await self._send(service)
        except TimeoutError:
            _log.info("anchor.not_sent", logs=sorted(self._unsent))

    async def _send(self, service: str) -> None:
        signed = self._unsent.get(service)
        if signed is not None:
            complaint = self._complaints.get(service, "")
            urgency = Level.ALERT if complaint else Level.INFO
            await self._deliver(at_level(BMS_LOG_CHECKPOINT, urgency), fields(service, signed, complaint))
            self._sent[service] = self._clock()
            if self._unsent.get(service) is signed:
                del self._unsent[service]

    async def _contradiction(self, service: str, kept: event_pb2.SignedCheckpoint) -> str:
        """What *service* now says otherwise than it did; empty if it stands by *kept*."""
        read = event_pb2.Checkpoint.FromString(kept.checkpoint)
        found = await self._logs[service].checkpoints(read.number - 1, read.log)
        if found and found[0].checkpoint == kept.checkpoint:
            return ""
        if found and event_pb2.Checkpoint.FromString(found[0].checkpoint).number == read.number:
            return f"checkpoint {read.number} of log {read.log} is another one than it was"
        return f"checkpoint {read.number} of log {read.log} is gone"


def _other_log(kept: event_pb2.SignedCheckpoint, newest: event_pb2.SignedCheckpoint) -> str:
    """As what other log *newest* goes on; empty if it is of the log of *kept*."""
    before, after = (event_pb2.Checkpoint.FromString(each.checkpoint) for each in (kept, newest))
    if before.log == after.log:
        return ""
    return (
        f"log {before.log} goes on as log {after.log}, after its checkpoint {before.number}: it was restored or renewed"
    )


def fields(service: str, signed: event_pb2.SignedCheckpoint, complaint: str) -> dict[str, Any]:
    """The fields of the `BmsLogCheckpoint` of *signed*."""
    checkpoint = event_pb2.Checkpoint.FromString(signed.checkpoint)
    return {
        "name": f"logs/{service}",
        "service": service,
        "log": checkpoint.log,
        "number": checkpoint.number,
        "position": checkpoint.position,
        "streams": checkpoint.streams,
        "running_digest": checkpoint.running_digest.hex(),
        "heads_root": checkpoint.heads_root.hex(),
        "time": checkpoint.time.ToMicroseconds(),
        "key_id": signed.key_id,
        "checkpoint": base64.b64encode(signed.checkpoint).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
        "complaint": complaint,
    }
