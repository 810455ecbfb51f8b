# SPDX-License-Identifier: Apache-2.0
"""Whether analytics has an object log of each event: both sides are read, nobody's counts are believed."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.failures import BadUsage, CliError, Unreachable

if TYPE_CHECKING:
    from bms.telemetry.v1.telemetry_pb2 import SourcedEvent
    from services.cli.session import Session

MESSAGE_TYPE = "BmsLifecycleEventLog"
MOST_ROWS = 5000
"""An answer of so many rows may not be the whole one: shorter times are asked for then."""
SHORTEST = timedelta(seconds=1)
TIMEOUT_SECONDS = 60
_EVENT_ID = re.compile(r"<event_id\b[^>]*>([^<]*)</event_id>")


@dataclass(frozen=True)
class Row:
    """One service's log.

    Attributes:
        events: how many there were in the time that was asked for.
        missing: ids of those that analytics does not have.
        duplicates: how often analytics has one a second time.
        handed: our position of the last event that analytics has, with all before it.
    """

    service: str
    events: int
    missing: tuple[str, ...]
    duplicates: int
    handed: int


def compare(events: Iterable[SourcedEvent], found: Counter[str], handed: dict[str, int]) -> list[Row]:
    """Each service's events against what analytics has."""
    of_service: dict[str, list[str]] = {service: [] for service in handed}
    for each in events:
        of_service.setdefault(each.service, []).append(each.event.header.id)
    return [
        Row(
            service,
            len(ids),
            tuple(event_id for event_id in ids if not found[event_id]),
            sum(max(0, found[event_id] - 1) for event_id in ids),
            handed.get(service, 0),
        )
        for service, ids in sorted(of_service.items())
    ]


def ours(session: Session, since: datetime) -> Counter[str]:
    """How often our own collector's store has each event's object log, of those sent since then."""
    from bms.telemetry.v1.telemetry_pb2 import ListSandeshMessagesRequest

    found: Counter[str] = Counter()
    asked = ListSandeshMessagesRequest(message_type=MESSAGE_TYPE, newest_first=True, page_size=500)
    while True:
        answer = session.telemetry.ListSandeshMessages(asked)
        for message in answer.messages:
            if message.time.ToMicroseconds() < since.timestamp() * 1_000_000:
                return found
            found.update(_EVENT_ID.findall(message.xml)[:1])
        if not answer.next_page_token:
            return found
        asked.page_token = answer.next_page_token


def theirs(url: str, credentials: str, since: datetime, until: datetime) -> Counter[str]:
    """How often the site's analytics API at *url* has each event's object log, of those sent between two times.

    Args:
        credentials: ``user:password``, a token, or "".

    Raises:
        CliError: it refuses, or answers nonsense.
        Unreachable: it does not answer.
    """
    rows = _query(url, credentials, since, until)
    if len(rows) >= MOST_ROWS and until - since > SHORTEST:
        middle = since + (until - since) / 2
        return theirs(url, credentials, since, middle) + theirs(
            url, credentials, middle + timedelta(microseconds=1), until
        )
    return Counter(_ids(rows))


def read_credentials(file: Path | None) -> str:
    """What stands in *file*."""
    try:
        return file.read_text().strip() if file else ""
    except (OSError, UnicodeDecodeError):
        raise BadUsage(f"{file} cannot be read", remedy="Give a file with user:password, or with a token.") from None


def _query(url: str, credentials: str, since: datetime, until: datetime) -> list[object]:
    from urllib import error, request

    if not url.startswith(("http://", "https://")):
        raise BadUsage(f"{url!r} is no address of an analytics API", remedy="Give http://host:8081, or https.")
    body = {
        "table": "MessageTable",
        "start_time": round(since.timestamp() * 1_000_000),
        "end_time": round(until.timestamp() * 1_000_000),
        "select_fields": ["MessageTS", "Xmlmessage"],
        "where": [[{"name": "Messagetype", "value": MESSAGE_TYPE, "op": 1}]],
        "limit": MOST_ROWS,
    }
    headers = {"Content-Type": "application/json"}
    if ":" in credentials:
        headers["Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
    elif credentials:
        headers["X-Auth-Token"] = credentials
    asked = request.Request(f"{url.rstrip('/')}/analytics/query", json.dumps(body).encode(), headers)  # noqa: S310 -- http or https, looked at above
    try:
        with request.urlopen(asked, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 -- the same
            answer = json.load(response)
    except error.HTTPError as refused:
        refused.close()
        msg = f"the analytics API at {url} answers {refused.code}"
        raise CliError(msg, reason="ANALYTICS", remedy="Give its credentials: --credentials FILE.") from None
    except (OSError, TimeoutError) as away:
        msg = f"the analytics API at {url} does not answer: {away}"
        raise Unreachable(msg) from None
    except ValueError:
        answer = None
    rows = answer.get("value") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        msg = f"what answers at {url} is no analytics API"
        raise CliError(msg, reason="ANALYTICS", remedy="Look at the address: it is that of the API, port 8081.")
    return rows


def _ids(rows: Iterable[object]) -> Iterator[str]:
    for row in rows:
        xml = row.get("Xmlmessage") if isinstance(row, dict) else None
        if isinstance(xml, str) and (found := _EVENT_ID.search(xml)):
            yield found[1]
