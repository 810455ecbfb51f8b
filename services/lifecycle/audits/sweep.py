# SPDX-License-Identifier: Apache-2.0
"""Two looks: what both find, unchanged, is a leak; what is merely in motion is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.kernel.clock import Clock
from services.kernel.errors import Busy, InvalidField, NotFound
from services.lifecycle.audits.leaks import Kind, Leak
from services.lifecycle.audits.shelves import KINDS, Shelf

Pause = Callable[[timedelta], None]
"""Lets time pass between the two looks."""

MAX_PAUSING = 2
"""How many callers may wait for their second look at a time: each holds a thread."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the books: what leaked there, and where to go on ("": all were looked through)."""

    leaks: tuple[Leak, ...]
    book: str
    examined: int
    following: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Looks through the books, a part at a time.

    Attributes:
        shelves: the books by name, in order.
        pause: lets the settle time pass.
    """

    shelves: Mapping[str, Shelf]
    clock: Clock
    pause: Pause

    def part(self, place: str, size: int, settle: timedelta, only: str = "") -> Part:
        """The part at *place* ("" is the beginning), of at most *size* entries; of the book *only* ("": of all).

        Raises:
            InvalidField: there is no such place, or book.
            Busy: too many wait for their second look.
        """
        if only and only not in self.shelves:
            raise InvalidField("book", "is none that is kept here", remedy=f"Give one of {', '.join(self.shelves)}.")
        names = [only] if only else list(self.shelves)
        book, _, token = place.partition(":") if place else (names[0], "", "")
        if book not in names:
            raise InvalidField("page_token", "names no book", remedy="Start again without a page_token.")
        look = self.shelves[book].look(token, size, self.clock.now())
        found = self._confirmed(book, look.leaks, settle) if look.leaks else ()
        if look.token:
            return Part(found, book, look.examined, f"{book}:{look.token}")
        after = names.index(book) + 1
        return Part(found, book, look.examined, f"{names[after]}:" if after < len(names) else "")

    def again(self, kind: Kind, resource: str) -> tuple[str, Leak]:
        """The book and the leak of *kind* at *resource* as it is now.

        Raises:
            NotFound: there is no such leak.
        """
        for book in (name for name in self.shelves if kind in KINDS[name]):
            for leak in self.shelves[book].again(resource, self.clock.now()):
                if (leak.kind, leak.resource) == (kind, resource):
                    return book, leak
        msg = f"{resource} is no {kind.value}"
        raise NotFound(msg, remedy="Nothing needs to be done; audit again to see what there is.", name=resource)

    def _confirmed(self, book: str, first: tuple[Leak, ...], settle: timedelta) -> tuple[Leak, ...]:
        self.pause(settle)
        now = self.clock.now()
        shelf = self.shelves[book]
        wanted = {(leak.kind, leak.resource, leak.mark) for leak in first}
        again: dict[tuple[Kind, str], Leak] = {}
        for resource in sorted({leak.resource for leak in first}):
            for leak in shelf.again(resource, now):
                if (leak.kind, leak.resource, leak.mark) in wanted:
                    again[leak.kind, leak.resource] = leak
        return tuple(again.values())


class Settling:
    """Waits in the caller's thread, for a bounded number of callers; until drained."""

    def __init__(self) -> None:
        self._places = threading.Semaphore(MAX_PAUSING)
        self._drained = threading.Event()

    def pause(self, length: timedelta) -> None:
        """Waits for *length*.

        Raises:
            Busy: too many wait already.
        """
        if not self._places.acquire(blocking=False):
            msg = f"{MAX_PAUSING} audits are under way"
            raise Busy(msg, remedy="Try again in a few seconds.")
        try:
            self._drained.wait(length.total_seconds())
        finally:
            self._places.release()

    def drain(self) -> None:
        """Ends all waiting; from now on nobody waits."""
        self._drained.set()
