# SPDX-License-Identifier: Apache-2.0
"""Looks at all that the controller has, range by range, and at all that we have there: what differs is put right.

A round keeps nothing for the next. It decides nothing from what it read alone: what it finds missing or left over is
marked to be settled, which asks the controller about that very address again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Protocol, TypeVar

import structlog

from services.ipam.domain.addresses import Address
from services.ipam.domain.holding import Holder, is_held_right
from services.ipam.domain.leases import Lease, LeaseState
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.observing import observe, unobserve
from services.ipam.operations.ports import AddressPlane, Store
from services.ipam.realms import Realms
from services.kernel.effect import effect
from services.kernel.errors import BmsError, NotFound, PeerUnavailable
from services.kernel.pages import Page, PageRequest
from services.runtime.database import Database, Transaction

_log = structlog.get_logger("bms.ipam")


class HasAddress(Protocol):
    """What is paged by its address."""

    @property
    def address(self) -> Address:
        """Where it is."""
        ...


T = TypeVar("T")
A = TypeVar("A", bound=HasAddress)

_PAGE = 500
_AT_ONCE = 50
"""So many changes are one transaction."""


class Rounds:
    """Goes round. Each replica may: what two do, they do alike.

    Args:
        store: makes the store of a transaction.
        period: how often.
    """

    def __init__(
        self,
        database: Database,
        store: Callable[[Transaction], Store],
        plane: AddressPlane,
        realms: Realms,
        *,
        period: timedelta,
    ) -> None:
        self._database = database
        self._store = store
        self._plane = plane
        self._realms = realms
        self._period = period

    def tick(self, now: datetime) -> datetime:
        """Compares every prefix; answers when to do so again."""
        for prefix in self._prefixes():
            try:
                self.compare(prefix, now)
            except PeerUnavailable as error:
                _log.warning("plane.away", error=str(error))
                break
            except BmsError as error:
                _log.warning("realm.refused", prefix=prefix.name, reason=error.reason, error=str(error))
            except Exception:  # noqa: BLE001 -- a defect in one prefix's case must not hide all others
                _log.exception("realm.defect", prefix=prefix.name)
        return now + self._period

    def compare(self, prefix: Prefix, now: datetime) -> None:
        """Compares one prefix.

        Raises:
            BmsError: the controller does not answer, or has not the range and will not have it.
        """
        try:
            there = self._list(self._realms.of(prefix))
        except NotFound:
            there = self._list(self._realms.of(prefix, anew=True))
        ours = self._put_right(prefix, there, now)
        others = [each for each in there.values() if each.address not in ours and not self._is_ours(each, now)]
        self._observe(prefix, others, now)
        self._unobserve(prefix, {each.address for each in others}, now)

    def _list(self, realm: str) -> dict[Address, Holder]:
        with effect("plane.holders"):
            return {each.address: each for each in self._plane.holders(realm)}

    def _put_right(self, prefix: Prefix, there: Mapping[Address, Holder], now: datetime) -> set[Address]:
        """Marks leases for which the controller keeps something else than it should; answers where it keeps ours."""
        ours: set[Address] = set()
        wrong: list[str] = []
        for lease in chain.from_iterable(self._pages(lambda store, after: store.leases_in(prefix, after, _PAGE))):
            holder = there.get(lease.address)
            if holder is not None and (holder.lease == lease.name or holder.ref == lease.hold):
                ours.add(lease.address)
            if lease.pending or is_held_right(lease, holder):
                continue
            if lease.prefix_uid == prefix.uid and _may_be_held(lease):
                wrong.append(lease.name)
                _log.info("hold.differs", lease=lease.name, address=str(lease.address), there=holder is not None)
        for few in _some(wrong, _AT_ONCE):
            self._settle_at(few, now)
        return ours

    def _is_ours(self, holder: Holder, now: datetime) -> bool:
        """Whether what has an address is there for a lease of ours; what one left over is marked to be let go of."""
        lease = self._lease(holder)
        if lease is None:
            return False
        if lease.state is LeaseState.FREED:
            left = replace(lease, hold=holder.ref, settle_time=now)
            self._each([left], lambda store, each: store.update_lease(each), "ipam.settle_at")
        return lease.address == holder.address

    def _observe(self, prefix: Prefix, others: Sequence[Holder], now: datetime) -> None:
        for some in _some(others, _PAGE):
            news = self._news(prefix, some)
            for each in news:
                if each.lease and self._lease(each) is None:
                    _log.warning("hold.of_nobody", holder=each.ref, says=each.lease, address=str(each.address))
            for few in _some(news, _AT_ONCE):
                self._each(few, lambda store, each: observe(store, prefix, each, now), "ipam.observe")

    def _lease(self, holder: Holder) -> Lease | None:
        """The lease that *holder* says it is there for."""
        return self._database.read(lambda tx: self._store(tx).lease(holder.lease)) if holder.lease else None

    def _news(self, prefix: Prefix, others: Sequence[Holder]) -> list[Holder]:
        """Those of *others* that are not known as they are."""
        addresses = [each.address for each in others]
        known = self._database.read(lambda tx: self._store(tx).holders(prefix.vrf, addresses))
        return [each for each in others if known.get(each.address) != each]

    def _unobserve(self, prefix: Prefix, others: Collection[Address], now: datetime) -> None:
        known = chain.from_iterable(self._pages(lambda store, after: store.holders_in(prefix, after, _PAGE)))
        gone = [each.address for each in known if each.address not in others]
        for few in _some(gone, _AT_ONCE):
            self._each(few, lambda store, each: unobserve(store, prefix, each, now), "ipam.unobserve")

    def _pages(self, look: Callable[[Store, Address | None], Sequence[A]]) -> Iterator[Sequence[A]]:
        after: Address | None = None
        while True:
            page = self._page(look, after)
            yield page
            if len(page) < _PAGE:
                return
            after = page[-1].address

    def _page(self, look: Callable[[Store, Address | None], Sequence[A]], after: Address | None) -> Sequence[A]:
        return self._database.read(lambda tx: look(self._store(tx), after))

    def _prefixes(self) -> Iterator[Prefix]:
        after = ""
        while True:
            page = self._some_prefixes(PageRequest(_PAGE, after))
            yield from (prefix for prefix in page.rows if not prefix.container)
            after = page.next_after
            if not after:
                return

    def _some_prefixes(self, page: PageRequest) -> Page[Prefix]:
        return self._database.read(lambda tx: self._store(tx).list_prefixes("", page, ()))

    def _settle_at(self, names: Sequence[str], now: datetime) -> None:
        self._database.transact(lambda tx: self._store(tx).settle_at(names, now), label="ipam.settle_at")

    def _each(self, few: Sequence[T], act: Callable[[Store, T], object], label: str) -> None:
        def all_of_them(tx: Transaction) -> None:
            store = self._store(tx)
            for each in few:
                act(store, each)

        self._database.transact(all_of_them, label=label)


def _some(things: Sequence[T], many: int) -> Iterator[Sequence[T]]:
    """*things*, so *many* at a time."""
    for at in range(0, len(things), many):
        yield things[at : at + many]


def _may_be_held(lease: Lease) -> bool:
    """Whether the controller should keep something: not for what rested already when it came into use."""
    return lease.state is LeaseState.LEASED or bool(lease.hold)
