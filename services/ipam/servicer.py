# SPDX-License-Identifier: Apache-2.0
"""One method per RPC: in, call, out."""

# ruff: noqa: N802 -- the contract's names

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty

from bms.event.v1 import event_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, leftover_pb2, prefix_pb2
from services.ipam import wire
from services.ipam.clearing import Clearing, Leftover
from services.ipam.domain.addresses import Network
from services.ipam.domain.prefixes import Prefix
from services.ipam.gathering import Gathering
from services.ipam.granting import Controller, Granting, controller
from services.ipam.operations.leasing import Leasing
from services.ipam.operations.ports import AddressPlane, Store, Usage
from services.ipam.operations.prefixes import Prefixes
from services.ipam.patience import Patience
from services.ipam.store import SqlStore
from services.kernel.calls import Call
from services.kernel.clock import Clock, Ids, SystemClock
from services.runtime import etags
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Writer

T = TypeVar("T")


class IpamServicer(ipam_service_pb2_grpc.IpamServiceServicer):
    """Serves bms.ipam.v1.IpamService.

    Args:
        plane: the controller that gives addresses beside us; None for none.
        period: how often everything that the controller has is looked at.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        writer: Writer,
        tokens: PageTokens,
        ids: Ids,
        *,
        plane: AddressPlane | None = None,
        clock: Clock | None = None,
        period: timedelta = timedelta(minutes=1),
    ) -> None:
        self._database = database
        self._log = log
        self._writer = writer
        self._tokens = tokens
        self._prefixes = Prefixes(ids)
        self._leasing = Leasing(ids, kept=plane is not None)
        self._patience = Patience(database, self.store)
        self.gathering = Gathering(database, self.store, writer, ids, self._patience)
        self._clearing = Clearing(database, self.store, plane)
        self.controller: Controller | None = None
        self._granting: Granting | None = None
        if plane is not None:
            self.controller = controller(database, self.store, plane, period)
            self._granting = Granting(
                database, self.store, writer, self._leasing, self._prefixes, self._patience, self.controller,
                clock or SystemClock(),
            )  # fmt: skip

    def store(self, tx: Transaction) -> Store:
        """The store of a transaction."""
        return SqlStore(tx, self._log)

    def CreatePrefix(self, request: prefix_pb2.CreatePrefixRequest, context: grpc.ServicerContext) -> prefix_pb2.Prefix:
        """See the contract."""
        call = current_call()
        part = wire.part_of(request)
        if self._granting is not None and not request.prefix.container:
            chosen = self._read_range(call, *part) if part else None
            return self._granting.create_prefix(call, request, wire.new_prefix(request, chosen))
        new = None if part else wire.new_prefix(request)

        def verb(tx: Transaction) -> prefix_pb2.Prefix:
            store = self.store(tx)
            wanted = new or wire.new_prefix(request, self._prefixes.next_range(store, call, *part) if part else None)
            return wire.prefix_message(self._prefixes.create(store, call, wanted), Usage())

        return self._writer.once(call, request, verb)

    def GetPrefix(self, request: prefix_pb2.GetPrefixRequest, context: grpc.ServicerContext) -> prefix_pb2.Prefix:
        """See the contract."""
        name = wire.prefix_name(request.name)
        call = current_call()
        return wire.prefix_message(*self._read(lambda store: self._prefixes.get(store, name, call.now, call.caller)))

    def ListPrefixes(
        self, request: prefix_pb2.ListPrefixesRequest, context: grpc.ServicerContext
    ) -> prefix_pb2.ListPrefixesResponse:
        """See the contract."""
        call = current_call()
        project = wire.project_of(request.parent)
        where = wire.prefix_conditions(request.filter)
        seen = (request.parent, request.filter, str(request.shared))
        page = self._tokens.request(request, call, *seen)
        found = self._read(
            lambda store: self._prefixes.list(store, project, page, where, call.now, shared=request.shared)
        )
        return prefix_pb2.ListPrefixesResponse(
            prefixes=[wire.prefix_message(prefix, usage) for prefix, usage in found.rows],
            next_page_token=self._tokens.next(found.next_after, call, *seen),
        )

    def UpdatePrefix(self, request: prefix_pb2.UpdatePrefixRequest, context: grpc.ServicerContext) -> prefix_pb2.Prefix:
        """See the contract."""
        call = current_call()
        name = wire.prefix_name(request.prefix.name, "prefix.name")

        def verb(tx: Transaction) -> prefix_pb2.Prefix:
            return wire.prefix_message(
                *self._prefixes.update(
                    self.store(tx), call, name,
                    lambda prefix: etags.check(request.prefix.etag, wire.version_of(prefix), name),
                    lambda prefix: wire.changed_tuning(prefix, request),
                )
            )  # fmt: skip

        return self._writer.once(call, request, verb)

    def DeletePrefix(self, request: prefix_pb2.DeletePrefixRequest, context: grpc.ServicerContext) -> Empty:
        """See the contract."""
        call = current_call()
        name = wire.prefix_name(request.name)
        removed: list[Prefix] = []

        def verb(tx: Transaction) -> Empty:
            store = self.store(tx)
            prefix, _ = self._prefixes.get(store, name, call.now, call.caller)
            etags.check(request.etag, wire.version_of(prefix), name)
            self._prefixes.delete(store, call, name)
            removed[:] = [prefix]
            return Empty()

        answer = self._writer.once(call, request, verb)
        if self.controller is not None and removed and not call.validate_only:
            self.controller.realms.forget(removed[0])
        return answer

    def LeaseAddress(
        self, request: lease_pb2.LeaseAddressRequest, context: grpc.ServicerContext
    ) -> lease_pb2.AddressLease:
        """See the contract."""
        call = current_call()
        wanted = wire.wanted(request)

        if self._granting is not None:
            return self._granting.lease(call, request, wanted)

        def attempt(patient: bool) -> lease_pb2.AddressLease:
            return self._writer.once(
                call,
                request,
                lambda tx: wire.lease_message(self._leasing.lease(self.store(tx), call, wanted, patient=patient)),
            )

        return self.gathering.lease(call, request, wanted, lambda: self._patience.grant(wanted.network, attempt))

    def LeaseAddresses(
        self, request: lease_pb2.LeaseAddressesRequest, context: grpc.ServicerContext
    ) -> lease_pb2.LeaseAddressesResponse:
        """See the contract."""
        call = current_call()
        wanted, addresses = wire.wanted_of_each_version(request)
        if self._granting is not None:
            return self._granting.lease_of_each_version(call, request, wanted, addresses)

        def verb(tx: Transaction, *, patient: bool) -> lease_pb2.LeaseAddressesResponse:
            store = self.store(tx)
            wishes = self._leasing.of_each_version(store, call, wanted, addresses)
            # IPv4 first, always: two owners who wait for addresses with others in hand cannot wait for each other.
            return wire.leases_message([self._leasing.lease(store, call, one, patient=patient) for one in wishes])

        return self._patience.grant(
            wanted.network,
            lambda patient: self._writer.once(call, request, lambda tx: verb(tx, patient=patient)),
        )

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

    def ListLeftovers(
        self, request: leftover_pb2.ListLeftoversRequest, context: grpc.ServicerContext
    ) -> leftover_pb2.ListLeftoversResponse:
        """See the contract."""
        call = current_call()
        found, examined, following = self._clearing.page(self._tokens.request(request, call).after)
        return leftover_pb2.ListLeftoversResponse(
            leftovers=[wire.leftover_message(one) for one in found],
            next_page_token=self._tokens.next(following, call),
            examined_count=examined,
        )

    def GetLeftover(
        self, request: leftover_pb2.GetLeftoverRequest, context: grpc.ServicerContext
    ) -> leftover_pb2.Leftover:
        """See the contract."""
        return wire.leftover_message(self._clearing.find(request.name))

    def RemoveLeftover(
        self, request: leftover_pb2.RemoveLeftoverRequest, context: grpc.ServicerContext
    ) -> leftover_pb2.Leftover:
        """See the contract."""
        call = current_call()

        def told(tx: Transaction, removed: Leftover) -> leftover_pb2.Leftover:
            self._clearing.record(tx, call, removed)
            return wire.leftover_message(removed)

        return self._writer.prepared(
            call, request, lambda: self._clearing.remove(call, request.name, request.etag), told
        )

    def ListEvents(
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        """See the contract."""
        return serve_list_events(self._log, request, current_call().caller)

    def _read_range(self, call: Call, project: str, parent: str, length: int) -> Network:
        """The range that a controller is asked for; who is overtaken by another is told that it is taken."""
        return self._database.transact(
            lambda tx: self._prefixes.next_range(self.store(tx), call, project, parent, length), label="ipam.next_range"
        )

    def _read(self, fn: Callable[[Store], T]) -> T:
        return self._database.read(lambda tx: fn(self.store(tx)))
