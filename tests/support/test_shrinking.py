# SPDX-License-Identifier: Apache-2.0
"""Tests of properties may take longer than others, so that what Hypothesis finds is shown."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.shrinking import SECONDS


def limit(request: pytest.FixtureRequest) -> float | None:
    marker = request.node.get_closest_marker("timeout")
    return None if marker is None else float(marker.args[0])


def usual(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("timeout") or request.config.getini("timeout"))


@settings(max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.none())
def test_property(request: pytest.FixtureRequest, nothing: None) -> None:
    """
    It has the usual time and that for making an example small.
    """
    assert limit(request) == usual(request) + SECONDS


@pytest.mark.timeout(77)
@settings(max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.none())
def test_property_with_its_own_limit(request: pytest.FixtureRequest, nothing: None) -> None:
    """
    A limit that a test names holds.
    """
    assert limit(request) == 77


def test_any_other(request: pytest.FixtureRequest) -> None:
    """
    Other tests have the usual limit.
    """
    assert limit(request) is None
