# SPDX-License-Identifier: Apache-2.0
"""Lifecycle over both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.lifecycle.rig import Rig
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    """One lifecycle process and its world."""
    return Rig(make_database("services.lifecycle"))


@pytest.fixture(autouse=True)
def no_defects() -> Iterator[None]:
    """No walk ends in a defect, whatever is done to it."""
    with structlog.testing.capture_logs() as logs:
        yield
    assert [line for line in logs if line["event"] == "worker.defect"] == []
