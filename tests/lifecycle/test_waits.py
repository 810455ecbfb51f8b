# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

import services.lifecycle
from services.cli.app import bms
from services.lifecycle.domain.waits import BLOCKERS

_SOURCES = Path(services.lifecycle.__file__).parent
_NO_BLOCKERS = {"IN_USE", "TAKEN_OVER"}
"""Words of the same shape that are no reason to stand still: of a pool row, of an operation."""

_COMMANDS = sorted({command for blocker in BLOCKERS.values() for command in blocker.commands})


def _codes(path: Path) -> set[str]:
    """The upper-case words in a source, as far as they may be the code of a wait or fault."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[A-Z]{2,}(_[A-Z]+)+|ENROLLED|MAINTENANCE|UNMANAGED|RETRYING", node.value)
        and not node.value.startswith(("BMS_", "STATE_", "NODE_TYPE_"))
    }


def test_every_code_says_who_must_act() -> None:
    """
    A wait or fault that any source of lifecycle names is registered with its meaning and remedy, and none in vain.
    """
    sources = [path for path in _SOURCES.rglob("*.py") if path.name != "waits.py"]
    used = set().union(*(_codes(path) for path in sources)) - _NO_BLOCKERS

    assert used <= set(BLOCKERS)
    assert set(BLOCKERS) - used <= _FROM_CONTROLLERS


_FROM_CONTROLLERS = {"NO_NETWORK"}
"""Codes that controllers alone give, as the reason of a failed job."""


@pytest.mark.parametrize("code", BLOCKERS)
def test_every_blocker_can_be_acted_on(code: str) -> None:
    """
    Each has a meaning and a remedy as sentences; somebody is named, and whoever must act is told how.
    """
    blocker = BLOCKERS[code]

    assert blocker.code == code
    assert blocker.who in ("nobody", "administrator", "tenant", "network administrator")
    assert blocker.meaning.endswith(".")
    assert blocker.remedy.endswith(".")


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_is_one_that_bms_takes(command: str, tmp_path: Path) -> None:
    """
    The exact command, with the server's and instance's names in it, is parsed by the command line as it is.
    """
    file = tmp_path / "FILE"
    file.write_text("secret")
    uuid = "00000001-0000-4000-8000-000000000000"
    filled = command.format(server=uuid, instance="web", project="demo").replace("FILE", str(file))
    program, *words = shlex.split(filled)

    assert program == "bms"
    group: click.Command = bms
    context = click.Context(bms, info_name="bms")
    while isinstance(group, click.Group):
        name, found, words = group.resolve_command(context, words)
        assert found is not None
        group = found
        if not isinstance(found, click.Group):
            context = found.make_context(name, words, parent=context)
        else:
            context = click.Context(found, info_name=name, parent=context)
    context.close()
