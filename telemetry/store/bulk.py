# SPDX-License-Identifier: Apache-2.0
"""Many rows in one statement.

SQLite runs in our process, and takes them one after the other. PostgreSQL is a round trip away for each: it gets all of
them as one text in JSON, which it takes apart itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import orjson

from services.runtime.database import Row, Transaction

Columns = Mapping[str, str]
"""Columns, each with its type in PostgreSQL."""

BYTES: Final = "bytea"


def insert(tx: Transaction, table: str, columns: Columns, rows: Iterable[Sequence[object]], conflict: str = "") -> None:
    """Inserts *rows*, or does what *conflict* (a clause of INSERT) says.

    Args:
        rows: values in the order of *columns*; bytes for `BYTES`.
    """
    if tx.dialect == "sqlite":
        tx.many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) {conflict}", rows)
    elif told := _told(columns, rows):
        tx.execute(f"{_insert(table, columns)} {conflict}", (told,))


def insert_returning(
    tx: Transaction, table: str, columns: Columns, rows: Iterable[Sequence[object]], conflict: str, returning: str
) -> list[Row]:
    """The same; answers the columns *returning* of what was inserted."""
    if tx.dialect == "sqlite":
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        found = (tx.one(f"{sql} {conflict} RETURNING {returning}", row) for row in rows)
        return [row for row in found if row is not None]
    told = _told(columns, rows)
    return tx.all(f"{_insert(table, columns)} {conflict} RETURNING {returning}", (told,)) if told else []


def _insert(table: str, columns: Columns) -> str:
    values = ", ".join(f"decode({name}, 'hex')" if type_ == BYTES else name for name, type_ in columns.items())
    shape = ", ".join(f"{name} {'text' if type_ == BYTES else type_}" for name, type_ in columns.items())
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"
        f" SELECT {values} FROM json_to_recordset(?::json) AS told ({shape})"
    )


def _told(columns: Columns, rows: Iterable[Sequence[object]]) -> str:
    """*rows* in JSON; empty if there are none."""
    told = [
        {name: value.hex() if isinstance(value, bytes) else value for name, value in zip(columns, row, strict=True)}
        for row in rows
    ]
    return orjson.dumps(told).decode() if told else ""
