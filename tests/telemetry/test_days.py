# SPDX-License-Identifier: Apache-2.0
"""In PostgreSQL each day of messages is a table, which is made ahead, asked alone and dropped whole."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.errors import PeerUnavailable
from services.runtime.database import Database
from services.runtime.times import to_micros
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.sandesh.reception import Received
from telemetry.store import analytics, days, history
from telemetry.store.days import DAY
from telemetry.translate import object_log
from tests.telemetry.builders import SERVER, followed, received

pytestmark = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
FAR = to_micros(datetime(2100, 1, 1, tzinfo=UTC))
"""A day that no migration has made."""
KEPT = 2 * DAY


def node(seen: int, time: int) -> Received:
    message = received(IRONIC_NODE_INFO, {"data": {"name": SERVER, "driver": "ipmi"}}, time=time)
    return Received(message.generator, message.message, message.frame, seen)


def log(seen: int, position: int = 1) -> Received:
    message = received(BMS_LIFECYCLE_EVENT_LOG, object_log(followed(position=position)), time=seen)
    return Received(message.generator, message.message, message.frame, seen)


def keep(database: Database, *messages: Received) -> None:
    database.transact(lambda tx: history.keep(tx, [(each, each.time + KEPT) for each in messages]), label="keep")


def expire(database: Database, now: int) -> int:
    """How often there was more to be dropped."""
    again = 0
    while database.transact(lambda tx: analytics.expire(tx, now, 10), label="expire"):
        again += 1
    return again


def asked(database: Database, start: int, end: int, **given: Any) -> list[int]:
    """The times of the messages that were sent then."""
    found = database.read(
        lambda tx: analytics.messages_by_time(
            tx, "1 = 1", (), 1000, during=(start, end), newest_first=False, behind=None, **given
        )
    )
    return [row.time for row in found]


def tables(database: Database, name: str = "messages") -> list[str]:
    """The parts of a table."""
    sql = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = ?::regclass ORDER BY 1"
    return [row["name"] for row in database.read(lambda tx: tx.all(sql, (name,)))]


def far(database: Database) -> list[str]:
    return [name.removeprefix("messages_") for name in tables(database) if "_d21" in name]


def test_days_are_made_ahead_once(database: Database) -> None:
    """
    Today, tomorrow and the day after; however many replicas make them at the same moment.
    """
    with ThreadPoolExecutor(4) as pool:
        made = [
            pool.submit(database.transact, lambda tx: days.prepare(tx, FAR + DAY // 2), label="prepare")
            for _ in range(4)
        ]
        for each in made:
            each.result(30)

    assert far(database) == ["d21000101", "d21000102", "d21000103"]
    assert [name.removeprefix("message_objects_") for name in tables(database, "message_objects")] == [
        name.removeprefix("messages_") for name in tables(database)
    ]


def test_a_migrated_store_has_days_for_now(database: Database) -> None:
    """
    Nothing is to be made on the day of the migration, nor the day after.
    """
    now = to_micros(datetime.now(UTC))
    before = tables(database)
    database.transact(lambda tx: days.prepare(tx, now), label="prepare")

    assert tables(database) == before


def test_a_message_finds_its_day_missing(database: Database) -> None:
    """
    Whoever keeps a message makes its day, should nobody have.
    """
    keep(database, node(FAR, 5), node(FAR + 3 * DAY, 6), node(FAR + 3 * DAY + 1, 7))

    assert far(database) == ["d21000101", "d21000104"]
    assert asked(database, 0, 10) == [5, 6, 7]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 3).map(lambda day: FAR + day * DAY + 1),
                st.integers(FAR - DAY, FAR + 4 * DAY) | st.sampled_from([0, -(2**63), 2**63 - 1, FAR, FAR + DAY]),
            ),
            max_size=3,
        ),
        max_size=4,
    ),
    start=st.integers(FAR - DAY, FAR + 4 * DAY) | st.sampled_from([0, -(2**63), FAR]),
    length=st.integers(0, 2 * DAY) | st.just(2**62),
)
def test_whatever_its_clock_said_a_message_is_found(
    database: Database, batches: Sequence[Sequence[tuple[int, int]]], start: int, length: int
) -> None:
    """
    Days are left out of a query only if they have nothing of the time that is asked for.
    """
    database.transact(lambda tx: tx.execute("DELETE FROM messages"), label="test")
    for batch in batches:
        keep(database, *(node(seen, time) for seen, time in batch))
    end = start + length

    assert asked(database, start, end) == sorted(time for batch in batches for _, time in batch if start <= time <= end)


def test_a_query_reads_the_days_it_asks_for(database: Database) -> None:
    """
    The plan names no other tables.
    """
    keep(database, *(node(FAR + day * DAY, FAR + day * DAY) for day in range(4)))

    def plan(tx: Any) -> str:
        condition, params = days.within(tx, FAR + DAY, FAR + DAY + 5)
        rows = tx.all(f"EXPLAIN SELECT m.* FROM messages m WHERE {condition} ORDER BY m.time, m.id", params)
        return "\n".join(row["QUERY PLAN"] for row in rows)

    text = database.read(plan)

    assert "messages_d21000102" in text
    assert [name for name in tables(database) if name in text] == ["messages_d21000102"]
    assert asked(database, 7, 8) == []


def test_a_day_goes_when_nothing_of_it_is_kept(database: Database) -> None:
    """
    Its last message decides; the days of others stay, and what was before goes like any day.
    """
    keep(database, node(FAR, FAR), node(FAR + DAY - 1, FAR), node(FAR + DAY, FAR + DAY))
    early = expire(database, FAR + DAY - 2 + KEPT)
    kept = asked(database, FAR, FAR + DAY)
    over = expire(database, FAR + DAY - 1 + KEPT)

    assert early == 3  # what was before, and the two days that the migration made
    assert (kept, over) == ([FAR, FAR, FAR + DAY], 1)
    assert asked(database, FAR, FAR + DAY) == [FAR + DAY]
    assert "d21000101" not in far(database)
    assert database.read(lambda tx: tx.all("SELECT DISTINCT seen_time FROM message_objects")) == [
        {"seen_time": FAR + DAY}
    ]
    assert expire(database, FAR + DAY - 1 + KEPT) == 0


def test_an_event_is_kept_once_as_long_as_its_day_is(database: Database) -> None:
    """
    A repeat on another day, even behind the message's own time, is dropped; what notes it goes behind its day.
    """
    keep(database, log(FAR), *(log(FAR, position) for position in range(2, 15)), node(FAR + DAY - 1, FAR))
    keep(database, log(FAR + DAY))
    expire(database, FAR + KEPT + 5)
    keep(database, log(FAR + KEPT + 6))
    once = asked(database, FAR, FAR + 9 * DAY)
    expire(database, FAR + KEPT + DAY)
    noted = database.read(lambda tx: tx.all("SELECT event_id FROM message_events"))

    assert len(once) == 15
    assert (asked(database, FAR, FAR + 9 * DAY), noted) == ([], [])


def test_a_query_that_runs_keeps_a_day_for_now(database: Database) -> None:
    """
    Dropping gives up rather than let everybody wait behind a long query, and succeeds later.
    """
    keep(database, node(FAR, FAR))
    expire(database, FAR + DAY)

    def reading(tx: Any) -> int:
        count = len(tx.all("SELECT id FROM messages"))
        with pytest.raises(PeerUnavailable):
            expire(database, FAR + DAY + KEPT)
        return count

    assert database.read(reading) == 1
    assert expire(database, FAR + DAY + KEPT) > 0
    assert asked(database, FAR, FAR) == []


def test_numbers_rise_over_days(database: Database) -> None:
    """
    Pages by place in the store go over days without loss, both ways.
    """
    keep(database, *(node(FAR + day * DAY, 7) for day in (2, 0, 1)))
    rows = database.read(
        lambda tx: analytics.messages(
            tx, analytics.Asked("ObjectServerTable", SERVER), 9, newest_first=True, behind=None
        )
    )

    assert [row.id for row in rows] == sorted((row.id for row in rows), reverse=True)
    assert [row.objects for row in rows] == [(("ObjectServerTable", SERVER),)] * 3
