# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from bms.inventory.v1.server_pb2 import ImportFault, ImportFormat
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "servers.csv"
    made.write_text("a\nb\nesx-1\n")
    return made


def test_an_import_tells_what_became_of_each(bms: Shell, file: Path) -> None:
    """
    Each server of the file is a row, and the counts stand below.
    """
    said = bms("server", "import", str(file))

    assert said.code == 0
    assert said.out.splitlines() == [
        "ROW  NAME   ACTION  CHANGES  MAY BE PROVIDED",
        "1    a      create           yes",
        "2    b      create           yes",
        "3    esx-1  create           no",
        "3 created, 0 updated, 0 unchanged.",
    ]
    assert "0 created, 0 updated, 3 unchanged." in bms("server", "import", str(file)).out


def test_a_dry_run_writes_nothing(bms: Shell, world: World, file: Path) -> None:
    """
    The plan is the same table, and says what would be erased.
    """
    said = bms("server", "import", str(file), "--dry-run", "--provide")

    assert "Would be: 3 created" in said.out
    assert "every disk of these would be erased: a, b" in said.out
    assert not world.servers


@pytest.mark.parametrize(
    ("name", "form"), [("x.yml", "YAML"), ("x.json", "JSON"), ("x.CSV", "CSV"), ("x", "UNSPECIFIED")]
)
def test_the_form_is_known_by_the_name(bms: Shell, world: World, tmp_path: Path, name: str, form: str) -> None:
    """
    A file's ending tells its form; without one the service looks.
    """
    (tmp_path / name).write_text("a")

    bms("server", "import", str(tmp_path / name))

    assert world.asked("ImportServers")[0].format == ImportFormat.Value(f"IMPORT_FORMAT_{form}")


def test_faults_stand_by_row_and_column(bms: Shell, world: World, file: Path) -> None:
    """
    All faults are one table, whose places are not repeated in the text; more than it holds are counted.
    """
    world.faults += [
        ImportFault(row=3, column="mac_address", description="row 3, column mac_address: is not a MAC address"),
        ImportFault(row=12, column="name", description="row 12, column name: is in row 4 too"),
        ImportFault(description="the file has no servers"),
    ]

    said = bms("server", "import", str(file))

    assert said.code == 1
    assert said.err.splitlines() == [
        "Error INVALID_FIELDS: 5 faults in the file; nothing was imported",
        "  ROW  COLUMN       FAULT",
        "  3    mac_address  is not a MAC address",
        "  12   name         is in row 4 too",
        "  -    -            the file has no servers",
        "  ... and 2 more",
        "Remedy: Correct the file and import it again.",
    ]
    assert json.loads(bms("server", "import", str(file), "-o", "json").out)["fault_count"] == 5


def test_a_file_too_large_is_not_even_sent(bms: Shell, world: World, tmp_path: Path) -> None:
    """
    What the service would refuse for its size is refused here, quickly.
    """
    big = tmp_path / "big.csv"
    big.write_bytes(b"x" * (16 * 1024 * 1024 + 1))

    said = bms("server", "import", str(big))

    assert said.code == 1
    assert "larger than 16 MiB" in said.err
    assert not world.asked("ImportServers")


def test_import_and_provide(bms: Shell, world: World, file: Path) -> None:
    """
    With --provide those that may be provided are, after naming what is erased; others never.
    """
    said = bms("server", "import", str(file), "--provide", "--yes", "--wait")

    assert said.code == 0
    assert "ERASED" in said.out
    provided = {request.name for request in world.asked("ProvideServer") if not request.validate_only}
    assert {world.servers[name].display_name for name in provided} == {"a", "b"}


def test_import_provides_nothing_twice(bms: Shell, world: World, file: Path) -> None:
    """
    Servers that are past enrolled are left alone.
    """
    for name in ("a", "b", "esx-1"):
        world.add_server(name, "active")

    said = bms("server", "import", str(file), "--provide", "--yes")

    assert "nothing to provide" in said.out
    assert not world.asked("ProvideServer")


def test_a_file_that_is_not_there(bms: Shell) -> None:
    """
    A missing file is a usage error, without a traceback.
    """
    said = bms("server import /nowhere/at-all.csv")

    assert said.code == 2
    assert "No such file" in said.err
