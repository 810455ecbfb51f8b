# SPDX-License-Identifier: Apache-2.0
"""InventoryService: one method per RPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import grpc
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2_grpc, pool_pb2, server_pb2
from services.inventory.domain import import_text, importing
from services.inventory.operations import catalogue, imports, linking, pool, servers
from services.inventory.operations.ports import Fresh
from services.inventory.store import CatalogueRows, PoolRows, ServerRows
from services.inventory.store.servers import Safe
from services.inventory.wire import catalogue as catalogue_wire
from services.inventory.wire import pool as pool_wire
from services.inventory.wire import servers as wire
from services.kernel.calls import Role
from services.kernel.clock import Ids
from services.kernel.errors import Exhausted, Forbidden
from services.kernel.names import FLAVOR, IMAGE, INSTANCE, SERVER
from services.kernel.pages import Page, PageRequest
from services.runtime import etags
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.operations import OperationStore
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Writer

M = TypeVar("M", bound=Message)
T = TypeVar("T")


def is_private(context: grpc.ServicerContext) -> bool:
    """Whether a secret may travel over the connection: it stays on this machine, or both sides showed certificates."""
    peer = context.peer()
    local = peer.startswith(("unix:", "ipv4:127.", "ipv6:[::1]:", "ipv6:%5B::1%5D:"))
    return local or bool(context.peer_identities())


class InventoryServicer(inventory_service_pb2_grpc.InventoryServiceServicer):
    """See bms/inventory/v1/inventory_service.proto.

    Args:
        safe: seals the logins of BMCs.
        private: whether a login may travel over a call's connection.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        writer: Writer,
        page_tokens: PageTokens,
        ids: Ids,
        safe: Safe,
        operations: OperationStore,
        *,
        private: Callable[[grpc.ServicerContext], bool] = is_private,
    ) -> None:
        self._database = database
        self._log = log
        self._writer = writer
        self._page_tokens = page_tokens
        self._ids = ids
        self._safe = safe
        self._operations = operations
        self._private = private

    # ---- servers ----

    def CreateServer(self, request: server_pb2.CreateServerRequest, context: grpc.ServicerContext) -> server_pb2.Server:  # noqa: N802 -- the contract's name, as below
        """Registers a server."""
        call = current_call()
        spec, login = wire.spec(request.server), wire.login(request.server)

        def verb(tx: Transaction) -> server_pb2.Server:
            rows = self._servers(tx)
            made = servers.create(rows, call, self._ids, spec, login, server_id=request.server_id)
            return wire.to_server(made)

        return self._writer.once(call, request, verb)

    def GetServer(self, request: server_pb2.GetServerRequest, context: grpc.ServicerContext) -> server_pb2.Server:  # noqa: N802
        """Answers one server."""
        (uuid,) = SERVER.parse(request.name)
        return wire.to_server(self._database.read(lambda tx: servers.get(self._servers(tx), uuid)))

    def ListServers(  # noqa: N802
        self, request: server_pb2.ListServersRequest, context: grpc.ServicerContext
    ) -> server_pb2.ListServersResponse:
        """Answers one page of servers."""
        call = current_call()
        page = self._page_tokens.request(request, call, request.filter)
        found = self._database.read(lambda tx: self._servers(tx).page(request.filter, page))
        return server_pb2.ListServersResponse(
            servers=[wire.to_server(each) for each in found.rows],
            next_page_token=self._page_tokens.next(found.next_after, call, request.filter),
        )

    def UpdateServer(self, request: server_pb2.UpdateServerRequest, context: grpc.ServicerContext) -> server_pb2.Server:  # noqa: N802
        """Changes a server."""
        call = current_call()
        (uuid,) = SERVER.parse(request.server.name, "server.name")

        def verb(tx: Transaction) -> server_pb2.Server:
            changed = partial(wire.changed, request=request)
            return wire.to_server(servers.update(self._servers(tx), call, uuid, _fresh(request.server.etag), changed))

        return self._writer.once(call, request, verb)

    def DeleteServer(  # noqa: N802
        self, request: server_pb2.DeleteServerRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Begins to remove a server."""
        call = current_call()
        (uuid,) = SERVER.parse(request.name)

        def verb(tx: Transaction) -> operations_pb2.Operation:
            deletion = servers.delete(self._servers(tx), call, self._ids, uuid, _fresh(request.etag))
            row = wire.deletion_row(deletion)
            if deletion.begun:
                self._operations.insert(tx, row)
            return wire.to_deletion(row)

        return self._writer.once(call, request, verb)

    def ImportServers(  # noqa: N802
        self, request: server_pb2.ImportServersRequest, context: grpc.ServicerContext
    ) -> server_pb2.ImportServersResponse:
        """Registers all servers of a file, or none."""
        call = current_call()
        # Reading takes seconds for thousands of servers: not while others wait to write.
        stated, faults = import_text.read(request.content, wire.form(request))

        def verb(tx: Transaction) -> server_pb2.ImportServersResponse:
            done = imports.import_servers(self._servers(tx), call, self._ids, stated, faults)
            return wire.to_imported(done, validate_only=call.validate_only)

        try:
            return self._writer.once(call, request, verb)
        except imports.Faulty as faulty:
            if request.report_faults:
                return wire.to_faults(faulty.faults)
            remedy = "Correct the file and import it again; with report_faults set, the response lists every fault."
            raise importing.refusal(faulty.faults, remedy) from None

    # ---- flavors and images ----

    def CreateFlavor(  # noqa: N802
        self, request: catalogue_pb2.CreateFlavorRequest, context: grpc.ServicerContext
    ) -> catalogue_pb2.Flavor:
        """Makes a flavor."""
        call = current_call()
        spec = catalogue_wire.flavor_spec(request.flavor)
        return self._writer.once(
            call,
            request,
            lambda tx: catalogue_wire.to_flavor(
                catalogue.create_flavor(self._catalogue(tx), call, request.flavor_id, spec)
            ),
        )

    def GetFlavor(self, request: catalogue_pb2.GetFlavorRequest, context: grpc.ServicerContext) -> catalogue_pb2.Flavor:  # noqa: N802
        """Answers one flavor."""
        (flavor,) = FLAVOR.parse(request.name)
        return catalogue_wire.to_flavor(
            self._database.read(lambda tx: catalogue.get_flavor(self._catalogue(tx), flavor))
        )

    def ListFlavors(  # noqa: N802
        self, request: catalogue_pb2.ListFlavorsRequest, context: grpc.ServicerContext
    ) -> catalogue_pb2.ListFlavorsResponse:
        """Answers one page of flavors."""
        call = current_call()
        page = self._page_tokens.request(request, call)
        found = self._database.read(lambda tx: self._catalogue(tx).flavor_page(page))
        return catalogue_pb2.ListFlavorsResponse(
            flavors=[catalogue_wire.to_flavor(each) for each in found.rows],
            next_page_token=self._page_tokens.next(found.next_after, call),
        )

    def UpdateFlavor(  # noqa: N802
        self, request: catalogue_pb2.UpdateFlavorRequest, context: grpc.ServicerContext
    ) -> catalogue_pb2.Flavor:
        """Changes a flavor."""
        call = current_call()
        (flavor,) = FLAVOR.parse(request.flavor.name, "flavor.name")

        def verb(tx: Transaction) -> catalogue_pb2.Flavor:
            changed = partial(catalogue_wire.changed_flavor, request=request)
            return catalogue_wire.to_flavor(
                catalogue.update_flavor(self._catalogue(tx), call, flavor, _fresh(request.flavor.etag), changed)
            )

        return self._writer.once(call, request, verb)

    def DeleteFlavor(self, request: catalogue_pb2.DeleteFlavorRequest, context: grpc.ServicerContext) -> Empty:  # noqa: N802
        """Removes a flavor."""
        call = current_call()
        (flavor,) = FLAVOR.parse(request.name)

        def verb(tx: Transaction) -> Empty:
            catalogue.delete_flavor(self._catalogue(tx), call, flavor, _fresh(request.etag))
            return Empty()

        return self._writer.once(call, request, verb)

    def CreateImage(  # noqa: N802
        self, request: catalogue_pb2.CreateImageRequest, context: grpc.ServicerContext
    ) -> catalogue_pb2.Image:
        """Registers an image."""
        call = current_call()
        spec = catalogue_wire.image_spec(request.image)
        return self._writer.once(
            call,
            request,
            lambda tx: catalogue_wire.to_image(
                catalogue.create_image(self._catalogue(tx), call, request.image_id, spec)
            ),
        )

    def GetImage(self, request: catalogue_pb2.GetImageRequest, context: grpc.ServicerContext) -> catalogue_pb2.Image:  # noqa: N802
        """Answers one image."""
        call = current_call()
        (image,) = IMAGE.parse(request.name)
        found = self._database.read(
            lambda tx: catalogue.see_image(self._catalogue(tx), call, image, request.for_project)
        )
        return catalogue_wire.to_image(found, shares=call.caller.may_read(found.spec.project))

    def ListImages(  # noqa: N802
        self, request: catalogue_pb2.ListImagesRequest, context: grpc.ServicerContext
    ) -> catalogue_pb2.ListImagesResponse:
        """Answers one page of the images that the caller may use."""
        call = current_call()
        page = self._page_tokens.request(request, call)
        found = self._database.read(lambda tx: self._catalogue(tx).image_page(call.caller, page))
        return catalogue_pb2.ListImagesResponse(
            images=[
                catalogue_wire.to_image(each, shares=call.caller.may_read(each.spec.project)) for each in found.rows
            ],
            next_page_token=self._page_tokens.next(found.next_after, call),
        )

    def UpdateImage(  # noqa: N802
        self, request: catalogue_pb2.UpdateImageRequest, context: grpc.ServicerContext
    ) -> catalogue_pb2.Image:
        """Changes an image."""
        call = current_call()
        (image,) = IMAGE.parse(request.image.name, "image.name")

        def verb(tx: Transaction) -> catalogue_pb2.Image:
            changed = partial(catalogue_wire.changed_image, request=request)
            return catalogue_wire.to_image(
                catalogue.update_image(self._catalogue(tx), call, image, _fresh(request.image.etag), changed)
            )

        return self._writer.once(call, request, verb)

    def DeleteImage(self, request: catalogue_pb2.DeleteImageRequest, context: grpc.ServicerContext) -> Empty:  # noqa: N802
        """Removes an image."""
        call = current_call()
        (image,) = IMAGE.parse(request.name)

        def verb(tx: Transaction) -> Empty:
            catalogue.delete_image(self._catalogue(tx), call, image, _fresh(request.etag))
            return Empty()

        return self._writer.once(call, request, verb)

    # ---- the pool ----

    def ListPools(  # noqa: N802
        self, request: pool_pb2.ListPoolsRequest, context: grpc.ServicerContext
    ) -> pool_pb2.ListPoolsResponse:
        """Answers one page of pools."""
        call = current_call()
        kind = str(request.kind)
        page = self._page_tokens.request(request, call, kind)
        found = self._database.read(
            lambda tx: pool.list_pools(self._catalogue(tx), PoolRows(tx), pool_wire.kind(request.kind))
        )
        shown = _page(list(enumerate(found)), lambda each: f"{each[0]:09d}", page)
        names = bool(call.caller.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER})
        return pool_pb2.ListPoolsResponse(
            pools=pool_wire.to_pools([each for _, each in shown.rows], names=names),
            next_page_token=self._page_tokens.next(shown.next_after, call, kind),
        )

    def ExplainPlacement(  # noqa: N802
        self, request: pool_pb2.ExplainPlacementRequest, context: grpc.ServicerContext
    ) -> pool_pb2.ExplainPlacementResponse:
        """Answers one page of servers with what speaks against each."""
        call = current_call()
        page = self._page_tokens.request(request, call, request.flavor, request.image)
        (flavor,) = FLAVOR.parse(request.flavor, "flavor")
        image = IMAGE.parse(request.image, "image")[0] if request.image else ""
        found = self._database.read(lambda tx: pool.explain(self._catalogue(tx), PoolRows(tx), flavor, image))
        shown = _page(found, lambda each: f"{int(bool(each[1]))}{each[0].display_name}", page)
        return pool_pb2.ExplainPlacementResponse(
            candidates=[pool_wire.to_candidate(*each) for each in shown.rows],
            next_page_token=self._page_tokens.next(shown.next_after, call, request.flavor, request.image),
            eligible_count=sum(1 for _, failures in found if not failures),
        )

    def ReserveServers(  # noqa: N802
        self, request: pool_pb2.ReserveServersRequest, context: grpc.ServicerContext
    ) -> pool_pb2.ReserveServersResponse:
        """Takes servers for an instance."""
        call = current_call()
        order = pool_wire.order(request)

        def verb(tx: Transaction) -> pool_pb2.ReserveServersResponse:
            wanted = pool.wish(self._catalogue(tx), order)
            taken = pool.reserve(self._servers(tx), PoolRows(tx), wanted, call, order)
            self._catalogue(tx).note_use(order.holder, order.flavor, order.image)
            return pool_pb2.ReserveServersResponse(servers=[wire.to_server(each) for each in taken])

        try:
            return self._writer.once(call, request, verb)
        except Exhausted:
            # Why is asked of the whole fleet, which no writer shall wait for.
            raise self._database.read(
                lambda tx: pool.why_refused(PoolRows(tx), pool.wish(self._catalogue(tx), order), order)
            ) from None

    def ReleaseReservation(self, request: pool_pb2.ReleaseReservationRequest, context: grpc.ServicerContext) -> Empty:  # noqa: N802
        """Gives back what was reserved and never used."""
        call = current_call()
        INSTANCE.parse(request.holder, "holder")
        uuids = pool_wire.servers(request.servers, "servers")

        def verb(tx: Transaction) -> Empty:
            pool.release(self._servers(tx), PoolRows(tx), call, request.holder, uuids)
            return Empty()

        return self._writer.once(call, request, verb)

    def ReportServer(  # noqa: N802
        self, request: pool_pb2.ReportServerRequest, context: grpc.ServicerContext
    ) -> pool_pb2.ReportServerResponse:
        """Takes lifecycle's report of a server."""
        call = current_call()
        said = pool_wire.report(request)

        def verb(tx: Transaction) -> pool_pb2.ReportServerResponse:
            reported = pool.report(self._servers(tx), call, said)
            if reported.operation:
                ended = wire.deletion_done(self._operations.get(tx, reported.operation), call.now)
                self._operations.update(tx, ended)
            return pool_wire.to_report(reported)

        return self._writer.once(call, request, verb)

    def RelinkServer(  # noqa: N802
        self, request: pool_pb2.RelinkServerRequest, context: grpc.ServicerContext
    ) -> server_pb2.Server:
        """Changes where ports are plugged in."""
        call = current_call()
        (uuid,) = SERVER.parse(request.server, "server")
        links = pool_wire.links(request)

        def verb(tx: Transaction) -> server_pb2.Server:
            return wire.to_server(linking.relink(self._servers(tx), call, uuid, _fresh(request.etag), links))

        return self._writer.once(call, request, verb)

    def GetServerCredentials(  # noqa: N802
        self, request: pool_pb2.GetServerCredentialsRequest, context: grpc.ServicerContext
    ) -> pool_pb2.GetServerCredentialsResponse:
        """Answers the login of a BMC, over a connection that may carry it."""
        if not self._private(context):
            msg = "a BMC's login is given over mutual TLS, or on one machine, only"
            raise Forbidden(msg, remedy="Serve with BMS_TLS_CLIENT_CA, and call with a client certificate.")
        (uuid,) = SERVER.parse(request.server, "server")
        return wire.to_credentials(*self._database.read(lambda tx: servers.login(self._servers(tx), uuid)))

    # ---- events ----

    def ListEvents(  # noqa: N802
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        """Answers events in commit order."""
        return serve_list_events(self._log, request, current_call().caller)

    def _servers(self, tx: Transaction) -> ServerRows:
        return ServerRows(tx, self._log, self._safe)

    def _catalogue(self, tx: Transaction) -> CatalogueRows:
        return CatalogueRows(tx, self._log)


def _fresh(given: str) -> Fresh:
    """Refuses versions other than that of the etag *given*."""
    return lambda version, name: etags.check(given, version, name)


def _page(found: Sequence[T], key: Callable[[T], str], page: PageRequest) -> Page[T]:
    """One page of what was computed as a whole, in the order of *key*."""
    after = [each for each in found if key(each) > page.after] if page.after else found
    rows = after[: page.size]
    return Page(rows, key(rows[-1]) if len(after) > page.size else "")
