# SPDX-License-Identifier: Apache-2.0
"""Granting addresses to several callers in one transaction: as many statements as for one of them.

Only plain wishes go together, and nobody is refused here: whoever does not simply get an address is left out, and goes
his own way (`Leasing.lease`), where his refusal is his own. docs/decisions/0010-choosing-an-address.md says why so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from services.ipam.domain.allocation import Frontier
from services.ipam.domain.leases import AddressRow, AddressState, Lease
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.choosing import NeedsAddresses
from services.ipam.operations.guards import open_to, require_own, require_right, version_of
from services.ipam.operations.leasing import next_lease
from services.ipam.operations.ports import Store
from services.ipam.operations.resting import Cause, free, told
from services.ipam.operations.wishes import Wanted
from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.errors import BmsError
from services.kernel.events import Event

Serving = Sequence[tuple[Prefix, Frontier]]


class Wish(NamedTuple):
    """Whom an address is granted to, and what he asked for."""

    call: Call
    wanted: Wanted


class _Grant(NamedTuple):
    """An address that is being granted: *row*, locked, to whoever has the *lease*."""

    wish: int
    call: Call
    row: AddressRow
    lease: Lease

    @property
    def after(self) -> AddressRow:
        lease = self.lease
        return replace(self.row, state=AddressState.LEASED, epoch=lease.epoch, lease=lease.name, free_time=None)

    @property
    def event(self) -> Event:
        cause = Cause(self.call.caller.subject, self.call.now, self.call.request_id)
        return told(self.row, self.after, self.lease, "address.leased", cause)


def is_plain(call: Call, wanted: Wanted) -> bool:
    """Whether a wish may go together with others: for any address, in nobody's claim, under no host name."""
    return not (call.validate_only or wanted.address is not None or wanted.fence or wanted.host_name)


def lease_together(store: Store, ids: Ids, wishes: Mapping[int, Wish]) -> dict[int, Lease]:
    """Grants an address to each of *wishes*, which are plain; those who are left out are absent.

    Left out is who may not have one, has one already, or finds none free.

    Raises:
        NeedsAddresses: do as it says, then try again.
    """
    found = [grant for part, serving in _parts(store, wishes) for grant in _choose(store, ids, wishes, part, serving)]
    # Two processes that grant to the same owners meet them in one order.
    found.sort(key=lambda grant: _order(grant.lease))
    there = store.insert_leases([grant.lease for grant in found])
    granted = [grant for grant, inserted in zip(found, there, strict=True) if inserted]
    heads = store.append_each([(grant.event, grant.row.head) for grant in granted])
    store.save_addresses([replace(grant.after, head=head) for grant, head in zip(granted, heads, strict=True)])
    return {grant.wish: grant.lease for grant in granted}


def _parts(store: Store, wishes: Mapping[int, Wish]) -> list[tuple[list[int], Serving]]:
    """Those of *wishes* that choose from the same prefixes, with these."""
    prefixes_of: dict[str, Serving] = {}
    parts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    serving_of: dict[tuple[str, ...], Serving] = {}
    for number, (call, wanted) in wishes.items():
        if wanted.network not in prefixes_of:
            prefixes_of[wanted.network] = store.prefixes_of(wanted.network)
        serving = _serving(call, wanted, prefixes_of[wanted.network])
        uids = tuple(prefix.uid for prefix, _ in serving)
        parts[uids].append(number)
        serving_of[uids] = serving
    return [(part, serving_of[uids]) for uids, part in parts.items() if uids]


def _serving(call: Call, wanted: Wanted, prefixes: Serving) -> Serving:
    """The prefixes that a wish is granted from; none if it goes alone."""
    try:
        require_right(call.caller, wanted.owner.kind, wanted.fence)
        require_own(wanted)
        prefixes = open_to(call.caller, wanted, prefixes)
        version = version_of(wanted, [prefix for prefix, _ in prefixes])
    except BmsError:
        return ()  # he is told when he goes alone
    serving = [(prefix, frontier) for prefix, frontier in prefixes if prefix.version == version]
    # Where addresses are kept for their last owners, each is looked for by itself.
    return () if any(prefix.tuning.sticky for prefix, _ in serving) else serving


def _choose(store: Store, ids: Ids, wishes: Mapping[int, Wish], part: list[int], serving: Serving) -> list[_Grant]:
    """Locks an address for each of *part*, as far as there are free ones."""
    now = min(wishes[number].call.now for number in part)  # what is free for the earliest is free for all
    chosen: list[_Grant] = []
    left = part
    for prefix, frontier in serving:
        rows = store.pop_many(prefix, now if frontier.may_reuse else None, len(left))
        if len(rows) < len(left) and frontier.next is not None:
            raise NeedsAddresses(prefix.uid, frontier)
        for number, popped in zip(left, rows, strict=False):
            call, wanted = wishes[number]
            row = free(store, popped, call.now) if popped.state is AddressState.COOLING else popped
            chosen.append(_Grant(number, call, row, next_lease(ids.uuid(), call, wanted, prefix, row)))
        left = left[len(rows) :]
        if not left:
            break
    return chosen


def _order(lease: Lease) -> tuple[str, str, str, str, str, int]:
    owner = lease.owner
    return lease.network, lease.project, owner.kind.value, owner.resource, owner.interface, lease.address.version
