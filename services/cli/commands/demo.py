# SPDX-License-Identifier: Apache-2.0
"""`bms demo`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import click

from services.cli.failures import CliError, ExitCode


@click.command("demo")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Play in this directory, which must be new, and keep it.  [default: a temporary one]",
)
@click.option(
    "--profile", type=click.Choice(["demo", "instant"]), default="demo", show_default=True, help="How long things take."
)
@click.option("--single", is_flag=True, help="One login plays administrator and tenant.")
@click.option("--pause", is_flag=True, help="Wait for Enter before each scene.")
@click.option("--stay", is_flag=True, help="Stay up at the end, until Enter: for lines of your own.")
def demo(data: Path | None, profile: str, single: bool, pause: bool, stay: bool) -> ExitCode:
    """Play the whole story on a simulated rack, through the very lines that are printed.

    Five processes start in a fresh directory, on ports of their own. While it plays, every line works in another
    terminal too, by copy and paste. Ends with 0 if each line led to what it must.
    """
    from services.cli.story import STORY
    from services.cli.story.player import play
    from services.cli.story.stage import set_up

    color = sys.stdout.isatty()
    if data is not None and data.exists() and any(data.iterdir()):
        raise CliError(
            f"{data} is not empty",
            reason="NOT_EMPTY",
            remedy="Name a directory that is new; the story begins on a bare site.",
        )
    with tempfile.TemporaryDirectory(prefix="bms-demo-") if data is None else nullcontext(str(data)) as directory:
        _say("Starting five services and a simulated rack ...")
        with set_up(Path(directory).resolve(), profile=profile, single=single) as stage:
            _say(f"Ready after {stage.ready_after:.1f} s. To run any line below in another terminal too, type first:")
            for line in stage.exports:
                _say(f"  {line}")
            try:
                played = play(STORY, stage, _say, color=color, between=_wait if pause else lambda: None)
            except BaseException:
                _keep_logs(stage.data.path)
                raise
            if stay:
                _say("\nEverything stays up until you press Enter.")
                _wait()
        _say("")
        _say(f"The story is over: {played.lines} lines, each as it must be, in {played.seconds:.0f} s.")
        if played.left_out:
            _say(f"{len(played.left_out)} left out, for want of their programs.")
    _say("Start a site of your own that stays: bms up")
    return ExitCode.OK


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait() -> None:
    sys.stdin.readline()


def _keep_logs(directory: Path) -> None:
    """Puts the logs where they outlive the directory: something went wrong, and they say what."""
    kept = Path(tempfile.mkdtemp(prefix="bms-demo-logs-"))
    shutil.copytree(directory / "logs", kept, dirs_exist_ok=True)
    _say(f"\nThe services' logs are in {kept}.")
