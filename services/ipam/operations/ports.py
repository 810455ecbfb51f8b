# SPDX-License-Identifier: Apache-2.0
"""What the verbs need of their store: one object per transaction, in the words of the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from services.ipam.domain.addresses import Address, Network, Version
from services.ipam.domain.allocation import Frontier
from services.ipam.domain.holding import Holder, Marked, Realm
from services.ipam.domain.leases import AddressRow, Holding, Lease
from services.ipam.domain.prefixes import Prefix
from services.kernel.events import Event, Head
from services.kernel.pages import Page, PageRequest


class Usage(NamedTuple):
    """How many addresses of a prefix are leased, how many rest, and how many of its choices cannot be had.

    Of a container: how many addresses are in prefixes made of it, and how many of those it has.
    """

    leased: int = 0
    cooling: int = 0
    taken: int = 0
    children: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison that the rows of a listing must pass: *field* is equal to *value*, or is not."""

    field: str
    equal: bool
    value: str


class PrefixStore(Protocol):
    """Prefixes, and the address spaces they lie in."""

    def prefix(self, name: str) -> Prefix | None:
        """The prefix of this name."""
        ...

    def prefixes_of(self, network: str) -> list[tuple[Prefix, Frontier]]:
        """The prefixes that serve *network*, the oldest first."""
        ...

    def list_prefixes(
        self, project: str, page: PageRequest, where: Sequence[Condition], *, shared: bool = False
    ) -> Page[Prefix]:
        """A page of the prefixes of *project*, of all if it is "", by name; with those that others *share*."""
        ...

    def usage(self, uids: Sequence[str], now: datetime) -> dict[str, Usage]:
        """How full these prefixes are at *now*; those that hold nothing are absent."""
        ...

    def change_prefix(self, prefix: Prefix, was: Prefix, frontier: Frontier) -> None:
        """Keeps what became of a locked prefix; waits for whoever is being granted what is chosen from no more."""
        ...

    def leased_between(self, vrf: str, first: Address, last: Address) -> Address | None:
        """An address from *first* to *last* that is leased, or being granted; None if there is none."""
        ...

    def claim_vrf(self, vrf: str, project: str) -> str:
        """Makes the address space if it is new and keeps others from changing its prefixes; answers whose it is."""
        ...

    def claim_network(self, network: str, vrf: str) -> str:
        """Puts *network* into *vrf* unless it is in one already; answers in which it is."""
        ...

    def overlapping(self, vrf: str, depth: int, cidr: Network) -> Prefix | None:
        """A prefix of *vrf* at this *depth* that shares addresses with *cidr*."""
        ...

    def divided(self, containers: Mapping[str, Prefix]) -> dict[str, Usage]:
        """How full these *containers* are, by their uids."""
        ...

    def smallest_block(self, container: Prefix, length: int) -> Network | None:
        """The lowest of the smallest free blocks of *container* that hold a range of *length*."""
        ...

    def block_among(self, container: str, blocks: Sequence[Network]) -> Network | None:
        """That of *blocks* which is a free block of the container of this uid; one at most is."""
        ...

    def take_block(self, container: str, block: Network) -> bool:
        """Removes a free block of the container of this uid; False: it is none."""
        ...

    def add_blocks(self, container: str, blocks: Sequence[Network]) -> None:
        """Keeps *blocks* as free ones of the container of this uid."""
        ...

    def drop_blocks(self, container: str) -> None:
        """Forgets the free blocks of the container of this uid."""
        ...

    def insert_prefix(self, prefix: Prefix, frontier: Frontier) -> bool:
        """Keeps a new prefix, and takes over what rows of addresses earlier ones left; False: the name is taken."""
        ...

    def record(self, event: Event) -> None:
        """Records *event* at the end of its stream, that of a prefix which nobody else changes meanwhile."""
        ...

    def lock_prefix(self, uid: str) -> tuple[Prefix, Frontier] | None:
        """The prefix, kept from being deleted or extended by others; None if it is gone."""
        ...

    def let_go(self, prefix: Prefix) -> None:
        """Takes the rows of its addresses from *prefix*, waiting for whoever is just being granted one."""
        ...

    def delete_prefix(self, prefix: Prefix) -> None:
        """Removes it, and its network and address space if nothing else is in them."""
        ...

    def make_addresses(self, prefix: Prefix, addresses: Sequence[Address], frontier: Frontier) -> int:
        """Makes rows of *addresses* and moves the frontier; answers how many are new."""
        ...


class LeaseStore(Protocol):
    """Addresses, leases and fences."""

    def raise_fence(self, owner: str, fence: int) -> int:
        """Keeps *fence* if it is the highest seen for *owner*; answers the highest."""
        ...

    def held(self, holding: Holding) -> Lease | None:
        """The lease that the owner has for this, or that is being granted to him."""
        ...

    def last_held(self, holding: Holding, now: datetime) -> Lease | None:
        """The lease that the owner last had for this, if its address has rested at *now* and nobody had it since."""
        ...

    def named(self, network: str, host_name: str, version: Version) -> Lease | None:
        """The lease in *network* that has this host name, or is being granted with it."""
        ...

    def lease(self, name: str) -> Lease | None:
        """The lease of this name."""
        ...

    def list_leases(self, project: str, page: PageRequest, where: Sequence[Condition]) -> Page[Lease]:
        """A page of the leases of *project*, of all if it is "", by name; without those that nobody was told of."""
        ...

    def insert_lease(self, lease: Lease) -> bool:
        """Keeps a new lease; False: its owner has got one for the same at this moment, or another its host name."""
        ...

    def insert_leases(self, leases: Sequence[Lease]) -> list[bool]:
        """As `insert_lease`, for each of *leases*, in order."""
        ...

    def update_lease(self, lease: Lease) -> None:
        """Keeps what of the lease can change: its state, times, MAC address, and what a controller keeps for it."""
        ...

    def pop(self, prefix: Prefix, now: datetime | None, *, patient: bool) -> AddressRow | None:
        """Locks the address of *prefix* that has been free for longest at *now*; without *now*, one nobody ever had.

        Args:
            prefix: whose pools are chosen from.
            now: the time at which it must be free.
            patient: wait for addresses that others are just being granted, instead of passing them over.
        """
        ...

    def pop_many(self, prefix: Prefix, now: datetime | None, many: int) -> list[AddressRow]:
        """As `pop`, so *many* at most; what others are just being granted is passed over."""
        ...

    def has_free(self, prefix: Prefix, now: datetime | None) -> bool:
        """Whether there is an address that `pop` would answer, if others gave up what they are just being granted."""
        ...

    def take(self, prefix: Prefix, address: Address) -> AddressRow | None:
        """Locks this very address, made if it was not there; None if the prefix is gone or was changed."""
        ...

    def lock_address(self, vrf: str, address: Address) -> AddressRow | None:
        """Locks this address."""
        ...

    def save_address(self, row: AddressRow, was: AddressRow) -> None:
        """Keeps what became of a locked address.

        Raises:
            Busy: it is not as it *was*.
        """
        ...

    def save_addresses(self, rows: Sequence[AddressRow]) -> None:
        """As `save_address` of *rows*, which are locked, each one event on from what it was."""
        ...

    def next_free_time(self, prefixes: Sequence[Prefix], now: datetime) -> datetime | None:
        """When the first of the resting addresses of *prefixes* becomes free; None if none rests."""
        ...

    def due(self, now: datetime, limit: int, prefix: Prefix | None = None) -> list[Lease]:
        """The leases (of *prefix*) whose addresses have rested and are kept by no controller, the longest first."""
        ...

    def next_due(self) -> datetime | None:
        """When the next of those addresses has rested."""
        ...

    def forget_freed(self, before: datetime, limit: int) -> int:
        """Removes leases whose addresses became free long ago; answers how many."""
        ...

    def append(self, event: Event, head: Head) -> Head:
        """Records *event* at the end of its stream; answers the new end, which the caller keeps on the address."""
        ...

    def append_each(self, events: Sequence[tuple[Event, Head]]) -> list[Head]:
        """As `append`, for several streams at once."""
        ...


class HoldStore(Protocol):
    """What is to be done at a controller that gives addresses beside us, and whom it gave some to."""

    def to_settle(self, now: datetime, limit: int) -> list[Lease]:
        """The leases for which something is to be done by *now*, the longest due first."""
        ...

    def next_to_settle(self) -> datetime | None:
        """When the next of them is due."""
        ...

    def settle_at(self, names: Sequence[str], when: datetime) -> None:
        """Has these leases looked at *when*."""
        ...

    def was_freed(self, stream: str, lease: str) -> bool:
        """Whether the log of an address says that the lease of this name ended, and its address became free."""
        ...

    def set_realm(self, uid: str, realm: str) -> None:
        """Keeps what the controller calls the range of a prefix."""
        ...

    def leases_in(self, prefix: Prefix, after: Address | None, limit: int) -> list[Lease]:
        """The leases in the range of *prefix* that are not freed, pending ones too, by address."""
        ...

    def holders(self, vrf: str, addresses: Sequence[Address]) -> dict[Address, Holder]:
        """Who else has these addresses, as far as it is known."""
        ...

    def holders_in(self, prefix: Prefix, after: Address | None, limit: int) -> list[Holder]:
        """Who else is known to have addresses in the range of *prefix*, by address."""
        ...

    def keep_holder(self, vrf: str, holder: Holder) -> None:
        """Keeps who else has an address, in place of whoever was known to."""
        ...

    def forget_holder(self, vrf: str, address: Address) -> None:
        """Nobody else has the address any more."""
        ...


class Store(PrefixStore, LeaseStore, HoldStore, Protocol):
    """Everything, within one transaction."""


class AddressPlane(Protocol):
    """A controller that gives addresses of the same ranges to others, and keeps ours from them. Most sites have none.

    Nothing of it is called inside a transaction. Whatever changes something may be said twice, by several at once.
    """

    def survey(self, network: str, cidr: Network) -> Realm | None:
        """The range as the controller has it in *network*; None if it has the network and not the range.

        Raises:
            PeerUnavailable: it does not answer.
            WrongState: it has no such network.
        """
        ...

    def make(self, prefix: Prefix) -> Realm:
        """Makes the range of *prefix*.

        Raises:
            BmsError: it will not.
        """
        ...

    def forget(self, prefix: Prefix) -> bool:
        """Removes what `make` made for this very prefix; False: others use it, so that it stays.

        What was there before stays, and is answered with True.

        Raises:
            PeerUnavailable: it does not answer.
        """
        ...

    def hold(self, lease: Lease, realm: str) -> str:
        """Has the controller keep the address for *lease*, under `holding.mac_of`; answers what it calls that.

        Raises:
            Exhausted: a quota of the controller's.
            MacTaken: the MAC address is another's.
            PeerUnavailable: it does not answer; it may or may not keep the address now.
            Taken: it gave the address to somebody else.
            WrongState: it will not, and says why.
        """
        ...

    def drop(self, lease: Lease) -> None:
        """Has the controller let go of what it keeps for *lease*, and of nothing else; it may have done so before.

        Raises:
            PeerUnavailable: it does not answer.
            WrongState: it will not, and says why.
        """
        ...

    def holder(self, realm: str, address: Address) -> Holder | None:
        """Who has *address* at the controller.

        Raises:
            PeerUnavailable: it does not answer.
        """
        ...

    def holders(self, realm: str) -> Sequence[Holder]:
        """All who have addresses of the range, ours too.

        Raises:
            NotFound: the controller has no such range any more.
            PeerUnavailable: it does not answer; nothing is known then, not even a part.
        """
        ...

    def marked(self, ref: str, cidr: Network) -> Marked | None:
        """What the controller calls *ref*, read now; None if it says nothing of a lease, or has no address in *cidr*.

        Raises:
            PeerUnavailable: it does not answer.
        """
        ...

    def remove(self, marked: Marked, cidr: Network) -> bool:
        """Removes it, if it is still exactly so; False if it is not.

        Raises:
            PeerUnavailable: it does not answer.
            WrongState: it will not, and says why.
        """
        ...
