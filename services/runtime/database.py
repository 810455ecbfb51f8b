# SPDX-License-Identifier: Apache-2.0
"""The database as the stores see it: plain SQL in transactions, the same over SQLite and PostgreSQL.

How values are stored, in both: moments as INTEGER microseconds (`services.runtime.times`), JSON and UUIDs as
TEXT, bytes as BLOB/BYTEA, booleans as INTEGER 0/1. Statements are written with ``?`` for parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from services.kernel.errors import BmsError, InvalidField, PeerUnavailable

T = TypeVar("T")

Row = Mapping[str, Any]
"""One row by column name. What a column holds is known to the store alone, hence Any."""


class UniqueViolation(Exception):
    """A row with this key exists; the transaction it happened in is lost.

    Raised out of `Database.transact`. A store that expects the clash writes ``ON CONFLICT DO NOTHING`` and looks at the
    number of rows changed, which works in the middle of a transaction too.
    """


class DatabaseInUse(BmsError):
    """Another process has the SQLite file open."""

    reason = "DATABASE_IN_USE"


class Transaction(Protocol):
    """One transaction in progress."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which database this is, for the few statements that differ."""
        ...

    @property
    def locked(self) -> bool:
        """Whether no other transaction that is under way has the lock that this one was begun with.

        PostgreSQL takes it with the round trip that begins the transaction, does not wait for it, and keeps it to the
        end: whatever whoever had it before committed is seen. SQLite's transactions follow one another anyway.
        """
        ...

    def execute(self, sql: str, params: Sequence[object] = ()) -> int:
        """Runs a statement; answers how many rows it changed."""
        ...

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """The first row that a statement answers (also of INSERT or UPDATE .. RETURNING), None if there is none."""
        ...

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Every row that a statement answers."""
        ...

    def many(self, sql: str, params: Iterable[Sequence[object]]) -> None:
        """Runs a statement that answers nothing once for each of *params*, in order; one effect for all of them."""
        ...

    def each(self, sql: str, params: Sequence[Sequence[object]]) -> list[Row | None]:
        """As `many`, of a statement that answers: the first row for each of *params*, None where there is none."""
        ...

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[object]], tail: str = "") -> list[Row]:
        """Inserts *rows* by one statement with one effect; answers what RETURNING says of them, in any order.

        PostgreSQL is given all of them as one value: the cheapest way, and the same text however many they are.

        Args:
            columns: names, separated by commas; the values of a row are in their order.
            rows: no two with the same key, if *tail* says what becomes of a row that is there.
            tail: what follows: ON CONFLICT, RETURNING; without parameters.
        """
        ...

    def insert_later(self, table: str, columns: str, rows: Sequence[Sequence[object]], tail: str = "") -> None:
        """`insert` as `later` runs a statement."""
        ...

    def load(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
        """Inserts many *rows* that clash with none: PostgreSQL's COPY.

        Args:
            columns: name to type in PostgreSQL; the values of a row are in their order.
        """
        ...

    def later(self, sql: str, params: Sequence[object] = ()) -> None:
        """Runs a statement whose answer nobody needs: before the next that is not of this kind, or before the commit.

        PostgreSQL is sent those that wait together as one, with one effect for all of them. They see nothing of each
        other and touch no row twice; one that waits already makes those run first, so that each kind keeps its order.
        """
        ...

    def may_be_lost(self) -> None:
        """Says that nobody relies on this transaction: a crash of the database's machine may undo it.

        It is as whole as any other, and whoever reads after it sees it. PostgreSQL then waits for no disk.
        """
        ...

    def after_commit(self, wake: Callable[[], None]) -> None:
        """Calls *wake* once, after the commit; never if the transaction is undone.

        The same callable given twice is called once. It must be quick and raise nothing: it says that there is news.
        """
        ...


class Database(Protocol):
    """A service's own database."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which database this is."""
        ...

    def transact(self, fn: Callable[[Transaction], T], *, label: str, lock: int | None = None) -> T:
        """Runs *fn* in a transaction and commits it durably before answering what *fn* answered.

        Args:
            fn: pure but for its transaction: it may run twice, and it never calls `transact` itself.
            label: names the effect points: ``db.<label>`` around everything, ``db.<label>.statement``,
                ``db.<label>.commit``.
            lock: a number of 64 bits, signed, that at most one transaction at a time has: see `Transaction.locked`.

        Raises:
            UniqueViolation: a key exists already.
            PeerUnavailable: the database does not answer; nothing, or everything, was written.
        """
        ...

    def read(self, fn: Callable[[Transaction], T]) -> T:
        """Runs *fn* over one snapshot; it never writes."""
        ...

    def read_one(self, fn: Callable[[Transaction], T]) -> T:
        """As `read`, of a *fn* that runs one statement, which is a snapshot by itself: a third of the round trips.

        Raises:
            RuntimeError: it runs several, or one that is no SELECT.
        """
        ...

    def close(self) -> None:
        """Closes every connection; transactions under way end first."""
        ...


def open_database(url: str) -> Database:
    """Opens ``sqlite:///path`` (relative, or absolute with a fourth slash) or ``postgresql://...``.

    Raises:
        DatabaseInUse: another process has the SQLite file open.
        InvalidField: the URL has another scheme.
        PeerUnavailable: the PostgreSQL server does not answer.
    """
    if url.startswith("sqlite:///"):
        from services.runtime.sqlite import SqliteDatabase

        return SqliteDatabase(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        from services.runtime.postgres import PostgresDatabase

        return PostgresDatabase(url)
    scheme = url.partition(":")[0][:20]
    raise InvalidField(
        "database_url",
        f"{scheme!r} is not a database we know",
        remedy="Give sqlite:///path or postgresql://...",
        scheme=scheme,
    )


def unavailable(what: str) -> PeerUnavailable:
    """The failure to raise when the database does not answer; *what* never holds a URL or a password."""
    return PeerUnavailable(
        f"the database does not answer: {what}",
        remedy="Try again; if it lasts, look at the database server.",
        peer="database",
    )


def only_reading(sql: str, *, again: bool) -> None:
    """Refuses what a function given to `Database.read_one` must not run.

    Args:
        again: it has run a statement before.

    Raises:
        RuntimeError: *sql* is its second statement, or no SELECT.
    """
    if again or not sql.startswith("SELECT"):
        msg = f"read_one runs one SELECT and nothing else: {sql[:40]}"
        raise RuntimeError(msg)
