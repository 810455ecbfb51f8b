# SPDX-License-Identifier: Apache-2.0
"""Some marks are stages of CI, which look for their tests only in files that name the mark; see the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STAGES = ("slow", "story", "races", "containers", "openstack", "openstack_full")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a test whose mark its own file does not name: no stage would ever run it.

    Raises:
        pytest.UsageError: says which.
    """
    texts: dict[Path, str] = {}
    for item in items:
        for stage in STAGES:
            if item.get_closest_marker(stage) is None:
                continue
            text = texts.setdefault(item.path, item.path.read_text(encoding="utf-8"))
            if not named(stage, text):
                msg = f"{item.nodeid} is marked {stage}: write mark.{stage} in its own file, where `make` looks for it"
                raise pytest.UsageError(msg)


def named(stage: str, text: str) -> bool:
    """Whether the Makefile finds *text* when it looks for *stage*."""
    return re.search(rf"mark\.{stage}\b", text) is not None
