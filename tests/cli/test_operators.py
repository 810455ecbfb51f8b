# SPDX-License-Identifier: Apache-2.0
"""The verbs that operators use day by day: clean steps by hand, retirement, protection, consoles, power."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from services.kernel.errors import PeerUnavailable, WrongState
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are named are those of the test."""
    monkeypatch.chdir(tmp_path)


def test_clean_steps_are_asked_for_in_their_order(bms: Shell, world: World) -> None:
    """
    Those of --step first, then those of the file; a value is JSON, or else text.
    """
    world.add_server("a", "available")
    file = Path("steps.json")
    file.write_text('[{"interface": "bios", "step": "factory_reset"}]', encoding="utf-8")

    said = bms("server clean a --yes --step raid.create_configuration,root=true,name=x --steps-file steps.json")

    assert said.code == 0, said.err
    asked = world.asked("CleanServer")
    assert [each.validate_only for each in asked] == [True, False]
    assert [MessageToDict(step) for step in asked[1].steps] == [
        {"interface": "raid", "step": "create_configuration", "args": {"root": True, "name": "x"}},
        {"interface": "bios", "step": "factory_reset"},
    ]


@pytest.mark.parametrize("line", ["--step raid", "--step raid.x,y", "", "--steps-file steps.json"])
def test_steps_that_are_not_understood_reach_nobody(bms: Shell, world: World, line: str) -> None:
    """
    Exit code 2, with the form to write; lifecycle is not asked.
    """
    world.add_server("a", "available")
    Path("steps.json").write_text("{}x", encoding="utf-8")

    assert bms(f"server clean a --yes {line}").code == 2
    assert world.asked("CleanServer") == []


def test_retirement_is_set_and_ended(bms: Shell, world: World) -> None:
    """
    With its reason, shown with the server, and ended by its own verb.
    """
    world.add_server("a", "active")

    assert "too old" in bms("server", "retire", "a", "--reason", "too old").out
    assert "too old" in bms("server show a").out
    assert "ended" in bms("server unretire a").out
    assert "too old" not in bms("server show a").out


def test_protection_is_set_and_ended(bms: Shell, world: World) -> None:
    """
    With its reason, shown with the instance, and ended by its own verb.
    """
    bms("instance create web --flavor f --image i --network n")

    assert "the database" in bms("instance", "protect", "web", "--reason", "the database").out
    assert "the database" in bms("instance show web").out
    assert "ended" in bms("instance unprotect web").out
    assert "the database" not in bms("instance show web").out


def test_a_console_is_told(bms: Shell, world: World) -> None:
    """
    Of a server, or of an instance's.
    """
    world.add_server("a", "active")
    bms("instance create web --flavor f --image i --network n")

    assert "tcp://192.0.2.9:10023" in bms("server console a").out
    assert "tcp://192.0.2.9:10023" in bms("instance console web").out


@pytest.mark.parametrize(("word", "power"), [("on", 1), ("off", 2), ("reboot", 3)])
def test_power_is_switched(bms: Shell, world: World, word: str, power: int) -> None:
    """
    Checked first, then asked for, for each server.
    """
    for name in ("a", "b"):
        world.add_server(name, "enrolled")

    assert bms(f"server power {word} a b --yes").code == 0
    asked = world.asked("SetServerPower")
    assert [each.power for each in asked] == [power] * 4
    assert [each.validate_only for each in asked] == [True, True, False, False]


def test_a_server_is_moved_to_other_switch_ports(bms: Shell, world: World) -> None:
    """
    Ports by label or MAC address, the switch before the first slash; checked first, then asked for.
    """
    record = world.add_server("a", "active")
    first, second = (record.ports.add(name=f"{record.name}/ports/{mac}") for mac in ("0cc47a000001", "0cc47a000002"))
    first.mac_address, first.label, second.mac_address = "0c:c4:7a:00:00:01", "eth0", "0c:c4:7a:00:00:02"

    said = bms(
        *("server", "move", "a", "--yes", "--reason", "new rack", "--cabled"),
        *("--port", "eth0=leaf2/xe-0/0/7", "--port", "0C:C4:7A:00:00:02=leaf3/xe-1,00:1b:21:00:00:01"),
    )

    assert said.code == 0, said.err
    asked = world.asked("MoveServer")
    assert [(each.validate_only, each.cabled, each.reason) for each in asked] == [
        (True, True, "new rack"), (False, True, "new rack")
    ]  # fmt: skip
    assert [(one.port, one.switch_name, one.switch_port, one.switch_id) for one in asked[1].ports] == [
        (first.name, "leaf2", "xe-0/0/7", ""),
        (second.name, "leaf3", "xe-1", "00:1b:21:00:00:01"),
    ]


@pytest.mark.parametrize("text", ["eth0", "eth0=leaf2", "=leaf2/xe-1", "eth9=leaf2/xe-1", "eth0=/xe-1"])
def test_a_link_that_is_not_understood_reaches_nobody(bms: Shell, world: World, text: str) -> None:
    """
    Exit code 2, with the form to write or the ports that there are.
    """
    record = world.add_server("a", "active")
    port = record.ports.add(name=f"{record.name}/ports/0cc47a000001")
    port.mac_address, port.label = "0c:c4:7a:00:00:01", "eth0"

    assert bms("server", "move", "a", "--yes", "--reason", "x", "--port", text).code == 2
    assert world.asked("MoveServer") == []


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("ConfirmServerMove", "cabled"),
        ("SetMaintenance", "maintenance set --reason x"),
        ("ClearMaintenance", "maintenance unset"),
        ("RetireServer", "retire --reason x"),
        ("UnretireServer", "unretire"),
    ],
)
def test_a_refusal_of_one_keeps_no_other_from_its_turn(bms: Shell, world: World, method: str, line: str) -> None:
    """
    The others are done; which was refused, and why, is told at the end. What would be told of each ends it at once.
    """
    first, second, third = (world.add_server(name, "active").name for name in ("a", "b", "c"))
    refused = world.statuses.pop(second)

    said = bms(f"server {line} --selector name!=z")

    assert said.code == 1
    assert [each.name for each in world.asked(method)] == [first, second, third]
    assert [word in said.out for word in ("a", "c")] == [True, True]
    assert "b: " in said.err.splitlines()[0]
    assert bms(f"server {line} b").code == 1
    world.statuses[second] = refused
    world.refusals[method] = PeerUnavailable("lifecycle's database does not answer", peer="database")
    before = len(world.asked(method))
    assert bms(f"server {line} a b c").code == 3
    assert len(world.asked(method)) == before + 1


def test_cables_are_told_of(bms: Shell, world: World) -> None:
    """
    Whoever waits for a person is told which command says that he is through.
    """
    record = world.add_server("a", "active")
    port = record.ports.add(name=f"{record.name}/ports/0cc47a000001")
    port.mac_address, port.label = "0c:c4:7a:00:00:01", "eth0"

    said = bms("server", "move", "a", "--yes", "--reason", "x", "--port", "eth0=leaf2/xe-1")
    assert "bms server cabled a" in said.out + said.err
    assert "where they shall be" in bms("server cabled a").out
    assert [each.name for each in world.asked("ConfirmServerMove")] == [record.name]

    world.refusals["MoveServer"] = WrongState("leaf2 xe-1 is where another port is plugged in", remedy="Look.")
    refused = bms("server", "move", "a", "--yes", "--reason", "x", "--port", "eth0=leaf2/xe-1")
    assert (refused.code, "bms server cabled" in refused.out + refused.err) == (1, False)
