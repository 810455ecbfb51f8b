# SPDX-License-Identifier: Apache-2.0
"""The methods of LifecycleService that operators use day by day: in, call, out."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

import grpc
from google.longrunning import operations_pb2

from bms.lifecycle.v1 import clean_pb2, instance_pb2, server_move_pb2, server_power_pb2, server_status_pb2
from services.kernel.calls import Call
from services.kernel.names import INSTANCE, SERVER
from services.lifecycle import operator_wire, wire
from services.lifecycle.begin_servicer import BeginMethods
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Server
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import Checks, short_enough
from services.lifecycle.operations.cleaning import Cleaning, check_steps
from services.lifecycle.operations.moving import Moving, check_links
from services.lifecycle.operations.powering import Powering
from services.lifecycle.operations.protecting import protect, unprotect
from services.lifecycle.operations.retiring import retire, unretire
from services.runtime import etags
from services.runtime.context import current_call
from services.runtime.database import Transaction

Context = grpc.ServicerContext


class OperatorMethods(BeginMethods):
    """What LifecycleServicer serves to operators beside a server's way through the pool."""

    _cleaning: Cleaning
    _powering: Powering
    _moving: Moving
    _checks: Checks

    def CleanServer(self, request: clean_pb2.CleanServerRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        steps = operator_wire.clean_steps(request)
        check_steps(steps)

        def clean(books: Books, call: Call) -> Progress:
            etags.check(request.etag, books.server(uuid).version, request.name)
            return self._cleaning.clean(books, call, uuid, steps)

        return self._begin(request, clean)

    def SetServerPower(
        self, request: server_power_pb2.SetServerPowerRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        kind = operator_wire.power(request)

        def switch(books: Books, call: Call) -> Progress:
            etags.check(request.etag, books.server(uuid).version, request.name)
            return self._powering.switch(books, call, uuid, kind)

        return self._begin(request, switch)

    def MoveServer(self, request: server_move_pb2.MoveServerRequest, context: Context) -> operations_pb2.Operation:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        links = operator_wire.links(request)
        check_links(links, uuid)
        short_enough(request.reason, "reason")
        if (before := self._before(request)) is not None:
            return before
        server, instance = self._database.read(lambda tx: self._standing(tx, uuid))
        self._checks.links(server, self._moving.moves(server, instance, links))

        def move(books: Books, call: Call) -> Progress:
            etags.check(request.etag, books.server(uuid).version, request.name)
            return self._moving.move(books, call, uuid, links, request.reason, cabled=request.cabled)

        return self._begin(request, move)

    def ConfirmServerMove(
        self, request: server_move_pb2.ConfirmServerMoveRequest, context: Context
    ) -> server_status_pb2.ServerStatus:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        call = current_call()

        def confirm(tx: Transaction) -> server_status_pb2.ServerStatus:
            books = self._store.within(tx)
            etags.check(request.etag, books.server(uuid).version, request.name)
            return wire.status(self._moving.confirm(books, call, uuid))

        return self._writer.once(call, request, confirm)

    def _standing(self, tx: Transaction, uuid: str) -> tuple[Server, Instance | None]:
        server = self._store.server(tx, uuid)
        return server, self._store.find_instance(tx, server.instance)

    def RetireServer(
        self, request: server_status_pb2.RetireServerRequest, context: Context
    ) -> server_status_pb2.ServerStatus:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        call = current_call()
        return self._writer.once(
            call, request, lambda tx: wire.status(retire(self._store.within(tx), call, uuid, request.reason))
        )

    def UnretireServer(
        self, request: server_status_pb2.UnretireServerRequest, context: Context
    ) -> server_status_pb2.ServerStatus:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        call = current_call()
        return self._writer.once(call, request, lambda tx: wire.status(unretire(self._store.within(tx), call, uuid)))

    def ProtectInstance(self, request: instance_pb2.ProtectInstanceRequest, context: Context) -> instance_pb2.Instance:
        """See the contract."""
        INSTANCE.parse(request.name)
        call = current_call()
        return self._writer.once(
            call, request, lambda tx: wire.instance(protect(self._store.within(tx), call, request.name, request.reason))
        )

    def UnprotectInstance(
        self, request: instance_pb2.UnprotectInstanceRequest, context: Context
    ) -> instance_pb2.Instance:
        """See the contract."""
        INSTANCE.parse(request.name)
        call = current_call()
        return self._writer.once(
            call, request, lambda tx: wire.instance(unprotect(self._store.within(tx), call, request.name))
        )
