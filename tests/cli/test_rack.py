# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.cli.rack import FILE, open_rack, set_pace
from services.simulated.rack import PortWrite
from services.simulated.state import Vlans
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World

BMC = "10.84.1.1:443"
UUID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def rack(bms: Shell, world: World) -> Shell:
    """A shell beside a rack on which one server was seen, which inventory calls `a`."""
    world.add_server("a")
    with open_rack(bms.data.path) as opened:
        opened.verify(UUID, BMC, datetime.now(UTC))
    return bms


def test_servers_are_listed_as_they_are(rack: Shell) -> None:
    """
    The rack shows power and disks as they truly are.
    """
    out = rack("rack list").out

    assert BMC in out
    assert UUID in out
    assert "=blank" in out
    assert json.loads(rack("rack list -o json").out)[0]["BMC"] == BMC


def test_faults_come_and_go(rack: Shell) -> None:
    """
    A fault is put in place at a server by the name people use, listed, and mended.
    """
    said = rack("rack fault inject bmc-silent a --count 2 --for 1m")

    assert said.code == 0
    assert f"bmc-silent at {UUID}, 2 times" in said.out
    assert "bmc-silent" in rack("rack faults list").out
    assert "0 faults mended" in rack("rack fault clear a --kind image-write-fails").out
    assert "1 fault mended" in rack("rack fault clear a").out
    assert "Nothing is broken." in rack("rack fault list").err


def test_switches_break_too(rack: Shell) -> None:
    """
    Faults of switches name a switch and a port of it.
    """
    rack("rack fault inject switch-lies --switch leaf1 --port xe-0/0/1")

    assert "leaf1/xe-0/0/1" in rack("rack fault list").out
    assert "switch" in rack("rack fault kinds").out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rack fault inject gremlins a", "'gremlins' is not a fault"),
        ("rack fault inject bmc-silent --switch leaf1", "befalls a server"),
        ("rack fault inject bmc-silent ghost", "there is no server 'ghost'"),
        ("rack swap-disk a NOSUCH", "has no disk NOSUCH"),
        ("rack power 10.9.9.9 on", "10.9.9.9"),
    ],
)
def test_what_cannot_be_broken(rack: Shell, line: str, says: str) -> None:
    """
    What the rack refuses is told like any refusal.
    """
    said = rack(line)

    assert said.code == 1
    assert says in said.err


def test_buttons_and_disks(rack: Shell) -> None:
    """
    A server is switched on by hand, and a disk is swapped for another.
    """
    serial = rack("rack list").out.partition("=blank")[0].split()[-1]

    assert "is on" in rack("rack power a on").out
    assert serial not in rack(f"rack swap-disk a {serial}").out


def test_the_pace(rack: Shell) -> None:
    """
    Profile and speed are set apart; what is not given stays.
    """
    assert rack("rack set-profile genuine --speed 60").out == "profile genuine, speed 60\n"
    assert rack("rack set-profile demo").out == "profile demo, speed 60\n"
    assert rack("rack set-profile --speed 0").code == 2


def test_faults_from_a_file(rack: Shell, tmp_path: Path) -> None:
    """
    A file of faults is put in place, each told; what is wrong with it is told too.
    """
    file = tmp_path / "faults.yaml"
    file.write_text(
        "faults:\n  - {kind: bmc-silent, server: 10.84.1.1}\n  - {kind: inspect-fails, server: 10.84.9.9, count: 1}\n"
    )

    out = rack("rack", "fault", "load", str(file)).out

    assert "bmc-silent at 10.84.1.1" in out
    assert "never seen yet" in out
    file.write_text("faults: [7]")
    assert rack("rack", "fault", "load", str(file)).code == 1


def test_no_rack(offline: Shell) -> None:
    """
    A directory without a simulated rack is told as such.
    """
    said = offline("rack list")

    assert said.code == 1
    assert f"there is no simulated rack in {offline.data.path}" in said.err
    assert not (offline.data.path / FILE).exists()


def test_a_demo_begins_on_a_bare_site(offline: Shell, tmp_path: Path) -> None:
    """
    The story is not played over somebody's data.
    """
    (tmp_path / "something").write_text("")

    said = offline("demo", "--data", str(tmp_path))

    assert said.code == 1
    assert "is not empty" in said.err


def test_a_cable_is_moved(rack: Shell) -> None:
    """
    What was plugged in at the first switch port is at the second, with nothing of what was configured.
    """
    with open_rack(rack.data.path) as opened:
        write = PortWrite("leaf1", "xe-0/0/1", Vlans(100), "0c:c4:7a:00:00:01")
        other = PortWrite("leaf3", "xe-1", Vlans(), "0c:c4:7a:00:00:02")
        opened.write_ports(UUID, (write, other), datetime.now(UTC))
        set_pace(opened, "instant", None)

    assert "is plugged into leaf2/xe-0/0/7" in rack("rack recable leaf1/xe-0/0/1 leaf2/xe-0/0/7").out
    rows = {(row["SWITCH"], row["PORT"]): row["SERVER"] for row in json.loads(rack("rack ports -o json").out)}
    assert rows == {("leaf1", "xe-0/0/1"): "", ("leaf2", "xe-0/0/7"): UUID, ("leaf3", "xe-1"): UUID}
    assert "nothing is plugged into leaf1/xe-0/0/1" in rack("rack recable leaf1/xe-0/0/1 leaf2/xe-0/0/8").err
    assert rack("rack recable leaf2/xe-0/0/7 leaf3/xe-1").code != 0
    assert rack("rack recable leaf2 leaf3/xe-9").code == 2
