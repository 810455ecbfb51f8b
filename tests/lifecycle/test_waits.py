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
from services.lifecycle.domain import runbook
from services.lifecycle.domain.blocker import Blocker, Cure, Kind
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.remedies import CURES
from services.lifecycle.domain.runbook import cure_text
from services.lifecycle.domain.waits import BLOCKERS, STEP_SLA

_ROOT = Path(__file__).parents[2]
_SOURCES = Path(services.lifecycle.__file__).parent
_NO_BLOCKERS = {"IN_USE", "PORTS_CHANGED", "TAKEN_OVER", "IRONIC_FAILED", "NOVA_FAILED", "NOVA_SERVER_GONE"}
"""Words of the same shape that are no reason to stand still: of a pool row, of an operation, of a job whose step has a
fault of its own."""

_WAITS = ("waits.py", "faults.py", "waits_of_controllers.py", "waits_of_others.py")
_IN_IRONIC = "openstack baremetal "
"""How a command begins that is given where the cause is: in the controller."""

_COMMANDS = sorted(
    {command for blocker in BLOCKERS.values() for command in blocker.commands if not command.startswith(_IN_IRONIC)}
)


def _codes(path: Path) -> set[str]:
    """The upper-case words in a source, as far as they may be the code of a wait or fault."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[A-Z]{2,}(_[A-Z]+)+|ENROLLED|MAINTENANCE|RECABLE|RETIRED|UNMANAGED|RETRYING", node.value)
        and not node.value.startswith(("BMS_", "STATE_", "NODE_TYPE_", "CUSTOM_", "COMPUTE_"))
    }


def test_every_code_says_who_must_act() -> None:
    """
    A wait or fault that any source of lifecycle names is registered with its meaning and remedy, and none in vain.
    """
    sources = [path for path in _SOURCES.rglob("*.py") if path.name not in _WAITS]
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


@pytest.mark.parametrize("outcome", ["Waiting", "Failed"])
def test_every_outcome_that_stands_still_names_a_registered_code(outcome: str) -> None:
    """
    Each code that a step's outcome is made with, as it stands in the source, is registered.
    """
    calls = [
        node
        for path in _SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == outcome
    ]
    codes = {
        word.value
        for call in calls
        for word in ast.walk(call.args[1])
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    }

    assert len(calls) > 5
    assert len(codes) > 2
    assert codes <= set(BLOCKERS)


def test_every_code_stands_once() -> None:
    """
    No code is registered twice, the second hiding the first.
    """
    entries = [
        node
        for name in _WAITS
        for node in ast.walk(ast.parse((_SOURCES / "domain" / name).read_text(encoding="utf-8")))
        if getattr(getattr(node, "func", None), "id", "") == "Blocker"
    ]

    assert len(entries) == len(BLOCKERS)


@pytest.mark.parametrize(
    "blocker", [one for one in BLOCKERS.values() if one.kind is Kind.WAIT], ids=lambda one: one.code
)
def test_every_wait_may_last_only_so_long(blocker: Blocker) -> None:
    """
    A wait has an age from which it is overdue, and whoever then must act is told how to look.
    """
    assert blocker.sla is not None
    assert blocker.sla <= max(step.limit or STEP_SLA for kind in IntentKind for step in plan_of(kind))


@pytest.mark.parametrize("cure", Cure)
def test_every_remedy_belongs_to_a_code_and_does_something(cure: Cure) -> None:
    """
    No remedy is for nothing: a code names it, steps obey it, and the runbook tells of it.
    """
    assert [blocker.code for blocker in BLOCKERS.values() if blocker.cure is cure]
    assert CURES[cure]
    assert cure_text(cure) in runbook.page()


def test_the_runbook_is_written_from_the_registry() -> None:
    """
    docs/runbook.md is what the registry says today: python -m services.lifecycle.domain.runbook > docs/runbook.md
    """
    text = (_ROOT / runbook.PAGE).read_text(encoding="utf-8")

    assert text == runbook.page()
    assert all(text.count(f"\n### {code}\n") == 1 for code in BLOCKERS)
    assert all(runbook.anchor(code) == f"docs/runbook.md#{code.lower()}" for code in BLOCKERS)


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
