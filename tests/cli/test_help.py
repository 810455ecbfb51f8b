# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import click
import pytest

from services.cli.app import COMMANDS, bms
from services.cli.commands.rack import rack
from tests.cli.conftest import Shell
from tests.cli.fakes.world import World

HEAVY = ("grpc", "rich", "google", "bms", "services.runtime", "yaml")


def commands(group: click.Group, path: str = "bms") -> list[tuple[str, click.Command]]:
    """Every command below *group*, with what is typed for it."""
    found: list[tuple[str, click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


EVERY = commands(bms)


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_every_command_explains_itself(path: str, command: click.Command) -> None:
    """
    Every command has a first sentence, and help for each of its options.
    """
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


def test_the_table_of_commands_is_true() -> None:
    """
    Each name of the table is a command, and its line is that command's first.
    """
    context = click.Context(bms)
    for name, (_, text) in COMMANDS.items():
        command = bms.get_command(context, name)
        assert command is not None
        assert command.name in (name, name.replace("-", "_"), name.replace("_", "-"))
        assert text.endswith(".")


@pytest.mark.parametrize("line", ["--help", "--version", "server --help", "instance create --help"])
def test_help_is_quick(line: str) -> None:
    """
    Help loads nothing heavy: neither gRPC nor stubs nor rich.
    """
    script = (
        "import sys\nfrom services.cli.__main__ import run\n"
        f"code = run({line.split()!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(offline: Shell, shell: str) -> None:
    """
    Each shell gets its script, and the line that puts it to use.
    """
    said = offline("completion", shell)

    assert said.code == 0
    assert f"_BMS_COMPLETE={shell}_complete" in said.out
    assert f"bms completion {shell}" in said.out


def complete(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash would offer behind *words*."""
    parts = words.split(" ")
    monkeypatch.setenv("_BMS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(parts) - 1))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        bms.main([], prog_name="bms", complete_var="_BMS_COMPLETE")
    return [line.partition(",")[2] for line in capsys.readouterr().out.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bms ser", ["server"]),
        ("bms server pro", ["provide"]),
        ("bms server list --sel", ["--selector"]),
        ("bms completion z", ["zsh"]),
    ],
)
def test_words_are_completed(
    words: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nouns, verbs, options and choices complete.
    """
    assert offered == complete(words, monkeypatch, capsys)


def test_names_are_completed(
    bms: Shell, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Names of servers come from the services.
    """
    world.add_server("r1-01")
    world.add_server("r2-01")

    assert complete("bms server show r1", monkeypatch, capsys) == ["r1-01"]


def test_completion_never_fails(
    offline: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Where nobody answers nothing is offered, and nothing is said.
    """
    assert complete("bms server show r1", monkeypatch, capsys) == []
    assert capsys.readouterr().err == ""


def test_faults_are_completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What can be broken is offered.
    """
    assert rack.name == "rack"
    assert "bmc-silent" in complete("bms rack fault inject bmc", monkeypatch, capsys)


def test_a_pipe_that_closes_is_no_error() -> None:
    """
    `bms ... | head` ends quietly.
    """
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m services.cli api-resources | head -n 1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.startswith("NOUN")
    assert done.stderr == ""
