# SPDX-License-Identifier: Apache-2.0
"""What is left over at the controller, looked for and removed outside of transactions, with the records inside."""

from __future__ import annotations

from collections.abc import Callable

from services.kernel.calls import Call
from services.kernel.errors import BmsError, NotFound, Stale
from services.kernel.names import LEFTOVER
from services.network.operations.leftovers import Leftover, check, leftovers, tell, wishes_of
from services.network.operations.store import Store
from services.network.ports import Leftovers, Marked, Mirror
from services.network.switching import Switching
from services.runtime.database import Database, Transaction


class Clearing:
    """Finds and removes leftovers.

    Args:
        store_of: the store of a transaction.
        there: the controller's objects that bear our mark; None: it has none.
        mirror: shows servers there; None: nobody does.
    """

    def __init__(
        self,
        database: Database,
        store_of: Callable[[Transaction], Store],
        switching: Switching,
        there: Leftovers | None,
        mirror: Mirror | None = None,
    ) -> None:
        self._database = database
        self._store_of = store_of
        self._switching = switching
        self._there = there
        self._mirror = mirror

    def page(self, call: Call, after: str, size: int) -> tuple[list[Leftover], int, str]:
        """The leftovers of a page, how many bore our mark on it, and where to go on ("": nowhere).

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        if self._there is None:
            return [], 0, ""
        marked, following = self._there.page(after, size)
        return self._judged(call, marked), len(marked), following

    def find(self, call: Call, name: str) -> Leftover:
        """One leftover as it is now.

        Raises:
            NotFound: there is none.
            PeerUnavailable: the controller does not answer.
        """
        found = self._one(call, name)
        if found is None:
            msg = f"{name} is not left over"
            raise NotFound(msg, remedy="Nothing needs to be done; list again to see what there is.", name=name)
        return found

    def remove(self, call: Call, name: str, etag: str) -> Leftover:
        """Removes one, having recorded that; whoever asks for the server's ports in this process waits meanwhile.

        Raises:
            NotFound, Stale, WrongState: see `check`.
            PeerUnavailable: the controller does not answer, or will not.
        """
        first = check(self._one(call, name), name, etag)
        if call.validate_only:
            return first
        server = first.marked.server
        with self._switching.turn(server):
            leftover = check(self._one(call, name), name, first.etag)
            self._database.transact(
                lambda tx: tell(self._store_of(tx), call, leftover, "leftover.removal_requested"),
                label="leftover.removal_requested",
            )
            assert self._there is not None, "found there"
            try:
                gone = self._there.remove(leftover.marked)
            except BmsError:
                # It may be gone all the same.
                self._send_anew(call, leftover)
                raise
            if not gone:
                msg = f"{name} is not as it was a moment ago"
                raise Stale(msg, remedy="List again.", name=name)
            self._send_anew(call, leftover)
        return leftover

    def _send_anew(self, call: Call, leftover: Leftover) -> None:
        """Sends once more what another process asked for meanwhile: it may have met what is gone now."""
        server = leftover.marked.server
        asked = self._database.read(lambda tx: self._store_of(tx).attachments(server))
        if wishes_of(asked) != leftover.wishes:
            self._switching.send(server, [one.link.port for one in asked], request_id=call.request_id)
            if self._mirror is not None:
                self._mirror.show(server, [one.link for one in asked])

    def _one(self, call: Call, name: str) -> Leftover | None:
        (ident,) = LEFTOVER.parse(name)
        marked = self._there.marked(ident) if self._there is not None else None
        return next(iter(self._judged(call, [marked])), None) if marked is not None else None

    def _judged(self, call: Call, marked: list[Marked]) -> list[Leftover]:
        return self._database.read(lambda tx: leftovers(self._store_of(tx), marked, call.now))
