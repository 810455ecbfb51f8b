# SPDX-License-Identifier: Apache-2.0
"""One method per RPC: in, call, out."""

# ruff: noqa: N802 -- the contract's names

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty

from bms.event.v1 import event_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, prefix_pb2
from services.ipam import wire
from services.ipam.operations.choosing import Contended, NeedsAddresses
from services.ipam.operations.leasing import Leasing
from services.ipam.operations.ports import Store, Usage
from services.ipam.operations.prefixes import Prefixes, extend
from services.ipam.store import SqlStore
from services.kernel.clock import Ids
from services.kernel.errors import Busy
from services.runtime import etags
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Writer

T = TypeVar("T")

_TRIES = 100
"""Each try that fails has made addresses or waited for another caller: so many in a row are not to be expected."""


class IpamServicer(ipam_service_pb2_grpc.IpamServiceServicer):
    """Serves bms.ipam.v1.IpamService."""

    def __init__(self, database: Database, log: EventLog, writer: Writer, tokens: PageTokens, ids: Ids) -> None:
        self._database = database
        self._log = log
        self._writer = writer
        self._tokens = tokens
        self._prefixes = Prefixes(ids)
        self._leasing = Leasing(ids)

    def store(self, tx: Transaction) -> Store:
        """The store of a transaction."""
        return SqlStore(tx, self._log)

    def CreatePrefix(self, request: prefix_pb2.CreatePrefixRequest, context: grpc.ServicerContext) -> prefix_pb2.Prefix:
        """See the contract."""
        call = current_call()
        new = wire.new_prefix(request)
        return self._writer.once(
            call,
            request,
            lambda tx: wire.prefix_message(self._prefixes.create(self.store(tx), call, new), Usage()),
        )

    def GetPrefix(self, request: prefix_pb2.GetPrefixRequest, context: grpc.ServicerContext) -> prefix_pb2.Prefix:
        """See the contract."""
        name = wire.prefix_name(request.name)
        return wire.prefix_message(*self._read(lambda store: self._prefixes.get(store, name)))

    def ListPrefixes(
        self, request: prefix_pb2.ListPrefixesRequest, context: grpc.ServicerContext
    ) -> prefix_pb2.ListPrefixesResponse:
        """See the contract."""
        call = current_call()
        project = wire.project_of(request.parent)
        where = wire.prefix_conditions(request.filter)
        page = self._tokens.request(request, call, request.parent, request.filter)
        found = self._read(lambda store: self._prefixes.list(store, project, page, where))
        return prefix_pb2.ListPrefixesResponse(
            prefixes=[wire.prefix_message(prefix, usage) for prefix, usage in found.rows],
            next_page_token=self._tokens.next(found.next_after, call, request.parent, request.filter),
        )

    def DeletePrefix(self, request: prefix_pb2.DeletePrefixRequest, context: grpc.ServicerContext) -> Empty:
        """See the contract."""
        call = current_call()
        name = wire.prefix_name(request.name)

        def verb(tx: Transaction) -> Empty:
            store = self.store(tx)
            prefix, _ = self._prefixes.get(store, name)
            etags.check(request.etag, wire.version_of(prefix), name)
            self._prefixes.delete(store, call, name)
            return Empty()

        return self._writer.once(call, request, verb)

    def LeaseAddress(
        self, request: lease_pb2.LeaseAddressRequest, context: grpc.ServicerContext
    ) -> lease_pb2.AddressLease:
        """See the contract."""
        call = current_call()
        wanted = wire.wanted(request)

        def verb(tx: Transaction, *, patient: bool) -> lease_pb2.AddressLease:
            return wire.lease_message(self._leasing.lease(self.store(tx), call, wanted, patient=patient))

        patient = False
        for _ in range(_TRIES):
            try:
                return self._writer.once(call, request, _with(verb, patient=patient))
            except NeedsAddresses as need:
                self._extend(need)
            except Contended:
                patient = True
        msg = f"too many others want addresses of {wanted.network} at this moment"
        raise Busy(msg, remedy="Try again.", network=wanted.network)

    def ReleaseLease(
        self, request: lease_pb2.ReleaseLeaseRequest, context: grpc.ServicerContext
    ) -> lease_pb2.AddressLease:
        """See the contract."""
        call = current_call()
        name = wire.lease_name(request.name)
        fence = wire.fence(request.fence)
        detached = wire.detached(request)
        return self._writer.once(
            call,
            request,
            lambda tx: wire.lease_message(
                self._leasing.release(self.store(tx), call, name, request.epoch, fence, detached)
            ),
        )

    def GetLease(self, request: lease_pb2.GetLeaseRequest, context: grpc.ServicerContext) -> lease_pb2.AddressLease:
        """See the contract."""
        name = wire.lease_name(request.name)
        return wire.lease_message(self._read(lambda store: self._leasing.get(store, name)))

    def ListLeases(
        self, request: lease_pb2.ListLeasesRequest, context: grpc.ServicerContext
    ) -> lease_pb2.ListLeasesResponse:
        """See the contract."""
        call = current_call()
        project = wire.project_of(request.parent)
        where = wire.lease_conditions(request.filter)
        page = self._tokens.request(request, call, request.parent, request.filter)
        found = self._read(lambda store: self._leasing.list(store, project, page, where))
        return lease_pb2.ListLeasesResponse(
            leases=[wire.lease_message(lease) for lease in found.rows],
            next_page_token=self._tokens.next(found.next_after, call, request.parent, request.filter),
        )

    def ListEvents(
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        """See the contract."""
        return serve_list_events(self._log, request, current_call().caller)

    def _read(self, fn: Callable[[Store], T]) -> T:
        return self._database.read(lambda tx: fn(self.store(tx)))

    def _extend(self, need: NeedsAddresses) -> None:
        self._database.transact(lambda tx: extend(self.store(tx), need.uid, need.frontier), label="ipam.extend")


def _with(
    verb: Callable[..., lease_pb2.AddressLease], *, patient: bool
) -> Callable[[Transaction], lease_pb2.AddressLease]:
    return lambda tx: verb(tx, patient=patient)
