# SPDX-License-Identifier: Apache-2.0
"""Queries: what each operator means, in which order rows come, and that nothing is answered in part."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.errors import InvalidField
from services.runtime.database import Database
from telemetry import query
from telemetry.query import rows as running
from telemetry.query.terms import Op
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO, SANDESH_MODULE_CLIENT_TRACE
from telemetry.store import analytics
from telemetry.translate import object_log
from tests.telemetry.builders import OTHER, SERVER, T0, followed, received

HOST_2 = Identity("host-2", "another", "Compute", "1")
COLUMNS = {"MessageTable": list(query.MESSAGE_COLUMNS), "ObjectServerTable": list(query.OBJECT_COLUMNS)}


@pytest.fixture
def filled(database: Database) -> Database:
    """Seven messages of two generators about two servers and one generator."""
    messages = [
        received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}, time=T0),
        received(IRONIC_NODE_INFO, {"data": {"name": OTHER, "driver": "redfish"}}, time=T0 + 1),
        received(IRONIC_NODE_INFO, {"data": {"name": OTHER, "driver": "x"}}, sender=HOST_2, time=T0 + 1),
        received(SANDESH_MODULE_CLIENT_TRACE, {"data": {"name": "g", "sm_queue_count": 1}}, time=T0 + 2),
        *(
            received(BMS_LIFECYCLE_EVENT_LOG, object_log(followed(position=each)), time=T0 + 2 + each)
            for each in (1, 2, 3)
        ),
    ]
    database.transact(lambda tx: analytics.store(tx, [(each, T0 * 2) for each in messages]), label="test")
    return database


def rows(database: Database, table: str = "MessageTable", **asked: Any) -> list[dict[str, Any]]:
    whole = {"table": table, "start_time": 0, "end_time": T0 * 2, "select_fields": COLUMNS[table], **asked}
    parsed = query.parse(whole, T0)
    return database.read(lambda tx: query.run(tx, parsed))


@pytest.mark.parametrize(
    ("table", "name", "op", "value", "last", "count"),
    [
        ("MessageTable", "Source", Op.EQUAL, "host-2", None, 1),
        ("MessageTable", "Source", Op.NOT_EQUAL, "host-2", None, 6),
        ("MessageTable", "Source", Op.IN_RANGE, "host-1", "host-1z", 6),
        ("MessageTable", "Source", Op.NOT_IN_RANGE, "host-1", "host-1z", 1),
        ("MessageTable", "Messagetype", Op.PREFIX, "Ironic", None, 3),
        ("MessageTable", "Messagetype", Op.CONTAINS, "ronicN", None, 3),
        ("MessageTable", "Messagetype", Op.REGEX, "(Ironic|Sandesh).*", None, 4),
        ("MessageTable", "Messagetype", Op.REGEX, "Ironic", None, 0),
        ("MessageTable", "Xmlmessage", Op.CONTAINS, "redfish", None, 1),
        ("MessageTable", "Xmlmessage", Op.REGEX, r".*>(ipmi|redfish)</.*", None, 2),
        ("MessageTable", "MessageTS", Op.LEQ, T0 + 1, None, 3),
        ("MessageTable", "MessageTS", Op.GEQ, str(T0 + 3), None, 3),
        ("MessageTable", "MessageTS", Op.IN_RANGE, T0 + 1, T0 + 2, 3),
        ("MessageTable", "MessageTS", Op.NOT_IN_RANGE, T0 + 1, T0 + 2, 4),
        ("MessageTable", "Type", Op.EQUAL, "7", None, 3),
        ("MessageTable", "NodeType", Op.EQUAL, "Compute", None, 1),
        ("ObjectServerTable", "ObjectId", Op.EQUAL, OTHER, None, 2),
        ("ObjectServerTable", "ObjectId", Op.NOT_EQUAL, OTHER, None, 4),
        ("ObjectServerTable", "ObjectId", Op.PREFIX, SERVER[:-1], None, 6),
        ("ObjectServerTable", "ObjectId", Op.PREFIX, "%", None, 0),
        ("ObjectServerTable", "ObjectLog", Op.CONTAINS, "<driver", None, 3),
        ("ObjectServerTable", "SystemLog", Op.CONTAINS, "<driver", None, 0),
        ("ObjectServerTable", "SystemLog", Op.NOT_EQUAL, "x", None, 6),
    ],
)
@pytest.mark.parametrize("clause", ["where", "filter"])
def test_operators(
    filled: Database, clause: str, table: str, name: str, op: Op, value: Any, last: Any, count: int
) -> None:
    """
    Each operator finds as many in ``where`` as in ``filter``.
    """
    term = {"name": name, "value": value, "op": int(op)} | ({} if last is None else {"value2": last})

    assert len(rows(filled, table, **{clause: [[term]]})) == count


def test_alternatives_conjunctions_and_both_clauses(filled: Database) -> None:
    """
    A list of lists is any of them, each whole; one plain list is a conjunction; ``filter`` narrows ``where``.
    """
    of_type = {"name": "Messagetype", "value": "IronicNodeInfo", "op": 1}
    of_host = {"name": "Source", "value": "host-2", "op": "1"}
    log = {"name": "Messagetype", "value": "BmsLifecycleEventLog", "op": 1}

    assert len(rows(filled, where=[[of_type], [log]])) == 6
    assert len(rows(filled, where=[[of_type, of_host]])) == 1
    assert len(rows(filled, where=[[of_type]], filter=[of_host])) == 1
    assert len(rows(filled, where=[[of_type], []])) == 7


def test_a_message_about_two_servers_is_two_rows(database: Database) -> None:
    """
    A condition on the object chooses among the rows, not only among the messages.
    """
    one = received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "x"}}, time=T0)

    def write(tx: Any) -> None:
        analytics.store(tx, [(one, T0 * 2)])
        sql = (
            "INSERT INTO message_objects (object_table, object_key, message, seen_time)"
            " SELECT ?, ?, id, seen_time FROM messages"
        )
        tx.execute(sql, ("ObjectServerTable", OTHER))

    database.transact(write, label="test")
    term = {"name": "ObjectId", "value": OTHER, "op": 1}

    assert [row["ObjectId"] for row in rows(database, "ObjectServerTable")] == [SERVER, OTHER]
    assert [row["ObjectId"] for row in rows(database, "ObjectServerTable", where=[[term]])] == [OTHER]
    assert [row["ObjectId"] for row in rows(database, "ObjectServerTable", where=[[term | {"op": 2}]])] == [SERVER]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("fields", [[], ["MessageTS"], ["Messagetype"], ["Source", "MessageTS"], ["SequenceNum"]])
def test_order_and_limit(filled: Database, fields: list[str], descending: bool) -> None:
    """
    By the columns named, else by time; the limit takes the first of that order, whatever came first.
    """
    asked: Any = {"sort_fields": fields, "sort": 2 if descending else 1}
    every = rows(filled, **asked)
    by = fields or ["MessageTS"]
    keys = [tuple(row[name] for name in by) for row in every]

    assert len(every) == 7
    assert keys == sorted(keys, reverse=descending)
    assert [rows(filled, limit=size, **asked) for size in (1, 3)] == [every[:1], every[:3]]


def test_pages_are_read_without_loss(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However small the pages that the store is read in, each row is there once.
    """
    every, newest = rows(filled), rows(filled, sort=2)
    monkeypatch.setattr(running, "_PAGE", 2)

    assert rows(filled) == every
    assert rows(filled, sort=2) == newest
    assert len(rows(filled, filter=[{"name": "Messagetype", "value": "B.*", "op": 8}])) == 3


@pytest.mark.parametrize(("name", "value"), [("MOST_READ", 4), ("MOST_SECONDS", -1.0)])
def test_no_answer_is_a_part_of_the_whole(
    filled: Database, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    """
    A query that would read too much, or for too long, is refused with what narrows it.
    """
    monkeypatch.setattr(running, "_PAGE", 2)
    monkeypatch.setattr(running, name, value)
    with pytest.raises(InvalidField) as caught:
        rows(filled, filter=[{"name": "Messagetype", "value": "B.*", "op": 8}])

    assert "Narrow the time" in caught.value.remedy


_OPS: dict[Op, Callable[[Any, Any, Any], bool]] = {
    Op.EQUAL: lambda given, value, _: given == value,
    Op.NOT_EQUAL: lambda given, value, _: given != value,
    Op.IN_RANGE: lambda given, value, last: value <= given <= last,
    Op.NOT_IN_RANGE: lambda given, value, last: not value <= given <= last,
    Op.LEQ: lambda given, value, _: given <= value,
    Op.GEQ: lambda given, value, _: given >= value,
    Op.PREFIX: lambda given, value, _: given[: len(value)] == value,
    Op.REGEX: lambda given, value, _: re.fullmatch(re.escape(value) + ".*", given, re.DOTALL) is not None,
    Op.CONTAINS: lambda given, value, _: given.find(value) >= 0,
}
_TEXTS = ("Source", "Messagetype", "ModuleId", "NodeType")
_NUMBERS = ("MessageTS", "Type", "Level", "SequenceNum")
_text_term = st.tuples(
    st.sampled_from(_TEXTS),
    st.sampled_from([op for op in Op if op not in {Op.LEQ, Op.GEQ}]),
    st.sampled_from(["host-1", "host-2", "h", "Ironic", "IronicNodeInfo", "another", "Config"]),
    st.sampled_from(["host-2", "z"]),
)
_number_term = st.tuples(
    st.sampled_from(_NUMBERS),
    st.sampled_from([Op.EQUAL, Op.NOT_EQUAL, Op.IN_RANGE, Op.NOT_IN_RANGE, Op.LEQ, Op.GEQ]),
    st.sampled_from([0, 1, 5, 6, 7, T0, T0 + 1, T0 + 3]),
    st.sampled_from([6, 7, T0 + 2]),
)
_clause = st.lists(st.lists(_text_term | _number_term, min_size=1, max_size=3), max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=_clause, narrowed=_clause)
def test_sql_leaves_nothing_out(filled: Database, where: Any, narrowed: Any) -> None:
    """
    Rows are those of everything for which the clauses hold, read plainly.
    """

    def given_as(clause: Any) -> Any:
        return [
            [
                {"name": name, "op": int(op), "value": value + ".*" if op is Op.REGEX else value}
                | ({"value2": last} if op in {Op.IN_RANGE, Op.NOT_IN_RANGE} else {})
                for name, op, value, last in terms
            ]
            for terms in clause
        ]

    def holds(clause: Any, row: dict[str, Any]) -> bool:
        return not clause or any(
            all(_OPS[op](row[name], value, last) for name, op, value, last in terms) for terms in clause
        )

    found = rows(filled, where=given_as(where), filter=given_as(narrowed))

    assert found == [row for row in rows(filled) if holds(where, row) and holds(narrowed, row)]
