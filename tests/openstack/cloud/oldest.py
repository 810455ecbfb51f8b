# SPDX-License-Identifier: Apache-2.0
"""The oldest Ironic that the product is held to: Debian's, of the Debian that this machine has.

Its packages are unpacked into a folder and installed nowhere, so that nothing else on the machine meets them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.openstack.cloud.debian import Missing
from tests.openstack.cloud.programs import alone, cache

PACKAGE = "python3-ironic"
PYTHON = "/usr/bin/python3"
"""The one that Debian's packages are made for."""

_SCRIPT = """#!/bin/sh
export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{packages}" LD_LIBRARY_PATH="{libraries}"
exec {python} -W ignore -c 'import sys; sys.argv[0] = "{name}"; from {module} import main; sys.exit(main())' "$@"
"""
_PROGRAMS = {"ironic": "ironic.cmd.singleprocess", "ironic-dbsync": "ironic.cmd.dbsync"}


def oldest() -> Path:
    """The folder of its programs; downloads and unpacks what they need if it is not there.

    Raises:
        Missing: apt-get does not have it; says what it said.
    """
    wanted = _wanted()
    home = cache() / f"debian-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:16]}"
    done = home / "unpacked.txt"
    with alone(home):
        if not done.exists():
            shutil.rmtree(home, ignore_errors=True)
            (home / "packages").mkdir(parents=True)
            _apt("download", *wanted, folder=home / "packages")
            for package in sorted((home / "packages").iterdir()):
                subprocess.run(["dpkg-deb", "-x", str(package), str(home)], check=True, timeout=120)
            shutil.rmtree(home / "packages")
            _write_programs(home)
            done.write_text("\n".join(wanted))
    return home / "programs"


def _wanted() -> list[str]:
    """Ironic and what it depends on as far as the machine does not have that, each as ``name=version``."""
    plan = ("--simulate", "install", "--no-install-recommends", PACKAGE)
    try:
        said = _apt(*plan)
    except Missing:
        if os.geteuid() != 0:
            raise
        # A new machine has no lists.
        _apt("update")
        said = _apt(*plan)
    return sorted(f"{name}={version}" for name, version in re.findall(r"(?m)^Inst (\S+) (?:\[\S+\] )?\((\S+)", said))


def _apt(*arguments: str, folder: Path | None = None) -> str:
    environ = {**os.environ, "LC_ALL": "C"}
    argv = ["apt-get", "-qq", *arguments]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise Missing(f"apt-get {arguments[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _write_programs(home: Path) -> None:
    (home / "programs").mkdir()
    packages = home / "usr" / "lib" / "python3" / "dist-packages"
    libraries = os.pathsep.join(map(str, sorted((home / "usr" / "lib").glob("*-linux-*"))))
    for name, module in _PROGRAMS.items():
        program = home / "programs" / name
        program.write_text(
            _SCRIPT.format(packages=packages, libraries=libraries, python=PYTHON, name=name, module=module)
        )
        program.chmod(0o755)
