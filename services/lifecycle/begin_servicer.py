# SPDX-License-Identifier: Apache-2.0
"""How every method that records an intent answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from services.kernel.calls import Call
from services.lifecycle import wire
from services.lifecycle.domain.progress import Progress
from services.lifecycle.operations.books import Books
from services.lifecycle.store import Store
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction
from services.runtime.operations import to_operation
from services.runtime.writing import Writer


class BeginMethods:
    """What LifecycleServicer's verbs have in common."""

    _database: Database
    _writer: Writer
    _store: Store

    def _before(self, request: Message) -> operations_pb2.Operation | None:
        """The operation that the same request was answered before, whatever other services say by now."""
        return cast("operations_pb2.Operation | None", self._writer.earlier(current_call(), request))

    def _begin(self, request: Message, verb: Callable[[Books, Call], Progress]) -> operations_pb2.Operation:
        """Records an intent and answers its operation; with validate_only, what it would be, with its plan."""
        call = current_call()

        def once(tx: Transaction) -> operations_pb2.Operation:
            progress = verb(self._store.within(tx), call)
            operation = to_operation(wire.operation_row(progress, call.now))
            operation.done = call.validate_only
            return operation

        return self._writer.once(call, request, once)
