# SPDX-License-Identifier: Apache-2.0
"""`bms server retire`, `bms server unretire`: leads servers out of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.commands.server_noun import NAMES, SELECTOR, server
from services.cli.failures import ExitCode
from services.cli.fleet import targets
from services.cli.session import Session, changes
from services.cli.turns import each_in_turn

if TYPE_CHECKING:
    from bms.inventory.v1.server_pb2 import Server


@server.command("retire")
@NAMES
@SELECTOR
@click.option("--reason", required=True, help="Why, for the record.")
@changes
def retire(session: Session, names: tuple[str, ...], selector: str, reason: str) -> ExitCode:
    """Offer servers to nobody from now on; free and clean they rest as enrolled, and may be deleted."""
    from bms.lifecycle.v1.server_status_pb2 import RetireServerRequest

    def ask(record: Server, target: str) -> None:
        request = RetireServerRequest(name=record.name, reason=reason)
        status = session.lifecycle.RetireServer(session.fill(request, target))
        session.screen.one(status, [("Name", record.display_name), ("Retired", status.retired_reason or reason)])

    return each_in_turn(session, targets(session, names, selector), ask)


@server.command("unretire")
@NAMES
@SELECTOR
@changes
def unretire(session: Session, names: tuple[str, ...], selector: str) -> ExitCode:
    """End retirement; an enrolled server comes into the pool by `bms server provide`."""
    from bms.lifecycle.v1.server_status_pb2 import UnretireServerRequest

    def ask(record: Server, target: str) -> None:
        status = session.lifecycle.UnretireServer(session.fill(UnretireServerRequest(name=record.name), target))
        session.screen.one(status, [("Name", record.display_name), ("Retired", "ended")])

    return each_in_turn(session, targets(session, names, selector), ask)
