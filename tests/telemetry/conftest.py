# SPDX-License-Identifier: Apache-2.0
"""Telemetry's store over each database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime.database import Database, open_database
from telemetry.store import Store
from tests.support.stores import MakeDatabase, _sqlite_copy


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database("telemetry")


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test that makes many databases puts them."""
    return tmp_path


def open_sqlite(folder: Path) -> Database:
    """A fresh database of telemetry's, for tests to which it does not matter which."""
    return open_database(_sqlite_copy("telemetry", folder / f"{uuid.uuid4().hex}.sqlite"))


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    opened = open_sqlite(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_database: Database) -> Store:
    return Store(sqlite_database)
