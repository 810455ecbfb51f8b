# SPDX-License-Identifier: Apache-2.0
"""What comes from Debian and not from PyPI."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Missing(Exception):
    """Debian packages are missing and cannot be installed from here."""


def provide(programs: Mapping[str, str]) -> list[str]:
    """Installs the packages of those *programs* that are not there, and answers them.

    Args:
        programs: package by path of a program.

    Raises:
        Missing: only root may install, or apt failed; the message says what to run.
    """
    packages = sorted({package for path, package in programs.items() if not Path(path).exists()})
    if not packages:
        return []
    names = " ".join(packages)
    if os.geteuid() != 0:
        raise Missing(f"these Debian packages are missing: {names}\nas root: apt-get install {names}")
    # Their own services stay off: ours have other ports.
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    done = subprocess.run(install, env=environ, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        subprocess.run(["apt-get", "update", "-qq"], env=environ, capture_output=True, check=False, timeout=300)
        done = subprocess.run(install, env=environ, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise Missing(f"apt-get could not install {names}:\n{done.stderr[-2000:]}")
    return packages
