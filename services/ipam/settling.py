# SPDX-License-Identifier: Apache-2.0
"""What is to be done at the controller for leases, done: whoever began it, and however often.

The leases that something is to be done for have a `settle_time`; it is set in the transaction that makes it so, and
taken away in the one that follows the controller's answer. Between the two any process may die.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from services.ipam.domain.holding import UNSURE, MacTaken, Taken
from services.ipam.domain.leases import Lease, LeaseState
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations import holding
from services.ipam.operations.observing import observe
from services.ipam.operations.ports import AddressPlane, Store
from services.ipam.realms import Realms
from services.kernel.effect import effect
from services.kernel.errors import AlreadyExists, BmsError, Busy, PeerUnavailable
from services.runtime.database import Database, Transaction

_log = structlog.get_logger("bms.ipam")

_BATCH = 100
_REFUSED = timedelta(minutes=1)
"""After how long the controller is asked again for what it refused."""

_SHORTEST, _LONGEST = timedelta(seconds=2), timedelta(minutes=1)
"""How long it is left alone when it does not answer, at first and at last."""


class Settling:
    """Does it. Any number may: each step is done as well by who comes second.

    Args:
        store: makes the store of a transaction.
    """

    def __init__(
        self, database: Database, store: Callable[[Transaction], Store], plane: AddressPlane, realms: Realms
    ) -> None:
        self._database = database
        self._store = store
        self._plane = plane
        self._realms = realms
        self._away = timedelta()

    def tick(self, now: datetime) -> datetime | None:
        """Does what is due, a batch at most; answers when to look again."""
        due = self._database.read(lambda tx: self._store(tx).to_settle(now, _BATCH))
        try:
            for lease in due:
                self.settle(lease, now)
        except PeerUnavailable as error:
            self._away = min(max(2 * self._away, _SHORTEST), _LONGEST)
            _log.warning("plane.away", error=str(error), waiting=len(due))
            return now + self._away
        self._away = timedelta()
        if len(due) == _BATCH:
            return now
        return self._database.read(lambda tx: self._store(tx).next_to_settle())

    def settle(self, lease: Lease, now: datetime) -> None:
        """Does for one lease what is to be done; what the controller refuses is tried again later.

        Raises:
            PeerUnavailable: it does not answer.
        """
        try:
            self._settle(lease, now)
        except PeerUnavailable:
            raise
        except BmsError as error:
            _log.warning("hold.refused", lease=lease.name, reason=error.reason, error=str(error))
            self._later(lease, now)
        except Exception:  # noqa: BLE001 -- a defect in one lease's case must not keep all others waiting behind it
            _log.exception("hold.defect", lease=lease.name)
            self._later(lease, now)

    def hold(self, lease: Lease, prefix: Prefix) -> str:
        """Has the controller keep the address; sees to it that nothing of our own stands in the way.

        Raises:
            AlreadyExists: the MAC address is another's.
            Taken: the controller gave the address to somebody else.
            BmsError: see `AddressPlane.hold`.
        """
        realm = self._realms.of(prefix)
        for _ in range(3):
            try:
                with effect("plane.hold"):
                    return self._plane.hold(lease, realm)
            except Taken as taken:
                if not self._is_left_over(taken.holder.lease):
                    raise
            except MacTaken as taken:
                if self._is_left_over(taken.holder.lease):
                    continue
                other = self._lease(taken.holder.lease)
                if other is not None and other.state is not LeaseState.LEASED:
                    # It rests; with its own MAC address it is in nobody's way.
                    with effect("plane.hold"):
                        self._plane.hold(other, realm)
                elif other is not None and _is_of_same_port(lease, other):
                    # The controller knows a port by its MAC address, and it is that of his other IP version.
                    lease = replace(lease, owner=replace(lease.owner, mac_address=""))
                else:
                    raise _mac_taken(taken) from None
        msg = f"{lease.address} cannot be kept: others change the same port at the controller"
        raise Busy(msg, remedy="Try again.", address=str(lease.address))

    def drop(self, lease: Lease) -> None:
        """Has the controller let go of what it keeps for *lease*."""
        with effect("plane.drop"):
            self._plane.drop(lease)

    def _settle(self, lease: Lease, now: datetime) -> None:
        prefix = self._database.read(lambda tx: self._store(tx).prefix(lease.prefix))
        if prefix is not None and prefix.uid != lease.prefix_uid:
            prefix = None
        if lease.pending and lease.state is LeaseState.LEASED:
            if self._transact(lambda store: holding.give_up(store, lease.name, now), "ipam.give_up"):
                _log.info("lease.given_up", lease=lease.name, address=str(lease.address))
            return
        rested = lease.state is LeaseState.COOLING and (lease.free_time is None or lease.free_time <= now)
        if rested or lease.state is LeaseState.FREED or prefix is None:
            self.drop(lease)
            self._transact(lambda store: holding.let_go(store, lease.name, now), "ipam.let_go")
            return
        if not lease.hold:
            self._transact(lambda store: holding.will_hold(store, lease.name), "ipam.will_hold")
            lease = replace(lease, hold=UNSURE)
        try:
            hold = self.hold(lease, prefix)
        except Taken as taken:
            holder = taken.holder
            if self._transact(lambda store: observe(store, prefix, holder, now), "ipam.observe"):
                _log.error("address.contested", lease=lease.name, address=str(lease.address), holder=holder.ref)
            self._later(lease, now)
            return
        if self._transact(lambda store: holding.held(store, lease, hold, now), "ipam.held"):
            _log.warning("hold.made_again", lease=lease.name, hold=hold, instead_of=lease.hold)

    def _is_left_over(self, name: str) -> bool:
        """Whether what is in the way is what a lease left that is freed; it is gone now."""
        other = self._lease(name)
        if other is None or other.state is not LeaseState.FREED:
            return False
        self.drop(other)
        _log.info("hold.left_over", lease=other.name, address=str(other.address))
        return True

    def _lease(self, name: str) -> Lease | None:
        return self._database.read(lambda tx: self._store(tx).lease(name)) if name else None

    def _later(self, lease: Lease, now: datetime) -> None:
        self._transact(lambda store: holding.look_again(store, lease.name, now + _REFUSED), "ipam.look_again")

    def _transact(self, fn: Callable[[Store], bool | None], label: str) -> bool:
        return bool(self._database.transact(lambda tx: fn(self._store(tx)), label=label))


def _is_of_same_port(lease: Lease, other: Lease) -> bool:
    mine, his = lease.holding, other.holding
    return lease.address.version != other.address.version and replace(mine, version=his.version) == his


def _mac_taken(taken: MacTaken) -> AlreadyExists:
    holder = taken.holder
    msg = f"the MAC address {taken.mac_address} is in use in the same network"
    remedy = "Remove what uses it at the controller, or give another MAC address."
    return AlreadyExists(msg, remedy=remedy, mac_address=taken.mac_address, holder=holder.ref)
