# SPDX-License-Identifier: Apache-2.0
"""The methods of LifecycleService that operators use day by day: in, call, out."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

import grpc
from google.longrunning import operations_pb2

from bms.lifecycle.v1 import clean_pb2, instance_pb2, server_power_pb2, server_status_pb2
from services.kernel.calls import Call
from services.kernel.names import INSTANCE, SERVER
from services.lifecycle import operator_wire, wire
from services.lifecycle.begin_servicer import BeginMethods
from services.lifecycle.domain.progress import Progress
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.cleaning import Cleaning, check_steps
from services.lifecycle.operations.powering import Powering
from services.lifecycle.operations.protecting import protect, unprotect
from services.lifecycle.operations.retiring import retire, unretire
from services.runtime import etags
from services.runtime.context import current_call

Context = grpc.ServicerContext


class OperatorMethods(BeginMethods):
    """What LifecycleServicer serves to operators beside a server's way through the pool."""

    _cleaning: Cleaning
    _powering: Powering

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
