# SPDX-License-Identifier: Apache-2.0
"""Lifecycle over both databases."""

from __future__ import annotations

import pytest

from tests.lifecycle.rig import Rig
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    """One lifecycle process and its world."""
    return Rig(make_database("services.lifecycle"))
