# SPDX-License-Identifier: Apache-2.0
"""`bms telemetry --ironic-notifications` is the bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def bms(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One line of the command line."""
    line = [sys.executable, "-m", "services.cli", "telemetry", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_it_becomes_the_bridge(tmp_path: Path) -> None:
    """
    With every file that was named, in order; its exit code is that of the line.
    """
    (tmp_path / "one.conf").write_text("[DEFAULTS]\nnotification_level = loud\n")
    (tmp_path / "two.conf").write_text("[DEFAULTS]\nlog_level = loud\nnotification_level = info\n")
    done = bms("--ironic-notifications", "-c", str(tmp_path / "one.conf"), "--conf_file", str(tmp_path / "two.conf"))
    assert done.returncode == 1
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["error"].startswith(("DEFAULTS.log_level", "KEYSTONE.admin_user"))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """
    The flag, and a file that is not there.
    """
    assert "--ironic-notifications" in bms().stderr
    missing = bms("--ironic-notifications", "-c", str(tmp_path / "none.conf"))
    assert (missing.returncode, "none.conf" in missing.stderr) == (2, True)
