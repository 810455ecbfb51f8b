# SPDX-License-Identifier: Apache-2.0
"""Many rows in one statement are the rows that were given, over either database."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.database import Database, Transaction
from telemetry.store import bulk

COLUMNS = {"message_type": "text", "event_id": "text", "source": "text", "time": "bigint", "frame": bulk.BYTES}
REST = dict.fromkeys(("module", "node_type", "instance", "category"), "text")
NUMBERS = {**dict.fromkeys(("seen_time", "expire_time", "sequence", "level"), "bigint"), "kind": "integer"}
_texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
_numbers = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            _texts, st.none() | st.uuids().map(str), _texts, st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40)
        ),
        max_size=5,
        unique_by=lambda row: row[1] or id(row),
    )
)
@pytest.mark.parametrize("how", ["insert", "load"])
def test_what_is_inserted_is_what_was_given(database: Database, how: str, rows: list[tuple[object, ...]]) -> None:
    """
    Texts of any characters, numbers of 64 bits, any bytes, and nothing at all.
    """

    def write(tx: Transaction) -> None:
        tx.execute("DELETE FROM messages")
        if how == "load":
            tx.load("messages", columns, whole)
        else:
            bulk.insert(tx, "messages", columns, whole)

    columns = {**COLUMNS, **REST, **NUMBERS}
    whole = [(*row, *[""] * len(REST), *[0] * len(NUMBERS)) for row in rows]
    database.transact(write, label="test")
    found = database.read(lambda tx: tx.all(f"SELECT {', '.join(COLUMNS)} FROM messages ORDER BY id"))
    got = [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row.values()) for row in found]

    assert got == rows


def test_what_was_inserted_is_answered(database: Database) -> None:
    """
    Of rows that are there already, or twice among the given, nothing is answered the second time.
    """
    columns = {"name": "text", "revision": "bigint"}

    def write(tx: Transaction) -> list[str]:
        rows = [("last", 5), ("new", 1), ("new", 2)]
        found = bulk.insert_returning(tx, "uve_revisions", columns, rows, "ON CONFLICT DO NOTHING", "name")
        return [row["name"] for row in found]

    assert database.transact(write, label="test") == ["new"]


def test_the_clause_decides_about_each_row(database: Database) -> None:
    """
    Rows that are there already are changed where the clause says so, the others stay.
    """
    columns = {"name": "text", "revision": "bigint"}
    clause = (
        "ON CONFLICT (name) DO UPDATE SET revision = excluded.revision WHERE uve_revisions.revision < excluded.revision"
    )
    rows = [("last", -1), ("forgotten", 7), ("more", 1)]
    database.transact(lambda tx: bulk.insert(tx, "uve_revisions", columns, rows, clause), label="test")
    found = database.read(lambda tx: tx.all("SELECT name, revision FROM uve_revisions"))

    assert {row["name"]: row["revision"] for row in found} == {"last": 0, "forgotten": 7, "more": 1}
