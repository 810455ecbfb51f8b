# SPDX-License-Identifier: Apache-2.0
"""The verbs that operators use day by day: clean steps by hand, retirement, protection, consoles, power."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from tests.cli.conftest import Shell
from tests.cli.fakes import World


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
