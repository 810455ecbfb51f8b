# SPDX-License-Identifier: Apache-2.0
"""Hands to a collector what is on its way: object logs from the outbox, and the UVEs of servers.

An object log leaves the outbox when our own store has it (in the transaction that keeps it), or, with a genuine
collector, when the session took it. Until then it is sent again: after every new session, and after a while. See
docs/decisions/0020-once-in-our-store.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol

import structlog

from services.runtime.database import Transaction
from telemetry.known import Known
from telemetry.patience import patiently
from telemetry.sandesh.encode import Values
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.sandesh.schema import Message, at_level
from telemetry.sandesh.verdict import BMS_SERVER_VERDICT_INFO
from telemetry.store import Store, bridge
from telemetry.translate import ironic_node, server_verdict
from telemetry.wording import level

BATCH: Final = 200
UVE_PACE: Final = 0.25
"""Seconds between two looks at which servers changed."""
WINDOW: Final = 1000
"""How many messages may be on their way: little enough that no session ever drops one for being slow."""
AGAIN_SECONDS: Final = 10.0
"""After how long a message that nobody acknowledged is sent again."""

_log = structlog.get_logger("bms.publisher")


class Sender(Protocol):
    """A generator's session (`telemetry.sandesh.generator.Generator`)."""

    async def established(self) -> int:
        """Waits for a session; answers its number."""
        ...

    async def deliver(self, message: Message, values: Values) -> int:
        """Sends a message, however long it takes to get a session; answers the number of the session that took it."""
        ...

    def replace(self, message: Message, whole: Values, table: str | None = None) -> None:
        """Makes a UVE be *whole*."""
        ...

    def delete(self, message: Message, key: Values, table: str | None = None) -> None:
        """Deletes a UVE."""
        ...


class Publisher:
    """Sends object logs and UVEs.

    Args:
        acknowledged: whether the collector is our own, whose store takes messages off the outbox itself.
        again_seconds: see `AGAIN_SECONDS`.
    """

    def __init__(
        self, sender: Sender, store: Store, *, acknowledged: bool, again_seconds: float = AGAIN_SECONDS
    ) -> None:
        self._sender = sender
        self._store = store
        self._acknowledged = acknowledged
        self._again = again_seconds
        self._news = asyncio.Event()
        self._changed: set[str] = set()
        self._told = asyncio.Event()
        self._session = 0
        self._sent: set[int] = set()
        self._full = False

    def wake(self, servers: frozenset[str] = frozenset()) -> None:
        """Says that there are object logs to send, and that more is known of *servers*."""
        self._news.set()
        if servers:
            self._changed |= servers
            self._told.set()

    def stored(self) -> None:
        """Says that our own store has taken messages: there may be room for more on their way."""
        if self._full:
            self._news.set()

    async def load(self) -> None:
        """Tells the generator of every server, so that its first session begins with all of them."""
        self._changed.clear()
        self._sent.clear()
        after = ""
        while rows := await self._store.read(lambda tx, after=after: bridge.every_known(tx, after, BATCH)):  # type: ignore[misc]
            for uuid, known in rows:
                self._tell(uuid, known)
            after = rows[-1][0]

    async def run(self) -> None:
        """Sends until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_logs(), name="publish logs")
            tasks.create_task(self._send_uves(), name="publish UVEs")

    # --- object logs -----------------------------------------------------------------------------

    async def _send_logs(self) -> None:
        loop = asyncio.get_running_loop()
        again = loop.time() + self._again
        while True:
            self._news.clear()
            if loop.time() >= again:
                # What is still there was sent, but nobody has it: perhaps it was dropped on the way.
                self._sent.clear()
                again = loop.time() + self._again
            if await patiently(self.step, "publish"):
                continue
            try:
                async with asyncio.timeout_at(again):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """Sends what is to be sent next; answers whether anything was."""
        session = await self._sender.established()
        if session != self._session:
            # What the session before took last may be lost with it.
            self._session = session
            self._sent.clear()
        sent = frozenset(self._sent)
        waiting, unsent = await self._store.read(lambda tx: _waiting(tx, sent))
        # Not a cursor: two logs are followed at once, and what has the lower number may be committed later.
        here, last = set(waiting), max(waiting, default=0)
        self._sent = {number for number in sent if number in here or number > last > 0}
        self._full = len(self._sent) + len(unsent) > WINDOW
        taken = []
        for message in unsent[: max(0, WINDOW - len(self._sent))]:
            if await self._deliver(message) != session:
                break
            self._sent.add(message.id)
            taken.append(message.event_id)
        if taken and not self._acknowledged:
            await self._store.write(lambda tx: bridge.taken(tx, taken), "publish.taken")
        return bool(taken)

    async def _deliver(self, message: bridge.Outgoing) -> int:
        fields = message.fields
        urgency = level(*(fields.get(name, "") for name in ("event_type", "state_before", "state_after")))
        as_urgent = at_level(BMS_LIFECYCLE_EVENT_LOG, urgency)
        try:
            return await self._sender.deliver(as_urgent, fields)
        except EncodeError as error:
            # The event itself is kept. Analytics gets what can be written of it, or nothing would ever follow.
            _log.exception("message.not_encoded", event_id=message.event_id, field=error.field, reason=error.reason)
            kept: dict[str, Any] = {name: fields[name] for name in ("name", "event_id")}
            return await self._sender.deliver(as_urgent, kept)

    # --- UVEs ------------------------------------------------------------------------------------

    async def _send_uves(self) -> None:
        loop = asyncio.get_running_loop()
        last = -UVE_PACE
        while True:
            await self._told.wait()
            # At once after a rest. In a burst each server's state is told a few times a second, not at every event: a
            # UVE says how things are, and what happened in between is in the object logs.
            if (early := last + UVE_PACE - loop.time()) > 0:
                await asyncio.sleep(early)
            last = loop.time()
            self._told.clear()
            changed, self._changed = sorted(self._changed), set()
            await patiently(lambda: self._tell_all(changed), "publish.uves")  # noqa: B023 -- called at once

    async def _tell_all(self, uuids: Sequence[str]) -> None:
        for start in range(0, len(uuids), BATCH):
            part = uuids[start : start + BATCH]
            known = await self._store.read(lambda tx, part=part: bridge.get_known(tx, part))  # type: ignore[misc]
            for uuid, value in known.items():
                self._tell(uuid, value)

    def _tell(self, uuid: str, known: Known) -> None:
        try:
            if known.present:
                self._sender.replace(IRONIC_NODE_INFO, ironic_node(uuid, known))
                self._sender.replace(BMS_SERVER_VERDICT_INFO, server_verdict(uuid, known))
            else:
                for message in (IRONIC_NODE_INFO, BMS_SERVER_VERDICT_INFO):
                    self._sender.delete(message, {"name": uuid})
        except EncodeError as error:
            _log.exception("uve.not_encoded", server=uuid, field=error.field, reason=error.reason)


def _waiting(tx: Transaction, sent: AbstractSet[int]) -> tuple[list[int], list[bridge.Outgoing]]:
    """The numbers of what waits, and what of it is to be sent next: what was *sent* need not be read whole again."""
    numbers = bridge.waiting(tx, BATCH + len(sent))
    first = next((number for number in numbers if number not in sent), None)
    if first is None:
        return numbers, []
    return numbers, [message for message in bridge.outgoing(tx, BATCH, first) if message.id not in sent]
