# SPDX-License-Identifier: Apache-2.0
"""Lets many follow UVEs: first all there are, then each as it changes.

Watchers are told states, not steps. What changed is read from the store by revision (`telemetry.store.changes`), once
for all who watch, and put into bytes once; batches of it are passed on by `telemetry.relay`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from services.kernel.errors import InvalidField
from services.runtime.database import Transaction
from telemetry.relay import Relay
from telemetry.store import Store, analytics, changes
from telemetry.store.changes import Place
from telemetry.uve_changes import NAMES, Change, ChosenUves, Told, of_objects, read

PAGE: Final = 200
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


class UveHub(Relay[_Batch]):
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
        super().__init__(
            "UVEs", held=held_changes, held_bytes=held_bytes, heartbeat_seconds=heartbeat_seconds, pace=PACE
        )
        self._store = store
        self._place = Place(0)

    async def start(self) -> None:
        """See `Relay`: finds out which revision was the last."""
        self._place = Place(await self._store.read(changes.last) + 1)

    async def _look(self) -> bool:
        place = self._place
        found, after, more = await self._store.read(lambda tx: _behind(tx, place))
        if self._holds:
            self._place = after
            if found:
                told = Told(tuple(found), _token(after))
                self._add(_Batch(told, after), len(found), sum(change.size for change in found))
        return more

    async def watch(self, token: str, chosen: ChosenUves) -> AsyncGenerator[Told, None]:
        """Batches of the *chosen* UVEs: all of them, if *token* is empty, and then what changes behind it.

        Raises:
            InvalidField: *token* is none, is ahead of the store or too old for it.
            Exhausted: the watcher does not keep up; the fact ``token`` says where to go on.
            PeerUnavailable: telemetry stops; as above.
        """
        self._refuse_draining(lambda: token)
        async with self._watched():
            place = await self._begin(token)

            def here() -> str:
                return _token(place)

            if token:
                yield Told((), token)  # heard, and good
            else:
                async for page in self._everything():
                    self._refuse_draining(lambda: "")
                    if shown := chosen.of(page):
                        yield Told(tuple(shown), "")
                yield Told((), here())
            while True:
                walk, more = self._walk(here), True
                while more:
                    self._refuse_draining(here)
                    at = place
                    found, place, more = await self._store.read(lambda tx: _behind(tx, at))  # noqa: B023 -- read at once
                    if shown := chosen.of(found):
                        yield Told(tuple(shown), here())
                if not self._lost(walk):
                    break
                # So much changed meanwhile that the store must be read again.
            while True:
                batch = await self._next(walk)
                if batch is None:
                    yield Told((), here())
                    continue
                # Told already, and perhaps in a later state.
                new = [change for change in batch.told.changes if change.place.revision >= place.revision]
                place = max(place, batch.place)
                whole = chosen.everything and len(new) == len(batch.told.changes)
                if whole or (shown := chosen.of(new)):
                    self._told(walk)
                    yield batch.told if whole else Told(tuple(shown), here())

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
