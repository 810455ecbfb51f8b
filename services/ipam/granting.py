# SPDX-License-Identifier: Apache-2.0
"""Granting where a controller gives addresses too: it is told before the caller is, between two transactions.

The first chooses and locks an address for a lease that nobody is told of (`Leasing.lease`). Then the controller is
asked to keep it. The second grants it, in the same transaction as the answer (`Leasing.complete`). Who dies in between,
or gets no answer, leaves a lease that the same owner's next call finishes, and `Settling` gives up after a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple, TypeVar, cast

from google.protobuf.message import Message

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.ipam import wire
from services.ipam.domain.addresses import Address, Version
from services.ipam.domain.holding import Holder, Taken
from services.ipam.domain.leases import Lease
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations import holding
from services.ipam.operations.choosing import held_elsewhere
from services.ipam.operations.leasing import HalfDone, Leasing, Overtaken
from services.ipam.operations.ports import AddressPlane, Store, Usage
from services.ipam.operations.prefixes import NewPrefix, Prefixes
from services.ipam.operations.wishes import Wanted
from services.ipam.patience import Patience
from services.ipam.realms import Realms, agreed
from services.ipam.rounds import Rounds
from services.ipam.settling import Settling
from services.kernel.calls import Call
from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import BmsError, Busy, PeerUnavailable
from services.runtime.database import Database, Transaction
from services.runtime.writing import Writer

M = TypeVar("M", bound=Message)

_TRIES = 20
_LISTED_AFTER = 3
"""After so many addresses that others have, all that the controller has of the prefix is listed."""


class Begun(NamedTuple):
    """A lease that was begun, and its prefix."""

    lease: Lease
    prefix: Prefix
    known: Lease | None
    """The lease as the store has it."""


class Kept(NamedTuple):
    """A lease that was begun, and what the controller calls that which it keeps for it; "" if it was not asked."""

    wanted: Wanted
    lease: Lease
    hold: str


@dataclass(frozen=True, slots=True)
class Controller:
    """The controller, and what is done there."""

    plane: AddressPlane
    realms: Realms
    settling: Settling
    rounds: Rounds


def controller(
    database: Database, store: Callable[[Transaction], Store], plane: AddressPlane, period: timedelta
) -> Controller:
    """What is done at *plane*, put together; nothing runs yet."""
    realms = Realms(database, store, plane)
    settling = Settling(database, store, plane, realms)
    return Controller(plane, realms, settling, Rounds(database, store, plane, realms, period=period))


class Granting:
    """LeaseAddress, CreatePrefix and DeletePrefix over a controller.

    Args:
        store: makes the store of a transaction.
    """

    def __init__(
        self,
        database: Database,
        store: Callable[[Transaction], Store],
        writer: Writer,
        leasing: Leasing,
        prefixes: Prefixes,
        patience: Patience,
        controller: Controller,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._writer = writer
        self._leasing = leasing
        self._prefixes = prefixes
        self._patience = patience
        self._at = controller
        self._clock = clock

    def lease(self, call: Call, request: lease_pb2.LeaseAddressRequest, wanted: Wanted) -> lease_pb2.AddressLease:
        """Grants an address that the controller keeps, or answers the lease that the owner has."""
        return self._granted(call, request, lambda: [wanted], lambda leases: wire.lease_message(leases[0]))

    def lease_of_each_version(
        self,
        call: Call,
        request: lease_pb2.LeaseAddressesRequest,
        wanted: Wanted,
        addresses: Mapping[Version, Address],
    ) -> lease_pb2.LeaseAddressesResponse:
        """Grants an address of each IP version that the network has; the controller keeps all of them."""

        def wishes() -> Sequence[Wanted]:
            return self._database.read(
                lambda tx: self._leasing.of_each_version(self._store(tx), call, wanted, addresses)
            )

        return self._granted(call, request, wishes, wire.leases_message)

    def _granted(
        self,
        call: Call,
        request: Message,
        wishes: Callable[[], Sequence[Wanted]],
        answer: Callable[[Sequence[Lease]], M],
    ) -> M:
        """Grants what is wished for: all of it, or nothing."""
        earlier = self._writer.earlier(call, request)
        if earlier is not None:
            return cast("M", earlier)
        wanted = wishes()
        if call.validate_only:
            return self._validate(call, request, wanted, answer)
        for _ in range(_TRIES):
            kept = self._kept(call, wanted)
            try:
                return self._complete(call, request, kept, answer)
            except Overtaken:
                pass  # it was given up while we asked: from the beginning
        raise _crowded(wanted[0])

    def _kept(self, call: Call, wishes: Sequence[Wanted]) -> list[Kept]:
        """What is wished for, chosen and kept by the controller; nothing is left if one of them is refused."""
        found: list[Kept] = []
        try:
            for wanted in wishes:
                found.append(self._keep(call, wanted))  # noqa: PERF401 -- what was begun is needed if the next is refused
        except PeerUnavailable:
            raise  # the next who comes goes on with what was begun
        except BmsError:
            for one in found:
                self._give_up(one.lease)
            raise
        return found

    def _keep(self, call: Call, wanted: Wanted) -> Kept:
        for attempt in range(_TRIES):
            try:
                begun = self._begin(call, wanted)
                hold = self._hold(begun) if begun.lease.pending or begun.lease != begun.known else ""
                return Kept(wanted, begun.lease, hold)
            except HalfDone as half:
                self._give_up(half.lease)
                self._at.settling.settle(self._again(half.lease), self._clock.now())
            except Overtaken:
                pass  # it was given up while the controller was asked: choose anew
            except Taken as taken:
                self._set_aside(begun, taken.holder, attempt)
                if wanted.address is not None or not begun.lease.pending:
                    raise held_elsewhere(call.caller, begun.lease.address, taken.holder) from None
        raise _crowded(wanted)

    def create_prefix(self, call: Call, request: prefix_pb2.CreatePrefixRequest, new: NewPrefix) -> prefix_pb2.Prefix:
        """Makes a prefix whose range the controller has too: as it is there, or made there."""
        earlier = self._writer.earlier(call, request)
        if earlier is not None:
            return cast("prefix_pb2.Prefix", earlier)
        self._prefixes.allow(call, new)
        realm = self._at.realms.survey(new.network, new)
        new = agreed(new, realm)

        def verb(tx: Transaction) -> prefix_pb2.Prefix:
            return wire.prefix_message(self._prefixes.create(self._store(tx), call, new), Usage())

        if realm is not None or call.validate_only:
            return self._writer.once(call, request, verb)
        # Nothing is made there for what would be refused here.
        prefix = self._rehearsed(call, request, new)
        new = replace(new, realm=self._at.realms.make(prefix).ref, uid=prefix.uid)
        try:
            return self._writer.once(call, request, verb)
        except BmsError as error:
            if not isinstance(error, PeerUnavailable):
                self._at.realms.forget(replace(prefix, realm=new.realm))
            raise

    def _begin(self, call: Call, wanted: Wanted) -> Begun:
        return self._patience.grant(
            wanted.network,
            lambda patient: self._database.transact(
                lambda tx: self._chosen(tx, call, wanted, patient=patient), label="ipam.begin"
            ),
        )

    def _chosen(self, tx: Transaction, call: Call, wanted: Wanted, *, patient: bool) -> Begun:
        store = self._store(tx)
        lease = self._leasing.lease(store, call, wanted, patient=patient)
        prefix = store.prefix(lease.prefix)
        if prefix is None:  # none is deleted before all of its leases are freed
            raise Overtaken
        return Begun(lease, prefix, store.lease(lease.name))

    def _hold(self, begun: Begun) -> str:
        """Has the controller keep it; what it refuses for good is given up."""
        try:
            return self._at.settling.hold(begun.lease, begun.prefix)
        except PeerUnavailable:
            # It may keep it, or not: the next who comes finds out.
            raise
        except BmsError:
            self._give_up(begun.lease)
            raise

    def _complete(
        self, call: Call, request: Message, kept: Sequence[Kept], answer: Callable[[Sequence[Lease]], M]
    ) -> M:
        def verb(tx: Transaction) -> M:
            store = self._store(tx)
            return answer([self._leasing.complete(store, call, one.wanted, one.lease, one.hold) for one in kept])

        return self._writer.once(call, request, verb)

    def _set_aside(self, begun: Begun, holder: Holder, attempt: int) -> None:
        now = self._clock.now()
        self._database.transact(
            lambda tx: holding.set_aside(self._store(tx), begun.prefix, begun.lease.name, holder, now),
            label="ipam.set_aside",
        )
        if attempt == _LISTED_AFTER:
            self._at.rounds.compare(begun.prefix, now)

    def _give_up(self, lease: Lease) -> None:
        now = self._clock.now()
        self._database.transact(lambda tx: holding.give_up(self._store(tx), lease.name, now), label="ipam.give_up")

    def _again(self, lease: Lease) -> Lease:
        return self._database.read(lambda tx: self._store(tx).lease(lease.name)) or lease

    def _validate(
        self, call: Call, request: Message, wishes: Sequence[Wanted], answer: Callable[[Sequence[Lease]], M]
    ) -> M:
        """The answer there would be; of an address asked for by name, the controller's word as well."""
        found: list[Begun] = []

        def verb(tx: Transaction, *, patient: bool) -> M:
            found[:] = [self._chosen(tx, call, wanted, patient=patient) for wanted in wishes]
            return answer([begun.lease for begun in found])

        network = wishes[0].network
        try:
            validated = self._patience.grant(
                network,
                lambda patient: self._writer.once(call, request, lambda tx: verb(tx, patient=patient)),
            )
        except HalfDone:
            msg = "the owner is just being granted another address for this interface"
            raise Busy(msg, remedy="Try again.", network=network) from None
        for wanted, begun in zip(wishes, found, strict=True):
            if wanted.address is not None and begun.lease.pending:
                holder = self._holder(begun.prefix, wanted.address)
                if holder is not None and holder.lease != begun.lease.name:
                    raise held_elsewhere(call.caller, wanted.address, holder)
        return validated

    def _holder(self, prefix: Prefix, address: Address) -> Holder | None:
        if not prefix.realm:
            return None
        with effect("plane.holder"):
            return self._at.plane.holder(prefix.realm, address)

    def _rehearsed(self, call: Call, request: Message, new: NewPrefix) -> Prefix:
        """The prefix that would be made, with every check; nothing is written."""
        found: list[Prefix] = []

        def verb(tx: Transaction) -> prefix_pb2.Prefix:
            found[:] = [self._prefixes.create(self._store(tx), call, new)]
            return wire.prefix_message(found[0], Usage())

        self._writer.once(replace(call, validate_only=True), request, verb)
        return found[0]


def _crowded(wanted: Wanted) -> Busy:
    msg = f"the controller gives the addresses of {wanted.network} to others as they are chosen"
    return Busy(msg, remedy="Try again.", network=wanted.network)
