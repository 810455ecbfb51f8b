# SPDX-License-Identifier: Apache-2.0
"""Bounds what a test that failed prints: its first and last lines tell, and a worker's log may have a million more."""

from __future__ import annotations

from collections.abc import Generator

import pytest

LONGEST = 20_000
"""Characters of what was captured of one kind; of the error itself, twice as many."""


def shortened(text: str, longest: int = LONGEST) -> str:
    """*text*, without its middle if it is longer than *longest* characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out ...\n{text[-half:]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shortens the report of a test that did not pass."""
    report = yield
    if not report.passed:
        report.sections = [(name, shortened(text)) for name, text in report.sections]
        if len(report.longreprtext) > 2 * LONGEST:
            report.longrepr = shortened(report.longreprtext, 2 * LONGEST)
    return report
