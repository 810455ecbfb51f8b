# SPDX-License-Identifier: Apache-2.0
"""`bms checkpoint`: what each service has signed of its log, and with which keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from services.cli.nouns import Noun
from services.cli.screen import Column, as_dict, when
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from bms.event.v1.event_pb2 import Checkpoint, SigningKey

LOGS = ("inventory", "lifecycle", "ipam", "network")
"""The services that keep a log."""


@click.group("checkpoint", cls=Noun)
def checkpoint() -> None:
    """Signed checkpoints of the services' logs, and the keys that signed them."""


_SERVICE = click.option(
    "--service", type=click.Choice(LOGS), default="lifecycle", show_default=True, help="Of this service's log."
)


@checkpoint.command("list")
@_SERVICE
@click.option(
    "--limit", type=click.IntRange(min=1, max=1000), default=20, show_default=True, help="The newest so many."
)
@reads
def list_(session: Session, service: str, limit: int) -> None:
    """List the newest checkpoints of a log."""
    from bms.event.v1.event_pb2 import Checkpoint, ListCheckpointsRequest

    log = session.log(service)
    newest = [
        Checkpoint.FromString(each.checkpoint)
        for each in log.ListCheckpoints(ListCheckpointsRequest(newest=True)).checkpoints
    ]
    after = max(0, newest[0].number - limit) if newest else 0
    found = log.ListCheckpoints(ListCheckpointsRequest(after=after, page_size=limit)).checkpoints
    rows: list[Checkpoint] = [Checkpoint.FromString(each.checkpoint) for each in found]
    session.screen.rows(
        rows,
        (
            Column("NUMBER", lambda each: str(each.number)),
            Column("TIME", lambda each: when(each.time)),
            Column("POSITION", lambda each: str(each.position)),
            Column("STREAMS", lambda each: str(each.streams)),
            Column("KEY", lambda each: each.key_id),
            Column("RUNNING DIGEST", lambda each: each.running_digest.hex()),
            Column("ROOT OF HEADS", lambda each: each.heads_root.hex(), wide=True),
            Column("LOG", lambda each: each.log, wide=True),
        ),
        name=lambda each: str(each.number),
        as_data=as_dict,
        none="No checkpoints: the log has no events yet.",
    )


@checkpoint.command("keys")
@_SERVICE
@reads
def keys(session: Session, service: str) -> None:
    """List the public keys that sign a log's checkpoints."""
    from bms.event.v1.event_pb2 import ListSigningKeysRequest

    found: list[SigningKey] = list(session.log(service).ListSigningKeys(ListSigningKeysRequest()).keys)
    session.screen.rows(
        found,
        (
            Column("KEY", lambda each: each.key_id),
            Column("FROM", lambda each: str(each.from_number)),
            Column("SINCE", lambda each: when(each.create_time)),
            Column("PUBLIC KEY", lambda each: each.public_key.hex()),
            Column("ENDORSED", lambda each: "yes" if each.endorsement else "first" if each.from_number == 1 else "no"),
            Column("LOG", lambda each: each.log, wide=True),
        ),
        name=lambda each: each.key_id,
        as_data=as_dict,
        none="No keys: the log has no events yet.",
    )
