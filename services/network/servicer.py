# SPDX-License-Identifier: Apache-2.0
"""One method per RPC: in, call, out."""

# ruff: noqa: N802 -- the contract's names

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from bms.event.v1 import event_pb2
from bms.network.v1 import attachment_pb2, leftover_pb2, network_pb2, network_service_pb2_grpc
from services.kernel.calls import Call
from services.kernel.clock import Ids
from services.kernel.names import SERVER
from services.network.clearing import Clearing
from services.network.controlled import Controlled
from services.network.gathering import Gathering, Recorded, Request
from services.network.operations import attachments
from services.network.operations import leftovers as left
from services.network.operations.networks import Networks
from services.network.operations.store import Store
from services.network.operations.together import Asked
from services.network.ports import Controller, Fabric, Leftovers, Mirror
from services.network.store import SqlStore
from services.network.switching import Switching, ToRead
from services.network.wire import attachments as attachment_wire
from services.network.wire import leftovers as leftover_wire
from services.network.wire import networks as network_wire
from services.runtime import etags
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction, UniqueViolation
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Writer

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class NetworkServicer(network_service_pb2_grpc.NetworkServiceServicer):
    """Serves bms.network.v1.NetworkService."""

    def __init__(
        self,
        database: Database,
        log: EventLog,
        writer: Writer,
        tokens: PageTokens,
        ids: Ids,
        fabric: Fabric,
        controller: Controller | None = None,
        mirror: Mirror | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self._database = database
        self._log = log
        self._writer = writer
        self._tokens = tokens
        self._networks = Networks(ids)
        self._controlled = Controlled(database, writer, self._networks, controller, self.store) if controller else None
        self._switching = Switching(database, self.store, fabric, controller)
        self.gathering = Gathering(database, self.store, writer, self._switching, controlled=controller is not None)
        self._mirror = mirror
        self._clearing = Clearing(database, self.store, self._switching, leftovers, mirror)

    def store(self, tx: Transaction) -> Store:
        """The store of a transaction."""
        return SqlStore(tx, self._log)

    # -- networks ------------------------------------------------------------------------------------------------------

    def CreateNetwork(
        self, request: network_pb2.CreateNetworkRequest, context: grpc.ServicerContext
    ) -> network_pb2.Network:
        """See the contract."""
        call = current_call()
        new = network_wire.new_network(request)
        if self._controlled is not None:
            return self._controlled.create(call, request, new)
        return self._writer.once(
            call, request, lambda tx: network_wire.network_message(self._networks.create(self.store(tx), call, new), 0)
        )

    def GetNetwork(self, request: network_pb2.GetNetworkRequest, context: grpc.ServicerContext) -> network_pb2.Network:
        """See the contract."""
        name = network_wire.network_name(request.name)
        return network_wire.network_message(*self._read(lambda store: self._networks.get(store, name)))

    def ListNetworks(
        self, request: network_pb2.ListNetworksRequest, context: grpc.ServicerContext
    ) -> network_pb2.ListNetworksResponse:
        """See the contract."""
        call = current_call()
        project = network_wire.project_of(request.parent)
        where = network_wire.network_conditions(request.filter)
        page = self._tokens.request(request, call, request.parent, request.filter)
        found = self._read(lambda store: self._networks.list(store, project, page, where))
        return network_pb2.ListNetworksResponse(
            networks=[network_wire.network_message(network, ports) for network, ports in found.rows],
            next_page_token=self._tokens.next(found.next_after, call, request.parent, request.filter),
        )

    def DeleteNetwork(self, request: network_pb2.DeleteNetworkRequest, context: grpc.ServicerContext) -> Empty:
        """See the contract."""
        call = current_call()
        name = network_wire.network_name(request.name)
        if self._controlled is not None:
            self._controlled.remove(call, request, name)

        def verb(tx: Transaction) -> Empty:
            store = self.store(tx)
            etags.check(request.etag, self._networks.get(store, name)[0].version, name)
            self._networks.delete(store, call, name)
            return Empty()

        return self._writer.once(call, request, verb)

    # -- ports ---------------------------------------------------------------------------------------------------------

    def RegisterServerPorts(
        self, request: attachment_pb2.RegisterServerPortsRequest, context: grpc.ServicerContext
    ) -> attachment_pb2.RegisterServerPortsResponse:
        """See the contract."""
        call = current_call()
        server, fence = attachment_wire.server_uuid(request.server), attachment_wire.fence_of(request.fence)
        links = attachment_wire.links(request)

        def verb(tx: Transaction) -> attachment_pb2.RegisterServerPortsResponse:
            found = attachments.register(self.store(tx), call, server, links, fence, as_found=request.as_found)
            return attachment_pb2.RegisterServerPortsResponse(
                attachments=[attachment_wire.attachment_message(one) for one in found]
            )

        response = self._once(call, request, verb)
        # Also of a request that was answered before, whose sending may have failed.
        fresh = [one.name for one in response.attachments if not one.HasField("observed")]
        if fresh and not call.validate_only:
            with self._switching.turn(server):
                self._switching.send(server, fresh, request_id=call.request_id)
        if self._mirror is not None and not call.validate_only:
            # As it is recorded now, which may be younger than what this caller asked for.
            self._mirror.show(server, [one.link for one in self._read(lambda store: store.attachments(server))])
        return response

    def AttachPorts(
        self, request: attachment_pb2.AttachPortsRequest, context: grpc.ServicerContext
    ) -> attachment_pb2.AttachPortsResponse:
        """See the contract."""
        call = current_call()
        server, fence = attachment_wire.server_uuid(request.server), attachment_wire.fence_of(request.fence)
        asked = attachment_wire.wishes(request)
        project = attachment_wire.tenant(request, asked)
        if self._controlled is not None:
            self._controlled.check(server, asked)

        recorded: list[Recorded] = []

        def verb(tx: Transaction) -> attachment_pb2.AttachPortsResponse:
            found, meant = attachments.attach(self.store(tx), call, server, asked, project, fence)
            recorded.append(Recorded(attachment_wire.attached(found), meant))
            return recorded[-1].response

        def alone() -> Recorded:
            response = self._once(call, request, verb)
            # What a request that was answered before recorded may be old by now, and is sent again all the same: the
            # sending may have failed.
            return next((one for one in recorded if one.response is response), Recorded(response))

        with self._switching.turn(server):
            done = self.gathering.attach(Request(request, Asked(call, server, asked, project, fence)), alone)
            if asked and not call.validate_only and not done.sent:
                self._switching.send(server, list(asked), request_id=call.request_id, meant=done.sending)
        return done.response

    def ReadServerPorts(
        self, request: attachment_pb2.ReadServerPortsRequest, context: grpc.ServicerContext
    ) -> attachment_pb2.ReadServerPortsResponse:
        """See the contract."""
        server, fence = attachment_wire.server_uuid(request.server), attachment_wire.fence_of(request.fence)
        readings = self.gathering.read(ToRead(current_call(), server, fence))
        return attachment_pb2.ReadServerPortsResponse(
            readings=[attachment_wire.reading_message(port, reading) for port, reading in readings]
        )

    def ReadSwitchPorts(
        self, request: attachment_pb2.ReadSwitchPortsRequest, context: grpc.ServicerContext
    ) -> attachment_pb2.ReadSwitchPortsResponse:
        """See the contract."""
        links = attachment_wire.links(request)
        found = self._switching.look_at(attachment_wire.server_uuid(request.server), links)
        return attachment_pb2.ReadSwitchPortsResponse(
            readings=[
                attachment_pb2.SwitchPortReading(
                    holder=holder, reading=attachment_wire.reading_message(link.port, reading)
                )
                for link, (holder, reading) in zip(links, found, strict=True)
            ]
        )

    def BatchReadServerPorts(
        self, request: attachment_pb2.BatchReadServerPortsRequest, context: grpc.ServicerContext
    ) -> attachment_pb2.BatchReadServerPortsResponse:
        """See the contract."""
        found = self._switching.look(current_call(), attachment_wire.looks(request))
        return attachment_pb2.BatchReadServerPortsResponse(
            servers=[
                attachment_pb2.BatchReadServerPortsResponse.Reading(
                    server=SERVER.format(server),
                    readings=[attachment_wire.reading_message(port, reading) for port, reading in readings],
                )
                for server, readings in found.items()
            ]
        )

    def ListPortAttachments(
        self, request: attachment_pb2.ListPortAttachmentsRequest, context: grpc.ServicerContext
    ) -> attachment_pb2.ListPortAttachmentsResponse:
        """See the contract."""
        call = current_call()
        where = attachment_wire.attachment_conditions(request.filter)
        page = self._tokens.request(request, call, request.filter)
        found = self._read(lambda store: attachments.list_attachments(store, page, where))
        return attachment_pb2.ListPortAttachmentsResponse(
            attachments=[attachment_wire.attachment_message(one) for one in found.rows],
            next_page_token=self._tokens.next(found.next_after, call, request.filter),
        )

    # -- leftovers -----------------------------------------------------------------------------------------------------

    def ListLeftovers(
        self, request: leftover_pb2.ListLeftoversRequest, context: grpc.ServicerContext
    ) -> leftover_pb2.ListLeftoversResponse:
        """See the contract."""
        call = current_call()
        page = self._tokens.request(request, call)
        found, examined, following = self._clearing.page(call, page.after, page.size)
        return leftover_pb2.ListLeftoversResponse(
            leftovers=[leftover_wire.leftover_message(one) for one in found],
            next_page_token=self._tokens.next(following, call),
            examined_count=examined,
        )

    def GetLeftover(
        self, request: leftover_pb2.GetLeftoverRequest, context: grpc.ServicerContext
    ) -> leftover_pb2.Leftover:
        """See the contract."""
        return leftover_wire.leftover_message(self._clearing.find(current_call(), request.name))

    def RemoveLeftover(
        self, request: leftover_pb2.RemoveLeftoverRequest, context: grpc.ServicerContext
    ) -> leftover_pb2.Leftover:
        """See the contract."""
        call = current_call()

        def told(tx: Transaction, removed: left.Leftover) -> leftover_pb2.Leftover:
            left.tell(self.store(tx), call, removed, "leftover.removed")
            return leftover_wire.leftover_message(removed)

        return self._writer.prepared(
            call, request, lambda: self._clearing.remove(call, request.name, request.etag), told
        )

    # -- events --------------------------------------------------------------------------------------------------------

    def ListEvents(
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        """See the contract."""
        return serve_list_events(self._log, request, current_call().caller)

    # ------------------------------------------------------------------------------------------------------------------

    def _read(self, fn: Callable[[Store], T]) -> T:
        return self._database.read(lambda tx: fn(self.store(tx)))

    def _once(self, call: Call, request: Message, verb: Callable[[Transaction], M]) -> M:
        try:
            return self._writer.once(call, request, verb)
        except UniqueViolation:
            # Somebody plugged another server in there while we looked: now he is seen, and named.
            return self._writer.once(call, request, verb)
