# SPDX-License-Identifier: Apache-2.0
"""Both databases keep the same promises."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.effect import observed
from services.kernel.errors import BmsError, InvalidField, PeerUnavailable
from services.runtime.database import Database, Row, Transaction, UniqueViolation, open_database
from tests.support.stores import MakeDatabase

SAMPLE = "tests.runtime.sample"


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(SAMPLE)


def put(tx: Transaction, name: str, text: str = "") -> int:
    return tx.execute("INSERT INTO notes (name, version, text) VALUES (?, 1, ?)", (name, text))


def names(database: Database) -> list[str]:
    return [row["name"] for row in database.read(lambda tx: tx.all("SELECT name FROM notes ORDER BY name"))]


def test_answers_what_the_function_answered(database: Database) -> None:
    """
    What was written in a transaction is there for readers, and its answer is the caller's.
    """
    changed = database.transact(lambda tx: put(tx, "one"), label="put")

    assert changed == 1
    assert names(database) == ["one"]


def test_rows_are_read_by_column_name(database: Database) -> None:
    """
    one() answers the first row or None; RETURNING works in it; bytes, NULL and 64-bit numbers come back as they were.
    """

    def write(tx: Transaction) -> object:
        return tx.one(
            "INSERT INTO notes (name, version, text, data) VALUES (?, ?, '?', ?) RETURNING name, version, text, data",
            ("big", 2**62, b"\x00\xff"),
        )

    row = database.transact(write, label="put")

    assert row == {"name": "big", "version": 2**62, "text": "?", "data": b"\x00\xff"}
    assert database.read(lambda tx: tx.one("SELECT name FROM notes WHERE name = ?", ("none",))) is None
    assert database.read(lambda tx: tx.one("SELECT data FROM notes WHERE text LIKE '%?%'")) == {"data": b"\x00\xff"}


def test_one_statement_for_many_rows(database: Database) -> None:
    """
    many() runs its statement for each row, in order and for none as well; a key that exists undoes them all.
    """
    insert = "INSERT INTO notes (name, version, text) VALUES (?, 1, '?')"
    database.transact(lambda tx: tx.many(insert, ((name,) for name in ("one", "two"))), label="put")
    database.transact(lambda tx: tx.many(insert, ()), label="put")
    with pytest.raises(UniqueViolation):
        database.transact(lambda tx: tx.many(insert, [("three",), ("one",)]), label="put")

    assert names(database) == ["one", "two"]


def test_one_statement_answers_for_each(database: Database) -> None:
    """
    each() answers the first row of its statement for each of its parameters, in order, None where there is none; it is
    one effect, and a key that exists undoes them all.
    """
    insert = "INSERT INTO notes (name, version, text) VALUES (?, ?, '?') ON CONFLICT DO NOTHING RETURNING version"
    given = [("one", 1), ("two", 2), ("one", 3), ("three", 4)]
    seen: list[str] = []
    with observed(lambda label, when: seen.append(f"{label} {when}")):
        found = database.transact(lambda tx: tx.each(insert, given), label="put")
    assert [row and row["version"] for row in found] == [1, 2, None, 4]
    assert [one for one in seen if "statement" in one] == ["db.put.statement before", "db.put.statement after"]

    assert database.transact(lambda tx: tx.each(insert, []), label="put") == []
    read = "SELECT name FROM notes WHERE version >= ? ORDER BY version"
    assert database.read(lambda tx: tx.each(read, [(2,), (9,), (3,)])) == [{"name": "two"}, None, {"name": "three"}]
    with pytest.raises(UniqueViolation):
        database.transact(
            lambda tx: tx.each(
                "INSERT INTO notes (name, version, text) VALUES (?, 1, '') RETURNING 1 AS n", [("four",), ("one",)]
            ),
            label="put",
        )
    assert names(database) == ["one", "three", "two"]


def test_rows_are_loaded_as_they_are(database: Database) -> None:
    """
    load() inserts rows, none as well, in the transaction it is in; a key that exists undoes them all.
    """
    columns = {"name": "text", "version": "bigint", "text": "text", "data": "bytea"}
    given = [("a", 2**62, "tab\tand\\N", b"\x00\xff"), ("b", -1, "", None)]
    database.transact(lambda tx: tx.load("notes", columns, given), label="load")
    database.transact(lambda tx: tx.load("notes", columns, []), label="load")
    with pytest.raises(UniqueViolation):
        database.transact(lambda tx: tx.load("notes", columns, [("c", 1, "", None), given[0]]), label="load")
    found = database.read(lambda tx: tx.all("SELECT name, version, text, data FROM notes ORDER BY name"))

    assert [tuple(row.values()) for row in found] == given


def test_rows_are_inserted_by_one_statement(database: Database) -> None:
    """
    insert() keeps every value as it is, is one effect, answers what it was asked to, and does nothing for no rows; a
    key that exists undoes them all.
    """
    columns = "name, version, text, data"
    rows = [("a", 2**63 - 1, "\t\\x41 ünï \"quoted\" '?' %s \U0001f600", b"\x00\xff\\"), ("b", -1, "", None)]
    seen: list[str] = []
    with observed(lambda label, when: seen.append(f"{label} {when}")):
        answered = database.transact(lambda tx: tx.insert("notes", columns, rows, "RETURNING name"), label="put")
    assert sorted(row["name"] for row in answered) == ["a", "b"]
    assert [one for one in seen if "statement" in one] == ["db.put.statement before", "db.put.statement after"]
    found = database.read(lambda tx: tx.all(f"SELECT {columns} FROM notes ORDER BY name"))
    assert [(*list(row.values())[:3], row["data"] and bytes(row["data"])) for row in found] == rows

    assert database.transact(lambda tx: tx.insert("notes", columns, [], "RETURNING name"), label="put") == []
    kept = "ON CONFLICT (name) DO UPDATE SET version = excluded.version WHERE notes.version < excluded.version"
    again = [("a", 1, "", None), ("b", 7, "", None), ("c", 3, "", None)]
    answered = database.transact(lambda tx: tx.insert("notes", columns, again, f"{kept} RETURNING name"), label="put")
    assert sorted(row["name"] for row in answered) == ["b", "c"]
    with pytest.raises(UniqueViolation):
        database.transact(lambda tx: tx.insert("notes", columns, [("d", 1, "", None), ("c", 1, "", None)]), label="put")
    assert names(database) == ["a", "b", "c"]


def test_rows_are_inserted_later(database: Database) -> None:
    """
    insert_later() is done by the commit, and before whatever reads; a key that exists shows by then.
    """

    def work(tx: Transaction) -> list[Row]:
        tx.insert_later("notes", "name, version, text", [("a", 1, ""), ("b", 1, "")])
        tx.insert_later("notes", "name, version, text", [])
        found = tx.all("SELECT name FROM notes ORDER BY name")
        tx.insert_later("notes", "name, version, text", [("c", 1, "")])
        return found

    assert database.transact(work, label="put") == [{"name": "a"}, {"name": "b"}]
    assert names(database) == ["a", "b", "c"]
    with pytest.raises(UniqueViolation):
        database.transact(lambda tx: tx.insert_later("notes", "name, version, text", [("a", 1, "")]), label="put")


def test_a_raising_function_leaves_nothing(database: Database) -> None:
    """
    A function that raises undoes all it did, its exception is its caller's, and nobody is woken.
    """
    woken: list[str] = []

    def fail(tx: Transaction) -> None:
        put(tx, "lost")
        tx.after_commit(lambda: woken.append("lost"))
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        database.transact(fail, label="fail")

    assert names(database) == []
    assert woken == []


def test_wakes_once_after_the_commit(database: Database) -> None:
    """
    The same callable given twice is called once, when the rows are there for others.
    """
    seen: list[list[str]] = []

    def wake() -> None:
        seen.append(names(database))

    def write(tx: Transaction) -> None:
        put(tx, "one")
        tx.after_commit(wake)
        tx.after_commit(wake)

    database.transact(write, label="put")

    assert seen == [["one"]]


def test_a_key_that_exists_is_told_as_such(database: Database) -> None:
    """
    A second row with the same key raises UniqueViolation out of transact, over either database.
    """
    database.transact(lambda tx: put(tx, "one"), label="put")

    with pytest.raises(UniqueViolation):
        database.transact(lambda tx: put(tx, "one"), label="put")

    assert database.transact(lambda tx: put(tx, "two"), label="put") == 1


def test_nobody_loses_a_count(database: Database) -> None:
    """
    Many threads that count in one row by compare-and-set, and some that fail: exactly the successes are counted.
    """
    database.transact(lambda tx: put(tx, "count"), label="put")

    def step(number: int) -> int:
        def count(tx: Transaction) -> int:
            tx.execute("UPDATE notes SET version = version + 1 WHERE name = 'count'")
            if number % 5 == 0:
                raise LookupError
            return 1

        try:
            return database.transact(count, label="count")
        except LookupError:
            return 0

    with ThreadPoolExecutor(12) as pool:
        done = sum(pool.map(step, range(200)))

    row = database.read(lambda tx: tx.one("SELECT version FROM notes WHERE name = 'count'"))
    assert done == 160
    assert row == {"version": 161}


def test_a_read_is_one_snapshot(database: Database) -> None:
    """
    What is committed during a read is not seen by its later statements.
    """

    def read(tx: Transaction) -> tuple[int, int]:
        first = len(tx.all("SELECT name FROM notes"))
        database.transact(lambda write: put(write, "meanwhile"), label="put")
        return first, len(tx.all("SELECT name FROM notes"))

    assert database.read(read) == (0, 0)
    assert names(database) == ["meanwhile"]


def test_a_read_cannot_write(database: Database) -> None:
    """
    A function given to read() that writes is refused by the database itself.
    """
    with pytest.raises(Exception, match=r"read-?only"):
        database.read(lambda tx: put(tx, "sly"))

    assert names(database) == []


def test_effect_points_are_met_in_order(database: Database) -> None:
    """
    A transaction shows itself, its statements and its commit as effects, before and after.
    """
    points: list[str] = []
    with observed(lambda label, when: points.append(f"{when} {label}")):
        database.transact(lambda tx: put(tx, "one"), label="put")

    assert points == [
        "before db.put",
        "before db.put.statement",
        "after db.put.statement",
        "before db.put.commit",
        "after db.put.commit",
        "after db.put",
    ]


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("when", "label", "left"),
    [
        ("before", "db.put.statement", []),
        ("after", "db.put.statement", []),
        ("before", "db.put.commit", []),
        ("after", "db.put.commit", ["one"]),
    ],
)
def test_a_crash_leaves_all_or_nothing(database: Database, when: str, label: str, left: list[str]) -> None:
    """
    Killed at any point, the transaction is there as a whole or not at all, and the database goes on.
    """

    def observer(found: str, moment: str) -> None:
        if (moment, found) == (when, label):
            raise Crash

    with observed(observer), pytest.raises(Crash):
        database.transact(lambda tx: put(tx, "one"), label="put")

    assert names(database) == left
    database.transact(lambda tx: put(tx, "two"), label="put")


def test_unknown_schemes_are_refused() -> None:
    """
    A URL of another database is refused, and not repeated in full: it may hold a password.
    """
    with pytest.raises(InvalidField) as caught:
        open_database("mysql://root:hunter2@host/db")

    assert "hunter2" not in str(caught.value) + str(caught.value.facts)


class TestSqlite:
    """What SQLite alone must be told."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "folder" / "notes.sqlite"

    @pytest.fixture
    def fresh(self, path: Path) -> Callable[[], Database]:
        def make() -> Database:
            database = open_database(f"sqlite:///{path}")
            database.transact(
                lambda tx: tx.execute("CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, version, text)"),
                label="make",
            )
            return database

        return make

    def test_one_process_per_file(self, path: Path, fresh: Callable[[], Database]) -> None:
        """
        A second process is refused with the file's name and a remedy; when the first has closed, it may.
        """
        database = fresh()
        code = (
            "import sys; from services.runtime.database import open_database\n"
            "try: open_database(sys.argv[1]).close()\n"
            "except Exception as e: print(type(e).__name__, e, '|', e.remedy)\n"
            "else: print('opened')"
        )

        def second() -> str:
            return subprocess.run(
                [sys.executable, "-c", code, f"sqlite:///{path}"], capture_output=True, text=True, check=True
            ).stdout

        refused = second()
        database.close()

        assert refused.startswith("DatabaseInUse another process has notes.sqlite open | Stop the other process")
        assert str(path.parent) not in refused
        assert second().strip() == "opened"

    def test_the_file_is_private(self, path: Path, fresh: Callable[[], Database]) -> None:
        """
        Only its owner may read the file, whatever the umask.
        """
        database = fresh()

        assert path.stat().st_mode & 0o077 == 0
        database.close()

    def test_a_transaction_inside_another_is_a_mistake(self, fresh: Callable[[], Database]) -> None:
        """
        transact() within transact() is told at once instead of waiting for itself for ever.
        """
        database = fresh()
        with pytest.raises(RuntimeError, match="inside"):
            database.transact(lambda tx: database.transact(lambda inner: put(inner, "x"), label="inner"), label="outer")

        assert names(database) == []
        database.close()

    def test_waiting_callers_share_a_commit(self, fresh: Callable[[], Database]) -> None:
        """
        Those who come while a commit is under way are committed together, by one commit.
        """
        database = fresh()
        inside, go = threading.Event(), threading.Event()
        commits: list[str] = []

        def slow(tx: Transaction) -> int:
            inside.set()
            assert go.wait(10)
            return put(tx, "slow")

        with (
            ThreadPoolExecutor(9) as pool,
            observed(
                lambda label, when: commits.append(label) if (label.endswith(".commit") and when == "after") else None
            ),
        ):
            first = pool.submit(database.transact, slow, label="slow")
            assert inside.wait(10)
            rest = [pool.submit(database.transact, lambda tx, n=n: put(tx, f"n{n}"), label="put") for n in range(8)]
            while len(database._queue) < 8:  # type: ignore[attr-defined]
                threading.Event().wait(0.005)
            go.set()
            for future in (first, *rest):
                assert future.result(10) == 1

        assert commits == ["db.slow.commit", "db.put.commit"]
        database.close()

    def test_a_failed_commit_fails_everyone_in_it(self, fresh: Callable[[], Database]) -> None:
        """
        If the shared commit fails, each caller of the group gets the failure and none of their rows is there.
        """
        database = fresh()
        inside, go = threading.Event(), threading.Event()
        armed = threading.Event()

        def slow(tx: Transaction) -> int:
            inside.set()
            assert go.wait(10)
            return put(tx, "slow")

        def observer(label: str, when: str) -> None:
            if label == "db.put.commit" and when == "before" and armed.is_set():
                raise PeerUnavailable("disk gone")

        with ThreadPoolExecutor(4) as pool, observed(observer):
            first = pool.submit(database.transact, slow, label="slow")
            assert inside.wait(10)
            rest = [pool.submit(database.transact, lambda tx, n=n: put(tx, f"n{n}"), label="put") for n in range(3)]
            while len(database._queue) < 3:  # type: ignore[attr-defined]
                threading.Event().wait(0.005)
            armed.set()
            go.set()
            assert first.result(10) == 1
            for future in rest:
                with pytest.raises(PeerUnavailable):
                    future.result(10)

        assert names(database) == ["slow"]
        database.close()

    def test_closed_is_closed(self, fresh: Callable[[], Database]) -> None:
        """
        After close() transactions are refused in our words.
        """
        database = fresh()
        database.close()

        with pytest.raises(BmsError):
            database.transact(lambda tx: put(tx, "late"), label="put")

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(plan=st.lists(st.sampled_from(["keep", "raise", "clash"]), min_size=1, max_size=24))
    def test_a_group_isolates_its_members(self, tmp_path_factory: pytest.TempPathFactory, plan: list[str]) -> None:
        """
        Whoever raises or clashes in a shared transaction loses his own writes alone; the others keep theirs.
        """
        database = open_database(f"sqlite:///{tmp_path_factory.mktemp('group')}/notes.sqlite")
        database.transact(
            lambda tx: tx.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, version, text)"), label="make"
        )
        database.transact(lambda tx: put(tx, "taken"), label="put")

        def work(step: tuple[int, str]) -> bool:
            number, kind = step

            def write(tx: Transaction) -> None:
                put(tx, f"n{number:02}")
                if kind == "raise":
                    raise LookupError
                if kind == "clash":
                    put(tx, "taken")

            try:
                database.transact(write, label="put")
            except (LookupError, UniqueViolation):
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            kept = list(pool.map(work, enumerate(plan)))

        assert kept == [kind == "keep" for kind in plan]
        assert names(database) == [*(f"n{number:02}" for number, kind in enumerate(plan) if kind == "keep"), "taken"]
        database.close()

    def test_what_was_answered_outlives_a_kill(self, path: Path, fresh: Callable[[], Database]) -> None:
        """
        Killed with -9 in the midst of writing, the file holds every transaction that was answered, whole ones alone.
        """
        fresh().close()
        code = (
            "import sys; from services.runtime.database import open_database\n"
            "database = open_database(sys.argv[1]); number = 0\n"
            "insert = 'INSERT INTO notes (name, version, text) VALUES (?, 1, ?)'\n"
            "while True:\n"
            "    database.transact(lambda tx: [tx.execute(insert, (f'{n}-{number}', '')) for n in 'ab'], label='put')\n"
            "    print(number, flush=True); number += 1\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(50):
                process.stdout.readline()
            process.kill()
            answered = 50 + len(
                [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
            )

        database = open_database(f"sqlite:///{path}")
        found = names(database)
        assert {f"{n}-{number}" for number in range(answered) for n in "ab"} <= set(found)
        assert len([name for name in found if name.startswith("a-")]) * 2 == len(found)
        database.close()
