# SPDX-License-Identifier: Apache-2.0
"""`bms server`: the noun, and options that several of its verbs take."""

from __future__ import annotations

import click

from services.cli.fleet import complete_server
from services.cli.nouns import Noun, Span

NAME = click.argument("name", shell_complete=complete_server)
NAMES = click.argument("names", nargs=-1, shell_complete=complete_server)
SELECTOR = click.option(
    "--selector", "-l", default="", metavar="KEY=VALUE,..", help="Which: rack=R12,class=gold,state=active."
)
WAIT = click.option("--wait", "-w", is_flag=True, help="Follow it to its end.")
TIMEOUT = click.option(
    "--timeout", type=Span(), metavar="TIME", help="With --wait: how long, such as 30m.  [default: no limit]"
)


@click.group("server", cls=Noun)
def server() -> None:
    """Servers: import, provide, diagnose, set aside, remove."""
