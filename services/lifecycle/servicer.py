# SPDX-License-Identifier: Apache-2.0
"""One method per RPC: in, call, out."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

import grpc
from google.longrunning import operations_pb2

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import instance_pb2, lifecycle_service_pb2_grpc, server_status_pb2
from services.kernel.calls import Call
from services.kernel.names import IMAGE, INSTANCE, NETWORK, PROJECT, SERVER, SERVER_STATUS, new_id
from services.lifecycle import brake_servicer, listing, wire
from services.lifecycle.brake_servicer import BrakeMethods
from services.lifecycle.brakes import Brakes
from services.lifecycle.console_servicer import ConsoleMethods, Consoles, NoConsoles
from services.lifecycle.diagnosis import diagnose
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.remedies import Budget
from services.lifecycle.forced_servicer import ForcedMethods
from services.lifecycle.operations.adopting import Adopting, check_fixed
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import Checks, check_instance, check_user_data, check_wish
from services.lifecycle.operations.cleaning import Cleaning
from services.lifecycle.operations.forcing import ForcedVerbs
from services.lifecycle.operations.instances import InstanceVerbs
from services.lifecycle.operations.moving import Moving
from services.lifecycle.operations.powering import Powering
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.operator_servicer import OperatorMethods
from services.lifecycle.store import Store
from services.runtime import etags, filters
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.page_tokens import PageTokens
from services.runtime.times import from_micros
from services.runtime.writing import Writer

_MOST_OVERDUE = 50
Context = grpc.ServicerContext


class LifecycleServicer(
    OperatorMethods, ConsoleMethods, ForcedMethods, BrakeMethods, lifecycle_service_pb2_grpc.LifecycleServiceServicer
):
    """bms.lifecycle.v1.LifecycleService."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        store: Store,
        servers: ServerVerbs,
        instances: InstanceVerbs,
        checks: Checks,
        log: EventLog,
        page_tokens: PageTokens,
        brakes: Brakes | None = None,
        budget: Budget | None = None,
        consoles: Consoles | None = None,
        *,
        moves_ports: bool = False,
    ) -> None:
        super().__init__(database, writer, store, ForcedVerbs(servers.beginnings), page_tokens)
        self._servers = servers
        self._instances = instances
        self._adopting = Adopting(instances.beginnings, instances.seal)
        self._cleaning, self._powering = Cleaning(servers.beginnings), Powering(servers.beginnings)
        self._moving = Moving(servers.beginnings, moves_ports)
        self._checks = checks
        self._log = log
        self._brakes = brakes or Brakes()
        self._budget = budget or Budget()
        self._consoles = consoles or NoConsoles()

    # -- servers

    def GetServerStatus(
        self, request: server_status_pb2.GetServerStatusRequest, context: Context
    ) -> server_status_pb2.ServerStatus:
        """See the contract."""
        (uuid,) = SERVER_STATUS.parse(request.name)
        return wire.status(self._database.read(lambda tx: self._store.server(tx, uuid)))

    def ListServerStatuses(
        self, request: server_status_pb2.ListServerStatusesRequest, context: Context
    ) -> server_status_pb2.ListServerStatusesResponse:
        """See the contract."""
        call = current_call()
        page = self._pages.request(request, call, request.filter)
        terms = filters.parse(request.filter, listing.SERVER_FIELDS)
        found = self._database.read(lambda tx: listing.list_servers(tx, terms, page))
        return server_status_pb2.ListServerStatusesResponse(
            statuses=wire.statuses(found.rows), next_page_token=self._pages.next(found.next_after, call, request.filter)
        )

    def SummarizeFleet(
        self, request: server_status_pb2.SummarizeFleetRequest, context: Context
    ) -> server_status_pb2.SummarizeFleetResponse:
        """See the contract."""
        now = current_call().now

        def count(tx: Transaction) -> server_status_pb2.SummarizeFleetResponse:
            brake = brake_servicer.message(self._brakes, tx, now)
            states, (late, lates) = listing.count_states(tx), listing.overdue(tx, now, _MOST_OVERDUE)
            return server_status_pb2.SummarizeFleetResponse(
                states=[
                    server_status_pb2.StateCount(
                        state=server_status_pb2.ServerStatus.State.Value(f"STATE_{state.upper()}"), count=n
                    )
                    for state, n in states
                ],
                waits=[
                    server_status_pb2.WaitCount(code=code, count=n, since=wire.stamp(from_micros(since)))
                    for code, n, since in listing.count_waits(tx)
                ],
                overdue=wire.statuses(late),
                overdue_count=lates,
                maintenance_count=listing.count_maintenance(tx),
                total_count=sum(n for _, n in states),
                brake=brake if brake.pulled else None,
            )

        return self._database.read(count)

    def DiagnoseServer(
        self, request: server_status_pb2.DiagnoseServerRequest, context: Context
    ) -> server_status_pb2.DiagnoseServerResponse:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        now = current_call().now
        return self._database.read(lambda tx: diagnose(tx, self._store, uuid, now, self._budget))

    def ProvideServer(
        self, request: server_status_pb2.ProvideServerRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        return self._begin(request, lambda books, call: self._servers.provide(books, call, uuid))

    def QuarantineServer(
        self, request: server_status_pb2.QuarantineServerRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        return self._begin(request, lambda books, call: self._servers.quarantine(books, call, uuid, request.reason))

    def RecoverServer(
        self, request: server_status_pb2.RecoverServerRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        take = request.take_from_instance
        return self._begin(request, lambda books, call: self._servers.recover(books, call, uuid, take=take))

    def AdoptServer(self, request: instance_pb2.AdoptServerRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        (project,) = PROJECT.parse(request.parent, "parent")
        new_id(request.instance_id, "instance_id")
        wanted = wire.wanted_instance(request, project, current_call().now)
        user_data = request.instance.user_data
        check_instance(wanted, user_data)
        check_fixed(wanted)
        if (before := self._before(request)) is not None:
            return before
        self._checks.instance(wanted)
        return self._begin(request, lambda books, call: self._adopting.adopt(books, call, uuid, wanted, user_data))

    def SetMaintenance(
        self, request: server_status_pb2.SetMaintenanceRequest, context: Context
    ) -> server_status_pb2.ServerStatus:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        call = current_call()
        return self._writer.once(
            call,
            request,
            lambda tx: wire.status(self._servers.set_maintenance(self._store.within(tx), call, uuid, request.reason)),
        )

    def ClearMaintenance(
        self, request: server_status_pb2.ClearMaintenanceRequest, context: Context
    ) -> server_status_pb2.ServerStatus:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        call = current_call()
        return self._writer.once(
            call, request, lambda tx: wire.status(self._servers.clear_maintenance(self._store.within(tx), call, uuid))
        )

    # -- instances

    def CreateInstance(self, request: instance_pb2.CreateInstanceRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        (project,) = PROJECT.parse(request.parent, "parent")
        new_id(request.instance_id, "instance_id")
        wanted = wire.wanted_instance(request, project, current_call().now)
        user_data = request.instance.user_data
        check_instance(wanted, user_data)
        if (before := self._before(request)) is not None:
            return before
        self._checks.instance(wanted)
        return self._begin(request, lambda books, call: self._instances.create(books, call, wanted, user_data))

    def GetInstance(self, request: instance_pb2.GetInstanceRequest, context: Context) -> instance_pb2.Instance:
        """See the contract."""
        INSTANCE.parse(request.name)
        return wire.instance(self._database.read(lambda tx: self._store.shown_instance(tx, request.name)))

    def ListInstances(
        self, request: instance_pb2.ListInstancesRequest, context: Context
    ) -> instance_pb2.ListInstancesResponse:
        """See the contract."""
        call = current_call()
        project = None if request.parent == "projects/-" else PROJECT.parse(request.parent, "parent")[0]
        page = self._pages.request(request, call, request.parent, request.filter)
        terms = filters.parse(request.filter, listing.INSTANCE_FIELDS)
        found = self._database.read(lambda tx: listing.list_instances(tx, project, terms, page))
        return instance_pb2.ListInstancesResponse(
            instances=[wire.instance(one) for one in found.rows],
            next_page_token=self._pages.next(found.next_after, call, request.parent, request.filter),
        )

    def DeleteInstance(self, request: instance_pb2.DeleteInstanceRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        INSTANCE.parse(request.name)

        def delete(books: Books, call: Call) -> Progress:
            etags.check(request.etag, books.instance(request.name).version, request.name)
            return self._instances.delete(books, call, request.name)

        return self._begin(request, delete)

    def StartInstance(self, request: instance_pb2.StartInstanceRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        return self._on_instance(request, IntentKind.START)

    def StopInstance(self, request: instance_pb2.StopInstanceRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        return self._on_instance(request, IntentKind.STOP)

    def RebootInstance(self, request: instance_pb2.RebootInstanceRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        return self._on_instance(request, IntentKind.REBOOT)

    def RescueInstance(self, request: instance_pb2.RescueInstanceRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        return self._on_instance(request, IntentKind.RESCUE)

    def UnrescueInstance(
        self, request: instance_pb2.UnrescueInstanceRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        return self._on_instance(request, IntentKind.UNRESCUE)

    def RebuildInstance(
        self, request: instance_pb2.RebuildInstanceRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        (project, _) = INSTANCE.parse(request.name)
        if request.image:
            IMAGE.parse(request.image, "image")
        check_user_data(request.user_data, "user_data")
        if (before := self._before(request)) is not None:
            return before
        if request.image:
            self._checks.image(request.image, project)
        return self._begin(
            request,
            lambda books, call: self._instances.rebuild(books, call, request.name, request.image, request.user_data),
        )

    def AttachNetwork(self, request: instance_pb2.AttachNetworkRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        (project, _) = INSTANCE.parse(request.name)
        wish = wire.wish(request.network)
        check_wish(wish, "network")
        if (before := self._before(request)) is not None:
            return before
        self._checks.network(wish, project, "network")
        return self._begin(request, lambda books, call: self._instances.attach_network(books, call, request.name, wish))

    def DetachNetwork(self, request: instance_pb2.DetachNetworkRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        INSTANCE.parse(request.name)
        NETWORK.parse(request.network, "network")
        return self._begin(
            request, lambda books, call: self._instances.detach_network(books, call, request.name, request.network)
        )

    def ListEvents(self, request: event_pb2.ListEventsRequest, context: Context) -> event_pb2.ListEventsResponse:
        """See the contract."""
        return serve_list_events(self._log, request, current_call().caller)

    # -- parts

    def _on_instance(self, request: _NamedRequest, verb: IntentKind) -> operations_pb2.Operation:
        INSTANCE.parse(request.name)
        return self._begin(request, lambda books, call: self._instances.simple(books, call, request.name, verb))


_NamedRequest = (
    instance_pb2.StartInstanceRequest
    | instance_pb2.StopInstanceRequest
    | instance_pb2.RebootInstanceRequest
    | instance_pb2.RescueInstanceRequest
    | instance_pb2.UnrescueInstanceRequest
)
