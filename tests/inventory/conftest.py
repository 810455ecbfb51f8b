# SPDX-License-Identifier: Apache-2.0
"""inventory over each database."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.runtime.secrets import Vault
from tests.inventory.rig import Rig
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase, tmp_path: Path) -> Rig:
    return Rig(make_database("services.inventory"), Vault(tmp_path / "data.key"))
