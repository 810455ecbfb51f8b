# SPDX-License-Identifier: Apache-2.0
"""A command line, a data directory and five services with state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.cli.__main__ import run
from services.cli.datadir import DataDir, Login
from services.cli.supervise.plan import SERVICES
from tests.cli.fakes.serving import serving
from tests.cli.fakes.world import World


@dataclass(frozen=True)
class Said:
    """What a line said, and how it ended."""

    code: int
    out: str
    err: str


class Shell:
    """Runs lines against a data directory."""

    def __init__(self, data: DataDir, capture: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capture = capture

    def __call__(self, *line: str) -> Said:
        """Runs ``bms`` with *line*; one argument is split at spaces."""
        self._capture.readouterr()
        code = run(line[0].split() if len(line) == 1 else list(line))
        said = self._capture.readouterr()
        return Said(int(code), said.out, said.err)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory with logins, as `bms up` leaves one."""
    made = DataDir(tmp_path / "data")
    for name, project in (("site", "site"), ("admin", ""), ("tenant-a", "tenant-a")):
        made.write_login(Login(name, made.token_file(name), project, "whatever"))
        made.token_file(name).write_text(f"token-of-{name}\n")
    return made


@pytest.fixture
def offline(data: DataDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell whose services are not there."""
    for name in [name for name in os.environ if name.startswith("BMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BMS_DATA_DIR", str(data.path))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    data.write_endpoints(dict.fromkeys(SERVICES, "127.0.0.1:9"))
    return Shell(data, capsys)


@pytest.fixture
def bms(offline: Shell, world: World) -> Iterator[Shell]:
    """A shell whose services are there."""
    with serving(world) as address:
        offline.data.write_endpoints(dict.fromkeys(SERVICES, address))
        yield offline
