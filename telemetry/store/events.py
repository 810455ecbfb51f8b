# SPDX-License-Identifier: Apache-2.0
"""The events as they were followed: their stored bytes, how far each log was read, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.runtime.database import Row, Transaction
from telemetry.store import bulk

_COLUMNS: Final[bulk.Columns] = MappingProxyType(
    {
        "service": "text",
        "position": "bigint",
        "stream": "text",
        "time": "bigint",
        "type": "text",
        "project": "text",
        "instance": "text",
        "event": bulk.BYTES,
    }
)


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as it is kept.

    Attributes:
        id: order of arrival here, rising; within one service it rises with the position. 0 before it is kept.
        service: whose log it is of.
        position: ours; see `telemetry.store.places`.
        time: when that service recorded it, microseconds.
        project: the project that may read it, "" for what is the site's.
        event: the bytes of a bms.event.v1.StoredEvent.
    """

    service: str
    position: int
    stream: str
    time: int
    type: str
    project: str
    instance: str
    event: bytes
    id: int = 0


@dataclass(frozen=True, slots=True)
class LogRow:
    """How far one log was read; times are microseconds, positions the service's own.

    Attributes:
        event_time: when the last event was recorded, None before the first.
        reachable: whether the service answered last time.
        handed: the last position that analytics has, with everything before it.
        gaps: how often events were missing.
    """

    service: str
    position: int
    event_time: int | None
    reachable: bool
    handed: int
    gaps: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which events are asked for; empty strings and None choose all.

    Attributes:
        start, end: microseconds; the first included, the last not.
        projects: only events of these projects.
    """

    stream: str = ""
    type_prefix: str = ""
    service: str = ""
    instance: str = ""
    start: int | None = None
    end: int | None = None
    projects: frozenset[str] | None = None

    def admits(self, row: EventRow) -> bool:
        """Whether *row* is one of them."""
        return (
            (not self.stream or row.stream == self.stream)
            and (not self.type_prefix or row.type.startswith(self.type_prefix))
            and (not self.service or row.service == self.service)
            and (not self.instance or row.instance == self.instance)
            and (self.start is None or row.time >= self.start)
            and (self.end is None or row.time < self.end)
            and (self.projects is None or row.project in self.projects)
        )

    def condition(self) -> tuple[str, list[object]]:
        """The same as SQL and its parameters; always at least one term."""
        terms, params = ["1 = 1"], list[object]()
        for column, value in (("stream", self.stream), ("service", self.service), ("instance", self.instance)):
            if value:
                terms.append(f"{column} = ?")
                params.append(value)
        if self.type_prefix:
            terms.append("substr(type, 1, ?) = ?")
            params += [len(self.type_prefix), self.type_prefix]
        if self.start is not None:
            terms.append("time >= ?")
            params.append(self.start)
        if self.end is not None:
            terms.append("time < ?")
            params.append(self.end)
        if self.projects is not None:
            terms.append(f"project IN ({', '.join('?' * len(self.projects))})" if self.projects else "1 = 0")
            params += sorted(self.projects)
        return " AND ".join(terms), params


def add_logs(tx: Transaction, services: Iterable[str], now: int) -> None:
    """Makes the rows of the logs that have none yet."""
    for service in services:
        tx.execute(
            "INSERT INTO logs (service, position, reachable, seen_time) VALUES (?, 0, 0, ?) ON CONFLICT DO NOTHING",
            (service, now),
        )


def position(tx: Transaction, service: str) -> int:
    """How far the log of *service* was read, in our positions."""
    row = tx.one("SELECT position FROM logs WHERE service = ?", (service,))
    return int(row["position"]) if row else 0


def positions(tx: Transaction) -> dict[str, int]:
    """How far every log was read, in our positions."""
    return {row["service"]: int(row["position"]) for row in tx.all("SELECT service, position FROM logs")}


def logs(tx: Transaction) -> list[LogRow]:
    """Every log, by service."""
    rows = tx.all(
        "SELECT service, position, shift, event_time, reachable,"
        " (SELECT MIN(position) FROM outbox WHERE outbox.service = logs.service) AS waiting,"
        " (SELECT COUNT(*) FROM gaps WHERE gaps.service = logs.service) AS gaps"
        " FROM logs ORDER BY service"
    )
    return [
        LogRow(
            service=row["service"],
            position=int(row["position"] - row["shift"]),
            event_time=row["event_time"],
            reachable=bool(row["reachable"]),
            handed=max(0, int(row["position"] if row["waiting"] is None else row["waiting"] - 1) - int(row["shift"])),
            gaps=int(row["gaps"]),
        )
        for row in rows
    ]


def advance(
    tx: Transaction, service: str, before: int, after: int, event_time: int, now: int, *, shift: int = 0
) -> bool:
    """Moves the position of *service*, unless somebody else has moved it from *before*, or has changed its *shift*."""
    changed = tx.execute(
        "UPDATE logs SET position = ?, event_time = ?, reachable = 1, seen_time = ?"
        " WHERE service = ? AND position = ? AND shift = ?",
        (after, event_time, now, service, before, shift),
    )
    return changed == 1


def set_reachable(tx: Transaction, service: str, reachable: bool, now: int) -> None:
    """Notes whether *service* answered."""
    tx.execute("UPDATE logs SET reachable = ?, seen_time = ? WHERE service = ?", (int(reachable), now, service))


def add_gap(tx: Transaction, service: str, after: int, before: int, now: int) -> None:
    """Notes that the log of *service* has nothing between two positions."""
    tx.execute(
        "INSERT INTO gaps (service, after_position, before_position, seen_time) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (service, after, before, now),
    )


def add(tx: Transaction, rows: Iterable[EventRow]) -> None:
    """Keeps *rows*; `advance` has made sure that they are new."""
    bulk.insert(
        tx,
        "events",
        _COLUMNS,
        (
            (row.service, row.position, row.stream, row.time, row.type, row.project, row.instance, row.event)
            for row in rows
        ),
    )


def after(
    tx: Transaction, low: Mapping[str, int], high: Mapping[str, int], chosen: Chosen, limit: int
) -> Sequence[EventRow]:
    """Events behind the positions *low* up to the positions *high*, in order of arrival.

    Only services in *high* are looked at; one that is not in *low* from its beginning.
    """
    spans = [
        (service, low.get(service, 0), last) for service, last in sorted(high.items()) if last > low.get(service, 0)
    ]
    if not spans:
        return []
    condition, params = chosen.condition()
    span = " OR ".join("(service = ? AND position > ? AND position <= ?)" for _ in spans)
    rows = tx.all(
        f"SELECT * FROM events WHERE ({span}) AND {condition} ORDER BY id LIMIT ?",
        (*(part for parts in spans for part in parts), *params, limit),
    )
    return [_row(row) for row in rows]


def query(
    tx: Transaction, chosen: Chosen, limit: int, *, newest_first: bool, behind: tuple[int, int] | None
) -> Sequence[EventRow]:
    """Past events by time.

    Args:
        behind: (time, id) of the last event of the page before.
    """
    condition, params = chosen.condition()
    if behind is not None:
        sign = "<" if newest_first else ">"
        condition += f" AND (time {sign} ? OR (time = ? AND id {sign} ?))"
        params += [behind[0], behind[0], behind[1]]
    order = "time DESC, id DESC" if newest_first else "time, id"
    rows = tx.all(
        f"SELECT * FROM events WHERE {condition} ORDER BY {order} LIMIT ?",
        (*params, limit),
    )
    return [_row(row) for row in rows]


def _row(row: Row) -> EventRow:
    return EventRow(
        id=int(row["id"]),
        service=row["service"],
        position=int(row["position"]),
        stream=row["stream"],
        time=int(row["time"]),
        type=row["type"],
        project=row["project"],
        instance=row["instance"],
        event=bytes(row["event"]),
    )
