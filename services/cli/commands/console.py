# SPDX-License-Identifier: Apache-2.0
"""`bms server console`, `bms instance console`: where a server's console is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.cli.commands.instance import NAME as INSTANCE_NAME
from services.cli.commands.instance import instance, named
from services.cli.commands.server_noun import NAME, server
from services.cli.fleet import find
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from bms.lifecycle.v1.console_pb2 import Console


def _show(session: Session, found: Console) -> None:
    session.screen.one(found, [("Server", found.server), ("Type", found.type), ("Address", found.url)])


@server.command("console")
@NAME
@reads
def of_server(session: Session, name: str) -> None:
    """Open a server's console and say where it is. That you asked is on record; the address is kept nowhere."""
    from bms.lifecycle.v1.console_pb2 import GetServerConsoleRequest

    record = find(session, name)
    _show(session, session.lifecycle.GetServerConsole(GetServerConsoleRequest(name=record.name)))


@instance.command("console")
@INSTANCE_NAME
@reads
def of_instance(session: Session, name: str) -> None:
    """Open the console of an instance's server and say where it is. It ends with the instance."""
    from bms.lifecycle.v1.console_pb2 import GetInstanceConsoleRequest

    _show(session, session.lifecycle.GetInstanceConsole(GetInstanceConsoleRequest(name=named(session, name))))
