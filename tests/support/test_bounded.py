# SPDX-License-Identifier: Apache-2.0
"""A test that fails says why in a few pages, however much it printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.bounded import LONGEST, shortened

_LOUD = """
def test_loud():
    for number in range(100_000):
        print("line", number)
    assert "x" * 1_000_000 == "y", "it is not"
"""


def test_the_middle_is_left_out() -> None:
    """
    Up to the limit all is said; beyond it the ends are, and how much is missing.
    """
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abc\n... 1 characters are left out ...\nefg"


def test_a_loud_failure_is_bounded(tmp_path: Path) -> None:
    """
    Both what it printed and the error itself, also where CI asks for whole errors; the end of each is there.
    """
    (tmp_path / "test_loud.py").write_text(_LOUD)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.support.bounded", "-p", "no:cacheprovider", "-c", os.devnull]
    environ = {**os.environ, "CI": "true", "PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run(
        [*argv, str(tmp_path)], capture_output=True, text=True, check=False, env=environ, cwd=tmp_path, timeout=100
    )

    assert done.returncode == 1, done.stderr
    assert "line 0\n" in done.stdout
    assert "line 99999\n" in done.stdout
    assert "AssertionError: it is not" in done.stdout
    assert "test_loud.py:5" in done.stdout
    assert len(done.stdout) < 10 * LONGEST
