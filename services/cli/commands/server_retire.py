# SPDX-License-Identifier: Apache-2.0
"""`bms server retire`, `bms server unretire`: leads servers out of the site."""

from __future__ import annotations

import click

from services.cli.commands.server_noun import NAMES, SELECTOR, server
from services.cli.fleet import targets
from services.cli.session import Session, changes


@server.command("retire")
@NAMES
@SELECTOR
@click.option("--reason", required=True, help="Why, for the record.")
@changes
def retire(session: Session, names: tuple[str, ...], selector: str, reason: str) -> None:
    """Offer servers to nobody from now on; free and clean they rest as enrolled, and may be deleted."""
    from bms.lifecycle.v1.server_status_pb2 import RetireServerRequest

    records = targets(session, names, selector)
    for record in records:
        request = RetireServerRequest(name=record.name, reason=reason)
        status = session.lifecycle.RetireServer(session.fill(request, record.name if len(records) > 1 else ""))
        session.screen.one(status, [("Name", record.display_name), ("Retired", status.retired_reason or reason)])


@server.command("unretire")
@NAMES
@SELECTOR
@changes
def unretire(session: Session, names: tuple[str, ...], selector: str) -> None:
    """End retirement; an enrolled server comes into the pool by `bms server provide`."""
    from bms.lifecycle.v1.server_status_pb2 import UnretireServerRequest

    records = targets(session, names, selector)
    for record in records:
        request = UnretireServerRequest(name=record.name)
        status = session.lifecycle.UnretireServer(session.fill(request, record.name if len(records) > 1 else ""))
        session.screen.one(status, [("Name", record.display_name), ("Retired", "ended")])
