# SPDX-License-Identifier: Apache-2.0
"""A test that a stage of CI would not find is refused wherever it is collected."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.marks import pytest_collection_modifyitems


def item(path: Path, mark: str) -> Any:
    """A test in *path* that has *mark*."""
    return SimpleNamespace(
        path=path, nodeid=f"{path}::test", get_closest_marker=lambda name: object() if name == mark else None
    )


def test_the_mark_stands_in_the_tests_own_file(tmp_path: Path) -> None:
    """
    One that got its mark from elsewhere is refused by name, and a longer mark is another.
    """
    own, other = tmp_path / "test_own.py", tmp_path / "test_other.py"
    own.write_text("pytestmark = pytest.mark.openstack\n")
    other.write_text("pytestmark = [pytest.mark.openstack_full, imported]\n")

    pytest_collection_modifyitems([item(own, "openstack"), item(other, "openstack_full"), item(other, "parametrize")])

    with pytest.raises(pytest.UsageError, match=r"test_other.py::test is marked openstack: .* mark\.openstack "):
        pytest_collection_modifyitems([item(other, "openstack")])
