# SPDX-License-Identifier: Apache-2.0
"""What happens to an address after its lease: it rests, and then is free. Every step is an event of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.ipam.domain.leases import AddressRow, AddressState, Kind, Lease, LeaseState
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import LeaseStore, Store
from services.kernel.events import AddressSeen, Event, Evidence

ACTOR = "ipam"
"""Who frees what has rested."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Who makes an address change, when and under which request and claim; *facts* are more of what the event tells."""

    actor: str
    now: datetime
    request_id: str = ""
    fence: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)


def change(
    store: LeaseStore, row: AddressRow, after: AddressRow, lease: Lease, event_type: str, cause: Cause
) -> AddressRow:
    """Keeps what became of a locked address and of its *lease*, as an event; answers it with its stream's new end."""
    head = store.append(told(row, after, lease, event_type, cause), row.head)
    changed = replace(after, head=head)
    if changed.state is AddressState.COOLING and (lease.hold or lease.keep_time):
        # It does not become free by the clock alone: the controller has to let go of it first, or its owner may return.
        changed = replace(changed, free_time=None)
    elif changed.state is AddressState.FREE and lease.keep_time:
        changed = replace(changed, free_time=lease.keep_time)  # chosen for nobody else before
    store.save_address(changed, row)
    return changed


def told(row: AddressRow, after: AddressRow, lease: Lease, event_type: str, cause: Cause) -> Event:
    """The event that tells how an address changed from *row* to *after*, with its *lease*."""
    owner = lease.owner
    facts = {
        "owner_kind": owner.kind.value,
        "owner": owner.resource,
        "interface": owner.interface,
        "mac_address": owner.mac_address,
        "host_name": lease.host_name,
        "network": lease.network,
        "prefix": lease.prefix,
        **cause.facts,
    }
    seen = AddressSeen(lease.name, lease.vrf, str(lease.address), after.epoch, after.state.value, after.free_time)
    return Event(
        stream=lease.stream,
        type=event_type,
        time=cause.now,
        actor=cause.actor,
        state_before=row.state.value,
        state_after=after.state.value,
        project=lease.project,
        instance=owner.resource if owner.kind is Kind.BARE_METAL_INSTANCE else "",
        request_id=cause.request_id,
        fence=cause.fence,
        evidence=Evidence(addresses=(seen,)),
        facts={name: text for name, text in facts.items() if text},
    )


def free(store: LeaseStore, row: AddressRow, now: datetime) -> AddressRow:
    """Ends the rest of a locked address: its lease is freed, and the log says so before anybody may have it again.

    Whoever asks for the address next makes this happen, but did not do it: his name has no place in an event that the
    project of the former owner reads.
    """
    lease = store.lease(row.lease)
    after = replace(row, state=AddressState.FREE)
    if lease is None:  # forgotten leases are freed ones, so this row's is there; without it there is nothing to tell
        return after
    store.update_lease(replace(lease, state=LeaseState.FREED, hold="", settle_time=None))
    return change(store, row, after, lease, "address.freed", Cause(ACTOR, now))


def free_due(store: Store, now: datetime, limit: int, prefix: Prefix | None = None) -> int:
    """Frees addresses (of *prefix*) that have rested, but for those that a controller keeps; answers how many it looked
    at, *limit* at most.
    """
    due = store.due(now, limit, prefix)
    for lease in due:
        row = store.lock_address(lease.vrf, lease.address)
        if row is None or row.lease != lease.name:
            # Its address knows nothing of it: somebody changed the tables. It would be due for ever.
            store.update_lease(replace(lease, state=LeaseState.FREED, settle_time=None))
            continue
        if row.state is not AddressState.COOLING:
            continue
        if row.is_free(now) or lease.keep_time is not None:
            free(store, replace(row, free_time=lease.free_time), now)
    return len(due)
