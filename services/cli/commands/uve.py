# SPDX-License-Identifier: Apache-2.0
"""`bms uve`: what analytics knows of an object now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from services.cli.fleet import find
from services.cli.nouns import Noun
from services.cli.screen import Column, as_dict, short
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from bms.telemetry.v1.telemetry_pb2 import Uve


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
