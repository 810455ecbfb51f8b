# SPDX-License-Identifier: Apache-2.0
"""Granting addresses and taking them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from services.ipam.domain.addresses import Address, Version
from services.ipam.domain.holding import HALF_DONE, UNSURE
from services.ipam.domain.leases import AddressRow, AddressState, Kind, Lease, LeaseState
from services.ipam.domain.prefixes import DEFAULT_COOL_DOWN, Prefix
from services.ipam.operations.choosing import Contended, choose_any, choose_kept, choose_this
from services.ipam.operations.guards import (
    open_to,
    pass_fence,
    proven,
    require_name,
    require_own,
    require_right,
    require_waivable,
    version_of,
)
from services.ipam.operations.ports import Condition, Store
from services.ipam.operations.resting import Cause, change, free
from services.ipam.operations.wishes import Detached, Waived, Wanted
from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.errors import (
    AlreadyExists,
    NotFound,
    Stale,
    WrongState,
)
from services.kernel.names import LEASE
from services.kernel.pages import Page, PageRequest


class HalfDone(Exception):
    """The owner is being granted another address than the one wanted now: give that one up, then try again."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease.name)
        self.lease = lease


class Overtaken(Exception):
    """The lease was given up while a controller was asked to keep its address."""


def next_lease(uuid: str, call: Call, wanted: Wanted, prefix: Prefix, row: AddressRow) -> Lease:
    """The lease that a grant of *row*, an address of *prefix*, makes; *uuid* names it."""
    return Lease(
        name=LEASE.format(wanted.project, uuid),
        project=wanted.project,
        vrf=prefix.vrf,
        address=row.address,
        prefix_length=prefix.cidr.prefixlen,
        gateway=prefix.gateway,
        dns_servers=prefix.dns_servers,
        prefix=prefix.name,
        prefix_uid=prefix.uid,
        network=prefix.network,
        owner=wanted.owner,
        epoch=row.epoch + 1,
        state=LeaseState.LEASED,
        create_time=call.now,
        host_name=wanted.host_name,
        domain=prefix.tuning.domain,
    )


class Leasing:
    """The verbs on leases.

    Args:
        kept: whether a controller must keep an address before it is granted. `lease` then only begins, and nobody is
            told of what it answers before `complete`; a MAC address that differs is in the answer, not in the store.
    """

    def __init__(self, ids: Ids, *, kept: bool = False) -> None:
        self._ids = ids
        self._kept = kept

    def lease(self, store: Store, call: Call, wanted: Wanted, *, patient: bool = False) -> Lease:
        """Grants an address, or answers the lease that the owner has for the same.

        Raises:
            HalfDone: see there; where a controller keeps addresses alone.
            AlreadyExists: the address or host name has another owner, or the owner another address or host name.
            Contended, NeedsAddresses: do as they say, then try again.
            Exhausted: every address is leased or rests.
            Forbidden: the caller may not lease for such an owner.
            InvalidField: the owner, address or version cannot be right.
            NotFound: the network is another project's.
            Stale: a higher fence was seen.
            WrongState: the network has no prefix, or the address rests.
        """
        require_right(call.caller, wanted.owner.kind, wanted.fence)
        require_own(wanted)
        pass_fence(store, wanted.project, wanted.owner, wanted.fence)
        prefixes = open_to(call.caller, wanted, store.prefixes_of(wanted.network))
        version = version_of(wanted, [prefix for prefix, _ in prefixes])
        holding = wanted.holding(version)
        held = store.held(holding)
        if held is not None:
            return self._again(store, call, wanted, held)
        serving = [(prefix, frontier) for prefix, frontier in prefixes if prefix.version == version]
        if not serving:
            msg = f"{wanted.network} has no IPv{version} prefix"
            raise WrongState(msg, remedy="Make a prefix in the network.", subject=wanted.network, version=str(version))
        if wanted.host_name:
            require_name(store, call.caller, wanted, version)
        found = None
        if wanted.address is not None:
            found = choose_this(store, call, serving, wanted.address, holding)
        elif any(prefix.tuning.sticky for prefix, _ in serving):
            found = choose_kept(store, call, serving, holding)
        prefix, row = found or choose_any(store, call, wanted.network, serving, patient=patient)
        return self._grant(store, call, wanted, prefix, row)

    def of_each_version(
        self, store: Store, call: Call, wanted: Wanted, addresses: Mapping[Version, Address]
    ) -> Sequence[Wanted]:
        """*wanted* for each IP version that the network has, IPv4 first; of *addresses* the very ones.

        Raises:
            NotFound: the network is another project's.
            WrongState: it has no prefix.
        """
        prefixes = open_to(call.caller, wanted, store.prefixes_of(wanted.network))
        versions: list[Version] = sorted({prefix.version for prefix, _ in prefixes} | set(addresses))
        if not versions:
            msg = f"{wanted.network} has no prefix"
            raise WrongState(msg, remedy="Make a prefix in the network.", subject=wanted.network)
        return [replace(wanted, version=version, address=addresses.get(version)) for version in versions]

    def complete(self, store: Store, call: Call, wanted: Wanted, lease: Lease, hold: str) -> Lease:
        """Grants what `lease` began, now that a controller keeps the address; answers it as it is if that was done.

        Args:
            lease: as `lease` answered it.
            hold: what the controller calls it; "" if it was not asked.

        Raises:
            Overtaken: it was given up meanwhile; the controller must let go of it.
            Stale: a higher fence was seen.
        """
        pass_fence(store, wanted.project, wanted.owner, wanted.fence)
        row = store.lock_address(lease.vrf, lease.address)
        current = store.lease(lease.name)
        if row is None or current is None or row.lease != lease.name or current.state is not LeaseState.LEASED:
            raise Overtaken
        kept = replace(current, owner=lease.owner, hold=hold or current.hold, pending=False)
        facts = {"held_as": hold} if hold else {}
        cause = Cause(call.caller.subject, call.now, call.request_id, wanted.fence, facts)
        if current.pending:
            kept = replace(kept, settle_time=None)
            granted = replace(row, state=AddressState.LEASED, epoch=lease.epoch, free_time=None)
            change(store, replace(row, state=AddressState.FREE), granted, kept, "address.leased", cause)
        elif current.owner != kept.owner:
            change(store, row, row, kept, "address.mac_changed", cause)
        if current != kept:
            store.update_lease(kept)
        return kept

    def release(
        self, store: Store, call: Call, name: str, epoch: int, fence: int, proof: Detached | Waived | None
    ) -> Lease:
        """Lets the address of a lease rest; answers the lease as it is if it rests or has rested.

        Raises:
            Forbidden: the caller may not release for such an owner, or not without proof.
            InvalidField: a bare metal instance's lease, and nothing proves that it is off the network.
            NotFound: there is no such lease.
            Stale: it is not of this *epoch*, or a higher fence was seen.
        """
        lease = self.get(store, name)
        require_right(call.caller, lease.owner.kind, fence)
        if isinstance(proof, Waived):
            require_waivable(call.caller, lease)
        pass_fence(store, lease.project, lease.owner, fence)
        row = store.lock_address(lease.vrf, lease.address)
        lease = self.get(store, name)  # again, under the lock
        if epoch != lease.epoch:
            msg = f"{name} is epoch {lease.epoch} of {lease.address}, not {epoch}"
            raise Stale(
                msg,
                remedy="Read the lease; release with its epoch only if it is the one meant.",
                name=name,
                epoch=str(lease.epoch),
                given=str(epoch),
            )
        if lease.state is not LeaseState.LEASED or row is None or row.lease != name:
            return lease
        if lease.owner.kind is Kind.BARE_METAL_INSTANCE and not isinstance(proof, Waived):
            proof = proven(lease, proof)
        prefix = store.prefix(lease.prefix)
        rest = prefix.tuning.cool_down if prefix is not None else DEFAULT_COOL_DOWN
        sticky = prefix.tuning.sticky if prefix is not None else timedelta()
        after = replace(row, state=AddressState.COOLING, free_time=call.now + rest)
        # What a controller keeps under the owner's MAC address is parked at once: the next owner may have the same.
        released = replace(
            lease,
            state=LeaseState.COOLING,
            free_time=after.free_time,
            settle_time=call.now if lease.hold else None,
            keep_time=call.now + rest + sticky if sticky else None,
        )
        cause = Cause(call.caller.subject, call.now, call.request_id, fence, proof.facts if proof else {})
        told = proof.event_type if isinstance(proof, Waived) else "address.cooling"
        change(store, row, after, released, told, cause)
        store.update_lease(released)
        return released

    def get(self, store: Store, name: str) -> Lease:
        """A lease.

        Raises:
            NotFound: there is none of this name.
        """
        lease = store.lease(name)
        if lease is None or lease.pending:
            msg = f"{name} does not exist"
            raise NotFound(msg, remedy="bms lease list -o name shows those there are.", name=name)
        return lease

    def list(self, store: Store, project: str, page: PageRequest, where: Sequence[Condition]) -> Page[Lease]:
        """A page of leases, of all projects if *project* is ""."""
        return store.list_leases(project, page, where)

    def _again(self, store: Store, call: Call, wanted: Wanted, held: Lease) -> Lease:
        """Answers the lease that the owner has; learns the MAC address if it was not known, or is another one now."""
        if wanted.address is not None and wanted.address != held.address:
            if held.pending:
                raise HalfDone(held)
            msg = f"the owner has {held.address} for this interface, not {wanted.address}"
            raise AlreadyExists(
                msg,
                remedy=f"Release {held.name} first, or name another interface.",
                lease=held.name,
                address=str(held.address),
                given=str(wanted.address),
            )
        if wanted.host_name and wanted.host_name != held.host_name:
            msg = f"the owner's lease of {held.address} has {held.host_name or 'no host name'}, not {wanted.host_name}"
            raise AlreadyExists(
                msg,
                remedy=f"Leave the host name out, or release {held.name} first.",
                lease=held.name,
                host_name=held.host_name,
                given=wanted.host_name,
            )
        mac = wanted.owner.mac_address
        learnt = held if not mac else replace(held, owner=replace(held.owner, mac_address=mac))
        if self._kept:
            return learnt
        if held.pending:  # left by a process that had a controller to ask
            return self.complete(store, call, wanted, learnt, "")
        if learnt == held:
            return held
        row = store.lock_address(held.vrf, held.address)
        if row is None or row.lease != held.name or row.state is not AddressState.LEASED:
            raise Contended
        cause = Cause(call.caller.subject, call.now, call.request_id, wanted.fence)
        change(store, row, row, learnt, "address.mac_changed", cause)
        store.update_lease(learnt)
        return learnt

    def _grant(self, store: Store, call: Call, wanted: Wanted, prefix: Prefix, row: AddressRow) -> Lease:
        if row.state is AddressState.COOLING:
            row = free(store, row, call.now)
        lease = next_lease(self._ids.uuid(), call, wanted, prefix, row)
        if self._kept:
            lease = replace(lease, pending=True, hold=UNSURE, settle_time=call.now + HALF_DONE)
        if not store.insert_lease(lease):
            raise Contended
        if self._kept:
            store.save_address(replace(row, state=AddressState.PENDING, lease=lease.name, free_time=None), row)
            return lease
        after = replace(row, state=AddressState.LEASED, epoch=lease.epoch, lease=lease.name, free_time=None)
        cause = Cause(call.caller.subject, call.now, call.request_id, wanted.fence)
        change(store, row, after, lease, "address.leased", cause)
        return lease
