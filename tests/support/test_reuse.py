# SPDX-License-Identifier: Apache-2.0
"""A database of PostgreSQL is as its template was for whoever has it next."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.reuse import Reused, at

pytestmark = pytest.mark.postgres

TOLD = "INSERT INTO log (what) VALUES ('told') RETURNING number"


@pytest.fixture
def template(postgres_server: str) -> Iterator[str]:
    """A database with rows of its own, a key between tables and a number that counts."""
    name = f"template_{uuid.uuid4().hex}"  # all workers of a run share the server
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(at(postgres_server, name)) as connection:
        connection.execute("CREATE TABLE kinds (name text PRIMARY KEY)")
        connection.execute("INSERT INTO kinds VALUES ('told'), (E'with\ttab')")
        connection.execute(
            "CREATE TABLE log (number bigint GENERATED ALWAYS AS IDENTITY, what text REFERENCES kinds (name))"
        )
        connection.execute(TOLD)
    yield name
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def reused(postgres_server: str, template: str) -> Iterator[Reused]:
    found = Reused(postgres_server)
    yield found
    found.close()


def test_the_next_finds_the_rows_of_the_template(postgres_server: str, template: str, reused: Reused) -> None:
    """
    What was added is gone, what was deleted or changed is back, numbers begin where they began.
    """
    name = reused.take(template)
    with psycopg.connect(at(postgres_server, name)) as connection:
        assert connection.execute(TOLD).fetchone() == (2,)
        connection.execute("DELETE FROM log WHERE number = 1")
        connection.execute("UPDATE log SET what = E'with\ttab'")
        connection.execute("INSERT INTO kinds VALUES ('mine')")
    reused.give_back(name, template)

    assert reused.take(template) == name
    with psycopg.connect(at(postgres_server, name)) as connection:
        assert connection.execute("SELECT * FROM log").fetchall() == [(1, "told")]
        assert connection.execute("SELECT * FROM kinds ORDER BY 1").fetchall() == [("told",), ("with\ttab",)]
        assert connection.execute(TOLD).fetchone() == (2,)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE mine ()",
        "DROP TABLE log",
        "ALTER TABLE log ADD COLUMN more text",
        "ALTER TABLE log ALTER COLUMN what SET DEFAULT 'told'",
        "ALTER TABLE log DROP CONSTRAINT log_what_fkey",
        "ALTER TABLE log DISABLE TRIGGER ALL",
        "CREATE INDEX ON log (what)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 1', current_database()); END $$",
    ],
)
def test_one_that_was_altered_is_nobodys_again(
    postgres_server: str, template: str, reused: Reused, change: str
) -> None:
    """
    A database in which more than rows changed is dropped.
    """
    name = reused.take(template)
    with psycopg.connect(at(postgres_server, name)) as connection:
        connection.execute(change.encode())
    reused.give_back(name, template)

    assert reused.take(template) != name
    with psycopg.connect(postgres_server) as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None


def test_whoever_holds_on_is_ended(postgres_server: str, template: str, reused: Reused) -> None:
    """
    A connection that was left in a transaction with locks holds nobody up, and loses what it wrote.
    """
    name = reused.take(template)
    with psycopg.connect(at(postgres_server, name)) as left:
        left.execute(TOLD)
        left.execute("LOCK TABLE kinds; SELECT pg_advisory_lock(7)")

        reused.give_back(name, template)

        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
    assert reused.take(template) == name
    with psycopg.connect(at(postgres_server, name)) as connection:
        assert connection.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)


def test_two_at_once_are_two(template: str, reused: Reused) -> None:
    """
    Nobody is given what somebody else has.
    """
    assert reused.take(template) != reused.take(template)
