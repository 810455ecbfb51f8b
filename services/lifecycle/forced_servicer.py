# SPDX-License-Identifier: Apache-2.0
"""The methods of LifecycleService on forced actions: in, call, out."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

import grpc
from google.longrunning import operations_pb2

from bms.lifecycle.v1 import forced_action_pb2
from services.kernel.names import FORCED_ACTION, SERVER
from services.lifecycle import forced_wire, wire
from services.lifecycle.domain.forced import ForcedAction
from services.lifecycle.forced_store import FIELDS, ForcedTable
from services.lifecycle.operations.forcing import ForcedVerbs
from services.lifecycle.store import Store
from services.runtime import etags, filters
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.operations import to_operation
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Writer

_ALL = "servers/-"
Context = grpc.ServicerContext


class ForcedMethods:
    """What LifecycleServicer serves of forced actions."""

    def __init__(
        self, database: Database, writer: Writer, store: Store, forced: ForcedVerbs, page_tokens: PageTokens
    ) -> None:
        self._database = database
        self._writer = writer
        self._store = store
        self._forced = forced
        self._pages = page_tokens

    def CreateForcedAction(
        self, request: forced_action_pb2.CreateForcedActionRequest, context: Context
    ) -> forced_action_pb2.ForcedAction:
        """See the contract."""
        (uuid,) = SERVER.parse(request.parent, "parent")
        kind, reason = forced_wire.kind_of(request.forced_action), request.forced_action.reason
        call = current_call()

        def create(tx: Transaction) -> forced_action_pb2.ForcedAction:
            books = self._store.within(tx)
            made = self._forced.request(books, ForcedTable(tx), call, uuid, kind, reason)
            return forced_wire.message(made, call.now)

        return self._writer.once(call, request, create)

    def GetForcedAction(
        self, request: forced_action_pb2.GetForcedActionRequest, context: Context
    ) -> forced_action_pb2.ForcedAction:
        """See the contract."""
        FORCED_ACTION.parse(request.name)
        now = current_call().now
        return forced_wire.message(self._database.read(lambda tx: ForcedTable(tx).find(request.name)), now)

    def ListForcedActions(
        self, request: forced_action_pb2.ListForcedActionsRequest, context: Context
    ) -> forced_action_pb2.ListForcedActionsResponse:
        """See the contract."""
        call = current_call()
        server = "" if request.parent == _ALL else SERVER.parse(request.parent, "parent")[0]
        page = self._pages.request(request, call, request.parent, request.filter)
        terms = filters.parse(request.filter, FIELDS)
        found = self._database.read(lambda tx: ForcedTable(tx).list(server, terms, page))
        return forced_action_pb2.ListForcedActionsResponse(
            forced_actions=[forced_wire.message(one, call.now) for one in found.rows],
            next_page_token=self._pages.next(found.next_after, call, request.parent, request.filter),
        )

    def ApproveForcedAction(
        self, request: forced_action_pb2.ApproveForcedActionRequest, context: Context
    ) -> operations_pb2.Operation:
        """See the contract."""
        call = current_call()

        def approve(tx: Transaction) -> operations_pb2.Operation:
            action = _held(tx, request.name, request.etag)
            progress = self._forced.approve(self._store.within(tx), ForcedTable(tx), call, action)
            operation = to_operation(wire.operation_row(progress, call.now))
            operation.done = call.validate_only
            return operation

        return self._writer.once(call, request, approve)

    def DeleteForcedAction(
        self, request: forced_action_pb2.DeleteForcedActionRequest, context: Context
    ) -> forced_action_pb2.ForcedAction:
        """See the contract."""
        call = current_call()

        def withdraw(tx: Transaction) -> forced_action_pb2.ForcedAction:
            action = _held(tx, request.name, request.etag)
            books = self._store.within(tx)
            return forced_wire.message(self._forced.withdraw(books, ForcedTable(tx), call, action), call.now)

        return self._writer.once(call, request, withdraw)


def _held(tx: Transaction, name: str, etag: str) -> ForcedAction:
    """The forced action, kept from others; Stale if it is not the one that *etag* is of."""
    FORCED_ACTION.parse(name)
    action = ForcedTable(tx).action(name)
    etags.check(etag, action.version, name)
    return action
