# SPDX-License-Identifier: Apache-2.0
"""The days of messages. In PostgreSQL each is a table of its own, a partition that is dropped as a whole.

A message belongs to the day on which it came in, by our clock, since what a generator says of its time may be anything.
Queries ask by the generators' time; so each day knows between which of these its messages are. See docs/decisions/0065.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.runtime.database import Transaction

DAY: Final = 86_400_000_000
"""Microseconds."""
AHEAD: Final = 2
"""Days that are made beside today's."""
BEGINNING: Final = -(2**63)
"""Where the first day begins: it has all that was there before there were days."""

_HOUR: Final = DAY // 24
_LAST: Final = 2**63 - 1
_TABLES: Final = ("messages", "message_objects")
_NEWEST: Final = 10_000
"""Messages at the end of a day among which the one that is kept longest is looked for: replicas' numbers mix."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day; microseconds.

    Attributes:
        lower, upper: when its messages came in; the last not included.
        first_time, last_time: between which their headers' times are, in whole hours; the wrong way round if there is
            none.
    """

    lower: int
    upper: int
    first_time: int = _LAST
    last_time: int = BEGINNING

    @property
    def suffix(self) -> str:
        """What its tables are called, behind the name of what they are parts of."""
        if self.lower == BEGINNING:
            return "before"
        return datetime.fromtimestamp(self.lower // 1_000_000, UTC).strftime("d%Y%m%d")


def known(tx: Transaction) -> list[Day]:
    """Those that there are, in order."""
    rows = tx.all("SELECT lower, upper, first_time, last_time FROM message_days ORDER BY lower")
    return [Day(int(row["lower"]), int(row["upper"]), int(row["first_time"]), int(row["last_time"])) for row in rows]


def cover(tx: Transaction, moments: Iterable[tuple[int, int]]) -> None:
    """Sees to it that there is a day for messages that came in and were sent at these times, and that it is found."""
    days = known(tx)
    spans: dict[int, tuple[int, int]] = {}
    day: Day | None = None
    for seen, time in moments:
        if day is None or not day.lower <= seen < day.upper:
            day = _of(days, seen)
        if day is None:
            day = _make(tx, seen)
            days.append(day)
        first, last = spans.get(day.lower, (time, time))
        spans[day.lower] = (min(first, time), max(last, time))
    for day in days:
        first, last = spans.get(day.lower, (_LAST, BEGINNING))
        if first < day.first_time or last > day.last_time:
            # Whole hours, so that this row is hardly ever written, for which replicas would wait.
            hours = (max(first // _HOUR * _HOUR, BEGINNING), min((last // _HOUR + 1) * _HOUR, _LAST))
            tx.execute(
                "UPDATE message_days SET first_time = LEAST(first_time, ?), last_time = GREATEST(last_time, ?)"
                " WHERE lower = ?",
                (*hours, day.lower),
            )


def prepare(tx: Transaction, now: int) -> None:
    """Makes today and the days ahead, if they are missing."""
    days = known(tx)
    for seen in range(now, now + AHEAD * DAY + 1, DAY):
        if _of(days, seen) is None:
            _make(tx, seen)


def drop(tx: Transaction, now: int) -> bool:
    """Drops the oldest day of which no message's time lasts, if there is one; answers whether there was.

    Raises:
        PeerUnavailable: queries that run leave no moment for it; the next attempt may succeed.
    """
    if all(day.upper > now for day in known(tx)):
        return False
    _lock(tx)
    over = next((day for day in known(tx) if day.upper <= now and _until(tx, day) <= now), None)
    if over is None:
        return False
    # Whoever waits for this lock keeps others waiting.
    tx.execute("SET LOCAL lock_timeout = '2s'")
    tx.execute(f"LOCK TABLE {', '.join(_TABLES)} IN ACCESS EXCLUSIVE MODE")
    tx.execute(f"DROP TABLE {', '.join(f'{table}_{over.suffix}' for table in _TABLES)}")
    tx.execute("DELETE FROM message_days WHERE lower = ?", (over.lower,))
    return True


def within(tx: Transaction, start: int, end: int) -> tuple[str, list[object]]:
    """In which days messages ``m`` are that were sent from *start* to *end*, as SQL and its parameters."""
    if tx.dialect == "sqlite":
        return "1 = 1", []
    row = tx.one(
        "SELECT min(lower) AS lower, max(upper) AS upper FROM message_days WHERE first_time <= ? AND last_time >= ?",
        (end, start),
    )
    if row is None or row["lower"] is None:
        return "1 = 0", []
    return "m.seen_time >= ? AND m.seen_time < ?", [row["lower"], row["upper"]]


def _of(days: Sequence[Day], seen: int) -> Day | None:
    return next((day for day in days if day.lower <= seen < day.upper), None)


def _make(tx: Transaction, seen: int) -> Day:
    _lock(tx)
    if made := _of(known(tx), seen):
        return made  # by another replica, meanwhile
    lower = seen // DAY * DAY
    day = Day(lower, lower + DAY)
    for table in _TABLES:
        name = f"{table}_{day.suffix}"
        # Not by CREATE TABLE .. PARTITION OF, which would wait for every query and let others wait.
        tx.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING INDEXES)")
        tx.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({day.lower}) TO ({day.upper})")
    tx.execute(
        "INSERT INTO message_days (lower, upper, first_time, last_time) VALUES (?, ?, ?, ?)",
        (day.lower, day.upper, day.first_time, day.last_time),
    )
    return day


def _lock(tx: Transaction) -> None:
    """One replica at a time makes and drops days."""
    tx.one("SELECT pg_advisory_xact_lock(hashtext('bms.telemetry.days'))")


def _until(tx: Transaction, day: Day) -> int:
    """Until when something of a day that is over is kept."""
    row = tx.one(
        "SELECT max(expire_time) AS until FROM"
        f" (SELECT expire_time FROM messages_{day.suffix} ORDER BY id DESC LIMIT {_NEWEST}) AS newest"
    )
    return int(row["until"]) if row and row["until"] is not None else BEGINNING
