# SPDX-License-Identifier: Apache-2.0
"""What saves round trips: statements that wait for others, reads of one statement, a lock with the beginning."""

from __future__ import annotations

from collections import Counter

import pytest

from services.kernel.effect import observed
from services.runtime.database import Database, Transaction, UniqueViolation
from services.runtime.postgres import together
from tests.support.stores import MakeDatabase

_PUT = "INSERT INTO notes (name, version, text) VALUES (?, 1, ?)"
_CHANGE = "UPDATE notes SET text = ? WHERE name = ?"


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    found = make_database("tests.runtime.sample")
    found.transact(lambda tx: tx.execute(_PUT, ("old", "before")), label="put")
    return found


def notes(database: Database) -> dict[str, str]:
    rows = database.read(lambda tx: tx.all("SELECT name, text FROM notes"))
    return {row["name"]: row["text"] for row in rows}


def statements(database: Database, fn: object) -> int:
    """How many statements a transaction of *fn* shows."""
    seen: Counter[str] = Counter()
    with observed(lambda label, when: seen.update([label] if when == "before" else [])):
        database.transact(fn, label="x")  # type: ignore[arg-type]
    return seen["db.x.statement"]


def test_what_waits_is_done_before_the_commit(database: Database, database_kind: str) -> None:
    """
    Both are there after it; PostgreSQL was sent one statement.
    """

    def both(tx: Transaction) -> None:
        tx.later(_PUT, ("new", "?%"))
        tx.later(_CHANGE, ("after", "old"))

    assert statements(database, both) == (1 if database_kind == "postgresql" else 2)
    assert notes(database) == {"old": "after", "new": "?%"}


def test_what_waits_is_done_before_whatever_follows(database: Database) -> None:
    """
    A statement, many and a load see what was told before them.
    """
    seen: list[object] = []

    def each(tx: Transaction) -> None:
        for name in ("one", "all", "execute", "each", "many", "load"):
            tx.later(_PUT, (name, ""))
            if name == "one":
                seen.append(tx.one("SELECT text FROM notes WHERE name = 'one'"))
            elif name == "all":
                seen.append(tx.all("SELECT text FROM notes WHERE name = 'all'"))
            elif name == "execute":
                seen.append(tx.execute(_CHANGE, ("x", "execute")))
            elif name == "each":
                seen.append(tx.each("SELECT text FROM notes WHERE name = ?", [("each",), ("nobody",)]))
            elif name == "many":
                tx.many(_CHANGE, [("x", "many")])
            else:
                tx.load("notes", {"name": "text", "version": "int8", "text": "text"}, [("loaded", 1, "")])

    database.transact(each, label="x")

    assert seen == [{"text": ""}, [{"text": ""}], 1, [{"text": ""}, None]]
    assert notes(database) == {
        "old": "before",
        "one": "",
        "all": "",
        "execute": "x",
        "each": "",
        "many": "x",
        "load": "",
        "loaded": "",
    }


def test_the_same_statement_keeps_its_order(database: Database) -> None:
    """
    The second is run after the first, also on the same row.
    """

    def twice(tx: Transaction) -> None:
        tx.later(_CHANGE, ("first", "old"))
        tx.later(_PUT, ("new", ""))
        tx.later(_CHANGE, ("second", "old"))

    database.transact(twice, label="x")

    assert notes(database) == {"old": "second", "new": ""}


def test_a_clash_of_what_waits_undoes_everything(database: Database) -> None:
    """
    It is told as any clash is.
    """

    def clash(tx: Transaction) -> None:
        tx.later(_CHANGE, ("after", "old"))
        tx.later(_PUT, ("old", ""))

    with pytest.raises(UniqueViolation):
        database.transact(clash, label="x")
    assert notes(database) == {"old": "before"}


def test_what_waits_is_not_done_by_who_fails(database: Database) -> None:
    """
    Nothing is left of it.
    """

    def fails(tx: Transaction) -> None:
        tx.later(_PUT, ("new", ""))
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        database.transact(fails, label="x")
    assert notes(database) == {"old": "before"}


def test_one_alone_stays_as_it_is() -> None:
    """
    Together they are parts of one statement, each in its own brackets.
    """
    assert together(("A",)) == "A"
    assert together(("A", "B")) == "WITH part0 AS (A), part1 AS (B) SELECT 1"


def test_a_read_of_one_statement(database: Database) -> None:
    """
    It answers as a read does; a second statement, and one that writes, are refused.
    """
    select = "SELECT text FROM notes WHERE name = ?"

    assert database.read_one(lambda tx: tx.one(select, ("old",))) == {"text": "before"}
    with pytest.raises(RuntimeError, match="one SELECT"):
        database.read_one(lambda tx: (tx.one(select, ("old",)), tx.all(select, ("old",))))
    with pytest.raises(RuntimeError, match="one SELECT"):
        database.read_one(lambda tx: tx.execute(_CHANGE, ("sly", "old")))
    with pytest.raises(RuntimeError, match="one SELECT"):
        database.read_one(lambda tx: tx.many(_CHANGE, [("sly", "old")]))
    assert notes(database) == {"old": "before"}


def test_what_may_be_lost_is_there_for_others(database: Database) -> None:
    """
    It is committed as everything else, and what follows is durable again.
    """

    def hurried(tx: Transaction) -> None:
        tx.may_be_lost()
        tx.execute(_CHANGE, ("after", "old"))

    database.transact(hurried, label="x")

    assert notes(database) == {"old": "after"}


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_the_next_transaction_is_durable_again(database: Database) -> None:
    """
    Not to wait for the disk holds for one transaction, though its connection is used again.
    """

    def shown(tx: Transaction) -> object:
        return tx.one("SHOW synchronous_commit")

    before = database.transact(shown, label="x")
    database.transact(lambda tx: tx.may_be_lost(), label="x")

    assert database.transact(shown, label="x") == before


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
@pytest.mark.parametrize("key", [7, -(2**63), 2**63 - 1], ids=str)
def test_a_lock_is_one_transactions(database: Database, make_database: MakeDatabase, key: int) -> None:
    """
    Who begins with it while another has it is told so at once; another's number is free, and so is his afterwards.
    """

    def first(tx: Transaction) -> tuple[bool, ...]:
        def locked(number: int | None) -> bool:
            return database.transact(lambda tx: tx.locked, label="second", lock=number)

        return tx.locked, locked(key), locked(8), locked(None)

    assert database.transact(first, label="first", lock=key) == (True, False, True, True)
    assert database.transact(lambda tx: tx.locked, label="third", lock=key)
