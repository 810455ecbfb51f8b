# SPDX-License-Identifier: Apache-2.0
"""`bms event`: what happened, to what, by whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from services.cli.failures import BadUsage, CliError, ExitCode
from services.cli.fleet import complete_server, find
from services.cli.following import follow
from services.cli.nouns import Noun, Since, Span, full_name
from services.cli.screen import Column, Screen, as_dict, short, when
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from datetime import timedelta

    from bms.telemetry.v1.telemetry_pb2 import SourcedEvent


@click.group("event", cls=Noun)
def event() -> None:
    """Events of all services: list, watch, and prove where a stream ends."""


def _state(each: SourcedEvent) -> str:
    before, after = each.event.header.state_before, each.event.header.state_after
    return after if before in ("", after) else f"{before} -> {after}"


def _about(each: SourcedEvent) -> str:
    kind, _, rest = each.event.header.stream.partition("/")
    return f"{kind.removesuffix('s')} {rest[:8]}" if kind == "servers" else each.event.header.stream


def _text(each: SourcedEvent) -> str:
    body = each.event.body
    return " ".join(filter(None, (body.reason, body.message)))


COLUMNS: Sequence[Column[SourcedEvent]] = (
    Column("TIME", lambda each: when(each.event.header.time)),
    Column("SERVICE", lambda each: each.service),
    Column("ABOUT", _about),
    Column("SEQ", lambda each: str(each.event.header.sequence)),
    Column("TYPE", lambda each: each.event.header.type),
    Column("STATE", _state),
    Column("ACTOR", lambda each: each.event.body.actor),
    Column("WHAT", _text),
    Column("POSITION", lambda each: str(each.event.position), wide=True),
    Column("OPERATION", lambda each: short(each.event.body.cause.operation), wide=True),
)


def _stream(session: Session, server: str, stream: str) -> str:
    return find(session, server).name if server else stream


def _instance(session: Session, name: str) -> str:
    return full_name(name, "instances", "" if "/" in name else session.parent) if name else ""


_SERVER = click.option("--server", default="", shell_complete=complete_server, help="Only of this server.")
_STREAM = click.option("--stream", default="", help="Only of this stream, such as flavors/bm.large.")
_TYPE = click.option("--type", "type_prefix", default="", help="Only whose type begins so, such as port.")
_INSTANCE = click.option("--instance", default="", help="Only of this instance.")


@event.command("list")
@_SERVER
@_STREAM
@_TYPE
@_INSTANCE
@click.option("--service", type=click.Choice(["inventory", "lifecycle", "ipam", "network"]), help="Only of this log.")
@click.option("--since", type=Since(), help="Only from then on: RFC 3339, or how long ago (10m).")
@click.option("--until", type=Since(), help="Only before then.")
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="At most how many.")
@reads
def list_(
    session: Session,
    server: str,
    stream: str,
    type_prefix: str,
    instance: str,
    service: str | None,
    since: datetime | None,
    until: datetime | None,
    newest: bool,
    limit: int,
) -> None:
    """List past events."""
    from bms.telemetry.v1.telemetry_pb2 import QueryEventsRequest

    request = QueryEventsRequest(
        stream=_stream(session, server, stream),
        type_prefix=type_prefix,
        instance=_instance(session, instance),
        service=service or "",
        newest_first=newest,
    )
    if since is not None:
        request.start_time.FromDatetime(since)
    if until is not None:
        request.end_time.FromDatetime(until)
    session.screen.rows(
        session.pages(session.telemetry.QueryEvents, request, "events", limit),
        COLUMNS,
        name=lambda each: each.event.header.id,
        as_data=as_dict,
        none="No events.",
    )


def _line(screen: Screen, each: SourcedEvent) -> str:
    if screen.structured:
        return json.dumps(as_dict(each), ensure_ascii=False)
    if screen.format == "name":
        return each.event.header.id
    header = each.event.header
    state = _state(each)
    parts = (
        when(header.time),
        f"{each.service:<9}",
        f"{_about(each):<15}",
        f"{header.type:<26}",
        f"{state:<26}",
        _text(each),
    )
    return "  ".join(parts).rstrip()


@event.command("watch")
@_SERVER
@_STREAM
@_TYPE
@_INSTANCE
@click.option("--after", default="", help="Go on behind this token; 0 for the beginning.  [default: now]")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--for", "span", type=Span(), help="End after this long.")
@reads
def watch(
    session: Session,
    server: str,
    stream: str,
    type_prefix: str,
    instance: str,
    after: str,
    count: int | None,
    span: timedelta | None,
) -> ExitCode:
    """Follow events as they are committed, until Ctrl-C; without loss, also over restarts of the services."""
    from bms.telemetry.v1.telemetry_pb2 import WatchEventsRequest

    request = WatchEventsRequest(
        after=after,
        stream=_stream(session, server, stream),
        type_prefix=type_prefix,
        instance=_instance(session, instance),
    )
    return follow(
        session,
        session.telemetry.WatchEvents,
        request,
        "events",
        lambda each: _line(session.screen, each),
        again="bms event watch",
        count=count,
        span=span,
    )


@event.command("proof")
@_SERVER
@_STREAM
@click.option(
    "--service",
    type=click.Choice(["inventory", "lifecycle", "ipam", "network"]),
    default="lifecycle",
    show_default=True,
    help="Of this log.",
)
@reads
def proof(session: Session, server: str, stream: str, service: str) -> ExitCode:
    """Prove where a stream ends, by a signed checkpoint; the proof is checked here."""
    from bms.event.v1.event_pb2 import Checkpoint, GetStreamProofRequest, ListSigningKeysRequest
    from services.cli.proofs import complaint

    wanted = _stream(session, server, stream)
    if not wanted:
        raise BadUsage("which stream?", remedy="Name a server with --server, or a stream with --stream.")
    log = session.log(service)
    found = log.GetStreamProof(GetStreamProofRequest(stream=wanted))
    checkpoint = Checkpoint.FromString(found.checkpoint.checkpoint)
    keys = log.ListSigningKeys(ListSigningKeysRequest(log=checkpoint.log)).keys
    wrong = complaint(found, checkpoint, keys)
    session.screen.one(
        found,
        (
            ("Stream", found.stream),
            ("Events", str(found.sequence)),
            ("Last digest", found.digest.hex()),
            ("Checkpoint", f"{checkpoint.number} of {when(checkpoint.time)}, position {checkpoint.position}"),
            ("Root of heads", checkpoint.heads_root.hex()),
            ("Key", checkpoint.key_id),
            ("Log", checkpoint.log),
            ("Proof", wrong or "holds"),
        ),
    )
    if wrong:
        raise CliError(f"{wanted} is not proven: {wrong}", reason="NOT_PROVEN")
    return ExitCode.OK
