# SPDX-License-Identifier: Apache-2.0
"""What other services find left over at their controllers: a book of its own, and having it removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.kernel.calls import Call
from services.kernel.errors import Busy, Stale
from services.kernel.names import LEASE_LEFTOVER, LEFTOVER, Pattern, stable_uuid
from services.lifecycle.audits import rows
from services.lifecycle.audits.leaks import Kind, Leak, mark_of
from services.lifecycle.audits.left import Leftovers
from services.lifecycle.audits.seen import LeftoverSeen, ServerRow
from services.lifecycle.audits.shelves import Look
from services.lifecycle.audits.stores import Stores
from services.lifecycle.audits.telling import Repair, told
from services.lifecycle.domain.walk import Change
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Source:
    """One service's leftovers.

    Attributes:
        pattern: of their names.
        kind: of those that it would remove; *doubtful*: of the others.
        done: what a repair did, for people.
    """

    left: Leftovers
    pattern: Pattern
    kind: Kind
    doubtful: Kind
    done: str

    def leaks(self, seen: LeftoverSeen, row: ServerRow | None, now: datetime) -> Iterator[Leak]:
        """What *seen* leaks: nothing while its server is worked on."""
        if row is not None and row.server.intent is not None:
            return
        kind = self.kind if seen.removable else self.doubtful
        mark = f"{seen.etag} {mark_of(row.server if row else None)}"
        yield Leak(kind, seen.name, seen.why, seen.since or now, mark, server=seen.server)


def sources(stores: Stores) -> dict[str, Source]:
    """Whoever has a controller, by the name of its book."""
    fabric = Source(
        stores.fabric, LEFTOVER, Kind.FABRIC_LEFTOVER, Kind.FABRIC_LEFTOVER_OF_STRANGER,
        "it is removed from the fabric's controller",
    )  # fmt: skip
    addresses = Source(
        stores.addresses, LEASE_LEFTOVER, Kind.ADDRESS_LEFTOVER, Kind.ADDRESS_LEFTOVER_IN_DOUBT,
        "it is removed from the controller of addresses, and its address rests",
    )  # fmt: skip
    return {"fabric_leftovers": fabric, "address_leftovers": addresses}


@dataclass(frozen=True, slots=True)
class LeftoverShelf:
    """`services.lifecycle.audits.shelves.Shelf` over the leftovers of *source*."""

    database: Database
    source: Source

    def look(self, token: str, size: int, now: datetime) -> Look:
        """See Shelf."""
        found = self.source.left.page(token, size)
        return Look(self._judge(found.rows, now), found.read, found.token)

    def again(self, resource: str, now: datetime) -> tuple[Leak, ...]:
        """See Shelf."""
        self.source.pattern.parse(resource, "resource")
        seen = self.source.left.one(resource)
        return self._judge([seen], now) if seen is not None else ()

    def _judge(self, seen: Sequence[LeftoverSeen], now: datetime) -> tuple[Leak, ...]:
        known = self.database.read(lambda tx: rows.servers(tx, {one.server for one in seen}))
        return tuple(leak for one in seen for leak in self.source.leaks(one, known.get(one.server), now))


@dataclass(frozen=True, slots=True)
class Removals:
    """Has leftovers removed, one at a time."""

    database: Database
    store: Store
    sources: Mapping[str, Source]

    def remove(self, call: Call, book: str, leak: Leak) -> Repair:
        """Has the service of *book* remove what *leak* is about, which looks at it again itself.

        Raises:
            Busy: somebody is at work on its server.
            NotFound: it is no leak any more.
            Stale: it is not as it was a moment ago.
            WrongState: the service does not remove it.
        """
        source = self.sources[book]
        seen = source.left.one(leak.resource)
        row = self.database.read(lambda tx: rows.servers(tx, {leak.server})).get(leak.server)
        if seen is None or leak.mark not in {one.mark for one in source.leaks(seen, row, call.now)}:
            msg = f"{leak.resource} is not as it was a moment ago"
            raise Stale(msg, remedy="Audit again.", name=leak.resource)
        # Of a server that is not ours, or not any more, the other service's log alone tells.
        followed = row is not None and not row.server.closed
        if followed and not call.validate_only:
            self.database.transact(lambda tx: self._ask(tx, call, leak), label="audit.repair_requested")
        identity = stable_uuid("audit", call.request_id or call.correlation, leak.resource)
        source.left.remove(leak.resource, seen.etag, identity, check=call.validate_only)
        return Repair(leak, leak.server if followed else "", source.done)

    def _ask(self, tx: Transaction, call: Call, leak: Leak) -> None:
        server = self.store.server(tx, leak.server, lock=True)
        if server.intent is not None:
            msg = f"{server.name} is at work"
            raise Busy(msg, remedy="Audit again when it is at rest.", name=server.name)
        event = told(server, leak, call, "audit.repair_requested", leak.why, None)
        self.store.write(tx, Change(server, (event,)), call.now, due=call.now)
