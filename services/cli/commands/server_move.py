# SPDX-License-Identifier: Apache-2.0
"""`bms server move`, `bms server cabled`: migrates a server to other switch ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.commands.server_noun import NAME, NAMES, SELECTOR, TIMEOUT, WAIT, server
from services.cli.commands.server_verbs import carry_out
from services.cli.failures import BadUsage, ExitCode
from services.cli.fleet import find, targets
from services.cli.session import Session, changes
from services.cli.turns import each_in_turn

if TYPE_CHECKING:
    from datetime import timedelta

    from google.longrunning.operations_pb2 import Operation

    from bms.inventory.v1.server_pb2 import Port, Server
    from bms.lifecycle.v1.server_move_pb2 import PortMove

_FORM = "Write PORT=SWITCH/PORT[,SWITCH_ID], such as eth0=leaf2/xe-0/0/7; a port by its label or MAC address."


def move_of(record: Server, text: str) -> PortMove:
    """``PORT=SWITCH/PORT[,SWITCH_ID]``: the switch is what stands before the first slash."""
    from bms.lifecycle.v1.server_move_pb2 import PortMove

    name, equals, link = text.partition("=")
    place, _, switch_id = link.partition(",")
    switch, slash, port = place.partition("/")
    if not (equals and slash and name and switch and port):
        raise BadUsage(f"port {text!r} is not understood", remedy=_FORM)
    return PortMove(port=_port(record, name).name, switch_name=switch, switch_port=port, switch_id=switch_id)


def _port(record: Server, name: str) -> Port:
    plain = name.lower().rpartition("/")[2].replace(":", "").replace("-", "")
    found = [port for port in record.ports if port.label == name or port.mac_address.replace(":", "") == plain]
    if len(found) == 1:
        return found[0]
    known = ", ".join(port.label or port.mac_address for port in record.ports) or "none"
    what = "has several ports" if found else "has no port"
    raise BadUsage(f"{record.display_name} {what} {name!r}", remedy=f"Name one of {known}.")


@server.command("move")
@NAME
@click.option(
    "--port",
    "texts",
    multiple=True,
    required=True,
    metavar="PORT=SWITCH/PORT[,SWITCH_ID]",
    help="Where a port is plugged in from now on; may be repeated.",
)
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--cabled", is_flag=True, help="Its cables are there already, or none is touched: nobody is waited for.")
@WAIT
@TIMEOUT
@changes
def move(
    session: Session,
    name: str,
    texts: tuple[str, ...],
    reason: str,
    cabled: bool,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """Migrate a server to other switch ports: off, cut off, new links read back, and on again as it was."""
    from bms.lifecycle.v1.server_move_pb2 import MoveServerRequest

    record = find(session, name)
    ports = [move_of(record, text) for text in texts]

    def ask(target: str, plan: bool) -> Operation:
        request = session.fill(MoveServerRequest(name=target, ports=ports, reason=reason, cabled=cabled))
        request.validate_only |= plan
        operation = session.lifecycle.MoveServer(request)
        if not (plan or cabled or session.screen.structured):
            session.screen.note(f"It waits for its cables: bms server cabled {record.display_name}")
        return operation

    question = f"Take {record.display_name} off its networks, power it off if it runs, and move it?"
    return carry_out(session, [record], ask, question, wait=wait, limit=timeout, erases=False)


@server.command("cabled")
@NAMES
@SELECTOR
@changes
def cabled_(session: Session, names: tuple[str, ...], selector: str) -> ExitCode:
    """Say that the cables of servers that are being moved are where `bms server move` said."""
    from bms.lifecycle.v1.server_move_pb2 import ConfirmServerMoveRequest

    def ask(record: Server, target: str) -> None:
        request = ConfirmServerMoveRequest(name=record.name)
        status = session.lifecycle.ConfirmServerMove(session.fill(request, target))
        session.screen.one(status, [("Name", record.display_name), ("Cables", "where they shall be")])

    return each_in_turn(session, targets(session, names, selector), ask)
