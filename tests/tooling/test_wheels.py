# SPDX-License-Identifier: Apache-2.0
"""What is in the packages that others install."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tooling.descriptors import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contracts' wheel, built from a copy of the tracked contracts: nothing generated before has a part in it."""
    source = tmp_path_factory.mktemp("protos")
    shutil.copytree(
        ROOT / "protos",
        source,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("*_pb2*", "py.typed", "__pycache__", ".generated-*"),
    )
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, timeout=100, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return wheel


def test_contract_package_is_the_stubs_alone(built: Path) -> None:
    """
    For every contract its .proto, its two modules and their type stubs, a py.typed per package, and nothing else.
    """
    contracts = {path.relative_to(ROOT / "protos") for path in (ROOT / "protos").glob("bms/**/*.proto")}
    expected = {str(path) for path in contracts}
    expected |= {
        str(path.with_name(path.stem + suffix))
        for path in contracts
        for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    }
    expected |= {str(path.parent / "py.typed") for path in contracts}

    with zipfile.ZipFile(built) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert contracts
    assert held == expected


def test_contract_package_works_alone(built: Path, tmp_path: Path) -> None:
    """
    Every module of it can be imported with nothing else of ours on the path.
    """
    with zipfile.ZipFile(built) as wheel:
        wheel.extractall(tmp_path)
    modules = sorted(
        ".".join(path.relative_to(tmp_path).with_suffix("").parts) for path in tmp_path.glob("bms/**/*.py")
    )
    # -P and the changed folder keep the tree itself off the path; the finder of an editable install is undone too.
    program = (
        "import importlib, sys\n"
        f"sys.path[:] = [{str(tmp_path)!r}] + [p for p in sys.path if not p.startswith({str(ROOT)!r}) "
        "or 'site-packages' in p]\n"
        f"for name in {modules!r}:\n"
        f"    assert importlib.import_module(name).__file__.startswith({str(tmp_path)!r}), name\n"
        "print(len(sys.modules))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )

    assert ran.returncode == 0, ran.stderr
