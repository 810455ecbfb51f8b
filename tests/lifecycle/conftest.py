# SPDX-License-Identifier: Apache-2.0
"""Lifecycle over both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.lifecycle.rig import Rig
from tests.support.judging import findings, stored_events
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """One lifecycle process and its world; what it recorded passes the verifier, or is found by it as the test says."""
    rig = Rig(make_database("services.lifecycle"))
    yield rig
    marker = request.node.get_closest_marker("finds")
    found = findings("lifecycle", stored_events(rig.database, rig.log))
    assert {finding.invariant for finding in found} == set(marker.args if marker else ()), found


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
