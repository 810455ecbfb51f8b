# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL by psycopg 3 and a pool.

Reads run REPEATABLE READ READ ONLY (one snapshot), transactions READ COMMITTED: the stores decide by compare-and-set,
whose row locks READ COMMITTED re-checks after waiting, where a higher level would only refuse. Deadlocks and
serialisation failures undo everything, so the whole function runs again.

A COMMIT whose answer is lost is read back, never repeated blindly: every transaction knows its transaction id from the
same round trip that begins it, and PostgreSQL itself keeps what became of each id (``pg_xact_status``). That costs no
row and no further fsync, where a table of commits would cost both in every transaction.

A process that stands still in the middle of a transaction, because its machine is paused or gone without a word, would
keep its locks for as long as the network does not notice, the sealer's among them. So PostgreSQL ends a transaction
whose client is silent; if that one goes on, it does everything once more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal, LiteralString, TypeVar, cast

import orjson
import psycopg
import structlog
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from services.kernel.effect import effect
from services.runtime.database import Row, Transaction, UniqueViolation, only_reading, unavailable

T = TypeVar("T")

_Connection = psycopg.Connection[dict[str, Any]]

MAX_TRIES = 8
_READ_BACK_SECONDS = 10.0
_SILENT_SECONDS = 15.0
"""How long a client may be silent in a transaction: ours run statement after statement."""
_BEGIN_READ: LiteralString = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_current_xact_id()::text AS xid"
_COMMIT: LiteralString = "COMMIT"
_COMMIT_SOON: LiteralString = "SET LOCAL synchronous_commit TO OFF; COMMIT"

_log = structlog.get_logger("bms.postgres")


@lru_cache(maxsize=2048)
def placeholders(sql: str) -> bytes:
    """*sql* with psycopg's ``%s`` for our ``?``; what stands in quotes stays, ``%`` is doubled."""
    out: list[str] = []
    quote = ""
    for character in sql:
        if character == "%":
            out.append("%%")
        elif character == "?" and not quote:
            out.append("%s")
        else:
            if character in ("'", '"') and (not quote or quote == character):
                quote = "" if quote else character
            out.append(character)
    return "".join(out).encode()


@lru_cache(maxsize=512)
def together(statements: tuple[str, ...]) -> str:
    """One statement that does what *statements* do, none of which sees the others' doing; their parameters in turn."""
    if len(statements) == 1:
        return statements[0]
    return f"WITH {', '.join(f'part{at} AS ({sql})' for at, sql in enumerate(statements))} SELECT 1"


@lru_cache(maxsize=128)
def insertion(table: str, columns: str, tail: str) -> str:
    """The statement that inserts rows that are given as JSON; the types of their columns are the table's."""
    return (
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, ?::json) {tail}"
    )


def _as_json(columns: str, rows: Sequence[Sequence[object]]) -> str:
    names = columns.split(", ")
    return orjson.dumps([dict(zip(names, row, strict=True)) for row in rows], default=_hexadecimal).decode()


def _hexadecimal(value: object) -> str:
    """Bytes as PostgreSQL reads them; JSON has none."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError


class _PostgresTransaction:
    """See `services.runtime.database.Transaction`."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, connection: _Connection, label: str, *, alone: bool = False) -> None:
        self._connection = connection
        self._label = label
        self._alone = alone
        self._begun = False
        self._cursor = connection.cursor()
        self._waiting: dict[str, Sequence[object]] = {}
        self.wakes: dict[Callable[[], None], None] = {}
        self.commit: LiteralString = _COMMIT
        self.locked = True

    def execute(self, sql: str, params: Sequence[object] = ()) -> int:
        return self._run(sql, params).rowcount

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        return self._run(sql, params).fetchone()

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        cursor = self._run(sql, params)
        return cast("list[Row]", cursor.fetchall())

    def many(self, sql: str, params: Iterable[Sequence[object]]) -> None:
        self.flush()
        with self._sending(sql), self._connection.cursor() as cursor:
            cursor.executemany(placeholders(sql), params)

    def each(self, sql: str, params: Sequence[Sequence[object]]) -> list[Row | None]:
        self.flush()
        with self._sending(sql), self._connection.cursor() as cursor:
            if not params:
                return []
            # All are sent before the first is answered.
            cursor.executemany(placeholders(sql), params, returning=True)
            return [answered.fetchone() for answered in cursor.results()]

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[object]], tail: str = "") -> list[Row]:
        return self.all(insertion(table, columns, tail), (_as_json(columns, rows),)) if rows else []

    def insert_later(self, table: str, columns: str, rows: Sequence[Sequence[object]], tail: str = "") -> None:
        if rows:
            self.later(insertion(table, columns, tail), (_as_json(columns, rows),))

    def load(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
        self.flush()
        told = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with self._sending(told), self._connection.cursor() as cursor, cursor.copy(told.encode()) as copy:
            copy.set_types(list(columns.values()))
            for row in rows:
                copy.write_row(row)

    def later(self, sql: str, params: Sequence[object] = ()) -> None:
        if sql in self._waiting:
            self.flush()
        self._waiting[sql] = params

    def may_be_lost(self) -> None:
        self.commit = _COMMIT_SOON

    def after_commit(self, wake: Callable[[], None]) -> None:
        self.wakes[wake] = None

    def flush(self) -> None:
        """Runs what waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._send(together(tuple(waiting)), [one for params in waiting.values() for one in params])

    def _run(self, sql: str, params: Sequence[object]) -> psycopg.Cursor[dict[str, Any]]:
        self.flush()
        return self._send(sql, params)

    def _send(self, sql: str, params: Sequence[object]) -> psycopg.Cursor[dict[str, Any]]:
        with self._sending(sql):
            # Always the same one: what it answered before was fetched before.
            return self._cursor.execute(placeholders(sql), params)

    @contextmanager
    def _sending(self, sql: str) -> Iterator[None]:
        """One effect, of a statement that may be sent; a key that exists is told in our words."""
        if self._alone:
            only_reading(sql, again=self._begun)
            self._begun = True
        with effect(self._label):
            try:
                yield
            except pg.UniqueViolation as error:
                raise UniqueViolation(error.diag.constraint_name or "") from error


class _Again(Exception):
    """The transaction came to nothing through no fault of its own."""


def _lost(connection: _Connection, error: psycopg.Error) -> bool:
    """Whether *error* says that the connection is gone, and not that a statement is wrong.

    That the client was silent for too long comes as an internal error.
    """
    return isinstance(error, psycopg.OperationalError) or connection.closed


def _configure(connection: _Connection) -> None:
    milliseconds = int(_SILENT_SECONDS * 1000)
    connection.execute(f"SET idle_in_transaction_session_timeout = {milliseconds}".encode())


class PostgresDatabase:
    """See `services.runtime.database.Database`."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, url: str, *, wait: float = 10.0) -> None:
        """Opens a pool of connections to *url*.

        Raises:
            PeerUnavailable: the server does not answer within *wait* seconds.
        """
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            url,
            min_size=1,
            max_size=20,
            open=False,
            timeout=10.0,
            check=None,
            configure=_configure,
            kwargs={"autocommit": True, "row_factory": dict_row, "application_name": "bms"},
            connection_class=psycopg.Connection,
        )
        self._pool.open()
        try:
            self._pool.wait(timeout=wait)
        except PoolTimeout as error:
            self._pool.close()
            what = "PostgreSQL cannot be reached"
            raise unavailable(what) from error

    def transact(self, fn: Callable[[Transaction], T], *, label: str, lock: int | None = None) -> T:
        """See `services.runtime.database.Database`."""
        begin = _BEGIN_WRITE if lock is None else f"{_BEGIN_WRITE}, pg_try_advisory_xact_lock({lock}) AS locked"
        with effect(f"db.{label}"):
            for attempt in range(MAX_TRIES):
                try:
                    answer, wakes = self._once(fn, label, begin.encode())
                except _Again as again:
                    _log.info("transaction.again", label=label, attempt=attempt, why=str(again))
                    # Whoever deadlocked together must not come back together.
                    time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 -- no secret
                    continue
                for wake in wakes:
                    wake()
                return answer
        what = f"{label} met another transaction {MAX_TRIES} times"
        raise unavailable(what)

    def read(self, fn: Callable[[Transaction], T]) -> T:
        """See `services.runtime.database.Database`."""
        with effect("db.read"):
            return self._read(fn, snapshot=True)

    def read_one(self, fn: Callable[[Transaction], T]) -> T:
        """See `services.runtime.database.Database`."""
        with effect("db.read"):
            return self._read(fn, snapshot=False)

    def close(self) -> None:
        """See `services.runtime.database.Database`."""
        self._pool.close(timeout=5.0)

    def _read(self, fn: Callable[[Transaction], T], *, snapshot: bool) -> T:
        for attempt in range(MAX_TRIES):
            connection = self._get()
            try:
                transaction = _PostgresTransaction(connection, "db.read.statement", alone=not snapshot)
                if snapshot:
                    connection.execute(_BEGIN_READ)
                answer = fn(transaction)
                if snapshot:
                    connection.execute(_COMMIT)
            except psycopg.Error as error:
                if not _lost(connection, error):
                    raise
                if attempt + 1 == MAX_TRIES or not connection.closed:
                    what = type(error).__name__
                    raise unavailable(what) from error
                continue
            finally:
                self._put(connection)
            return answer
        raise AssertionError  # the last attempt returned or raised

    def _once(
        self, fn: Callable[[Transaction], T], label: str, begin: bytes
    ) -> tuple[T, tuple[Callable[[], None], ...]]:
        connection = self._get()
        try:
            try:
                begun = connection.execute(begin)
                begun.nextset()
                row = begun.fetchone()
                xid = str(row["xid"]) if row else ""
                transaction = _PostgresTransaction(connection, f"db.{label}.statement")
                transaction.locked = row is not None and row.get("locked", True)
                answer = fn(transaction)
                transaction.flush()
            except (pg.SerializationFailure, pg.DeadlockDetected) as error:
                raise _Again(type(error).__name__) from error
            except psycopg.Error as error:
                if not _lost(connection, error):
                    raise
                if connection.closed:
                    why = "connection lost before the commit"
                    raise _Again(why) from error
                what = type(error).__name__
                raise unavailable(what) from error
            with effect(f"db.{label}.commit"):
                self._commit(connection, xid, transaction.commit)
            return answer, tuple(transaction.wakes)
        finally:
            self._put(connection)

    def _commit(self, connection: _Connection, xid: str, command: LiteralString) -> None:
        try:
            connection.execute(command)
        except (pg.SerializationFailure, pg.DeadlockDetected) as error:
            raise _Again(type(error).__name__) from error
        except pg.UniqueViolation as error:  # a deferred constraint
            raise UniqueViolation(error.diag.constraint_name or "") from error
        except psycopg.Error as error:
            if not _lost(connection, error):
                raise
            if not self._committed(xid):
                why = "the commit did not arrive"
                raise _Again(why) from error

    def _committed(self, xid: str) -> bool:
        """What became of the transaction *xid*, whose COMMIT was not answered."""
        deadline = time.monotonic() + _READ_BACK_SECONDS
        pause = 0.02
        while time.monotonic() < deadline:
            try:
                connection = self._get()
                try:
                    row = connection.execute("SELECT pg_xact_status(%s::xid8) AS status", (xid,)).fetchone()
                finally:
                    self._put(connection)
            except (psycopg.OperationalError, psycopg.DataError):
                row = None  # still away, or another server that never heard of this transaction
            status = row["status"] if row else None
            if status in ("committed", "aborted"):
                _log.warning("commit.read_back", status=status)
                return bool(status == "committed")
            time.sleep(pause)
            pause = min(pause * 2, 0.5)
        what = "whether the commit arrived cannot be told"
        raise unavailable(what)

    def _get(self) -> _Connection:
        try:
            return self._pool.getconn()
        except PoolTimeout as error:
            what = "no connection is free"
            raise unavailable(what) from error

    def _put(self, connection: _Connection) -> None:
        # A transaction left open by whatever was raised is rolled back here, and a broken connection replaced.
        if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                connection.close()
        broken = connection.closed
        self._pool.putconn(connection)
        if broken:
            # Whatever broke this connection, as a restart of the server does, has broken the idle ones too.
            self._pool.check()
