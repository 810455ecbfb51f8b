# SPDX-License-Identifier: Apache-2.0
"""Gives Hypothesis the time to make small what it has found: cut short, it calls that flaky and does not show it."""

from __future__ import annotations

import pytest

SECONDS = 300
"""How long it tries, at most, beyond what a test may take that finds nothing."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Lets a property's test, which has no limit of its own, take longer by so much."""
    if item.get_closest_marker("timeout") is None and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        limit = item.config.getoption("timeout") or item.config.getini("timeout")
        item.add_marker(pytest.mark.timeout(float(limit) + SECONDS))
