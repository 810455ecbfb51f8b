# SPDX-License-Identifier: Apache-2.0
"""The programs of OpenStack, all in one environment, from which every bed runs.

It is kept outside of the tree, where the machine keeps what can be made again, so that a fresh clone finds it: under
``$XDG_CACHE_HOME/bms-openstack``, by a name of its own for each set of packages and each Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.openstack.cloud import glance, ironic, keystone, neutron, nova, placement

REQUIREMENTS = tuple(
    sorted(
        {name for service in (keystone, glance, placement, neutron, nova, ironic) for name in service.REQUIREMENTS}
        # What serves them and what they keep rows by.
        | {"cheroot>=11", "pymysql>=1.1", "pyuwsgi>=2.0"}
    )
)
INSTALL_SECONDS = 900


def cache() -> Path:
    """The folder of what every clone on this machine shares, and any may make again."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bms-openstack"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds off whoever makes *path* meanwhile, from this clone or another."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def programs(requirements: Sequence[str] = REQUIREMENTS) -> Path:
    """The folder of the programs of *requirements*; installs them if they are not there.

    By uv, which takes a fifth of the time; where it cannot be had or does not reach what pip reaches, by pip.
    """
    wanted = "\n".join((sys.version, sys.base_prefix, *requirements))
    home = cache() / f"venv-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    done = home / "installed.txt"
    with alone(home):
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True, timeout=120)
            _install(home, requirements)
            done.write_text(wanted)
    return home / "bin"


def _install(home: Path, requirements: Sequence[str]) -> None:
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = subprocess.run([*pip, "uv"], check=False, capture_output=True, timeout=INSTALL_SECONDS)
    argv = [str(home / "bin" / "uv"), "pip", "install", "--quiet", "--python", python, *requirements]
    if uv.returncode or subprocess.run(argv, check=False, capture_output=True, timeout=INSTALL_SECONDS).returncode:
        subprocess.run([*pip, *requirements], check=True, timeout=INSTALL_SECONDS)
