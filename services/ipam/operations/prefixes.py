# SPDX-License-Identifier: Apache-2.0
"""Making, reading and removing prefixes, and making rows of their addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.ipam.domain import allocation
from services.ipam.domain.addresses import Address, Network, address_of
from services.ipam.domain.allocation import ROUND, Frontier
from services.ipam.domain.prefixes import Prefix, Tuning, derived_vrf, require_choice, tuned, without
from services.ipam.operations import carving, prefix_events
from services.ipam.operations.ports import Condition, Store, Usage
from services.ipam.operations.resting import free_due
from services.kernel.calls import Call, Caller
from services.kernel.clock import Ids
from services.kernel.errors import (
    AlreadyExists,
    Busy,
    Exhausted,
    Forbidden,
    InvalidField,
    NotFound,
    StillInUse,
    WrongState,
)
from services.kernel.names import NETWORK, PREFIX
from services.kernel.pages import Page, PageRequest

MAX_PREFIXES_OF_A_NETWORK = 64
_FREED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NewPrefix:
    """A prefix as asked for; see `services.ipam.domain.prefixes.Prefix`.

    Attributes:
        vrf: "" for that of the network.
        gateway_given: whether whoever asks has named it, or named that there is none.
        realm: what a controller calls the range; "" where none has it.
        uid: "" for a fresh one.
        container: whether it is to be divided into other prefixes; it has no network then.
        parent: name of the container that it becomes a part of; "" for none.
    """

    project: str
    prefix_id: str
    cidr: Network
    vrf: str
    network: str
    gateway: Address | None
    tuning: Tuning
    gateway_given: bool = True
    realm: str = ""
    uid: str = ""
    container: bool = False
    parent: str = ""


class Prefixes:
    """The verbs on prefixes."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def allow(self, call: Call, new: NewPrefix) -> None:
        """Refuses whoever may not make *new*; what `create` begins with.

        Raises:
            Forbidden: the VRF is not the project's to name.
            NotFound: the network is another project's.
        """
        _require_own_network(call.caller, new)
        if not new.parent:
            _vrf(call, new)

    def next_range(self, store: Store, call: Call, project: str, parent: str, length: int) -> Network:
        """The range of *length* that is made of *parent* next; nobody else changes that one in this transaction.

        Raises:
            Exhausted: it has none of this length.
            InvalidField: it is no container, or not as wide.
            NotFound: there is none of this name for *project*.
        """
        container = _container(store, call, project, parent)
        store.claim_vrf(container.vrf, container.project)
        return carving.next_range(store, _container(store, call, project, parent), length)

    def create(self, store: Store, call: Call, new: NewPrefix) -> Prefix:
        """Makes a prefix.

        Raises:
            AlreadyExists: the name is taken, its addresses are another prefix's, or the VRF is another project's.
            Exhausted: the network has as many prefixes as it can have.
            Forbidden: the VRF is not the project's to name.
            InvalidField: it would have no address to give.
            NotFound: the network is another project's.
            WrongState: the network is in another VRF.
        """
        _require_own_network(call.caller, new)
        within = _container(store, call, new.project, new.parent) if new.parent else None
        vrf = _vrf(call, new) if within is None else _vrf_of(within, new)
        prefix = Prefix(
            name=PREFIX.format(new.project, new.prefix_id),
            uid=new.uid or self._ids.uuid(),
            project=new.project,
            cidr=new.cidr,
            vrf=vrf,
            network=new.network,
            gateway=new.gateway,
            tuning=new.tuning,
            create_time=call.now,
            update_time=call.now,
            realm=new.realm,
            container=new.container,
            parent=new.parent,
            parent_uid=within.uid if within else "",
            depth=within.depth + 1 if within else 0,
        )
        require_choice(prefix)
        if store.prefix(prefix.name) is not None:
            raise _taken(prefix)
        self._claim(store, call, prefix)
        if prefix.container:
            store.add_blocks(prefix.uid, [prefix.cidr])
        if not store.insert_prefix(prefix, allocation.start(prefix)):
            raise _taken(prefix)
        store.record(prefix_events.made(prefix, call))
        return prefix

    def get(self, store: Store, name: str, now: datetime, caller: Caller) -> tuple[Prefix, Usage]:
        """A prefix, and how full it is. One that is shared is everybody's to see, who may lease there.

        Raises:
            NotFound: there is none of this name, or it is another project's.
        """
        prefix = _found(store, name)
        if not (prefix.tuning.shared or caller.may_read(prefix.project)):
            raise _missing(name)
        return prefix, usage_of(store, [prefix], now)[prefix.uid]

    def list(
        self, store: Store, project: str, page: PageRequest, where: Sequence[Condition], now: datetime, *, shared: bool
    ) -> Page[tuple[Prefix, Usage]]:
        """A page of prefixes and how full they are, of all projects if *project* is "", with those others *share*."""
        found = store.list_prefixes(project, page, where, shared=shared)
        usage = usage_of(store, found.rows, now)
        return Page([(prefix, usage[prefix.uid]) for prefix in found.rows], found.next_after)

    def update(
        self, store: Store, call: Call, name: str, allow: Callable[[Prefix], None], change: Callable[[Prefix], Tuning]
    ) -> tuple[Prefix, Usage]:
        """Changes what may be changed of a prefix while it is used.

        Args:
            allow: refuses a prefix that is not as the caller saw it.
            change: what becomes of it.

        Raises:
            InvalidField: it would have no address to give.
            NotFound: there is none of this name.
            StillInUse: an address is to be reserved that is leased.
        """
        locked = store.lock_prefix(_found(store, name).uid)
        if locked is None:
            raise _missing(name)
        was, frontier = locked
        allow(was)
        prefix = tuned(was, change(was), call.now)
        store.change_prefix(prefix, was, allocation.reopened(was, prefix, frontier))
        if event := prefix_events.changed(prefix, was, call):
            store.record(event)
        for reserved in without(prefix.tuning.reserved, was.tuning.reserved):
            ends = [address_of(number, prefix.version) for number in (reserved.first, reserved.last)]
            held = store.leased_between(prefix.vrf, ends[0], ends[1])
            if held is not None:
                msg = f"{held} is leased, and cannot be reserved"
                raise StillInUse(
                    msg, remedy="Release its lease first, or reserve around it.", name=name, address=str(held)
                )
        return prefix, usage_of(store, [prefix], call.now)[prefix.uid]

    def delete(self, store: Store, call: Call, name: str) -> None:
        """Removes a prefix that holds nothing. The streams of its addresses remain.

        Raises:
            NotFound: there is none of this name.
            StillInUse: an address of it is leased or rests, or it is divided.
        """
        prefix = _found(store, name)
        store.claim_vrf(prefix.vrf, prefix.project)
        if store.lock_prefix(prefix.uid) is None:
            raise _missing(name)
        if prefix.container:
            children = usage_of(store, [prefix], call.now)[prefix.uid].children
            if children:
                msg = f"{name} is divided into {children} {'prefix' if children == 1 else 'prefixes'}"
                raise StillInUse(msg, remedy="Remove those first.", name=name, children=str(children))
            store.drop_blocks(prefix.uid)
        free_due(store, call.now, _FREED_AT_ONCE, prefix)
        store.let_go(prefix)
        usage = store.usage([prefix.uid], call.now).get(prefix.uid, Usage())
        if usage.leased or usage.cooling:
            msg = f"{name} has {usage.leased} leased and {usage.cooling} resting addresses"
            raise StillInUse(
                msg,
                remedy="Release its leases, then wait until their addresses have rested."
                if usage.leased
                else "Wait until its addresses have rested, then try again.",
                name=name,
                leased=str(usage.leased),
                cooling=str(usage.cooling),
            )
        store.delete_prefix(prefix)
        store.record(prefix_events.removed(prefix, call))
        if prefix.parent_uid:
            carving.put_back(store, _found(store, prefix.parent), prefix.cidr)

    def _claim(self, store: Store, call: Call, prefix: Prefix) -> None:
        """Refuses a prefix that has no place in its VRF and network."""
        is_site = call.caller.is_admin or call.caller.is_service
        owner = store.claim_vrf(prefix.vrf, prefix.project)
        if owner != prefix.project and not is_site and not prefix.parent:
            msg = f"the VRF {prefix.vrf} is another project's"
            raise AlreadyExists(msg, remedy="Give another vrf, or none to have the network's own.", vrf=prefix.vrf)
        if not prefix.container:
            _claim_network(store, prefix)
        other = store.overlapping(prefix.vrf, prefix.depth, prefix.cidr)
        if other is not None:
            shown = other.name if call.caller.may_read(other.project) else "a prefix of another project"
            msg = f"{prefix.cidr} overlaps with {other.cidr} of {shown}, in the VRF {prefix.vrf}"
            raise AlreadyExists(
                msg,
                remedy="Give a range that lies apart, name the container as parent_prefix, or take another VRF.",
                cidr=str(prefix.cidr),
                other_cidr=str(other.cidr),
                other=shown,
                vrf=prefix.vrf,
            )
        if prefix.parent:
            # Again, now that nobody else changes it.
            within = _found(store, prefix.parent)
            if within.uid != prefix.parent_uid:
                raise _missing(prefix.parent)
            carving.carve(store, within, prefix.cidr)


def _claim_network(store: Store, prefix: Prefix) -> None:
    """Refuses a prefix that has no place in its network."""
    vrf = store.claim_network(prefix.network, prefix.vrf)
    if not vrf:
        msg = f"{prefix.network} is being moved to another VRF"
        raise Busy(msg, remedy="Try again.", network=prefix.network)
    if vrf != prefix.vrf:
        msg = f"{prefix.network} is in the VRF {vrf}; all of its prefixes are"
        raise WrongState(msg, remedy=f"Give the vrf {vrf}.", subject=prefix.network, vrf=vrf, given=prefix.vrf)
    if len(store.prefixes_of(prefix.network)) >= MAX_PREFIXES_OF_A_NETWORK:
        msg = f"{prefix.network} has {MAX_PREFIXES_OF_A_NETWORK} prefixes, as many as a network can have"
        raise Exhausted(msg, remedy="Make wider prefixes.", network=prefix.network)


def usage_of(store: Store, prefixes: Sequence[Prefix], now: datetime) -> dict[str, Usage]:
    """How full *prefixes* are at *now*, containers too, by their uids."""
    found = store.usage([prefix.uid for prefix in prefixes if not prefix.container], now)
    found |= store.divided({prefix.uid: prefix for prefix in prefixes if prefix.container})
    return {prefix.uid: found.get(prefix.uid, Usage()) for prefix in prefixes}


def extend(store: Store, uid: str, seen: Frontier) -> None:
    """Makes rows of the next addresses of a prefix, unless somebody has done so since *seen*.

    It belongs into a transaction of its own: whoever extends locks the prefix, and nobody shall wait for a lock that is
    held for as long as a grant takes to commit.
    """
    locked = store.lock_prefix(uid)
    if locked is None:
        return
    prefix, frontier = locked
    looked_at = 0
    while frontier.next is not None and frontier.next == seen.next and looked_at < ROUND:
        chunk = allocation.advance(prefix, frontier)
        if store.make_addresses(prefix, chunk.addresses, chunk.frontier):
            return
        # All of them were rows already, wanted one by one or left by an earlier prefix.
        looked_at += len(chunk.addresses)
        frontier = seen = chunk.frontier


def _require_own_network(caller: Caller, new: NewPrefix) -> None:
    """Refuses a prefix of another project's network."""
    if new.container or caller.is_admin or caller.is_service:
        return
    if NETWORK.parse(new.network, "prefix.network")[0] != new.project:
        msg = f"{new.network} does not exist"
        raise NotFound(msg, remedy="Name a network of the same project.", name=new.network)


def _vrf(call: Call, new: NewPrefix) -> str:
    """The address space of a new prefix, if it may be made there."""
    caller = call.caller
    if caller.is_admin or caller.is_service:
        return new.vrf or derived_vrf(new.network)
    if new.vrf and not new.vrf.startswith(f"{new.project}."):
        msg = f"the VRF {new.vrf} is not for projects/{new.project} to name"
        raise Forbidden(msg, remedy=f"Give none, or one that begins with {new.project}. (with the dot).", vrf=new.vrf)
    return new.vrf or derived_vrf(new.network)


def _vrf_of(within: Prefix, new: NewPrefix) -> str:
    """The address space of a part of *within*."""
    if new.vrf and new.vrf != within.vrf:
        field = "prefix.vrf"
        raise InvalidField(
            field, f"is {new.vrf}, and {within.name} is in {within.vrf}", remedy="Leave it out.", given=new.vrf
        )
    return within.vrf


def _container(store: Store, call: Call, project: str, name: str) -> Prefix:
    """The container that a prefix of *project* may be made of."""
    within = store.prefix(name)
    caller = call.caller
    is_site = caller.is_admin or caller.is_service
    if within is None or not (within.project == project or within.tuning.shared or is_site):
        msg = f"{name} does not exist"
        raise NotFound(msg, remedy="Name a container of the same project, or one that is shared.", name=name)
    if not within.container:
        field = "prefix.parent_prefix"
        raise InvalidField(field, f"{name} is no container", remedy="Name one, or none.", given=name)
    return within


def _found(store: Store, name: str) -> Prefix:
    prefix = store.prefix(name)
    if prefix is None:
        raise _missing(name)
    return prefix


def _missing(name: str) -> NotFound:
    return NotFound(f"{name} does not exist", remedy="bms prefix list shows those there are.", name=name)


def _taken(prefix: Prefix) -> AlreadyExists:
    return AlreadyExists(f"{prefix.name} exists already", remedy="Choose another id.", name=prefix.name)
