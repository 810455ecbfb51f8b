# SPDX-License-Identifier: Apache-2.0
"""Many rows in one statement are the rows that were given, over either database."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.database import Database
from telemetry.store import bulk

COLUMNS = {"message_type": "text", "event_id": "text", "source": "text", "time": "bigint", "frame": bulk.BYTES}
REST = dict.fromkeys(("module", "node_type", "instance", "category"), "text")
NUMBERS = dict.fromkeys(("seen_time", "expire_time", "sequence", "kind", "level"), "bigint")
_texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
_numbers = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            _texts, st.none() | st.uuids().map(str), _texts, st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40)
        ),
        max_size=5,
    )
)
def test_what_is_inserted_is_what_was_given(database: Database, rows: list[tuple[object, ...]]) -> None:
    """
    Texts of any characters, numbers of 64 bits, any bytes, and nothing at all.
    """
    columns = {**COLUMNS, **REST, **NUMBERS}
    whole = [(*row, *[""] * len(REST), *[0] * len(NUMBERS)) for row in rows]
    database.transact(lambda tx: tx.execute("DELETE FROM messages"), label="test")
    database.transact(lambda tx: bulk.insert(tx, "messages", columns, whole, "ON CONFLICT DO NOTHING"), label="test")
    found = database.read(lambda tx: tx.all(f"SELECT {', '.join(COLUMNS)} FROM messages ORDER BY id"))
    got = [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row.values()) for row in found]
    distinct = {(row[0], row[1]): row for row in reversed(rows) if row[1] is not None}

    assert got == [row for row in rows if row[1] is None or distinct[row[0], row[1]] is row]


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
