# SPDX-License-Identifier: Apache-2.0
"""A request is carried out once, with one answer, and a check writes nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from bms.event.v1 import event_pb2
from services.kernel.calls import Call
from services.kernel.errors import Busy, DeadlineExceeded, InvalidField, WrongState
from services.runtime.database import Database, Transaction
from services.runtime.writing import KEPT, Replies, Writer
from tests.support.clocks import START
from tests.support.stores import MakeDatabase
from tests.support.wire import admin, member

ID = "6f1c2a52-9a2f-4b6e-8f6e-1f2d3c4b5a69"
CALL = Call(caller=admin(), method="/bms.x.v1.X/CreateNote", correlation="c", now=START, request_id=ID)


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database("tests.runtime.sample")


@pytest.fixture
def writer(database: Database) -> Writer:
    return Writer(database, Replies(b"k" * 32))


def request(name: str = "one") -> event_pb2.EventBody:
    return event_pb2.EventBody(message=name, facts={"b": "1", "a": "2"})


class Verb:
    """Writes a note, and answers with the number of times it did."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.runs = 0

    def __call__(self, tx: Transaction) -> event_pb2.EventHeader:
        self.runs += 1
        name = self.name or f"note{self.runs}"
        tx.execute("INSERT INTO notes (name, version, text) VALUES (?, 1, '')", (name,))
        return event_pb2.EventHeader(id=name, sequence=self.runs)


def count(database: Database, table: str) -> int:
    row = database.read(lambda tx: tx.one(f"SELECT count(*) AS n FROM {table}"))
    return row["n"] if row else -1


def test_the_same_request_gets_the_same_answer(database: Database, writer: Writer) -> None:
    """
    Repeated with its request_id, a request does nothing and is answered what it was answered before, in the same type.
    """
    verb = Verb()
    first = writer.once(CALL, request(), verb)
    again = writer.once(replace(CALL, request_id=ID.upper()), request(), verb)

    assert again == first == event_pb2.EventHeader(id="note1", sequence=1)
    assert (verb.runs, count(database, "notes")) == (1, 1)


@pytest.mark.parametrize("request_id", [ID, ""])
def test_nothing_is_done_for_a_caller_who_gave_up(database: Database, writer: Writer, request_id: str) -> None:
    """
    A process that stood still goes on with a request whose deadline is over: nothing is written, no answer is kept, and
    the same request goes through when it is sent again.
    """
    verb = Verb()
    gone = replace(CALL, request_id=request_id, awaited=lambda: False)
    with pytest.raises(DeadlineExceeded, match="gave up"):
        writer.once(gone, request(), verb)
    assert (count(database, "notes"), count(database, "replies")) == (0, 0)

    assert writer.once(replace(gone, awaited=lambda: True), request(), verb).id == "note2"


def test_an_answer_can_be_had_before_anybody_is_asked(database: Database, writer: Writer) -> None:
    """
    What was answered before is found without running the verb; a new request, a check, and one without an id have none;
    another request with the same id is refused, an old answer is forgotten.
    """
    assert writer.earlier(CALL, request()) is None
    first = writer.once(CALL, request(), Verb())

    assert writer.earlier(CALL, request()) == first
    assert writer.earlier(replace(CALL, validate_only=True), request()) is None
    assert writer.earlier(replace(CALL, request_id=""), request()) is None
    assert writer.earlier(replace(CALL, now=START + KEPT + timedelta(seconds=1)), request()) is None
    with pytest.raises(InvalidField):
        writer.earlier(CALL, request("two"))
    with pytest.raises(InvalidField):
        writer.earlier(replace(CALL, request_id="x"), request())


def test_a_request_that_was_answered_prepares_nothing(database: Database, writer: Writer) -> None:
    """
    What comes before the transaction is done until its answer is kept, and not again; a refusal keeps none.
    """
    done: list[str] = []
    verb = Verb("one")

    def prepare() -> str:
        done.append("asked")
        if len(done) == 1:
            msg = "not now"
            raise WrongState(msg)
        return "found"

    def record(tx: Transaction, found: str) -> event_pb2.EventHeader:
        assert found == "found"
        return verb(tx)

    with pytest.raises(WrongState):
        writer.prepared(CALL, request(), prepare, record)
    first = writer.prepared(CALL, request(), prepare, record)

    assert writer.prepared(CALL, request(), prepare, record) == first
    assert (len(done), verb.runs, count(database, "notes")) == (2, 1, 1)


def test_without_an_id_each_request_counts(database: Database, writer: Writer) -> None:
    """
    Requests without a request_id are carried out each time, and no answer is kept.
    """
    verb = Verb()
    for _ in range(2):
        writer.once(replace(CALL, request_id=""), request(), verb)

    assert (verb.runs, count(database, "replies")) == (2, 0)


def test_another_request_with_the_same_id_is_refused(writer: Writer) -> None:
    """
    A request_id used for another content is InvalidField, and the content is not told.
    """
    writer.once(CALL, request("one"), Verb())

    with pytest.raises(InvalidField) as caught:
        writer.once(CALL, request("two"), Verb("two"))

    assert caught.value.facts["field"] == "request_id"
    assert "one" not in str(caught.value)


def test_ids_are_the_callers_own(database: Database, writer: Writer) -> None:
    """
    The same id of another caller, or for another method, is another request.
    """
    verb = Verb()
    writer.once(CALL, request(), verb)
    writer.once(replace(CALL, caller=member()), request(), verb)
    writer.once(replace(CALL, method="/bms.x.v1.X/UpdateNote"), request(), verb)

    assert verb.runs == 3


@pytest.mark.parametrize("given", ["x", "6f1c2a529a2f4b6e8f6e1f2d3c4b5a69", "{6f1c2a52-9a2f-4b6e-8f6e-1f2d3c4b5a69}"])
def test_an_id_is_a_uuid(writer: Writer, given: str) -> None:
    """
    A request_id that is no canonical UUID is refused.
    """
    with pytest.raises(InvalidField):
        writer.once(replace(CALL, request_id=given), request(), Verb())


def test_refusals_are_not_kept(database: Database, writer: Writer) -> None:
    """
    A refused request may go through later under the same id.
    """

    def refuse(_tx: Transaction) -> event_pb2.EventHeader:
        raise WrongState("not now")

    with pytest.raises(WrongState):
        writer.once(CALL, request(), refuse)
    verb = Verb()
    writer.once(CALL, request(), verb)

    assert verb.runs == 1


def test_a_check_writes_nothing(database: Database, writer: Writer) -> None:
    """
    With validate_only the answer is the one that would be given; no row, no reply and no wake-up stay.
    """
    woken: list[int] = []

    def verb(tx: Transaction) -> event_pb2.EventHeader:
        tx.after_commit(lambda: woken.append(1))
        return Verb("checked")(tx)

    answer = writer.once(replace(CALL, validate_only=True), request(), verb)

    assert answer.id == "checked"
    assert (count(database, "notes"), count(database, "replies"), woken) == (0, 0, [])
    assert writer.once(CALL, request(), verb).id == "checked"


def test_an_id_is_forgotten_after_a_day(database: Database, writer: Writer) -> None:
    """
    A day later the same id is a new request, and old answers are purged on the way.
    """
    verb = Verb()
    writer.once(CALL, request(), verb)
    writer.once(replace(CALL, now=START + KEPT + timedelta(seconds=1)), request(), verb)
    assert verb.runs == 2

    for number in range(70):
        late = replace(
            CALL, now=START + KEPT * 3, request_id=f"00000000-0000-4000-8000-{number:012}", method=f"/m/{number}"
        )
        writer.once(late, request(), verb)
    assert count(database, "replies") == 70


def test_requests_are_kept_as_macs_alone(database: Database, writer: Writer) -> None:
    """
    What a request says, which may be a password, is not in the table of replies.
    """
    writer.once(CALL, request("hunter2-hunter2"), Verb())

    (row,) = database.read(lambda tx: tx.all("SELECT * FROM replies"))
    assert b"hunter2" not in b"".join(bytes(value) for value in row.values() if isinstance(value, bytes | memoryview))


def test_the_same_request_twice_at_once(database: Database, writer: Writer) -> None:
    """
    Sent twice at the same moment, it is carried out once; the other gets the same answer, or is told to come again.
    """
    inside = threading.Barrier(4)

    def send(_: int) -> str:
        inside.wait(10)
        try:
            return writer.once(CALL, request(), Verb("once")).id
        except Busy:
            return "busy"

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))

    assert set(answers) <= {"once", "busy"}
    assert "once" in answers
    assert count(database, "notes") == 1
