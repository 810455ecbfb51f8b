# SPDX-License-Identifier: Apache-2.0
"""Lets many follow UVEs: first all there are, then each as it changes.

Watchers are told states, not steps. What changed is read from the store by revision (`telemetry.store.changes`), once
for all who watch, and put into bytes once; with nobody watching nothing is read. A watcher that falls behind the
oldest batch held is told so, with the revision to go on from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from services.kernel.errors import Exhausted, InvalidField, PeerUnavailable
from services.runtime.database import Transaction
from telemetry.patience import patiently
from telemetry.store import Store, analytics, changes
from telemetry.store.changes import Place
from telemetry.uve_changes import NAMES, Change, ChosenUves, Told, of_objects, read

PAGE: Final = 200
POLL_SECONDS: Final = 1.0
"""How often the store is looked at without being told: another replica may have received something."""
PACE: Final = 0.02
"""Seconds between two looks at least: what changes within a moment is told together."""
HEARTBEAT_SECONDS: Final = 15.0
HELD_CHANGES: Final = 20_000
HELD_BYTES: Final = 16 * 1024 * 1024
"""Of XML; in memory it is some times as much."""

_MAX_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class _Batch:
    told: Told
    place: Place
    size: int


class UveHub:
    """Where watchers of UVEs get their changes.

    Args:
        held_changes, held_bytes: how much is held for watchers that are behind.
        heartbeat_seconds: how often a watcher without news gets an empty batch.
    """

    def __init__(
        self,
        store: Store,
        *,
        held_changes: int = HELD_CHANGES,
        held_bytes: int = HELD_BYTES,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._held_changes = held_changes
        self._held_bytes = held_bytes
        self._heartbeat = heartbeat_seconds
        self._batches: deque[_Batch] = deque()
        self._first = 0
        self._changes = 0
        self._bytes = 0
        self._place: Place | None = None
        self._watchers = 0
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._draining = False
        self._looking = asyncio.Lock()

    def wake(self) -> None:
        """Says that there may be news in the store."""
        self._wanted.set()

    async def run(self) -> None:
        """Looks for news until it is cancelled."""
        while True:
            self._wanted.clear()
            if self._watchers:
                await patiently(self.refresh, "uves")
                await asyncio.sleep(PACE)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Holds what changed since the last look."""
        async with self._looking:
            while self._watchers and await self._look():
                pass

    async def _look(self) -> bool:
        place = self._place
        if place is None:
            self._place = Place(await self._store.read(changes.last) + 1)
            return False
        found, after, more = await self._store.read(lambda tx: _behind(tx, place))
        if not self._watchers:
            return False
        if found:
            size = sum(change.size for change in found)
            self._batches.append(_Batch(Told(tuple(found), _token(after)), after, size))
            self._changes += len(found)
            self._bytes += size
            # The newest batch is held whatever its size, or nobody would ever get it.
            while len(self._batches) > 1 and (self._changes > self._held_changes or self._bytes > self._held_bytes):
                self._drop()
        self._place = after
        if found:
            self._announce()
        return more

    def drain(self) -> None:
        """Ends every watch; each learns its token."""
        self._draining = True
        self._announce()

    async def watch(self, token: str, chosen: ChosenUves) -> AsyncGenerator[Told, None]:
        """Batches of the *chosen* UVEs: all of them, if *token* is empty, and then what changes behind it.

        Raises:
            InvalidField: *token* is none, is ahead of the store or too old for it.
            Exhausted: the watcher does not keep up; the fact ``token`` says where to go on.
            PeerUnavailable: telemetry stops; as above.
        """
        self._refuse_draining(token)
        self._watchers += 1
        try:
            await self.refresh()  # from now on batches are held
            async with aclosing(self._watch(token, chosen)) as told:
                async for batch in told:
                    yield batch
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._rest()

    async def _watch(self, token: str, chosen: ChosenUves) -> AsyncGenerator[Told, None]:
        place = await self._begin(token)
        if token:
            yield Told((), token)  # heard, and good
        else:
            async for page in self._everything():
                self._refuse_draining("")
                if found := chosen.of(page):
                    yield Told(tuple(found), "")
            yield Told((), _token(place))
        while True:
            cursor, more = self._end, True
            while more:
                self._refuse_draining(_token(place))
                at = place
                found, place, more = await self._store.read(lambda tx: _behind(tx, at))  # noqa: B023 -- read at once
                if shown := chosen.of(found):
                    yield Told(tuple(shown), _token(place))
            if cursor >= self._first:
                break
            # So much changed meanwhile that the store must be read again.
        async with aclosing(self._live(cursor, place, chosen)) as live:
            async for told in live:
                yield told

    async def _begin(self, token: str) -> Place:
        """Where a watch with *token* stands, or where one without has everything that it will be told first."""
        if not token:
            return Place(await self._store.read(changes.last) + 1)
        shown = token if len(token) <= 40 else token[:37] + "..."
        remedy = "Give the token of the last batch received, or nothing for everything."
        if not (token.isascii() and token.isdecimal() and len(token) <= _MAX_DIGITS):
            raise InvalidField("after", f"{shown!r} is no token of a watch of UVEs", remedy=remedy, given=shown)
        last, forgotten = await self._store.read(lambda tx: (changes.last(tx), changes.forgotten(tx)))
        if int(token) > last:
            raise InvalidField("after", "is ahead of the store: it is of another one", remedy=remedy, given=shown)
        if int(token) < forgotten:
            raise InvalidField("after", "is too old: what went since is forgotten", remedy=remedy, given=shown)
        return Place(int(token) + 1)

    async def _everything(self) -> AsyncGenerator[Sequence[Change], None]:
        for table in sorted(NAMES):
            after = ""
            while True:
                page = await self._store.read(lambda tx: _page(tx, table, after))  # noqa: B023 -- read at once
                if not page:
                    break
                after = page[-1].place.key
                yield page

    async def _live(self, cursor: int, place: Place, chosen: ChosenUves) -> AsyncGenerator[Told, None]:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._heartbeat
        while True:
            self._refuse_draining(_token(place))
            if cursor < self._first:
                msg = "this watcher does not keep up with the UVEs"
                raise Exhausted(msg, remedy="Watch again with `after` set to the token.", token=_token(place))
            if cursor == self._end:
                if await self._silent(due):
                    due = loop.time() + self._heartbeat
                    yield Told((), _token(place))
                continue
            batch = self._batches[cursor - self._first]
            cursor += 1
            # Told already, and perhaps in a later state.
            new = [change for change in batch.told.changes if change.place.revision >= place.revision]
            place = max(place, batch.place)
            if chosen.everything and len(new) == len(batch.told.changes):
                yield batch.told
            elif shown := chosen.of(new):
                yield Told(tuple(shown), _token(place))
            else:
                continue
            due = loop.time() + self._heartbeat

    async def _silent(self, due: float) -> bool:
        """Waits for news; True if there was none until *due*."""
        changed = self._changed
        try:
            async with asyncio.timeout_at(due):
                await changed.wait()
        except TimeoutError:
            return True
        return False

    def _refuse_draining(self, token: str) -> None:
        if self._draining:
            msg = "telemetry is stopping"
            raise PeerUnavailable(
                msg, remedy="Watch again with `after` set to the token.", peer="telemetry", token=token
            )

    @property
    def _end(self) -> int:
        return self._first + len(self._batches)

    def _drop(self) -> None:
        oldest = self._batches.popleft()
        self._first += 1
        self._changes -= len(oldest.told.changes)
        self._bytes -= oldest.size

    def _rest(self) -> None:
        """Nobody watches any more."""
        self._place = None
        while self._batches:
            self._drop()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _behind(tx: Transaction, place: Place) -> tuple[list[Change], Place, bool]:
    """What changed behind *place*: a page of it, where it ends, and whether there is more."""
    last = changes.last(tx)
    places = changes.behind(tx, place, PAGE)
    if len(places) < PAGE:
        return read(tx, places), Place(last + 1), False
    return read(tx, places), places[-1], True


def _page(tx: Transaction, table: str, after: str) -> list[Change]:
    """Some objects of *table* behind the key *after*, each struct of each."""
    return of_objects(tx, table, analytics.uve_keys(tx, table, after, PAGE))


def _token(place: Place) -> str:
    """Behind everything of the revisions before that of *place*, which may have been told in part."""
    return str(place.revision - 1)
