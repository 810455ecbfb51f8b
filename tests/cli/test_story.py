# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from services.cli.app import bms
from services.cli.datadir import DataDir
from services.cli.story import STORY, Line, Scene
from services.cli.story.player import StoryFailed, play
from services.cli.story.script import faults_of, fill, kept
from services.cli.story.stage import Stage, set_up
from services.cli.supervise.plan import SERVICES

LINES = [line for scene in STORY for line in scene.lines]
GIVEN = {*SERVICES, "rest", "collector", "introspect", "tenant", "project"}


def stage(tmp_path: Path, words: Mapping[str, str] | None = None) -> Stage:
    """A stage on which nothing runs."""
    environ = {"PATH": "/usr/bin:/bin", "BMS_DATA_DIR": str(tmp_path)}
    return Stage(DataDir(tmp_path), environ, (), words or {}, 0.0, process=None)  # type: ignore[arg-type]  # never stopped


def test_words_of_a_line_are_given_before_it() -> None:
    """
    A line uses only words that the stage gives or an earlier line keeps.
    """
    known = set(GIVEN)
    for line in LINES:
        for text in (line.text, *line.says, *line.never):
            assert set(re.findall(r"\{([a-z_]+)\}", text)) <= known, line.text
        known |= set(line.keep)


def test_every_line_is_one_that_bms_takes() -> None:
    """
    Each line names commands and options that exist.
    """
    words = dict.fromkeys(GIVEN | {word for each in LINES for word in each.keep}, "x") | {"tenant": "--as tenant-a"}
    for line in LINES:
        if not line.text.startswith("bms "):
            continue
        rest = shlex.split(fill(line.text, words))[1:]
        command: click.Command = bms
        while isinstance(command, click.Group):
            context = command.make_context("bms", rest, resilient_parsing=True)
            _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None, line.text
            command = found
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, line.text


def test_json_keeps_its_braces() -> None:
    """
    Only known words in braces are replaced.
    """
    assert fill('x {a} {"b": {c}}', {"a": "1"}) == 'x 1 {"b": {c}}'
    assert fill("bms {tenant} list", {"tenant": ""}) == "bms list"


@pytest.mark.parametrize(
    ("line", "code", "output", "faults"),
    [
        (Line("x", says=("yes",)), 0, "yes", 0),
        (Line("x", says=("yes",)), 1, "no", 2),
        (Line("x", code=1, never=("secret",)), 1, "a secret", 1),
        (Line("x", keep={"id": r"id=(\d+)"}), 0, "nothing", 1),
    ],
)
def test_what_a_line_must_lead_to(line: Line, code: int, output: str, faults: int) -> None:
    """
    Each difference from what was expected is named.
    """
    assert faults == len(faults_of(line, {}, code, output))


def test_what_is_kept_serves_later_lines(tmp_path: Path) -> None:
    """
    A line's output gives words to the next; the very line that runs is printed.
    """
    said: list[str] = []
    scene = Scene("s", (Line("echo id=42", keep={"id": r"id=(\d+)"}), Line("echo got {id}", says=("got 42",))))

    played = play([scene], stage(tmp_path), said.append)

    assert played.lines == 2
    assert "$ echo got 42" in said
    assert "  got 42" in said
    assert kept(scene.lines[0], "id=42") == {"id": "42"}


def test_a_line_that_ends_otherwise_ends_the_story(tmp_path: Path) -> None:
    """
    The first difference stops it, with the line and what is wrong.
    """
    said: list[str] = []
    scene = Scene("s", (Line("exit 3", code=0), Line("echo never")))

    with pytest.raises(StoryFailed) as caught:
        play([scene], stage(tmp_path), said.append)

    assert "$ exit 3" in str(caught.value)
    assert "exit code is 3, not 0" in str(caught.value)
    assert "$ echo never" not in said


def test_what_needs_a_program_is_left_out_without_it(tmp_path: Path) -> None:
    """
    A line for a program that is not there is left out, and counted.
    """
    played = play([Scene("s", (Line("echo", needs="no-such-program"),))], stage(tmp_path), lambda _: None)

    assert played.lines == 0
    assert played.left_out == ("echo",)


def test_the_story_covers_what_it_promises() -> None:
    """
    Every verb of servers and instances is on stage, and refusals are too.
    """
    text = "\n".join(line.text for line in LINES)

    for verb in ("stop", "start", "reboot", "rebuild", "rescue", "unrescue", "attach", "detach", "delete"):
        assert f"instance {verb} " in text
    for verb in (
        "import",
        "provide",
        "quarantine",
        "recover",
        "diagnose",
        "maintenance set",
        "delete",
        "set",
        "move",
        "cabled",
    ):
        assert f"server {verb} " in text
    assert sum(line.code != 0 for line in LINES) >= 15
    assert "grpcurl" in text


@pytest.mark.story
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("single", [False, True], ids=["tenants", "one login"])
def test_the_story(tmp_path: Path, single: bool) -> None:
    """
    Played over five processes, every line leads to what it must; no service found anything that it did not foresee.
    """
    said: list[str] = []
    with set_up(tmp_path / "data", profile="demo", single=single) as site:
        played = play(STORY, site, said.append)
        logs = {path.name: path.read_text() for path in site.data.logs.glob("*.log")}

    assert played.lines + len(played.left_out) == len(LINES)
    for name, text in logs.items():
        records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        unforeseen = [
            record for record in records if record.get("code") == "INTERNAL" or record.get("level") == "critical"
        ]
        assert not unforeseen, name
        assert "Traceback" not in text, name
        assert not any(secret in text for secret in ("rack11-01", "s3cret")), name
