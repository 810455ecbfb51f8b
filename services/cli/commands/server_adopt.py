# SPDX-License-Identifier: Apache-2.0
"""`bms server adopt`: takes a server in use over, as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.commands.instance import network_of
from services.cli.commands.server_noun import NAME, TIMEOUT, WAIT, server
from services.cli.failures import ExitCode
from services.cli.fleet import find
from services.cli.nouns import full_name
from services.cli.session import Session, changes
from services.cli.waiting import conclude, show_plan

if TYPE_CHECKING:
    from datetime import timedelta


@server.command("adopt")
@NAME
@click.option("--instance", "instance_id", required=True, help="What the instance shall be called.")
@click.option("--flavor", required=True, help="What the server is.")
@click.option("--image", required=True, help="What is on its disk; on record alone, nobody reads it.")
@click.option(
    "--network",
    "-n",
    "networks",
    multiple=True,
    required=True,
    metavar="NAME,address=A[,vlan=V]",
    help="A network it is on, with its address there; may be repeated. All of them, and no other.",
)
@WAIT
@TIMEOUT
@changes
def adopt(
    session: Session,
    name: str,
    instance_id: str,
    flavor: str,
    image: str,
    networks: tuple[str, ...],
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """Take a server in use over as an instance of the project: no reboot, no erasure, no port moved."""
    from bms.lifecycle.v1.instance_pb2 import AdoptServerRequest, Instance

    record = find(session, name)
    request = AdoptServerRequest(
        name=record.name,
        parent=session.parent,
        instance_id=instance_id,
        instance=Instance(
            flavor=full_name(flavor, "flavors"),
            image=full_name(image, "images"),
            networks=[network_of(session, text) for text in networks],
        ),
    )
    operation = session.lifecycle.AdoptServer(session.fill(request))
    if session.options.validate_only:
        show_plan(session.screen, {record.display_name: operation})
        return ExitCode.OK
    return conclude(session, {record.display_name: operation}, wait=wait, limit=timeout)
