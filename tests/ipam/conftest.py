# SPDX-License-Identifier: Apache-2.0
"""ipam over each database."""

from __future__ import annotations

import pytest

from tests.ipam.rig import Rig
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    return Rig(make_database("services.ipam"))
