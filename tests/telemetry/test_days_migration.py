# SPDX-License-Identifier: Apache-2.0
"""A store that was filled before there were days has all of it afterwards, over either database."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.runtime import migrations
from services.runtime.database import Database, open_database
from services.runtime.migrations import migrate
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG
from telemetry.sandesh.reception import Received
from telemetry.store import analytics, history
from telemetry.store.days import DAY
from telemetry.translate import object_log
from tests.support.reuse import at
from tests.telemetry.builders import SERVER, event_id, followed, received

TABLE = "ObjectServerTable"
NOW = time.time_ns() // 1000
SEEN = {1: NOW - DAY, 2: NOW - 5, 3: NOW, 4: NOW + 5 * DAY}
"""When the messages came in, by position; the last by a clock that was ahead."""


@pytest.fixture
def empty_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path}/telemetry.sqlite"
        return
    server: str = request.getfixturevalue("postgres_server")
    name = f"filled_{tmp_path.name.lower().replace('-', '_')}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield at(server, name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def fill(database: Database) -> None:
    """As the release before the days did."""

    def write(tx: Any) -> None:
        for position, seen in SEEN.items():
            row = tx.one(
                "INSERT INTO messages (message_type, event_id, source, module, node_type, instance, time, seen_time,"
                " expire_time, sequence, kind, level, category, frame)"
                " VALUES (?, ?, 's', 'm', 'n', 'i', ?, ?, ?, 1, 7, 6, '', ?) RETURNING id",
                ("BmsLifecycleEventLog", event_id("lifecycle", position), seen - 7, seen, seen + 2 * DAY, b"frame"),
            )
            tx.execute(
                "INSERT INTO message_objects (object_table, object_key, message) VALUES (?, ?, ?)",
                (TABLE, SERVER, row["id"]),
            )

    database.transact(write, label="test")


def test_a_filled_store_is_migrated_without_loss(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Messages are found with what they are about, numbers go on rising, events stay kept once, and the old go in time.
    """
    genuine = migrations._versions("telemetry")
    earlier = tmp_path / "versions"
    earlier.mkdir()
    for file in genuine.glob("*.py"):
        if file.name[:4] <= "0005":
            shutil.copy(file, earlier)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "_versions", lambda _package: earlier)
        migrate(empty_url, "telemetry")
    database = open_database(empty_url)
    fill(database)
    database.close()
    migrate(empty_url, "telemetry")
    database = open_database(empty_url)
    try:
        before = listed(database)
        wanted = analytics.Asked(TABLE, SERVER)
        again = [log(position, NOW) for position in (*SEEN, 9)]
        database.transact(lambda tx: history.keep(tx, again), label="test")
        after = listed(database)
        by_time = database.read(
            lambda tx: analytics.messages_by_time(
                tx, *wanted.condition(), 9, during=(NOW - DAY - 7, NOW - 7), newest_first=False, behind=None
            )
        )
        while database.transact(lambda tx: analytics.expire(tx, NOW + 9 * DAY, 2), label="test"):
            pass  # the next part of what is over
    finally:
        left = listed(database)
        database.close()

    assert [row.time for row in before] == [seen - 7 for seen in SEEN.values()]
    assert all(row.objects == ((TABLE, SERVER),) for row in before)
    assert after[: len(before)] == before
    assert [row.id > before[-1].id for row in after[len(before) :]] == [True]
    assert [row.time for row in by_time] == [seen - 7 for seen in SEEN.values()][:3]
    assert left == []


def log(position: int, seen: int) -> tuple[Received, int]:
    message = received(BMS_LIFECYCLE_EVENT_LOG, object_log(followed(position=position)), time=seen)
    return Received(message.generator, message.message, message.frame, seen), seen + 2 * DAY


def listed(database: Database) -> list[analytics.MessageRow]:
    """Every message about the server."""
    asked = analytics.Asked(TABLE, SERVER)
    return database.read(lambda tx: analytics.messages(tx, asked, 100, newest_first=False, behind=None))
