# SPDX-License-Identifier: Apache-2.0
"""What the controller has for leases that there are none of: found by prefix, and removed where the log proves it.

A freed lease is forgotten after a month; until then rounds see to it themselves. Later a controller that was restored
may have its address again: the log says that the lease ended. What the log does not know may be in use, after our own
database was restored: that is told and never removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.ipam.domain.addresses import Address
from services.ipam.domain.holding import Holder, Marked
from services.ipam.domain.leases import stream_of
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.observing import observe, unobserve
from services.ipam.operations.ports import AddressPlane, Store
from services.kernel.calls import Call
from services.kernel.effect import effect
from services.kernel.errors import NotFound, Stale, WrongState
from services.kernel.names import LEASE_LEFTOVER, PREFIX
from services.kernel.pages import PageRequest
from services.runtime.database import Database, Transaction

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Leftover:
    """One of them, within *prefix*."""

    prefix: Prefix
    marked: Marked
    why: str
    removable: bool

    @property
    def name(self) -> str:
        """Its resource name."""
        return LEASE_LEFTOVER.format(*PREFIX.parse(self.prefix.name), self.marked.holder.ref)

    @property
    def etag(self) -> str:
        """Changes with what the controller shows of it."""
        return f'"{hashlib.sha256(repr(self.marked).encode()).hexdigest()[:16]}"'


class Clearing:
    """Finds and removes leftovers.

    Args:
        store: makes the store of a transaction.
        plane: the controller; None: there is none.
    """

    def __init__(self, database: Database, store: Callable[[Transaction], Store], plane: AddressPlane | None) -> None:
        self._database = database
        self._store = store
        self._plane = plane

    def page(self, after: str) -> tuple[list[Leftover], int, str]:
        """The leftovers of the prefix after the one called *after*, how many were looked at, and where to go on.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        if self._plane is None:
            return [], 0, ""
        page = self._database.read(lambda tx: self._store(tx).list_prefixes("", PageRequest(1, after), ()))
        found: list[Leftover] = []
        examined = 0
        for prefix in page.rows:
            ours = [one for one in self._there(prefix) if one.lease]
            examined += len(ours)
            judged = [self._judged(prefix, one.ref) for one in self._unknown(prefix, ours)]
            found += [one for one in judged if one is not None]
        return sorted(found, key=lambda one: int(one.marked.holder.address)), examined, page.next_after

    def find(self, name: str) -> Leftover:
        """One leftover as it is now.

        Raises:
            NotFound: there is none.
            PeerUnavailable: the controller does not answer.
        """
        project, label, ref = LEASE_LEFTOVER.parse(name)
        prefix = self._database.read(lambda tx: self._store(tx).prefix(PREFIX.format(project, label)))
        found = self._judged(prefix, ref) if prefix is not None else None
        if found is None:
            msg = f"{name} is not left over"
            raise NotFound(msg, remedy="Nothing needs to be done; list again to see what there is.", name=name)
        return found

    def remove(self, call: Call, name: str, etag: str) -> Leftover:
        """Removes one; `record` then tells that it is gone.

        Raises:
            NotFound: it is not left over.
            PeerUnavailable: the controller does not answer.
            Stale: it is not as *etag* says.
            WrongState: nothing proves that it is nobody's.
        """
        found = self.find(name)
        if etag and etag != found.etag:
            msg = f"{name} has changed since it was looked at: its etag is {found.etag}"
            raise Stale(msg, remedy="List again.", name=name)
        if not found.removable:
            raise WrongState(found.why, remedy="Remove it at the controller, once nobody uses it.", subject=name)
        if call.validate_only or self._plane is None:
            return found
        # What rounds would tell as well: from here on the log has that somebody else's thing has the address.
        self._database.transact(
            lambda tx: observe(self._store(tx), found.prefix, found.marked.holder, call.now), label="ipam.observe"
        )
        with effect("plane.remove"):
            gone = self._plane.remove(found.marked, found.prefix.cidr)
        if not gone:
            msg = f"{name} is not as it was a moment ago"
            raise Stale(msg, remedy="List again.", name=name)
        return found

    def record(self, tx: Transaction, call: Call, removed: Leftover) -> None:
        """Tells that it is gone, and who had it removed."""
        unobserve(
            self._store(tx), removed.prefix, removed.marked.holder.address, call.now,
            actor=call.caller.subject, request_id=call.request_id,
        )  # fmt: skip

    def _there(self, prefix: Prefix) -> list[Holder]:
        # A range that is not known yet, or gone, is the rounds' to find or make.
        if prefix.container or not prefix.realm or self._plane is None:
            return []
        try:
            with effect("plane.holders"):
                return list(self._plane.holders(prefix.realm))
        except NotFound:
            return []

    def _unknown(self, prefix: Prefix, ours: Sequence[Holder]) -> list[Holder]:
        """Those of *ours* in *prefix* that there is no lease of."""

        def look(tx: Transaction) -> list[Holder]:
            # Nearly all are of leases in the same range: those are read by the hundred, the few others one by one.
            store = self._store(tx)
            kept: set[str] = set()
            after: Address | None = None
            while some := store.leases_in(prefix, after, _PAGE):
                kept.update(lease.name for lease in some)
                after = some[-1].address
            return [one for one in ours if one.lease not in kept and store.lease(one.lease) is None]

        return self._database.read(look) if ours else []

    def _is_unknown(self, lease: str) -> bool:
        return self._database.read(lambda tx: self._store(tx).lease(lease)) is None

    def _judged(self, prefix: Prefix, ref: str) -> Leftover | None:
        if self._plane is None:
            return None
        with effect("plane.marked"):
            marked = self._plane.marked(ref, prefix.cidr)
        if marked is None or not self._is_unknown(marked.holder.lease):
            return None
        holder = marked.holder
        stream = stream_of(prefix.vrf, holder.address)
        freed = self._database.read(lambda tx: self._store(tx).was_freed(stream, holder.lease))
        what = f"{holder.ref} has {holder.address} for {holder.lease}"
        if not freed:
            return Leftover(prefix, marked, f"{what}, of which ipam's log knows nothing", removable=False)
        if marked.used:
            return Leftover(prefix, marked, f"{what}, which was freed, and {marked.used} uses it", removable=False)
        return Leftover(prefix, marked, f"{what}, which was freed, and nothing uses it", removable=True)
