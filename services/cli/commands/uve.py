# SPDX-License-Identifier: Apache-2.0
"""`bms uve`: what analytics knows of an object now."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from services.cli.fleet import find
from services.cli.following import follow
from services.cli.nouns import Noun, Span
from services.cli.screen import Column, Screen, as_dict, short
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from datetime import timedelta

    from bms.telemetry.v1.telemetry_pb2 import Uve, UveChange
    from services.cli.failures import ExitCode


@click.group("uve", cls=Noun)
def uve() -> None:
    """What analytics knows of an object now."""


def _structs(each: Uve) -> str:
    return ", ".join(sorted(each.contents.fields))


@uve.command("list")
@click.argument("type", default="server", metavar="[TYPE]")
@reads
def list_(session: Session, type: str) -> None:  # noqa: A002 -- analytics' word
    """List the UVEs of a TYPE: server, generator, config-node ..."""
    from bms.telemetry.v1.telemetry_pb2 import ListUvesRequest

    session.screen.rows(
        session.pages(session.telemetry.ListUves, ListUvesRequest(type=type), "uves"),
        (Column("KEY", lambda each: short(each.name)), Column("STRUCTS", _structs)),
        name=lambda each: each.name,
        as_data=as_dict,
        none=f"No UVEs of type {type}.",
    )


@uve.command("show")
@click.argument("type")
@click.argument("key", required=False)
@reads
def show(session: Session, type: str, key: str | None) -> None:  # noqa: A002 -- analytics' word
    """Show a UVE: TYPE and KEY, such as `server rack1-node3`, or its full name."""
    from bms.telemetry.v1.telemetry_pb2 import GetUveRequest

    name = type.removeprefix("uves/")
    if key is not None:
        # A server's key is its UUID; people know it by name.
        name = f"{type}/{short(find(session, key).name) if type == 'server' else key}"
    found = session.telemetry.GetUve(GetUveRequest(name=f"uves/{name}"))
    contents = as_dict(found).get("contents", {})
    if session.screen.structured:
        session.screen.data(contents)
    elif session.screen.format == "name":
        click.echo(found.name)
    else:
        # As the REST form of analytics has it.
        click.echo(json.dumps(contents, indent=2, ensure_ascii=False))


def _line(screen: Screen, each: UveChange) -> str:
    if screen.structured:
        return json.dumps(as_dict(each), ensure_ascii=False)
    if screen.format == "name":
        return each.name
    if each.HasField("contents"):
        contents = as_dict(each)["contents"]
        contents.pop("__T", None)
        what = json.dumps(contents, ensure_ascii=False)
    else:
        what = "gone, and with it the UVE" if each.gone else "gone"
    return f"{time.strftime('%H:%M:%S')}  {each.name.removeprefix('uves/')}  {each.struct}  {what}"


@uve.command("watch")
@click.argument("type", default="", metavar="[TYPE]")
@click.argument("key", default="", metavar="[KEY]")
@click.option("--struct", "structs", multiple=True, help="Only this struct, such as IronicNode; may be repeated.")
@click.option("--after", default="", help="Go on behind this token.  [default: everything there is, first]")
@click.option("--count", type=click.IntRange(min=1), help="End after so many changes.")
@click.option("--for", "span", type=Span(), help="End after this long.")
@reads
def watch(
    session: Session,
    type: str,  # noqa: A002 -- analytics' word
    key: str,
    structs: tuple[str, ...],
    after: str,
    count: int | None,
    span: timedelta | None,
) -> ExitCode:
    """Follow UVEs, until Ctrl-C: those there are, then each as it changes. KEY may be a server's name, or have *."""
    from bms.telemetry.v1.telemetry_pb2 import WatchUvesRequest

    if key and type == "server" and "*" not in key:
        key = short(find(session, key).name)
    request = WatchUvesRequest(
        after=after, types=[type] if type else [], keys=[key] if key else [], structs=list(structs)
    )
    return follow(
        session,
        session.telemetry.WatchUves,
        request,
        "changes",
        lambda each: _line(session.screen, each),
        again=" ".join(filter(None, ("bms uve watch", type, key, *(f"--struct {each}" for each in structs)))),
        count=count,
        span=span,
    )
