# SPDX-License-Identifier: Apache-2.0
"""Follows one service's log: every event once, in order, whatever happens to either side.

Watchers are told what was read at once: it stands in its service's log, whatever becomes of us. Meanwhile it is kept.
The position and everything an event leads to here (its bytes, its object log on the way out, what is known of its
server) are one transaction, which first compares the position it starts from. So an answer that comes twice, a repeated
batch, a crash at any line or a second replica that follows the same log change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from services.kernel.errors import BmsError
from services.runtime.database import Transaction
from telemetry import restored
from telemetry.events import Followed
from telemetry.known import DELETED, learn
from telemetry.pace import Pace
from telemetry.patience import patiently
from telemetry.peers import Log
from telemetry.store import Store, bridge, places
from telemetry.store import events as kept
from telemetry.store.places import Place
from telemetry.translate import object_log

PAGE: Final = 500
PAGES_AHEAD: Final = 4
"""How many pages may be read and not kept; then reading waits. `telemetry.restored.LEAP` is more."""
WAIT_SECONDS: Final = 20
PACE: Final = 0.25
"""Seconds it rests where nobody waits, and between two transactions; where somebody does, `telemetry.pace` says."""
BURST: Final = 10
"""After an answer with so many news there will be others when it has rested. It then asks without waiting, and from the
event on that was read last: one answer has the news and shows whether the log still stands."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
GAP_LOOKS: Final = 3
"""How often a gap is looked at again before it is believed."""
DOUBT_LOOKS: Final = 3
"""The same for a log that is not the one that was read."""

# Inventory says these often, and they change nothing of what the server is.
_POOL_EVENTS: Final = frozenset({"server.pool_changed", "server.reserved", "server.released"})

_log = structlog.get_logger("bms.follower")


class PositionMovedError(Exception):
    """Somebody else has followed the log further meanwhile; nothing was written."""


class Listener(Protocol):
    """Who wants to know what followers find; called on the event loop."""

    def heard(self, service: str, after: int, events: Sequence[Followed], shift: int) -> bool:
        """*events* of *service* were read, and are not kept yet: all there are behind our position *after*.

        Some may have been told before. Answers whether anybody waits for them.

        Args:
            shift: see `telemetry.store.places`.
        """
        ...

    def news(self, servers: frozenset[str]) -> None:
        """Events were kept; more is known of these *servers*."""
        ...

    def health(self, service: str, reachable: bool, complaint: str) -> None:
        """Whether *service* answers changed, or something is wrong with its log."""
        ...


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions that a log does not have: those between the two."""

    after: int
    before: int


def take(
    tx: Transaction,
    service: str,
    position: int,
    events: Sequence[Followed],
    gaps: Sequence[Gap],
    now: int,
    shift: int = 0,
) -> frozenset[str]:
    """Keeps *events*, which follow on *position*, and all they lead to; answers the servers of which more is known.

    Args:
        position: the service's own, as those of *events* and *gaps*.
        shift: see `telemetry.store.places`.

    Raises:
        PositionMovedError: the log's position is not *position* any more.
    """
    last = events[-1]
    if not kept.advance(tx, service, position + shift, last.position + shift, last.time, now, shift=shift):
        raise PositionMovedError(service)
    kept.add(tx, (event.row(shift) for event in events))
    for gap in gaps:
        kept.add_gap(tx, service, gap.after + shift, gap.before + shift, now)
    bridge.add_outgoing(tx, service, ((event.position + shift, object_log(event)) for event in events))
    return _learn(tx, service, events)


def _learn(tx: Transaction, service: str, events: Sequence[Followed]) -> frozenset[str]:
    if service not in ("inventory", "lifecycle"):
        return frozenset()
    # The server's own stream alone: events of its parts tell nothing of these two services.
    own = [event for event in events if event.server and event.header.stream == f"servers/{event.server}"]
    before = bridge.lock_known(tx, {event.server for event in own})
    known, ask = dict(before), set[str]()
    for event in own:
        known[event.server] = learn(known[event.server], event)
        if service == "inventory" and event.header.type not in _POOL_EVENTS and event.header.type != DELETED:
            ask.add(event.server)
    changed = {uuid: value for uuid, value in known.items() if value != before[uuid] or uuid in ask}
    bridge.put_known(tx, changed, ask)
    return frozenset(changed)


def sift(position: int, events: Sequence[Followed]) -> tuple[list[Followed], list[Gap]]:
    """Those of *events* that are new behind *position*, in order, and where positions are missing between them."""
    fresh: list[Followed] = []
    gaps: list[Gap] = []
    for event in sorted(events, key=lambda event: event.position):
        if event.position <= position:
            continue
        if event.position != position + 1:
            gaps.append(Gap(position, event.position))
        fresh.append(event)
        position = event.position
    return fresh, gaps


def _behind(place: Place, events: Sequence[Followed]) -> Place:
    """The place of the last of *events*, which follow on *place*."""
    return replace(place, position=events[-1].position + place.shift, last=events[-1].stored) if events else place


class Follower:
    """Follows the log of *service*.

    Args:
        log: the service.
        listener: is told what is found.
        clock: gives microseconds since 1970.
        pause: waits for so many seconds.
    """

    def __init__(
        self,
        service: str,
        log: Log,
        store: Store,
        listener: Listener,
        clock: Callable[[], int],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.service = service
        self._peer = log
        self._store = store
        self._listener = listener
        self._clock = clock
        self._pause = pause
        self._place: Place | None = None
        self._ahead: list[Followed] = []  # read behind the place, and not kept yet
        self._unkept = asyncio.Event()  # there are some
        self._room = asyncio.Event()  # there may be more of them
        self._room.set()
        self._burst = False
        self._pace = Pace()
        self._reachable: bool | None = None
        self._noted: bool | None = None  # what the store says of it
        self._failures = 0
        self._gap_looks = 0
        self._doubts = 0
        self._complaint = ""
        self._log = _log.bind(log=service)

    async def run(self) -> None:
        """Follows until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.read, self._room, "read"))
            tasks.create_task(self._repeat(self.keep, self._unkept, "follow"))

    async def _repeat(self, step: Callable[[], Awaitable[float]], ready: asyncio.Event, what: str) -> None:
        while True:
            await ready.wait()
            pause = await patiently(step, f"{what}.{self.service}")
            if pause:
                await self._pause(pause)

    async def read(self) -> float:
        """Asks once and tells the answer; answers how many seconds to wait before asking again."""
        if self._place is None:
            self._place = await self._store.read(lambda tx: places.place(tx, self.service))
        front = self._front(self._place)
        begun = asked = self._clock()
        burst, self._burst = self._burst and bool(front.last), False
        # Whether it answers at all is known at once only if it is not asked to wait.
        wait = WAIT_SECONDS if self._reachable and not burst else 0
        try:
            if burst:
                answer = await self._peer.list(front.at - 1, limit=PAGE + 1, wait=0)
                stands = restored.holds(answer, front)
            else:
                answer = await self._peer.list(front.at, limit=PAGE, wait=wait)
                begun = self._clock()
                # After the answer: what it holds is of the log that this looks at, or of one before.
                stands = await restored.stands(self._peer, front)
        except BmsError as error:
            return await self._unreachable(error)
        self._failures = 0
        if front != self._front(self._place):
            return 0.0  # another replica was faster meanwhile
        if not stands:
            # What was read of the log that was is kept first: there may be no other copy.
            return FIRST_PAUSE if self._ahead else await self._doubt(front)
        self._doubts = 0
        fresh, gaps = sift(front.at, answer)
        if not fresh:
            await self._reached()
            # A peer with too many waiting callers answers at once: it must not be asked in a tight loop.
            return FIRST_PAUSE * 5 if wait and self._clock() - asked < 1_000_000 else 0.0
        if gaps and self._gap_looks < GAP_LOOKS:
            self._gap_looks += 1
            self._log.warning("gap.suspected", after=gaps[0].after, before=gaps[0].before, look=self._gap_looks)
            return FIRST_PAUSE * (1 << self._gap_looks)
        self._gap_looks = 0
        self._set_ahead([*self._ahead, *fresh])
        self._complain(gaps)
        self._tell(reachable=True)
        awaited = self._pass_on(self._place)
        self._burst = len(fresh) >= BURST
        if len(fresh) >= PAGE:
            return 0.0
        return self._pace.rest((self._clock() - begun) / 1_000_000) if awaited else PACE

    async def keep(self) -> float:
        """Keeps what was read; answers how many seconds to let more come together before the next time."""
        place, events = self._place, tuple(self._ahead[:PAGE])
        if place is None or not events:
            return 0.0
        now = self._clock()
        _, gaps = sift(place.at, events)
        try:
            changed = await self._store.write(
                lambda tx: take(tx, self.service, place.at, events, gaps, now, place.shift), f"follow.{self.service}"
            )
        except PositionMovedError:
            self._log.info("position.moved", position=place.at)
            return await self._overtaken(place.position)
        self._place = _behind(place, events)
        self._noted = True
        self._set_ahead(self._ahead[len(events) :])
        self._pass_on(self._place)
        self._listener.news(changed)
        return 0.0 if len(events) >= PAGE else PACE

    def _pass_on(self, place: Place) -> bool:
        """Tells all that was read behind *place*; answers whether anybody waits for it."""
        return self._listener.heard(self.service, place.position, self._ahead, place.shift)

    def _front(self, place: Place) -> Place:
        """How far it was read, of which up to *place* is kept."""
        return _behind(place, self._ahead)

    def _set_ahead(self, events: list[Followed]) -> None:
        self._ahead = events
        for event, holds in ((self._unkept, bool(events)), (self._room, len(events) < PAGES_AHEAD * PAGE)):
            if holds:
                event.set()
            else:
                event.clear()

    async def _doubt(self, place: Place) -> float:
        """The event at *place* is not there, or another one: looks again, and then goes on with the log as it is."""
        if self._doubts < DOUBT_LOOKS:
            self._doubts += 1
            self._log.warning("restore.suspected", position=place.at, look=self._doubts)
            return FIRST_PAUSE * (1 << self._doubts)
        self._doubts = 0
        self._place = None
        now = self._clock()
        try:
            common = await restored.agreed(self._peer, self._store, self.service)
        except BmsError as error:
            return await self._unreachable(error)
        if (common.position, common.at) == (place.position, place.at):
            return 0.0  # it came back while it was looked for
        try:
            fork = await self._store.write(
                lambda tx: restored.go_on(tx, self.service, place, common, now), f"restored.{self.service}"
            )
        except restored.MovedError:
            self._log.info("position.moved", position=place.at)
            return await self._overtaken(0)
        self._log.error("log.restored", read_to=place.at, goes_on_behind=common.at, lost=fork.lost)
        self._complaint = fork.text
        self._tell(reachable=True)
        self._listener.news(fork.servers)
        return 0.0

    async def _overtaken(self, position: int) -> float:
        """Another replica was faster: what it kept behind our *position* concerns our listener as well."""

        def look(tx: Transaction) -> tuple[Place, frozenset[str]]:
            # In this order: what is kept after the place was read is told by the next step.
            return places.place(tx, self.service), bridge.told_since(tx, self.service, position)

        before = self._place
        self._place, servers = place, _ = await self._store.read(look)
        same = before is not None and before.shift == place.shift
        self._set_ahead([event for event in self._ahead if same and event.position > place.at])
        self._pass_on(place)
        self._listener.news(servers)
        return 0.0

    async def _reached(self) -> None:
        await self._note(reachable=True)
        self._tell(reachable=True)

    async def _unreachable(self, error: BmsError) -> float:
        self._failures += 1
        if self._reachable is not False:
            self._log.warning("log.unreachable", reason=error.reason, error=str(error)[:300])
        await self._note(reachable=False)
        self._tell(reachable=False, complaint=str(error)[:200])
        return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(self._failures - 1, 10)))

    async def _note(self, *, reachable: bool) -> None:
        if self._noted is not reachable:
            now = self._clock()
            await self._store.write(lambda tx: kept.set_reachable(tx, self.service, reachable, now), "follow.reachable")
            self._noted = reachable

    def _complain(self, gaps: Sequence[Gap]) -> None:
        for gap in gaps:
            # A log promises to be dense. Whoever verifies it will say UNKNOWN; people must hear of it now.
            self._log.error("gap.found", after=gap.after, before=gap.before, missing=gap.before - gap.after - 1)
            self._complaint = f"events {gap.after + 1} to {gap.before - 1} are missing"

    def _tell(self, *, reachable: bool, complaint: str = "") -> None:
        if reachable and self._reachable is not True:
            self._log.info("log.reachable")
        self._reachable = reachable
        self._listener.health(self.service, reachable, complaint or self._complaint)
