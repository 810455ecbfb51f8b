# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL goes away, comes back, and says in the end what became of a commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.effect import observed
from services.kernel.errors import PeerUnavailable
from services.runtime import postgres
from services.runtime.database import Database, Transaction, open_database
from services.runtime.postgres import PostgresDatabase, placeholders
from tests.support.stores import MakeDatabase

pytestmark = pytest.mark.postgres


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database("tests.runtime.sample")


class Put:
    """Writes a note; counts how often it ran, and knows the backend it ran in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs = 0
        self.backend = 0

    def __call__(self, tx: Transaction) -> int:
        self.runs += 1
        row = tx.one("SELECT pg_backend_pid() AS pid")
        self.backend = row["pid"] if row else 0
        return tx.execute("INSERT INTO notes (name, version, text) VALUES (?, 1, ?)", (self.name, str(self.runs)))


def notes(database: Database) -> list[tuple[str, str]]:
    rows = database.read(lambda tx: tx.all("SELECT name, text FROM notes ORDER BY name"))
    return [(row["name"], row["text"]) for row in rows]


def kill(url: str, backend: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))


def test_a_connection_lost_before_the_commit_runs_again(make_url: Callable[[str], str]) -> None:
    """
    Nothing was committed, so the whole function runs once more, in another connection; its note is there once.
    """
    url = make_url("tests.runtime.sample")
    database, put = open_database(url), Put("one")

    def observer(label: str, when: str) -> None:
        if (label, when) == ("db.put.commit", "before") and put.runs == 1:
            kill(url, put.backend)

    with observed(observer):
        assert database.transact(put, label="put") == 1

    assert (put.runs, notes(database)) == (2, [("one", "2")])
    database.close()


class Lossy:
    """A connection whose COMMIT does its work, or not, and then breaks instead of answering."""

    def __init__(self, connection: Any, arrives: bool) -> None:
        self._connection = connection
        self._arrives = arrives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, *arguments: Any) -> Any:
        if statement == "COMMIT":
            self._connection.execute("COMMIT" if self._arrives else "ROLLBACK")
            self._connection.close()
            msg = "server closed the connection unexpectedly"
            raise psycopg.OperationalError(msg)
        return self._connection.execute(statement, *arguments)


@pytest.mark.parametrize(("arrives", "runs"), [(True, 1), (False, 2)])
def test_a_lost_answer_is_read_back(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, arrives: bool, runs: int
) -> None:
    """
    A COMMIT whose answer is lost is looked up: arrived, it is not repeated; not arrived, the function runs again.
    """
    genuine, lossy = database._commit, [True]

    def commit(connection: Any, xid: str, command: Any) -> None:
        genuine(Lossy(connection, arrives) if lossy.pop() else connection, xid, command)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "_commit", commit)
    lossy.insert(0, False)
    put = Put("one")

    assert database.transact(put, label="put") == 1
    assert (put.runs, notes(database)) == (runs, [("one", str(runs))])


def test_an_undecided_commit_is_waited_for(database: PostgresDatabase, make_database: MakeDatabase) -> None:
    """
    While the old connection's transaction is still in progress, reading back waits for its end.
    """
    ready, go = threading.Event(), threading.Event()
    xids: list[str] = []

    def hold(tx: Transaction) -> None:
        row = tx.one("SELECT pg_current_xact_id()::text AS xid")
        xids.append(row["xid"] if row else "")
        ready.set()
        assert go.wait(10)

    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(database.transact, hold, label="hold")
        assert ready.wait(10)
        asked = pool.submit(database._committed, xids[0])
        threading.Event().wait(0.2)
        assert not asked.done()
        go.set()
        holding.result(10)
        assert asked.result(10) is True


def test_an_outcome_nobody_knows_is_not_guessed(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If the server never heard of the transaction (another one took its place), the caller is told that it is unknown.
    """
    monkeypatch.setattr(postgres, "_READ_BACK_SECONDS", 0.3)

    with pytest.raises(PeerUnavailable, match="cannot be told"):
        database._committed(str(2**40))


def test_deadlocks_run_again(database: Database) -> None:
    """
    Two that lock the same rows in opposite order both get through.
    """
    for name in ("a", "b"):
        database.transact(Put(name), label="put")
    both = threading.Barrier(2)
    runs: list[str] = []

    def cross(first: str, second: str) -> None:
        def write(tx: Transaction) -> None:
            fresh = first not in runs
            runs.append(first)
            tx.execute("UPDATE notes SET version = version + 1 WHERE name = ?", (first,))
            if fresh:
                both.wait(10)
            tx.execute("UPDATE notes SET version = version + 1 WHERE name = ?", (second,))

        database.transact(write, label="cross")

    with ThreadPoolExecutor(2) as pool:
        for done in (pool.submit(cross, "a", "b"), pool.submit(cross, "b", "a")):
            done.result(30)

    assert len(runs) > 2
    rows = database.read(lambda tx: tx.all("SELECT version FROM notes ORDER BY name"))
    assert [row["version"] for row in rows] == [3, 3]


@pytest.mark.parametrize("where", ["statement", "commit"])
def test_whoever_falls_silent_in_a_transaction_loses_it(
    make_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """
    A process that stands still with locks in its hands, as one whose machine is paused or gone, holds up nobody for
    long: its transaction is undone, and it does everything once more when it goes on.
    """
    monkeypatch.setattr(postgres, "_SILENT_SECONDS", 0.3)
    url = make_url("tests.runtime.sample")
    silent, other = open_database(url), open_database(url)
    silent.transact(Put("one"), label="put")
    locked, go = threading.Event(), threading.Event()
    runs: list[int] = []

    def change(tx: Transaction) -> None:
        runs.append(tx.execute("UPDATE notes SET version = version + 1 WHERE name = 'one'"))
        locked.set()
        if where == "statement":
            assert go.wait(10)
        tx.execute("UPDATE notes SET version = version + 1 WHERE name = 'one'")

    def observer(label: str, when: str) -> None:
        if (label, when, where) == ("db.slow.commit", "before", "commit"):
            assert go.wait(10)

    with observed(observer), ThreadPoolExecutor(1) as pool:
        standing = pool.submit(silent.transact, change, label="slow")
        assert locked.wait(10)
        other.transact(lambda tx: tx.execute("UPDATE notes SET version = version + 10"), label="quick")
        go.set()
        standing.result(10)

    assert runs == [1, 1]
    rows = other.read(lambda tx: tx.all("SELECT version FROM notes"))
    assert [row["version"] for row in rows] == [13]
    silent.close()
    other.close()


def test_a_read_that_stood_still_is_read_again(make_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same for a snapshot, which keeps the database from tidying up.
    """
    monkeypatch.setattr(postgres, "_SILENT_SECONDS", 0.2)
    database = open_database(make_url("tests.runtime.sample"))
    looks: list[int] = []

    def look(tx: Transaction) -> int:
        looks.append(1)
        tx.one("SELECT 1 AS one")
        if len(looks) == 1:
            threading.Event().wait(0.6)
        return len(tx.all("SELECT name FROM notes"))

    assert database.read(look) == 0
    assert len(looks) == 2
    database.close()


def test_reads_outlive_their_connection(make_url: Callable[[str], str]) -> None:
    """
    A pooled connection that died is replaced, and the read answered all the same.
    """
    url = make_url("tests.runtime.sample")
    database = open_database(url)
    row = database.read(lambda tx: tx.one("SELECT pg_backend_pid() AS pid"))
    assert row is not None
    kill(url, row["pid"])

    assert notes(database) == []
    database.close()


def test_a_restarted_server_costs_nobody_his_call(make_url: Callable[[str], str]) -> None:
    """
    When all pooled connections break at once, calls that come next go through.
    """
    url = make_url("tests.runtime.sample")
    database = open_database(url)
    together = threading.Barrier(12)

    def busy(number: int) -> int:
        def write(tx: Transaction) -> int:
            if together.n_waiting < 12 and not together.broken:
                together.wait(10)
            return Put(f"n{number:02}")(tx)

        return database.transact(write, label="put")

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(busy, range(12))) == 12
        together.abort()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'bms'"
            )
        assert sum(pool.map(busy, range(12, 24))) == 12
    assert len(notes(database)) == 24
    database.close()


def test_nobody_there_is_told_without_the_password() -> None:
    """
    A server that does not answer is PeerUnavailable, and no part of the URL is repeated.
    """
    with pytest.raises(PeerUnavailable) as caught:
        PostgresDatabase("postgresql://bms:hunter2@127.0.0.1:1/none", wait=0.5)

    assert "hunter2" not in str(caught.value) + str(caught.value.facts)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("a = ?", b"a = %s"),
        ("a = '?' AND b = ?", b"a = '?' AND b = %s"),
        ("a LIKE '%?%' AND \"?\" = ?", b"a LIKE '%%?%%' AND \"?\" = %s"),
        ("a = 'it''s ?' AND b = ?", b"a = 'it''s ?' AND b = %s"),
    ],
)
def test_placeholders(given: str, sent: bytes) -> None:
    """
    Question marks become %s, but for those in quotes; per cents are doubled.
    """
    assert placeholders(given) == sent


@given(st.text(alphabet="a?%'\" ", max_size=30))
def test_placeholders_change_nothing_else(text: str) -> None:
    """
    Put back, the statement is the one given.
    """
    assert placeholders(text).decode().replace("%s", "?").replace("%%", "%") == text
