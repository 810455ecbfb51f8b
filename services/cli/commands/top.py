# SPDX-License-Identifier: Apache-2.0
"""`bms top`: the fleet at a glance."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from services.cli.commands.brake import headline
from services.cli.failures import ExitCode
from services.cli.screen import age, as_dict, seconds, short, style_of, word
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bms.lifecycle.v1.server_status_pb2 import ServerStatus, SummarizeFleetResponse

_BAR = 40


@click.command("top")
@click.option("--once", is_flag=True, help="Print it once and end; so it is anyway unless this is a terminal.")
@click.option(
    "--interval", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Seconds between looks."
)
@reads
def top(session: Session, once: bool, interval: float) -> ExitCode:
    """Show the fleet by state, what servers wait for, and what is overdue; live on a terminal."""
    from bms.lifecycle.v1.server_status_pb2 import SummarizeFleetRequest

    screen = session.screen
    if once or not screen.live or screen.format not in ("table", "wide"):
        found = session.lifecycle.SummarizeFleet(SummarizeFleetRequest())
        if screen.structured:
            screen.data(as_dict(found))
        else:
            _print(session, found)
        return ExitCode.OK
    from rich.live import Live

    stop = threading.Event()
    try:
        with Live(refresh_per_second=4, screen=True) as live:
            while True:
                live.update(_picture(session.lifecycle.SummarizeFleet(SummarizeFleetRequest())))
                if stop.wait(interval):
                    break
    except KeyboardInterrupt:
        pass  # the way to leave it
    return ExitCode.OK


def _states(found: SummarizeFleetResponse) -> list[tuple[str, int, str]]:
    from bms.lifecycle.v1.server_status_pb2 import ServerStatus

    most = max((each.count for each in found.states), default=1)
    return [
        (word(ServerStatus.State, each.state, "STATE_"), each.count, "█" * max(1, each.count * _BAR // most))
        for each in found.states
        if each.count
    ]


def _overdue(each: ServerStatus) -> tuple[str, str, str, str, str]:
    from bms.lifecycle.v1.server_status_pb2 import ServerStatus

    state = word(ServerStatus.State, each.state, "STATE_")
    return (
        each.display_name or short(each.server),
        state,
        age(each.state_since),
        seconds(each.state_limit),
        each.wait.code or each.fault,
    )


def _headline(found: SummarizeFleetResponse) -> str:
    return f"{found.total_count} servers, {found.maintenance_count} in maintenance, {found.overdue_count} overdue"


def _print(session: Session, found: SummarizeFleetResponse) -> None:
    screen = session.screen
    screen.print(_headline(found))
    if found.HasField("brake"):
        screen.print(screen.styled(headline(found.brake), "red"))
    if found.states:
        screen.table(("STATE", "SERVERS", ""), [(state, str(count), bar) for state, count, bar in _states(found)])
    if found.waits:
        screen.table(
            ("WAITS FOR", "SERVERS", "LONGEST"), [(each.code, str(each.count), age(each.since)) for each in found.waits]
        )
    if found.overdue:
        screen.table(("OVERDUE", "STATE", "FOR", "AT MOST", "WAITS FOR"), [_overdue(each) for each in found.overdue])


def _picture(found: SummarizeFleetResponse) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    states = Table(title="By state", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for title in ("STATE", "SERVERS", ""):
        states.add_column(title)
    for state, count, bar in _states(found):
        style = style_of(state)
        states.add_row(Text(state, style=style), str(count), Text(bar, style=style))
    waits = Table(title="Waiting for", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for title in ("CODE", "SERVERS", "LONGEST"):
        waits.add_column(title)
    for each in found.waits:
        waits.add_row(Text(each.code, style="yellow"), str(each.count), age(each.since))
    overdue = Table(title="Overdue", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for title in ("SERVER", "STATE", "FOR", "AT MOST", "WAITS FOR"):
        overdue.add_column(title)
    for late in found.overdue:
        overdue.add_row(*(Text(cell, style="red") for cell in _overdue(late)))
    parts: list[RenderableType] = [Text(_headline(found), style="bold"), Text(""), states]
    if found.HasField("brake"):
        parts.insert(1, Text(headline(found.brake), style="bold red"))
    if found.waits:
        parts += [Text(""), waits]
    if found.overdue:
        parts += [Text(""), overdue]
    return Group(*parts, Text("\nCtrl-C ends this.", style="dim"))
