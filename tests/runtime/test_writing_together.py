# SPDX-License-Identifier: Apache-2.0
"""Several requests carried out in one transaction: each once, with its own answer, or none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bms.event.v1 import event_pb2
from services.kernel.calls import Call
from services.kernel.errors import DeadlineExceeded
from services.runtime.database import Database, Transaction, UniqueViolation
from services.runtime.writing import KEPT, Replies, Writer
from tests.runtime.test_writing import CALL, ID, Verb, count, request
from tests.support.stores import MakeDatabase

IDS = [f"{ID[:-3]}{number}" for number in range(100, 180)]

Several = Callable[[Transaction, Sequence[int]], Mapping[int, event_pb2.EventHeader]]


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database("tests.runtime.sample")


@pytest.fixture
def writer(database: Database) -> Writer:
    return Writer(database, Replies(b"k" * 32))


def calls(*ids: str) -> list[tuple[Call, event_pb2.EventBody]]:
    return [(replace(CALL, request_id=one), request(one)) for one in ids]


def put(*left_out: int, then: Callable[[Transaction], object] | None = None) -> Several:
    """Writes a note for each but *left_out*, and answers with its place."""

    def several(tx: Transaction, new: Sequence[int]) -> dict[int, event_pb2.EventHeader]:
        answers = {}
        for place in new:
            if place not in left_out:
                Verb(f"note {place}")(tx)
                answers[place] = event_pb2.EventHeader(sequence=place + 1)
        if then is not None:
            then(tx)
        return answers

    return several


def sequences(answers: Sequence[event_pb2.EventHeader | None]) -> list[int | None]:
    return [answer and answer.sequence for answer in answers]


def test_each_has_his_own_answer_and_keeps_it(database: Database, writer: Writer) -> None:
    """
    Each of several requests is answered with what is its own, and again so when it is repeated; one without an id is
    answered and not kept.
    """
    asked = calls(IDS[0], "", IDS[1])
    assert sequences(writer.together(asked, put())) == [1, 2, 3]
    assert count(database, "replies") == 2

    for (call, body), number in ((asked[0], 1), (asked[2], 3)):
        assert writer.once(call, body, Verb("never")).sequence == number
    assert count(database, "notes") == 3


def test_what_is_not_new_is_left_out(database: Database, writer: Writer) -> None:
    """
    A request that was answered before, the second of two with one id, one whose id is no UUID, one whose caller has
    gone, and one that the verb leaves out have no answer; nothing is written for them.
    """
    writer.once(*calls(IDS[0])[0], Verb("before"))
    gone = replace(CALL, request_id=IDS[5], awaited=lambda: False)
    asked = [*calls(IDS[0], IDS[1], IDS[1].upper(), "no uuid", IDS[2], IDS[3]), (gone, request())]

    assert sequences(writer.together(asked, put(5))) == [None, 2, None, None, 5, None, None]
    assert (count(database, "notes"), count(database, "replies")) == (3, 3)


def test_an_old_answer_is_left_to_who_goes_alone(database: Database, writer: Writer) -> None:
    """
    An answer that need not be kept any longer still leaves its request out: `once` drops it.
    """
    ((call, body),) = calls(IDS[0])
    writer.once(call, body, Verb("before"))
    later = replace(call, now=call.now + KEPT + timedelta(seconds=1))

    assert writer.together([(later, body)], put()) == [None]
    assert writer.once(later, body, Verb("again")).id == "again"


def test_one_who_gives_up_meanwhile_undoes_all(database: Database, writer: Writer) -> None:
    """
    Nothing is written for a caller who no longer waits when all is done: so for none of them, until each goes alone.
    """
    still = [True, False]
    giving_up = replace(CALL, request_id=IDS[1], awaited=lambda: still.pop(0))

    with pytest.raises(DeadlineExceeded):
        writer.together([*calls(IDS[0]), (giving_up, request())], put())
    assert (count(database, "notes"), count(database, "replies"), still) == (0, 0, [])


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_one_answered_meanwhile_undoes_all(database: Database, writer: Writer) -> None:
    """
    Whoever was answered elsewhere after it was looked undoes all; SQLite's writers follow one another.
    """
    asked = calls(IDS[0], IDS[1])

    with pytest.raises(UniqueViolation):
        writer.together(asked, put(then=lambda _tx: writer.once(*asked[1], Verb("elsewhere"))))
    assert (count(database, "notes"), count(database, "replies")) == (1, 1)


def test_old_answers_go_here_too(database: Database, writer: Writer) -> None:
    """
    Now and then old answers are dropped, however many are kept at a time.
    """
    writer.once(*calls(ID)[0], Verb("old"))
    later = [(replace(call, now=call.now + KEPT + timedelta(hours=1)), body) for call, body in calls(*IDS[:70])]
    assert None not in writer.together(later, put())

    assert count(database, "replies") == 70
