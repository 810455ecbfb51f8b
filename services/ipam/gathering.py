# SPDX-License-Identifier: Apache-2.0
"""Granting addresses to callers who wait at the same moment in one transaction, where no controller gives any too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bms.ipam.v1 import lease_pb2
from services.ipam import wire
from services.ipam.operations.ports import Store
from services.ipam.operations.together import Wish, is_plain, lease_together
from services.ipam.operations.wishes import Wanted
from services.ipam.patience import Patience
from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.runtime.database import Database, Transaction
from services.runtime.together import Together
from services.runtime.writing import Writer


class Asked(NamedTuple):
    """One caller's request, and what it asks for."""

    call: Call
    request: lease_pb2.LeaseAddressRequest
    wanted: Wanted


class Gathering:
    """LeaseAddress for many.

    Args:
        store: makes the store of a transaction.
    """

    def __init__(
        self,
        database: Database,
        store: Callable[[Transaction], Store],
        writer: Writer,
        ids: Ids,
        patience: Patience,
    ) -> None:
        # SQLite's writers share their commits anyway, and wait for each other.
        self._gathers = database.dialect == "postgresql"
        self._store = store
        self._writer = writer
        self._ids = ids
        self._patience = patience
        self._together: Together[Asked, lease_pb2.AddressLease] = Together(self.granted)

    def lease(
        self,
        call: Call,
        request: lease_pb2.LeaseAddressRequest,
        wanted: Wanted,
        alone: Callable[[], lease_pb2.AddressLease],
    ) -> lease_pb2.AddressLease:
        """The lease of one caller, granted together with others' if they wait too and his wish is plain, or *alone*."""
        if not self._gathers or not is_plain(call, wanted):
            return alone()
        return self._together.ask(Asked(call, request, wanted), alone)

    def granted(self, asked: Sequence[Asked]) -> list[lease_pb2.AddressLease | None]:
        """The leases of several callers whose wishes are plain; None for whoever must go alone.

        Whatever it raises, nothing was done; or, if the database stopped answering, nothing or everything.
        """

        def verb(tx: Transaction, new: Sequence[int]) -> dict[int, lease_pb2.AddressLease]:
            wishes = {place: Wish(asked[place].call, asked[place].wanted) for place in new}
            leases = lease_together(self._store(tx), self._ids, wishes)
            return {place: wire.lease_message(lease) for place, lease in leases.items()}

        requests = [(one.call, one.request) for one in asked]
        return self._patience.grant(asked[0].wanted.network, lambda _patient: self._writer.together(requests, verb))
