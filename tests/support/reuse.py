# SPDX-License-Identifier: Apache-2.0
"""Databases of PostgreSQL that test after test has: copying a template costs a test more than most tests take.

A database is given to the next test with the rows of its first moment, unless somebody changed more than rows in it.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass

import psycopg
from psycopg import sql

# Whatever makes, alters or drops something leaves another row, of another transaction, in one of these catalogues.
_FORM = """
SELECT md5(string_agg(found, ',' ORDER BY found)) FROM (
    SELECT 'class' || oid || '/' || xmin AS found FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT 'column' || attrelid || '/' || attnum || '/' || xmin FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT 'default' || oid || '/' || xmin FROM pg_attrdef
    UNION ALL SELECT 'index' || indexrelid || '/' || xmin FROM pg_index WHERE indrelid >= 16384
    UNION ALL SELECT 'constraint' || oid || '/' || xmin FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT 'trigger' || oid || '/' || xmin FROM pg_trigger
    UNION ALL SELECT 'function' || oid || '/' || xmin FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'type' || oid || '/' || xmin FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT 'schema' || oid || '/' || xmin FROM pg_namespace
    UNION ALL SELECT 'extension' || oid || '/' || xmin FROM pg_extension
    UNION ALL SELECT 'setting' || setdatabase || '/' || setrole || '/' || xmin FROM pg_db_role_setting
        WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
) AS everything
"""
# Rows are in the parts of a partitioned table, which are tables themselves.
_TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1
"""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL
FROM pg_sequences ORDER BY 1
"""
_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class _First:
    """A database as it was copied.

    Attributes:
        form: changes with everything but rows.
        rows: what COPY says of each table.
        sequences: by name, the value and whether it was given out.
    """

    form: str
    rows: dict[str, bytes]
    sequences: dict[str, tuple[int, bool]]


class Reused:
    """The databases of one worker of a test run, on one server."""

    def __init__(self, server: str) -> None:
        """*server* is the URL of its maintenance database, with the rights of its owner."""
        self._server = server
        self._free: defaultdict[str, list[str]] = defaultdict(list)
        self._first: dict[str, _First] = {}

    def take(self, template: str) -> str:
        """The name of a database as *template* is, which nobody else has."""
        if self._free[template]:
            return self._free[template].pop()
        name = f"bms_{uuid.uuid4().hex}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            # A copy of its files has the rows of its catalogues as they are, and costs no journal.
            made = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
            connection.execute(made.format(sql.Identifier(name), sql.Identifier(template)))
        if template not in self._first:
            with self._into(name) as connection:
                self._first[template] = _look(connection)
        return name

    def give_back(self, name: str, template: str) -> None:
        """Ends whoever is still connected, and keeps the database for the next if it can be as it was."""
        with self._into(name) as connection:
            connection.execute(_OTHERS)
            same = _restore(connection, self._first[template])
        if same:
            self._free[template].append(name)
        else:
            self._drop(name)

    def close(self) -> None:
        """Drops what is free."""
        for names in self._free.values():
            while names:
                self._drop(names.pop())

    def _drop(self, name: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _into(self, name: str) -> psycopg.Connection:
        return psycopg.connect(at(self._server, name))


def at(server: str, name: str) -> str:
    """The URL of another database of the same server."""
    base, _, query = server.partition("?")
    return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def _look(connection: psycopg.Connection) -> _First:
    rows = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT".encode()) as copied:
            rows[table] = b"".join(bytes(block) for block in copied)
    return _First(_form(connection), rows, _sequences(connection))


def _restore(connection: psycopg.Connection, first: _First) -> bool:
    """Brings the rows back; answers whether that is all there was to do."""
    if _form(connection) != first.form:
        return False
    # Keys between tables and triggers against deleting are for the product, not for us.
    emptied = "".join(f"DELETE FROM {table};" for table in first.rows)
    connection.execute(f"SET session_replication_role = replica; {emptied}".encode())
    for table, rows in first.rows.items():
        if rows:
            with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                copy.write(rows)
    for name, (value, given) in first.sequences.items():
        connection.execute("SELECT setval(%s, %s, %s)", (name, value, given))
    return True


def _form(connection: psycopg.Connection) -> str:
    found = connection.execute(_FORM.encode()).fetchone()
    assert found is not None
    return str(found[0])


def _sequences(connection: psycopg.Connection) -> dict[str, tuple[int, bool]]:
    return {name: (value, given) for name, value, given in connection.execute(_SEQUENCES).fetchall()}
