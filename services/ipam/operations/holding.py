# SPDX-License-Identifier: Apache-2.0
"""What becomes of a lease whose address a controller keeps: each step is a transaction between two calls to that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.ipam.domain.holding import UNSURE, Holder
from services.ipam.domain.leases import AddressRow, AddressState, Lease, LeaseState
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.observing import observe
from services.ipam.operations.ports import Store
from services.ipam.operations.resting import ACTOR, Cause, change, free


def give_up(store: Store, name: str, now: datetime) -> bool:
    """Ends a lease that nobody was told of; its address is free when the controller has let go of it.

    False: it has been granted, or given up, meanwhile.
    """
    found = _pending(store, name)
    if found is None:
        return False
    lease, _ = found
    store.update_lease(replace(lease, state=LeaseState.COOLING, free_time=now, settle_time=now))
    return True


def set_aside(store: Store, prefix: Prefix, name: str, holder: Holder, now: datetime) -> None:
    """Ends a lease that nobody was told of, since the controller gave its address to *holder*."""
    found = _pending(store, name)
    if found is not None:
        lease, row = found
        store.update_lease(replace(lease, state=LeaseState.FREED, free_time=now, hold="", settle_time=None))
        _unpend(store, row, now)
    observe(store, prefix, holder, now)


def held(store: Store, lease: Lease, hold: str, now: datetime) -> bool:
    """The controller keeps *lease*'s address, as *hold*; True if what it kept before had gone. The log tells of either.

    Args:
        lease: as it was when the controller was asked; one that changed since is left for the next look.
    """
    row = store.lock_address(lease.vrf, lease.address)
    current = store.lease(lease.name)
    if row is None or current is None or current != lease or row.lease != lease.name:
        return False
    following = lease.free_time if lease.state is LeaseState.COOLING else None
    kept = replace(current, hold=hold, settle_time=following)
    again = lease.hold not in ("", UNSURE, hold)
    if lease.hold != hold:
        facts = {"held_as": hold, **({"instead_of": lease.hold} if again else {})}
        event_row = replace(row, free_time=lease.free_time) if row.state is AddressState.COOLING else row
        told = "address.held_again" if again else "address.held"
        change(store, event_row, event_row, kept, told, Cause(ACTOR, now, facts=facts))
    store.update_lease(kept)
    return again


def let_go(store: Store, name: str, now: datetime) -> None:
    """The controller keeps nothing for the lease any more: if it had rested, its address is free."""
    lease = store.lease(name)
    if lease is None:
        return
    row = store.lock_address(lease.vrf, lease.address)
    lease = store.lease(name)
    if row is None or lease is None or lease.state is LeaseState.LEASED:
        return
    if lease.state is LeaseState.FREED or row.lease != name:
        store.update_lease(replace(lease, state=LeaseState.FREED, hold="", settle_time=None))
        return
    if lease.free_time is not None and lease.free_time > now:
        return
    if lease.pending:
        store.update_lease(replace(lease, state=LeaseState.FREED, hold="", settle_time=None))
        _unpend(store, row, now)
    else:
        free(store, replace(row, free_time=lease.free_time), now)
    known = store.holders(lease.vrf, [lease.address]).get(lease.address)
    prefix = store.prefix(lease.prefix)
    if known is not None and prefix is not None:
        observe(store, prefix, known, now)


def will_hold(store: Store, name: str) -> None:
    """The controller is about to be asked to keep an address that it did not keep: from now on it may."""
    lease = store.lease(name)
    row = None if lease is None else store.lock_address(lease.vrf, lease.address)
    lease = store.lease(name)
    if lease is not None and row is not None and not lease.hold and lease.state is LeaseState.LEASED:
        store.update_lease(replace(lease, hold=UNSURE))


def look_again(store: Store, name: str, when: datetime) -> None:
    """Has a lease looked at *when*, if there is still something to be done for it."""
    lease = store.lease(name)
    if lease is not None and lease.settle_time is not None:
        store.settle_at([name], when)


def _pending(store: Store, name: str) -> tuple[Lease, AddressRow] | None:
    """A lease that is being granted, and its address, locked."""
    lease = store.lease(name)
    row = None if lease is None else store.lock_address(lease.vrf, lease.address)
    lease = store.lease(name)
    if lease is None or row is None or not lease.pending or lease.state is not LeaseState.LEASED or row.lease != name:
        return None
    return lease, row


def _unpend(store: Store, row: AddressRow, now: datetime) -> None:
    # One that nobody ever had stays so.
    store.save_address(replace(row, state=AddressState.FREE, lease="", free_time=now if row.epoch else None), row)
