# SPDX-License-Identifier: Apache-2.0
"""Operations: seen by those who may, waited for, never lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
from google.longrunning import operations_pb2 as lro
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2

from services.kernel.calls import Caller
from services.kernel.errors import NotFound
from services.runtime.database import Database
from services.runtime.operations import OperationRow, OperationsServicer, OperationStore, operation_name
from services.runtime.page_tokens import PageTokens
from tests.support.clocks import START, SequentialIds
from tests.support.stores import MakeDatabase
from tests.support.wire import Wire, admin, auditor, fields, member, reader, remedy

IDS = SequentialIds()
PACKED = AnyMessage()
PACKED.Pack(Duration(seconds=7))


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database("tests.runtime.sample")


@pytest.fixture
def store() -> OperationStore:
    return OperationStore()


@pytest.fixture
def servicer(database: Database, store: OperationStore) -> OperationsServicer:
    return OperationsServicer(database, store, PageTokens(b"k"))


@pytest.fixture
def wire(servicer: OperationsServicer) -> Wire:
    return Wire(servicer, admin())


def operation(number: int = 0, project: str = "demo") -> OperationRow:
    return OperationRow(
        name=operation_name("lifecycle", IDS.uuid(), project),
        project=project,
        subject=f"servers/{number}",
        done=False,
        metadata=PACKED.SerializeToString(),
        response=None,
        error=None,
        create_time=START + timedelta(seconds=number),
        update_time=START,
    )


@pytest.fixture
def put(database: Database, store: OperationStore) -> Callable[..., OperationRow]:
    def make(number: int = 0, project: str = "demo") -> OperationRow:
        row = operation(number, project)
        database.transact(lambda tx: store.insert(tx, row), label="insert")
        return row

    return make


def test_a_row_comes_back_as_it_was(
    database: Database, store: OperationStore, put: Callable[..., OperationRow]
) -> None:
    """
    What was stored is read again, and may change until it is done.
    """
    row = put()
    assert database.read(lambda tx: store.get(tx, row.name)) == row
    done = replace(row, done=True, response=PACKED.SerializeToString(), update_time=START + timedelta(seconds=5))
    database.transact(lambda tx: store.update(tx, done), label="update")
    assert database.read(lambda tx: store.get(tx, row.name)) == done

    with pytest.raises(NotFound):
        database.transact(lambda tx: store.update(tx, row), label="update")
    assert database.read(lambda tx: store.get(tx, row.name)) == done


def test_outcomes_are_shown(
    database: Database, store: OperationStore, wire: Wire, put: Callable[..., OperationRow]
) -> None:
    """
    Under way: metadata alone; ended well: the response; failed: the error's status.
    """
    well, failed = put(1), put(2)
    error = status_pb2.Status(code=10, message="aborted").SerializeToString()
    database.transact(lambda tx: store.update(tx, replace(failed, done=True, error=error)), label="update")
    shown = wire.ok("GetOperation", lro.GetOperationRequest(name=well.name))
    assert (shown.done, shown.metadata, shown.WhichOneof("result")) == (False, PACKED, None)
    done = replace(well, done=True, response=PACKED.SerializeToString())
    database.transact(lambda tx: store.update(tx, done), label="update")

    assert wire.ok("GetOperation", lro.GetOperationRequest(name=well.name)).response == PACKED
    assert wire.ok("GetOperation", lro.GetOperationRequest(name=failed.name)).error.code == 10


@pytest.mark.parametrize(
    ("caller", "of_project", "of_site"),
    [
        (admin(), True, True),
        (auditor(), True, True),
        (member("demo"), True, False),
        (reader("demo"), True, False),
        (member("other"), False, False),
    ],
    ids=lambda value: value.subject if isinstance(value, Caller) else "",
)
def test_operations_exist_for_those_who_may_read_them(
    wire: Wire, put: Callable[..., OperationRow], caller: Caller, of_project: bool, of_site: bool
) -> None:
    """
    A project's operations exist for its roles and the site's; the site's own for the latter.
    """
    for row, visible in ((put(1), of_project), (put(2, ""), of_site)):
        for method in ("GetOperation", "WaitOperation", "CancelOperation", "DeleteOperation"):
            request = getattr(lro, f"{method}Request")(name=row.name)
            if method == "WaitOperation":
                request.timeout.seconds = 0
            code = wire.call(method, request, caller=caller).code
            assert (code is not grpc.StatusCode.NOT_FOUND) == visible, (method, row.name)


@pytest.mark.parametrize("name", ["", "operations", "operations/", "operations/a/b", "x/y", "projects/p/operations/ö"])
def test_malformed_names_are_invalid(wire: Wire, name: str) -> None:
    """
    A name that is no operation's names its field.
    """
    reply = wire.call("GetOperation", lro.GetOperationRequest(name=name))

    assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


def test_lists_are_paged_oldest_first(wire: Wire, put: Callable[..., OperationRow]) -> None:
    """
    Pages follow one another without loss, also when operations begin together; the token serves its filter alone.
    """
    rows = [put(number // 3) for number in range(7)]
    names: list[str] = []
    request = lro.ListOperationsRequest(name="projects/demo", page_size=2)
    while True:
        page = wire.ok("ListOperations", request)
        names += [found.name for found in page.operations]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert names == [row.name for row in sorted(rows, key=lambda row: (row.create_time, row.name))]

    request.filter = "done = true"
    assert fields(wire.call("ListOperations", request).status) == ["page_token"]


def test_lists_are_filtered(
    database: Database, store: OperationStore, wire: Wire, put: Callable[..., OperationRow]
) -> None:
    """
    By done and by subject; whose they are is the parent's say.
    """
    one, two, site = put(1), put(2), put(3, "")
    done = replace(one, done=True, response=PACKED.SerializeToString())
    database.transact(lambda tx: store.update(tx, done), label="update")

    def found(name: str, filter_: str = "") -> set[str]:
        page = wire.ok("ListOperations", lro.ListOperationsRequest(name=name, filter=filter_))
        return {operation.name for operation in page.operations}

    assert found("projects/demo", "done = true") == {one.name}
    assert found("projects/demo", "done != true") == {two.name}
    assert found("projects/demo", 'subject = "servers/2" AND done = false') == {two.name}
    assert found("operations") == {site.name}
    assert found("projects/demo/operations") == {one.name, two.name}
    assert found("") == found("projects/-") == {one.name, two.name, site.name}
    reply = wire.call("ListOperations", lro.ListOperationsRequest(filter="done = perhaps"))
    assert fields(reply.status) == ["filter"]


@pytest.mark.parametrize("name", ["", "operations", "projects/-"])
def test_tenants_list_their_project_alone(wire: Wire, name: str) -> None:
    """
    A tenant must say which project; another's does not exist for him.
    """
    reply = wire.call("ListOperations", lro.ListOperationsRequest(name=name), caller=member())
    assert fields(reply.status) == ["name"]
    foreign = wire.call("ListOperations", lro.ListOperationsRequest(name="projects/other"), caller=member())
    assert foreign.code is grpc.StatusCode.NOT_FOUND


def test_waiting_ends_with_the_operation(
    database: Database, store: OperationStore, wire: Wire, put: Callable[..., OperationRow]
) -> None:
    """
    WaitOperation answers when the operation is done, and at its timeout as it then is.
    """
    row = put()
    short = lro.WaitOperationRequest(name=row.name, timeout=Duration(nanos=1000))
    assert not wire.ok("WaitOperation", short).done
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wire.ok, "WaitOperation", lro.WaitOperationRequest(name=row.name))
        done = replace(row, done=True, response=PACKED.SerializeToString())
        database.transact(lambda tx: store.update(tx, done), label="update")
        assert waiting.result(10).done


def test_cancelling_is_the_services_say(
    database: Database, store: OperationStore, put: Callable[..., OperationRow]
) -> None:
    """
    CancelOperation asks the service; without its consent it is refused; a reader may not; what is done stays done.
    """
    asked: list[str] = []
    able = OperationsServicer(database, store, PageTokens(b"k"), cancel=lambda call, row: asked.append(row.name))
    unable = OperationsServicer(database, store, PageTokens(b"k"))
    row = put()
    request = lro.CancelOperationRequest(name=row.name)

    assert Wire(unable, member()).call("CancelOperation", request).code is grpc.StatusCode.FAILED_PRECONDITION
    assert Wire(able, reader()).call("CancelOperation", request).code is grpc.StatusCode.PERMISSION_DENIED
    assert asked == []
    assert Wire(able, member()).ok("CancelOperation", request) == Empty()
    assert asked == [row.name]
    done = replace(row, done=True, response=PACKED.SerializeToString())
    database.transact(lambda tx: store.update(tx, done), label="update")
    assert Wire(unable, member()).ok("CancelOperation", request) == Empty()


def test_operations_are_kept(wire: Wire, put: Callable[..., OperationRow]) -> None:
    """
    DeleteOperation is refused with what to do instead.
    """
    reply = wire.call("DeleteOperation", lro.DeleteOperationRequest(name=put().name))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "CancelOperation" in remedy(reply.status)


def test_metadata_is_refreshed_when_read(
    database: Database, store: OperationStore, put: Callable[..., OperationRow]
) -> None:
    """
    The service may bring an operation up to date whenever it is shown.
    """
    fresh = AnyMessage()
    fresh.Pack(Duration(seconds=99))
    servicer = OperationsServicer(
        database, store, PageTokens(b"k"), refresh=lambda _tx, row: replace(row, metadata=fresh.SerializeToString())
    )
    wire, row = Wire(servicer, admin()), put()

    assert wire.ok("GetOperation", lro.GetOperationRequest(name=row.name)).metadata == fresh
    assert wire.ok("ListOperations", lro.ListOperationsRequest()).operations[0].metadata == fresh
