# SPDX-License-Identifier: Apache-2.0
"""Addresses that a controller beside us gave to others: they count as owners, and every change is an event."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.ipam.domain.addresses import Address
from services.ipam.domain.holding import Holder
from services.ipam.domain.leases import AddressRow, AddressState, stream_of
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import Store
from services.ipam.operations.resting import ACTOR, free
from services.kernel.events import AddressSeen, Event, Evidence


def observe(store: Store, prefix: Prefix, holder: Holder, now: datetime) -> bool:
    """Somebody else has an address of *prefix*; False if that was known, or is no news.

    A free address becomes his. One that is leased or rests stays so, and the log says that it is contested.
    """
    row = store.take(prefix, holder.address)
    if row is None or row.state is AddressState.PENDING:
        return False  # whoever is being granted it asks the controller himself
    known = store.holders(prefix.vrf, [holder.address]).get(holder.address)
    if known != holder:
        store.keep_holder(prefix.vrf, holder)
    if row.state is AddressState.COOLING and row.is_free(now):
        row = free(store, row, now)
    if row.state is AddressState.FREE:
        _tell(store, row, replace(row, state=AddressState.EXTERNAL, free_time=None), holder, "address.observed", now)
        return True
    if holder.same_as(known):
        return False
    changed = "address.observed" if row.state is AddressState.EXTERNAL else "address.contested"
    _tell(store, row, row, holder, changed, now)
    return True


def unobserve(
    store: Store, prefix: Prefix, address: Address, now: datetime, *, actor: str = ACTOR, request_id: str = ""
) -> bool:
    """Whoever else had the address has it no more; False if nobody was known to. *actor*: who saw to that.

    It is not chosen for anybody before the prefix's cool-down is over: neighbours may still look for the old owner.
    """
    row = store.lock_address(prefix.vrf, address)
    known = store.holders(prefix.vrf, [address]).get(address)
    if row is None or known is None:
        return False
    store.forget_holder(prefix.vrf, address)
    if row.state is AddressState.EXTERNAL:
        freed = replace(row, state=AddressState.FREE, free_time=now + prefix.tuning.cool_down)
        _tell(store, row, freed, known, "address.unobserved", now, actor, request_id)
    elif row.state in (AddressState.LEASED, AddressState.COOLING):
        _tell(store, row, row, known, "address.uncontested", now, actor, request_id)
    return True


def _tell(
    store: Store,
    row: AddressRow,
    after: AddressRow,
    holder: Holder,
    event_type: str,
    now: datetime,
    actor: str = ACTOR,
    request_id: str = "",
) -> None:
    lease = store.lease(row.lease) if row.state in (AddressState.LEASED, AddressState.COOLING) else None
    facts = {**holder.facts, "owner_kind": "external"}
    if lease is not None and lease.project != holder.project:
        # The event is for whoever leases it: of the other he is told no more than that there is one.
        facts = {name: text for name, text in facts.items() if name not in ("holder_device", "mac_address")}
    free_time = after.free_time or (lease.free_time if lease is not None else None)
    seen = AddressSeen(row.lease, row.vrf, str(row.address), after.epoch, after.state.value, free_time)
    event = Event(
        stream=stream_of(row.vrf, row.address),
        type=event_type,
        time=now,
        actor=actor,
        request_id=request_id,
        state_before=row.state.value,
        state_after=after.state.value,
        project=lease.project if lease is not None else holder.project,
        evidence=Evidence(addresses=(seen,)),
        facts=facts,
    )
    store.save_address(replace(after, head=store.append(event, row.head)), row)
