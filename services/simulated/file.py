# SPDX-License-Identifier: Apache-2.0
"""The rack's file: one SQLite database, opened by network, lifecycle and the command line at once.

Durability is not wanted (synchronous=OFF): a power cut of the machine that simulates may lose the simulated rack. Each
process holds one connection under a lock, since waiting for a lock costs nothing and SQLite's own waiting is a sleep.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.kernel.errors import PeerUnavailable

BUSY_SECONDS = 20.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS machines (
    bmc TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    power INTEGER NOT NULL,
    boot TEXT NOT NULL,
    power_wish TEXT NOT NULL,
    power_due INTEGER,
    job TEXT NOT NULL,
    job_due INTEGER,
    reboots TEXT NOT NULL,
    chassis TEXT NOT NULL,
    disks TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS machines_server ON machines (server);
CREATE TABLE IF NOT EXISTS jobs (
    request_id TEXT PRIMARY KEY,
    bmc TEXT NOT NULL,
    kind TEXT NOT NULL,
    started INTEGER NOT NULL,
    due INTEGER NOT NULL,
    phase TEXT NOT NULL,
    hung INTEGER NOT NULL,
    wanted TEXT NOT NULL,
    outcome TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_bmc ON jobs (bmc, started);
CREATE TABLE IF NOT EXISTS switch_ports (
    switch TEXT NOT NULL,
    port TEXT NOT NULL,
    server TEXT NOT NULL,
    mac TEXT NOT NULL,
    written TEXT NOT NULL,
    actual TEXT NOT NULL,
    effective_at INTEGER,
    PRIMARY KEY (switch, port)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS switch_ports_server ON switch_ports (server);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    part TEXT NOT NULL,
    seconds REAL NOT NULL,
    remaining INTEGER,
    until INTEGER,
    used INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS faults_target ON faults (target, kind);
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, target TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS witness (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    server TEXT NOT NULL,
    bmc TEXT NOT NULL,
    cause TEXT NOT NULL,
    power TEXT NOT NULL,
    boot TEXT NOT NULL,
    ports TEXT NOT NULL,
    disks TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS witness_server ON witness (server, id);
"""

Connection = sqlite3.Connection


class RackFile:
    """The open file. Safe to use from any thread, and from several processes.

    Args:
        path: made if it is not there; its directory must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._alone():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.executescript("BEGIN IMMEDIATE;" + _SCHEMA + "COMMIT;")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection for a few statements that change nothing; each sees what is committed when it runs."""
        with self._lock:
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The connection in a transaction that nobody else writes beside; inside another one, a part of that.

        Raises:
            PeerUnavailable: another process holds the file for too long.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                msg = "the simulated rack is busy"
                raise PeerUnavailable(msg, remedy="Try again.", peer="rack") from error
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Closes the file."""
        with self._lock, self._alone():
            self._connection.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes from opening and closing meanwhile.

        Services start together, and SQLite does not wait for others while it changes the journal's mode: it fails.
        """
        with self.path.with_name(self.path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
