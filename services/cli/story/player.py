# SPDX-License-Identifier: Apache-2.0
"""Plays a story: runs the lines, shows them and their output, and holds each to what it must lead to."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.cli.failures import CliError
from services.cli.story.script import Line, Scene, faults_of, fill, kept
from services.cli.story.stage import Stage, missing

LINE_SECONDS = 240.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

Say = Callable[[str], None]


class StoryFailed(CliError):
    """A line did not lead to what it must."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a story came to."""

    lines: int
    left_out: tuple[str, ...]
    seconds: float


def play(
    scenes: Sequence[Scene], stage: Stage, say: Say, *, color: bool = False, between: Callable[[], None] = lambda: None
) -> Played:
    """Plays *scenes* on *stage*.

    Args:
        say: shows a line of text.
        color: whether to show in colours.
        between: called before each scene but the first.

    Raises:
        StoryFailed: a line ended otherwise than it must.
    """
    began = time.monotonic()
    words = dict(stage.words)
    lines, left_out = 0, []
    for number, scene in enumerate(scenes):
        if number:
            between()
        say("")
        say(_styled(f"━━ {scene.title} ".ljust(100, "━"), "1;36", color=color))
        for line in scene.lines:
            if missing(line.needs, stage.environ):
                left_out.append(fill(line.text, words))
                say(_styled(f"\n(left out, for want of {line.needs}: {left_out[-1]})", "2", color=color))
                continue
            words |= _run(line, words, stage.environ, say, color=color)
            lines += 1
    return Played(lines, tuple(left_out), time.monotonic() - began)


def _run(line: Line, words: Mapping[str, str], environ: Mapping[str, str], say: Say, *, color: bool) -> dict[str, str]:
    """Runs one line; answers what it gives to later ones."""
    text = fill(line.text, words)
    say("")
    if line.note:
        say(_styled(f"# {line.note}", "2", color=color))
    say(_styled(f"$ {text}", "1", color=color))
    began = time.monotonic()
    code, output = _execute(text, environ, say, color=color)
    plain = _COLOURS.sub("", output)
    faults = faults_of(line, words, code, plain)
    if faults:
        listed = "\n".join(f"    {fault}" for fault in faults)
        raise StoryFailed(f"this line did not end as it must:\n  $ {text}\n{listed}", reason="STORY_FAILED")
    code_text = f", exit code {code} as it must be" if code else ""
    say(_styled(f"  ({time.monotonic() - began:.1f} s{code_text})", "2", color=color))
    return kept(line, plain)


def _execute(text: str, environ: Mapping[str, str], say: Say, *, color: bool) -> tuple[int, str]:
    shown = {**environ, "FORCE_COLOR": "1"} if color else {**environ, "NO_COLOR": "1"}
    # The line is ours, and a shell is what people paste it into.
    process = subprocess.Popen(
        ["/bin/sh", "-c", text],
        env=shown,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines = []
    with process.stdout:
        for line in process.stdout:
            lines.append(line)
            say(f"  {line.rstrip()}")
    return process.wait(LINE_SECONDS), "".join(lines)


def _styled(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text
