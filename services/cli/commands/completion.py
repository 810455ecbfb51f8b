# SPDX-License-Identifier: Apache-2.0
"""`bms completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(bms completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(bms completion zsh)"     # in ~/.zshrc, behind compinit',
    "fish": "bms completion fish | source    # in ~/.config/fish/config.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes `bms` in a SHELL: verbs, options, and names of servers, flavors and the like."""
    found = get_completion_class(shell)
    assert found is not None
    from services.cli.app import bms

    click.echo(f"# {_HOW[shell]}")
    click.echo(found(bms, {}, "bms", "_BMS_COMPLETE").source())
