# SPDX-License-Identifier: Apache-2.0
"""The suites over a whole cloud run only when they are asked for."""

from __future__ import annotations

import pytest

MARK = "openstack_full"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves them out unless ``-m`` names their marker: the cloud takes 3 GB and minutes."""
    if MARK in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker(MARK)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
