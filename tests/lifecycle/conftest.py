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
def no_defects(request: pytest.FixtureRequest) -> Iterator[None]:
    """No walk ends in a defect, whatever is done to it; unless the test brings one in."""
    with structlog.testing.capture_logs() as logs:
        yield
    if "defect" not in request.fixturenames:
        assert [line for line in logs if line["event"] == "worker.defect"] == []


@pytest.fixture
def defect() -> Exception:
    """What nobody thought of."""
    return ZeroDivisionError("a defect")
