# SPDX-License-Identifier: Apache-2.0
"""Facts about the tree itself."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.tooling.descriptors import ROOT

# Written in pieces, or this file would be its own first finding.
_MACHINE = r"(?<![\w./])/(?:work|farm)/|/root" + "/"
_HOSTS = "|".join(
    re.escape(host.replace("~", ""))
    for host in (
        "py~pi.org",
        "files.python~hosted",
        "registry.npm~js",
        "deb.de~bian.org",
        "security.de~bian.org",
        "docker~.io",
        "gh~cr.io",
        "qu~ay.io",
        "proxy.go~lang.org",
    )
)
FORBIDDEN = re.compile(f"{_MACHINE}|{_HOSTS}")

COMMENTED = {".py": "#", ".pyi": "#", ".proto": "//", ".sh": "#", ".toml": "#", ".yaml": "#", ".yml": "#"}
"""File names whose first lines carry the licence, and how such a line begins there."""

INPUT = ("data/", "files/", "fixtures/", "golden/")
"""Folders of what programs are given to read, which has a form of its own."""


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_knows_where_it_was_written(tracked: list[str]) -> None:
    """
    No tracked file names a path of one machine or the host of a package registry.
    """
    found = []
    for name in tracked:
        text = (ROOT / name).read_bytes().decode("utf-8", errors="replace")
        found += [
            f"{name}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.split("\n"), 1)
            if FORBIDDEN.search(line)
        ]

    assert not found


def test_every_source_carries_its_licence(tracked: list[str]) -> None:
    """
    Every source file says under which licence it stands, in its first two lines.
    """
    missing = []
    for name in tracked:
        mark = COMMENTED.get((ROOT / name).suffix)
        if mark is None or any(folder in name for folder in INPUT):
            continue
        head = (ROOT / name).read_text(encoding="utf-8").split("\n", 2)[:2]
        if f"{mark} SPDX-License-Identifier: Apache-2.0" not in head:
            missing.append(name)

    assert not missing


def test_nothing_generated_is_kept(tracked: list[str]) -> None:
    """
    Generated code is made anew from the contracts wherever it is needed, never committed.
    """
    assert [name for name in tracked if "_pb2" in name or name.endswith("py.typed")] == []


def test_our_names_are_ours() -> None:
    """
    No installed package brings a top-level ``services``, ``telemetry`` or ``bms`` of its own.
    """
    providers = packages_distributions()

    for name in ("services", "telemetry", "bms"):
        assert set(providers.get(name, [])) <= {"bms-manager", "bms-contracts"}


def test_both_packages_are_one_release() -> None:
    """
    The product and its contracts' package carry one version, need the same runtimes and are built by the same tools.
    """
    product = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = tomllib.loads((ROOT / "protos" / "pyproject.toml").read_text())

    assert contracts["project"]["version"] == product["project"]["version"]
    assert contracts["build-system"] == product["build-system"]
    assert set(contracts["project"]["dependencies"]) <= set(product["project"]["dependencies"])


def test_whoever_develops_can_build() -> None:
    """
    The dev extra holds everything that the build needs: without isolation pip asks for nothing by itself.
    """
    product = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert set(product["build-system"]["requires"]) <= set(product["project"]["optional-dependencies"]["dev"])
