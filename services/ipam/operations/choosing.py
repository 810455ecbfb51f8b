# SPDX-License-Identifier: Apache-2.0
"""Choosing and locking the address of a grant; docs/decisions/0010-choosing-an-address.md says why so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.ipam.domain.addresses import Address
from services.ipam.domain.allocation import Frontier
from services.ipam.domain.holding import Holder
from services.ipam.domain.leases import AddressRow, AddressState, Holding
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import Store
from services.ipam.operations.prefixes import extend
from services.kernel.calls import Call, Caller
from services.kernel.errors import AlreadyExists, BmsError, Busy, Exhausted, InvalidField, WrongState

_AT_REST = (AddressState.FREE, AddressState.COOLING)


class NeedsAddresses(Exception):
    """No row is free, and the prefix has addresses that are no rows yet: `extend` it in a transaction of its own."""

    def __init__(self, uid: str, frontier: Frontier) -> None:
        super().__init__(uid, frontier)
        self.uid = uid
        self.frontier = frontier


class Contended(Exception):
    """What is left is just being granted to others, or the owner is granted one elsewhere: try again, patiently."""


def choose_any(
    store: Store, call: Call, network: str, serving: Sequence[tuple[Prefix, Frontier]], *, patient: bool
) -> tuple[Prefix, AddressRow]:
    """Locks the next free address of the first prefix that has one."""
    contended = False
    for prefix, frontier in serving:
        horizon = call.now if frontier.may_reuse else None
        row = store.pop(prefix, horizon, patient=patient)
        if row is None and frontier.next is not None:
            if not call.validate_only:
                raise NeedsAddresses(prefix.uid, frontier)
            # Nothing of it will be kept, so nobody waits for long.
            extend(store, prefix.uid, frontier)
            row = store.pop(prefix, call.now, patient=True)
        if row is not None:
            return prefix, row
        contended = contended or store.has_free(prefix, horizon)
    if contended and not patient:
        raise Contended
    prefixes = [prefix for prefix, _ in serving]
    free_time = store.next_free_time(prefixes, call.now)
    msg = f"every IPv{prefixes[0].version} address of {network} is leased or rests"
    facts = {"network": network, "version": str(prefixes[0].version)}
    if free_time is None:
        raise Exhausted(msg, remedy="Release leases, or make another prefix in the network.", **facts)
    raise Exhausted(
        f"{msg}; the next one is free at {_second(free_time)}",
        remedy="Try again then, release leases, or make another prefix in the network.",
        next_free_time=free_time.isoformat(),
        **facts,
    )


def choose_kept(
    store: Store, call: Call, serving: Sequence[tuple[Prefix, Frontier]], holding: Holding
) -> tuple[Prefix, AddressRow] | None:
    """Locks the address that the owner had before, if it has rested and nobody has had it since; else None.

    What does not look free is left unlocked: nobody goes on to choose, and to wait for, another with a lock in hand.
    """
    last = store.last_held(holding, call.now)
    prefix = next((prefix for prefix, _ in serving if last is not None and prefix.uid == last.prefix_uid), None)
    if last is None or prefix is None or not prefix.may_have(last.address):
        return None
    row = store.take(prefix, last.address)
    if row is None or row.lease != last.name or row.state not in _AT_REST:
        raise Contended
    return prefix, replace(row, free_time=last.free_time)


def choose_this(
    store: Store, call: Call, serving: Sequence[tuple[Prefix, Frontier]], address: Address, holding: Holding
) -> tuple[Prefix, AddressRow]:
    """Locks this very address, if it can be had."""
    prefix = next((prefix for prefix, _ in serving if address in prefix.cidr), None)
    if prefix is None:
        ranges = ", ".join(str(prefix.cidr) for prefix, _ in serving[:8])
        msg = "address"
        raise InvalidField(
            msg,
            f"{address} is in no prefix of the network",
            remedy=f"Give an address of {ranges}, or none.",
            given=str(address),
        )
    if not prefix.may_have(address):
        what = "is the network or broadcast address of"
        if address == prefix.gateway:
            what = "is the gateway of"
        elif prefix.is_reserved(address):
            what = "is reserved in"
        msg = "address"
        raise InvalidField(
            msg,
            f"{address} {what} {prefix.cidr}",
            remedy="Give another address, or none.",
            given=str(address),
        )
    row = store.take(prefix, address)
    if row is None:
        raise Contended
    if row.lease and row.state in _AT_REST and (row.free_time is None or row.free_time > call.now):
        row = _unless_kept(store, call, row, holding)
    if not row.is_free(call.now):
        raise _not_free(store, call.caller, row)
    return prefix, row


def _unless_kept(store: Store, call: Call, row: AddressRow, holding: Holding) -> AddressRow:
    """An address that may be kept for whoever had it last, as it is for the owner of *holding*.

    Raises:
        WrongState: it is kept for another.
    """
    last = store.lease(row.lease)
    rests = last is None or last.free_time is None or last.free_time > call.now or last.hold
    if last is None or last.keep_time is None or rests:
        return row
    if last.keep_time > call.now and last.holding != holding:
        until = _second(last.keep_time)
        msg = f"{row.address} is kept for its last owner until {until}"
        raise WrongState(
            msg,
            remedy=f"Give another address, or try again after {until}.",
            subject=last.name if call.caller.may_read(last.project) else holding.network,
            address=str(row.address),
            free_time=last.keep_time.isoformat(),
        )
    return replace(row, free_time=last.free_time)


def _not_free(store: Store, caller: Caller, row: AddressRow) -> BmsError:
    if row.state is AddressState.PENDING:
        msg = f"{row.address} is just being granted to another owner"
        return Busy(msg, remedy="Try again in a second, or give another address.", address=str(row.address))
    if row.state is AddressState.EXTERNAL:
        return held_elsewhere(caller, row.address, store.holders(row.vrf, [row.address]).get(row.address))
    facts = {"address": str(row.address), "vrf": row.vrf, "subject": row.lease}
    lease = store.lease(row.lease)
    if lease is None or not caller.may_read(lease.project):
        del facts["subject"]
    if row.state is AddressState.LEASED:
        seen = lease is not None and caller.may_read(lease.project)
        holder = f": {lease.owner.resource}" if lease is not None and seen else ""
        return AlreadyExists(
            f"{row.address} has an owner{holder}",
            remedy="Give another address, or none to have a free one chosen.",
            **facts,
        )
    until = row.free_time or (lease.free_time if lease is not None else None)
    shown = _second(until) if until else ""
    return WrongState(
        f"{row.address} rests until {shown}",
        remedy=f"Try again after {shown}, or give another address.",
        free_time=until.isoformat() if until else "",
        **facts,
    )


def _second(moment: datetime) -> str:
    """*moment* as people read it: the first whole second that is not before it."""
    return f"{moment + timedelta(microseconds=-moment.microsecond % 1_000_000):%Y-%m-%dT%H:%M:%SZ}"


def held_elsewhere(caller: Caller, address: Address, holder: Holder | None) -> AlreadyExists:
    """The refusal of an address that a controller gave to somebody; names him to those who may know."""
    facts = {"address": str(address)}
    shown = ""
    if holder is not None and caller.may_read(holder.project):
        facts |= holder.facts
        kind = f"{holder.kind} " if holder.kind else ""
        of = f" of {holder.device}" if holder.device else ""
        shown = f": {kind}{holder.ref}{of}"
    msg = f"{address} was given to somebody else by the controller{shown}"
    return AlreadyExists(msg, remedy="Give another address, or none to have a free one chosen.", **facts)
