# SPDX-License-Identifier: Apache-2.0
"""Hands to a collector what is on its way: object logs from the outbox, and the UVEs of servers.

An object log leaves the outbox when our own store has it (in the transaction that keeps it). A genuine collector says
nothing: there it leaves when the session that took it still lives after a while, or when it was read back
(`telemetry.audit`). Until then it is sent again in the next session. See docs/decisions/0020-once-in-our-store.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
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
from telemetry.underway import Sent, Underway
from telemetry.wording import level

BATCH: Final = 200
TURN: Final = 10
"""After how many of them others have a turn: each is put into bytes on the event loop, and watchers wait for it too."""
LOG_PACE: Final = 0.2
"""Seconds between two looks at the outbox, unless more waits than one look takes or the window was full."""
UVE_PACE: Final = 0.25
"""Seconds between two looks at which servers changed."""
WINDOW: Final = 1000
"""How many messages may be on their way: little enough that no session ever drops one for being slow."""
AGAIN_SECONDS: Final = 10.0
"""After how long a message that nobody acknowledged is sent again, if our own collector should have."""
GRACE_SECONDS: Final = 35.0
"""How long a session with a genuine collector must outlive a message: more than the 30 seconds after which TCP gives up
a connection whose other end does not confirm what was sent (`telemetry.sandesh.sockets.KEEPALIVE`)."""
UNREAD_SECONDS: Final = 900.0
"""The same where messages are read back, if analytics cannot be asked for so long."""
HELD: Final = 20_000
"""How many messages may be on their way to a genuine collector: more than it is sent within the grace."""

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
        grace_seconds: see `GRACE_SECONDS`; `UNREAD_SECONDS` where messages are read back.
        told: called with each server of which something is told.
        clock: gives microseconds since 1970.
    """

    def __init__(
        self,
        sender: Sender,
        store: Store,
        *,
        acknowledged: bool,
        again_seconds: float = AGAIN_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        told: Callable[[str, Known], None] = lambda _uuid, _known: None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._sender = sender
        self._store = store
        self._acknowledged = acknowledged
        self._again = again_seconds
        self._grace = grace_seconds
        self._told_of = told
        self._clock = clock
        self._window = WINDOW if acknowledged else HELD
        self._news = asyncio.Event()
        self._changed: set[str] = set()
        self._told = asyncio.Event()
        self._session = 0
        self._full = False
        self._more = False
        self.underway = Underway(clock)
        """What a session took and nobody has confirmed. What is read back of it is told by whoever reads."""

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
        self.underway.repeat()
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
        again, last = loop.time() + self._again, -LOG_PACE
        while True:
            if not (self._more or self._full) and (early := last + LOG_PACE - loop.time()) > 0:
                await asyncio.sleep(early)
            last = loop.time()
            self._news.clear()
            if loop.time() >= again:
                if self._acknowledged:
                    # What is still there was sent, but nobody has it: perhaps it was dropped on the way.
                    self.underway.repeat()
                again = loop.time() + self._again
            if await patiently(self.step, "publish") and self._more:
                continue
            try:
                async with asyncio.timeout_at(again):
                    await self._news.wait()
            except TimeoutError:
                continue  # no news: what was not taken is sent again

    async def step(self) -> bool:
        """Sends what is to be sent next; answers whether anything was."""
        session = await self._sender.established()
        if session != self._session:
            # What the session before took last may be lost with it.
            self._session = session
            self.underway.repeat()
        if not self._acknowledged and (arrived := self.underway.older(self._grace)):
            await self.confirm(arrived)
        sent = self.underway.ids
        waiting, unsent = await self._store.read(lambda tx: _waiting(tx, sent))
        # Not a cursor: two logs are followed at once, and what has the lower number may be committed later.
        here, last = set(waiting), max(waiting, default=0)
        self.underway.keep({number for number in sent if number in here or number > last > 0})
        self._full = len(self.underway) + len(unsent) > self._window
        self._more = len(unsent) >= BATCH
        went = False
        for number, message in enumerate(unsent[: max(0, self._window - len(self.underway))], 1):
            now = self._clock()
            if await self._deliver(message) != session:
                self._more = True  # in the session that took it
                break
            self.underway.add(message.id, message.event_id, now)
            went = True
            if number % TURN == 0:
                await asyncio.sleep(0)
        return went

    async def oldest_unsent(self) -> int | None:
        """When the event was recorded whose object log is to be sent next (microseconds); None if all were sent."""
        sent = self.underway.ids
        _, unsent = await self._store.read(lambda tx: _waiting(tx, sent))
        return min((int(message.fields.get("time", 0)) for message in unsent), default=None)

    async def confirm(self, arrived: Sequence[Sent]) -> None:
        """Takes messages off the outbox that a genuine collector has."""
        event_ids = [sent.event_id for sent in arrived]
        if not event_ids:
            return
        await self._store.write(lambda tx: bridge.taken(tx, event_ids), "publish.taken")
        self.underway.done(sent.id for sent in arrived)
        if self._full:
            self._news.set()

    def repeat(self, missing: Sequence[Sent]) -> None:
        """Sends messages again that a genuine collector does not have."""
        if missing:
            self.underway.repeat(sent.id for sent in missing)
            self._news.set()

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
        self._told_of(uuid, known)


def _waiting(tx: Transaction, sent: AbstractSet[int]) -> tuple[list[int], list[bridge.Outgoing]]:
    """The numbers of what waits, and what of it is to be sent next: what was *sent* need not be read whole again."""
    numbers = bridge.waiting(tx, BATCH + len(sent))
    first = next((number for number in numbers if number not in sent), None)
    if first is None:
        return numbers, []
    return numbers, [message for message in bridge.outgoing(tx, BATCH, first) if message.id not in sent]
