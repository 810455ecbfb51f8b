# SPDX-License-Identifier: Apache-2.0
"""`bms message`: raw Sandesh."""

from __future__ import annotations

import click

from services.cli.fleet import complete_server, find
from services.cli.nouns import Noun
from services.cli.screen import as_dict, moment, short
from services.cli.session import Session, reads


@click.group("message", cls=Noun)
def message() -> None:
    """Raw Sandesh messages as collectors received them."""


@message.command("list")
@click.option("--server", default="", shell_complete=complete_server, help="Only about this server.")
@click.option("--object", "object_key", default="", metavar="TABLE:KEY", help="Only about this object.")
@click.option("--type", "message_type", default="", help="Only of this name, such as IronicNodeInfo.")
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most how many.")
@reads
def list_(session: Session, server: str, object_key: str, message_type: str, newest: bool, limit: int) -> None:
    """Print messages as they came: a line about each, and the XML."""
    from bms.telemetry.v1.telemetry_pb2 import ListSandeshMessagesRequest

    if server:
        object_key = f"ObjectServerTable:{short(find(session, server).name)}"
    request = ListSandeshMessagesRequest(object_key=object_key, message_type=message_type, newest_first=newest)
    found = session.pages(session.telemetry.ListSandeshMessages, request, "messages", limit)
    screen = session.screen
    if screen.structured:
        screen.data([as_dict(each) for each in found])
        return
    if not found:
        screen.note("No messages.")
    for each in found:
        time = moment(each.time)
        stamp = time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f") if time else "-"
        head = f"{each.id}  {stamp}  {each.message_type}  seq {each.sequence}  {each.source}:{each.module}"
        click.echo(screen.styled(head, "bold") if screen.format in ("table", "wide") else str(each.id))
        if screen.format in ("table", "wide"):
            click.echo(each.xml)
