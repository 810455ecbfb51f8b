# SPDX-License-Identifier: Apache-2.0
"""google.longrunning.Operations over a table: what any service with long work offers for its own operations.

Names are ``operations/{service}-{uuid}`` for the site's and ``projects/{project}/operations/{service}-{uuid}`` for a
project's; the latter exist only for those who may read the project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2

from services.kernel.calls import Call, Role
from services.kernel.errors import Forbidden, InvalidField, NotFound, WrongState
from services.kernel.names import OPERATION, PROJECT, PROJECT_OPERATION
from services.kernel.pages import Page, PageRequest
from services.runtime import filters
from services.runtime.context import current_call
from services.runtime.database import Database, Row, Transaction
from services.runtime.news import News
from services.runtime.page_tokens import PageTokens
from services.runtime.times import from_micros, to_micros

MAX_WAITING = 4
"""How many callers of WaitOperation wait at a time; with those of ListEvents they leave threads for others."""

MAX_WAIT = 30.0
"""How long WaitOperation waits at most, in seconds; the caller asks again."""


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation as stored.

    Attributes:
        project: its id; "" for the site's.
        subject: name of the resource it works on.
        metadata, response: bytes of a google.protobuf.Any; *response* is None until it ended well.
        error: bytes of a google.rpc.Status; None unless it failed.
    """

    name: str
    project: str
    subject: str
    done: bool
    metadata: bytes
    response: bytes | None
    error: bytes | None
    create_time: datetime
    update_time: datetime


def operation_name(service: str, uuid: str, project: str = "") -> str:
    """The name of a service's operation."""
    identity = f"{service}-{uuid}"
    return PROJECT_OPERATION.format(project, identity) if project else OPERATION.format(identity)


class OperationStore:
    """The table of operations; its methods run in the caller's transaction, with the change the operation tells of."""

    def __init__(self) -> None:
        self.news = News(MAX_WAITING)

    def insert(self, tx: Transaction, row: OperationRow) -> None:
        """Adds *row*."""
        tx.execute(
            "INSERT INTO operations (name, project, subject, done, metadata, response, error, create_time, update_time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.name,
                row.project,
                row.subject,
                int(row.done),
                row.metadata,
                row.response,
                row.error,
                to_micros(row.create_time),
                to_micros(row.update_time),
            ),
        )
        tx.after_commit(self.news.wake)

    def update(self, tx: Transaction, row: OperationRow) -> None:
        """Writes everything of *row* that may change; an operation that is done stays as it is.

        Raises:
            NotFound: there is no such operation that is still under way.
        """
        changed = tx.execute(
            "UPDATE operations SET done = ?, metadata = ?, response = ?, error = ?, update_time = ?"
            " WHERE name = ? AND done = 0",
            (int(row.done), row.metadata, row.response, row.error, to_micros(row.update_time), row.name),
        )
        if not changed:
            msg = f"{row.name} does not exist or is done"
            raise NotFound(msg, name=row.name)
        tx.after_commit(self.news.wake)

    def get(self, tx: Transaction, name: str) -> OperationRow:
        """The operation called *name*.

        Raises:
            NotFound: there is none.
        """
        row = tx.one("SELECT * FROM operations WHERE name = ?", (name,))
        if row is None:
            msg = f"{name} does not exist"
            raise NotFound(msg, name=name)
        return _row(row)

    def list(self, tx: Transaction, project: str | None, page: PageRequest, filter: str = "") -> Page[OperationRow]:  # noqa: A002 -- AIP's word
        """One page of operations, oldest first.

        Args:
            project: only this project's; "" for the site's own; None for all.
            filter: see `services.runtime.filters`; fields are ``done`` (true, false) and ``subject``.
        """
        where, values = ["1 = 1"], list[object]()
        if project is not None:
            where.append("project = ?")
            values.append(project)
        for term in filters.parse(filter, ("done", "subject")):
            where.append(f"{term.field} {'=' if term.op == '=' else '<>'} ?")
            values.append(_truth(term.value) if term.field == "done" else term.value)
        if page.after:
            moment, _, name = page.after.partition(":")
            where.append("(create_time, name) > (?, ?)")
            values += [int(moment), name]
        found = tx.all(
            f"SELECT * FROM operations WHERE {' AND '.join(where)} ORDER BY create_time, name LIMIT ?",
            (*values, page.size + 1),
        )
        rows = [_row(row) for row in found[: page.size]]
        more = len(found) > page.size
        return Page(rows, f"{to_micros(rows[-1].create_time)}:{rows[-1].name}" if more else "")


def _truth(text: str) -> int:
    if text not in ("true", "false"):
        raise InvalidField("filter", f"done is true or false, not {text[:40]!r}")
    return int(text == "true")


def _row(row: Row) -> OperationRow:
    return OperationRow(
        name=row["name"],
        project=row["project"],
        subject=row["subject"],
        done=bool(row["done"]),
        metadata=bytes(row["metadata"]),
        response=None if row["response"] is None else bytes(row["response"]),
        error=None if row["error"] is None else bytes(row["error"]),
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
    )


def to_operation(row: OperationRow) -> operations_pb2.Operation:
    """*row* as callers see it."""
    operation = operations_pb2.Operation(name=row.name, metadata=AnyMessage.FromString(row.metadata), done=row.done)
    if row.error is not None:
        operation.error.CopyFrom(status_pb2.Status.FromString(row.error))
    elif row.response is not None:
        operation.response.CopyFrom(AnyMessage.FromString(row.response))
    return operation


Cancel = Callable[[Call, OperationRow], None]
"""Asks for the end of an operation; it ends by itself later, as cancelled or done. Raises WrongState if it cannot."""

Refresh = Callable[[Transaction, OperationRow], OperationRow]
"""Brings the metadata of an operation up to date when it is read."""


class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # it has no stubs
    """The Operations service for one service's own operations.

    Args:
        cancel: what CancelOperation does; None: nothing can be cancelled.
        refresh: what to do with a row before it is shown.
    """

    def __init__(
        self,
        database: Database,
        store: OperationStore,
        page_tokens: PageTokens,
        *,
        cancel: Cancel | None = None,
        refresh: Refresh | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._page_tokens = page_tokens
        self._cancel = cancel
        self._refresh = refresh

    def GetOperation(  # noqa: N802 -- the contract's name, as below
        self, request: operations_pb2.GetOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Answers one operation as it is now."""
        return to_operation(self._find(current_call(), request.name))

    def ListOperations(  # noqa: N802
        self, request: operations_pb2.ListOperationsRequest, context: grpc.ServicerContext
    ) -> operations_pb2.ListOperationsResponse:
        """Answers operations of a project (``name`` = ``projects/{p}``), of the site (``operations``), or all ("")."""
        call = current_call()
        project = self._listed(call, request.name.removesuffix("/operations"))
        page = self._page_tokens.request(request, call, request.name, request.filter)
        found = self._database.read(lambda tx: self._shown(tx, project, page, request.filter))
        return operations_pb2.ListOperationsResponse(
            operations=[to_operation(row) for row in found.rows],
            next_page_token=self._page_tokens.next(found.next_after, call, request.name, request.filter),
        )

    def WaitOperation(  # noqa: N802
        self, request: operations_pb2.WaitOperationRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Answers when the operation is done, or as it is after ``timeout``, at most 30 s (also without)."""
        call = current_call()
        wait = MAX_WAIT
        if request.HasField("timeout"):
            wait = min(wait, request.timeout.seconds + request.timeout.nanos / 1e9)
        row = self._store.news.look(lambda: self._find(call, request.name), lambda found: found.done, wait)
        return to_operation(row)

    def CancelOperation(  # noqa: N802
        self, request: operations_pb2.CancelOperationRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Asks for the end of an operation; an operation that is done stays as it is."""
        call = current_call()
        row = self._find(call, request.name)
        if not self._may_write(call, row):
            msg = f"{call.caller.subject} may not cancel {row.name}"
            raise Forbidden(msg, remedy="Ask a member of the project or the administrator.", name=row.name)
        if row.done:
            return Empty()
        if self._cancel is None:
            msg = f"{row.name} cannot be cancelled"
            raise WrongState(msg, remedy="Wait until it is done, then use the verb that undoes it.", subject=row.name)
        self._cancel(call, row)
        return Empty()

    def DeleteOperation(  # noqa: N802
        self, request: operations_pb2.DeleteOperationRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Refuses: operations are part of what can be proven later."""
        row = self._find(current_call(), request.name)
        msg = f"{row.name} is kept: operations are not deleted"
        raise WrongState(msg, remedy="Leave it; to end one that is under way, use CancelOperation.", subject=row.name)

    def _shown(self, tx: Transaction, project: str | None, page: PageRequest, filter_: str) -> Page[OperationRow]:
        found = self._store.list(tx, project, page, filter_)
        if self._refresh is None:
            return found
        return Page([self._refresh(tx, row) for row in found.rows], found.next_after)

    def _find(self, call: Call, name: str) -> OperationRow:
        def find(tx: Transaction) -> OperationRow:
            row = self._store.get(tx, name)
            return row if self._refresh is None else self._refresh(tx, row)

        # The name is parsed first, so that a malformed one is told as such; whom it belongs to is in the row.
        (PROJECT_OPERATION if name.startswith("projects/") else OPERATION).parse(name)
        row = self._database.read(find)
        if not self._may_read(call, row):
            msg = f"{name} does not exist"
            raise NotFound(msg, name=name)
        return row

    @staticmethod
    def _listed(call: Call, name: str) -> str | None:
        site = bool(call.caller.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER})
        if name in ("", "operations", "projects/-"):
            if not site:
                raise InvalidField("name", "must name a project", remedy="Give projects/{project}.")
            return "" if name == "operations" else None
        (project,) = PROJECT.parse(name)
        call.caller.require_read(project, name)
        return project

    @staticmethod
    def _may_read(call: Call, row: OperationRow) -> bool:
        if row.project:
            return call.caller.may_read(row.project)
        return bool(call.caller.site_roles & {Role.ADMIN, Role.SERVICE, Role.READER})

    @staticmethod
    def _may_write(call: Call, row: OperationRow) -> bool:
        if row.project:
            return call.caller.may_write(row.project)
        return bool(call.caller.site_roles & {Role.ADMIN, Role.SERVICE})
