# SPDX-License-Identifier: Apache-2.0
"""ipam over each database, and over SQLite alone for what no database decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime.database import open_database
from tests.ipam.rig import Rig
from tests.support.stores import MakeDatabase, _sqlite_copy


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    return Rig(make_database("services.ipam"))


@pytest.fixture
def sqlite_rig(tmp_path: Path) -> Iterator[Rig]:
    database = open_database(_sqlite_copy("services.ipam", tmp_path / "ipam.sqlite"))
    yield Rig(database)
    database.close()
