# SPDX-License-Identifier: Apache-2.0
"""`bms telemetry audit`: does analytics have what happened?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from services.cli import delivered
from services.cli.delivered import Row
from services.cli.failures import ExitCode
from services.cli.nouns import Since, Span
from services.cli.screen import Column
from services.cli.session import Session, reads

COLUMNS: Sequence[Column[Row]] = (
    Column("LOG", lambda each: each.service),
    Column("EVENTS", lambda each: str(each.events)),
    Column("HOLES", lambda each: str(len(each.missing))),
    Column("DUPLICATES", lambda each: str(each.duplicates)),
    Column("POSITION", lambda each: str(each.handed)),
)
SHOWN = 20


@click.command("audit")
@click.option("--since", type=Since(), default="1h", show_default=True, help="From then on: RFC 3339, or how long ago.")
@click.option(
    "--settle",
    type=Span(),
    default="2m",
    show_default=True,
    help="Leave out what happened so recently: it is on its way.",
)
@click.option("--analytics", metavar="URL", help="The site's analytics API.  [default: telemetry's own store]")
@click.option(
    "--credentials",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file with user:password, or with a token, for --analytics.",
)
@reads
def audit(
    session: Session, since: datetime, settle: timedelta, analytics: str | None, credentials: Path | None
) -> ExitCode:
    """Read back from analytics what was sent, and compare it with the events; the exit code is 1 if there are holes."""
    from bms.telemetry.v1.telemetry_pb2 import GetPipelineStatusRequest, QueryEventsRequest

    now = datetime.now(UTC)
    asked = QueryEventsRequest()
    asked.start_time.FromDatetime(since)
    asked.end_time.FromDatetime(max(since, now - settle))
    events = session.pages(session.telemetry.QueryEvents, asked, "events")
    if analytics:
        found = delivered.theirs(analytics, delivered.read_credentials(credentials), since, now)
    else:
        found = delivered.ours(session, since)
    logs = session.telemetry.GetPipelineStatus(GetPipelineStatusRequest()).logs
    rows = delivered.compare(events, found, {log.service: log.position for log in logs})
    screen = session.screen
    screen.rows(rows, COLUMNS, name=lambda each: each.service, as_data=_data, none="Telemetry follows no log.")
    holes = [event_id for row in rows for event_id in row.missing]
    if not screen.structured:
        for event_id in holes[:SHOWN]:
            screen.note(f"missing: event {event_id}")
        if len(holes) > SHOWN:
            screen.note(f"and {len(holes) - SHOWN} more; --output json names all")
    return ExitCode.REFUSED if holes else ExitCode.OK


def _data(row: Row) -> dict[str, object]:
    return {
        "log": row.service,
        "events": row.events,
        "holes": list(row.missing),
        "duplicates": row.duplicates,
        "position": row.handed,
    }
