# SPDX-License-Identifier: Apache-2.0
"""SQLite: one writer at a time, and one commit for everyone who waits.

A commit costs an fsync, so callers share it: whoever finds nobody writing leads, and runs all functions waiting at that
moment between one BEGIN IMMEDIATE and one COMMIT, each in a savepoint of its own if there are several. Those who come
meanwhile wait, and the first of them leads the next group. No thread stands between a caller and his transaction, so a
caller alone pays nothing for the queue, and an effect point is met in the thread of whoever acts.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

from services.kernel.effect import effect
from services.kernel.errors import Exhausted
from services.runtime.database import DatabaseInUse, Row, Transaction, UniqueViolation, only_reading, unavailable

T = TypeVar("T")

MAX_GROUP = 256
"""How many transactions share a commit at most, so that the first of them is not held up without bound."""


class _SqliteTransaction:
    """See `services.runtime.database.Transaction`."""

    dialect: Literal["sqlite"] = "sqlite"
    locked = True

    def __init__(self, connection: sqlite3.Connection, label: str, *, alone: bool = False) -> None:
        self._connection = connection
        self._label = label
        self._alone = alone
        self._begun = False
        self.wakes: dict[Callable[[], None], None] = {}

    def execute(self, sql: str, params: Sequence[object] = ()) -> int:
        with effect(self._label):
            return self._run(sql, params).rowcount

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        with effect(self._label):
            return self._first(sql, params)

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        with effect(self._label):
            cursor = self._run(sql, params)
            rows = cursor.fetchall()
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in rows]

    def many(self, sql: str, params: Iterable[Sequence[object]]) -> None:
        self._begin(sql)
        with effect(self._label):
            try:
                self._connection.executemany(sql, cast("Iterable[tuple[str, ...]]", params))
            except sqlite3.IntegrityError as error:
                _raise_if_unique(error)
                raise

    def each(self, sql: str, params: Sequence[Sequence[object]]) -> list[Row | None]:
        with effect(self._label):
            return [self._first(sql, values) for values in params]

    def insert(self, table: str, columns: str, rows: Sequence[Sequence[object]], tail: str = "") -> list[Row]:
        sql = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * (columns.count(',') + 1))}) {tail}"
        return [row for row in self.each(sql, rows) if row is not None] if rows else []

    def insert_later(self, table: str, columns: str, rows: Sequence[Sequence[object]], tail: str = "") -> None:
        self.insert(table, columns, rows, tail)

    def load(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
        self.many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)

    def later(self, sql: str, params: Sequence[object] = ()) -> None:
        self.execute(sql, params)  # in the same process there is nothing to save

    def may_be_lost(self) -> None:
        """The group's commit is waited for by others too."""

    def after_commit(self, wake: Callable[[], None]) -> None:
        self.wakes[wake] = None

    def _first(self, sql: str, params: Sequence[object]) -> Row | None:
        cursor = self._run(sql, params)
        row = cursor.fetchone()
        names = cursor.description
        cursor.close()  # an unfinished statement would forbid to release the savepoint
        return None if row is None else {column[0]: value for column, value in zip(names, row, strict=True)}

    def _begin(self, sql: str) -> None:
        if self._alone:
            only_reading(sql, again=self._begun)
            self._begun = True

    def _run(self, sql: str, params: Sequence[object]) -> sqlite3.Cursor:
        self._begin(sql)
        try:
            return self._connection.execute(sql, cast("tuple[str, ...]", params))
        except sqlite3.IntegrityError as error:
            _raise_if_unique(error)
            raise


def _raise_if_unique(error: sqlite3.IntegrityError) -> None:
    if "UNIQUE" in str(error):
        raise UniqueViolation(str(error)) from error


class _Job(Generic[T]):
    """One caller's function, from the queue to its outcome."""

    __slots__ = ("answer", "error", "fn", "label", "settled", "turn", "wakes")

    def __init__(self, fn: Callable[[Transaction], T], label: str) -> None:
        self.fn = fn
        self.label = label
        self.turn = threading.Lock()
        self.turn.acquire()  # released when the job is settled, or when it shall lead
        self.settled = False
        self.answer: T | None = None
        self.error: BaseException | None = None
        self.wakes: dict[Callable[[], None], None] = {}

    def run(self, connection: sqlite3.Connection) -> None:
        transaction = _SqliteTransaction(connection, f"db.{self.label}.statement")
        try:
            self.answer = self.fn(transaction)
        except BaseException as error:  # noqa: BLE001 -- handed to the caller whose function it is, whatever it is
            self.error = error
        else:
            self.wakes = transaction.wakes

    def run_beside_others(self, connection: sqlite3.Connection) -> None:
        connection.execute("SAVEPOINT one")
        self.run(connection)
        if self.error is not None:
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return cast("T", self.answer)


class SqliteDatabase:
    """See `services.runtime.database.Database`."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, path: str) -> None:
        """Opens or makes the file at *path*, for this process alone.

        Raises:
            DatabaseInUse: another process has it open.
        """
        self._path = path
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = lock(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._mutex = threading.Lock()
        self._queue: deque[_Job[object]] = deque()
        self._busy = False
        self._closed = False
        self._idle = threading.Condition(self._mutex)
        self._leader = 0
        self._readers: deque[sqlite3.Connection] = deque()
        self._writer = self._connect()
        # With 2 MB, a large transaction would write pages before its end, and again at its end.
        self._writer.execute("PRAGMA cache_size=-16384")

    def transact(self, fn: Callable[[Transaction], T], *, label: str, lock: int | None = None) -> T:
        """See `services.runtime.database.Database`."""
        with effect(f"db.{label}"):
            if self._leader == threading.get_ident():
                msg = f"{label} opens a transaction inside a transaction"
                raise RuntimeError(msg)
            job = _Job(fn, label)
            with self._mutex:
                if self._closed:
                    what = "it is closed"
                    raise unavailable(what)
                self._queue.append(cast("_Job[object]", job))
                leads = not self._busy
                self._busy = True
            if not leads:
                job.turn.acquire()
            if not job.settled:
                self._lead(cast("_Job[object]", job))
            return job.outcome()

    def read(self, fn: Callable[[Transaction], T]) -> T:
        """See `services.runtime.database.Database`."""
        return self._read(fn, alone=False)

    def read_one(self, fn: Callable[[Transaction], T]) -> T:
        """See `services.runtime.database.Database`."""
        return self._read(fn, alone=True)

    def _read(self, fn: Callable[[Transaction], T], *, alone: bool) -> T:
        with effect("db.read"):
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
                connection.execute("PRAGMA query_only=ON")
            try:
                connection.execute("BEGIN")
                try:
                    return fn(_SqliteTransaction(connection, "db.read.statement", alone=alone))
                finally:
                    connection.execute("ROLLBACK")
            finally:
                if self._closed:
                    connection.close()
                else:
                    self._readers.append(connection)

    def close(self) -> None:
        """See `services.runtime.database.Database`."""
        with self._idle:
            self._closed = True
            while self._busy:
                self._idle.wait()
        for connection in (*self._readers, self._writer):
            connection.close()
        self._readers.clear()
        os.close(self._lock_file)

    def _connect(self) -> sqlite3.Connection:
        # Connections move between threads, each used by one at a time.
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=30.0
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # Savepoints remember pages as they were: in memory, where SQLite would write a file that nobody ever reads.
        connection.execute("PRAGMA temp_store=MEMORY")
        # A page that changes often is then copied from the log into the file once, where it was four times.
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        return connection

    def _lead(self, own: _Job[object]) -> None:
        """Runs the group that *own* heads, then hands the lead on."""
        with self._mutex:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
        self._leader = threading.get_ident()
        try:
            self._commit(group)
        finally:
            self._leader = 0
            for job in group:
                job.settled = True
                if job is not own:
                    job.turn.release()
            with self._mutex:
                if self._queue:
                    self._queue[0].turn.release()
                else:
                    self._busy = False
                    self._idle.notify_all()

    def _commit(self, group: list[_Job[object]]) -> None:
        connection = self._writer
        try:
            with _told():
                connection.execute("BEGIN IMMEDIATE")
            if len(group) == 1:
                group[0].run(connection)  # what it did is undone with the transaction
            else:
                for job in group:
                    job.run_beside_others(connection)
            if all(job.error is not None for job in group):
                connection.execute("ROLLBACK")
                return
            with effect(f"db.{group[0].label}.commit"), _told():
                connection.execute("COMMIT")
        except BaseException as failure:  # noqa: BLE001 -- every caller of the group gets it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in group:
                job.error = job.error or failure
            return
        for wake in {wake: None for job in group if job.error is None for wake in job.wakes}:
            wake()


@contextmanager
def _told() -> Iterator[None]:
    """Puts what the disk says into our words."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            msg = "the disk that holds the database is full"
            raise Exhausted(msg, remedy="Make room on the disk, then try again.", resource="disk") from error
        what = "SQLite cannot write its file"
        raise unavailable(what) from error


def lock(path: str) -> int:
    """Takes the lock file beside the database at *path*; answers its descriptor, which holds the lock until closed.

    Raises:
        DatabaseInUse: another process has it.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        name = Path(path).name
        msg = f"another process has {name} open"
        raise DatabaseInUse(
            msg,
            remedy="Stop the other process (perhaps another `bms up`), or give this one a data directory of its own.",
            file=name,
        ) from None
    return descriptor
