# SPDX-License-Identifier: Apache-2.0
"""The analytics store does over both databases what the reference collector's stores do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.database import Database
from services.runtime.migrations import require_current
from telemetry.known import Facts, Known
from telemetry.sandesh.decode import decode
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.framing import frame
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO, SANDESH_MODULE_CLIENT_TRACE
from telemetry.sandesh.reception import Received
from telemetry.store import analytics, bridge
from telemetry.store import events as kept
from telemetry.store.analytics import Asked
from telemetry.store.events import Chosen
from telemetry.translate import object_log
from telemetry.uves import Filters, keys, one
from tests.telemetry.builders import OTHER, SENDER, SERVER, T0, event_id, followed, received

GOLDEN = Path(__file__).parent / "sandesh" / "golden"
TABLE = "ObjectServerTable"
OWN = str(SENDER)


def node(uuid: str = SERVER, time: int = T0, **attributes: Any) -> Received:
    return received(IRONIC_NODE_INFO, {"data": {"name": uuid, **attributes}}, time=time)


def put(database: Database, *messages: Received) -> None:
    def write(tx: Any) -> None:
        analytics.admit(tx, OWN, "c", T0)
        analytics.store(tx, [(message, T0 + 100) for message in messages])

    database.transact(write, label="test")


def uve(database: Database, uuid: str = SERVER) -> Any:
    return database.read(lambda tx: one(tx, TABLE, uuid, Filters(), flat=True))


def listed(database: Database, asked: Asked, *, newest_first: bool = False) -> list[Any]:
    return database.read(lambda tx: analytics.messages(tx, asked, 100, newest_first=newest_first, behind=None))


def test_the_schema_is_current(database: Database) -> None:
    """
    The migrations lead to the schema that the process asks for.
    """
    require_current(database, "telemetry")


def test_messages_written_together_count_in_their_order(database: Database) -> None:
    """
    Of several updates of a UVE in one transaction the last counts, and a deletion takes what came before it alone.
    """
    put(
        database,
        node(driver="ipmi", power_state="power on"),
        node(driver="redfish", time=T0 + 1),
        node(OTHER, driver="ipmi"),
        node(OTHER, deleted=True),
        node(OTHER, power_state="power off"),
    )

    assert uve(database)["IronicNode"]["driver"] == "redfish"
    assert uve(database)["IronicNode"]["power_state"] == "power on"
    assert uve(database, OTHER)["IronicNode"].keys() & {"driver", "power_state"} == {"power_state"}


def test_an_attribute_is_replaced_whole_and_others_stay(database: Database) -> None:
    """
    Updates are deltas: what is absent stays.
    """
    put(database, node(power_state="power on", driver="ipmi"), node(power_state="power off", time=T0 + 5))

    assert uve(database) == {"IronicNode": {"power_state": "power off", "driver": "ipmi", "__T": T0 + 5}}


def test_a_uve_with_nothing_but_its_key_is_invisible(database: Database) -> None:
    """
    As in the reference collector.
    """
    put(database, node())

    assert uve(database) == {}


def test_deleted_takes_all_that_this_generator_said(database: Database) -> None:
    """
    Other fields of a deletion are ignored; the messages themselves stay.
    """
    put(database, node(driver="ipmi"), node(deleted=True, driver="redfish"))

    assert uve(database) == {}
    assert len(listed(database, Asked(TABLE, SERVER))) == 2


def test_a_generators_uves_go_with_its_session(database: Database) -> None:
    """
    Its session's end takes a generator's UVEs, not those that another collector has of it since.
    """
    put(database, node(driver="ipmi"))
    database.transact(lambda tx: analytics.forget(tx, OWN, "another"), label="test")
    before = uve(database)
    database.transact(lambda tx: analytics.forget(tx, OWN, "c"), label="test")

    assert before["IronicNode"]["driver"] == "ipmi"
    assert uve(database) == {}
    assert database.read(analytics.generators) == []


def test_a_killed_collectors_sessions_are_over(database: Database) -> None:
    """
    A collector that starts forgets the sessions that the process before it had.
    """
    put(database, node(driver="ipmi"))
    database.transact(lambda tx: analytics.forget_all(tx, "c"), label="test")

    assert uve(database) == {}
    assert database.read(analytics.generators) == []


def test_an_event_is_kept_once_and_leaves_the_outbox(database: Database) -> None:
    """
    However often an object log arrives, history has it once, and the outbox no more.
    """
    event = followed(position=3)
    log = received(BMS_LIFECYCLE_EVENT_LOG, object_log(event))

    def queue(tx: Any) -> None:
        bridge.add_outgoing(tx, "lifecycle", [(3, object_log(event)), (4, object_log(followed(position=4)))])

    database.transact(queue, label="test")
    put(database, log, log)
    put(database, log)
    waiting = database.read(lambda tx: bridge.outgoing(tx, 10))

    assert len(listed(database, Asked(message_type="BmsLifecycleEventLog"))) == 1
    assert [row.event_id for row in waiting] == [event_id("lifecycle", 4)]


def test_numbers_of_messages_are_never_given_again(database: Database) -> None:
    """
    What was deleted leaves its number unused, so that a reader's place stays right.
    """
    put(database, node(driver="a"))
    (first,) = listed(database, Asked())
    database.transact(
        lambda tx: (tx.execute("DELETE FROM message_objects"), tx.execute("DELETE FROM messages")), label="t"
    )
    put(database, node(driver="b"))
    (second,) = listed(database, Asked())

    assert second.id > first.id


def test_messages_are_dropped_when_their_time_is_over(sqlite_database: Database) -> None:
    """
    In parts, with what says what they were about; UVEs stay. (PostgreSQL drops days: test_days.)
    """
    database = sqlite_database
    put(database, *(node(driver=str(number)) for number in range(5)))
    early = database.transact(lambda tx: analytics.expire(tx, T0 + 99, 10), label="test")
    first = database.transact(lambda tx: analytics.expire(tx, T0 + 100, 3), label="test")
    second = database.transact(lambda tx: analytics.expire(tx, T0 + 100, 3), label="test")

    assert (early, first, second) == (False, True, False)
    assert listed(database, Asked()) == []
    assert database.read(lambda tx: tx.all("SELECT * FROM message_objects")) == []
    assert uve(database)["IronicNode"]["driver"] == "4"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["01-ironic-full", "29-objectlog", "38-all-types", "41-nodestatus"]),
    position=st.integers(0, 4000),
    damage=st.binary(min_size=1, max_size=6) | st.sampled_from([b"\\", b"\t", b"&#65534;", b'"', b"\\N", b"{}"]),
)
def test_whatever_can_be_read_can_be_kept(database: Database, name: str, position: int, damage: bytes) -> None:
    """
    A message with any bytes in it that is a message all the same is stored, and found as it came.
    """
    content = (GOLDEN / f"{name}.xml").read_bytes()[29:-10]
    content = content[:position] + damage + content[position + len(damage) :]
    data = frame(content)
    try:
        message = Received(SENDER, decode(data), data, T0)
    except DecodeError:
        return
    put(database, message)

    assert listed(database, Asked(), newest_first=True)[0].frame == data


def test_generators_and_what_they_sent(database: Database) -> None:
    """
    A connected generator is listed with its count of messages.
    """
    put(database, node(driver="a"), node(driver="b"))
    (row,) = database.read(analytics.generators)

    assert (row.generator, row.connect_time, row.message_count) == (OWN, T0, 2)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (Asked(), 3),
        (Asked(TABLE, SERVER), 1),
        (Asked(TABLE), 2),
        (Asked("ObjectGeneratorInfo"), 1),
        (Asked(message_type="IronicNodeInfo"), 2),
        (Asked(message_type="None"), 0),
    ],
)
def test_messages_are_found(database: Database, asked: Asked, count: int) -> None:
    """
    By object, table and name; by their own time, too.
    """
    put(
        database,
        node(driver="a"),
        node(OTHER, driver="a", time=T0 + 1),
        received(SANDESH_MODULE_CLIENT_TRACE, {"data": {"name": OWN, "sm_queue_count": 1}}, time=T0 + 2),
    )
    condition, params = asked.condition()
    by_time = database.read(
        lambda tx: analytics.messages_by_time(
            tx, condition, params, 10, during=(T0, T0 + 2), newest_first=True, behind=None
        )
    )

    assert len(listed(database, asked)) == len(by_time) == count
    assert [row.time for row in by_time] == sorted((row.time for row in by_time), reverse=True)


def test_uves_are_listed_by_key(database: Database) -> None:
    """
    Page by page, filtered by patterns, structs and generators.
    """
    put(database, *(node(f"{number:03}", driver="ipmi") for number in range(7)), node("x", power_state="power on"))
    pages = database.read(lambda tx: [analytics.uve_keys(tx, TABLE, after, 3) for after in ("", "002", "005", "x")])

    def found(**given: Any) -> list[str]:
        return database.read(lambda tx: keys(tx, TABLE, Filters(**given)))

    assert pages == [["000", "001", "002"], ["003", "004", "005"], ["006", "x"], []]
    assert found(keys=("00*",)) == [f"{number:03}" for number in range(7)]
    assert found(keys=("*5", "x")) == ["005", "x"]
    assert found(structs={"IronicNode": ["power_state"]}) == ["x"]
    assert found(structs={"NodeStatus": []}) == []
    assert found(source="host-1", keys=("x",)) == ["x"]
    assert found(source="host-2") == []
    assert found(module="Config:bms-telemetry:0", keys=("x",)) == ["x"]


def test_what_is_known_is_locked_read_and_written(database: Database) -> None:
    """
    A server nobody knew is there once locked; inventory's answer counts for the wishes made before it was asked.
    """

    def first(tx: Any) -> None:
        known = bridge.lock_known(tx, (SERVER, OTHER))
        assert known == {SERVER: Known(), OTHER: Known()}
        bridge.put_known(tx, {SERVER: Known(state="active", event_type="x")}, {SERVER})

    database.transact(first, label="test")
    ((asked, wish),) = database.read(lambda tx: bridge.to_ask(tx, 10))
    database.transact(lambda tx: bridge.put_known(tx, {SERVER: Known(facts=Facts(driver="ipmi"))}, {SERVER}), label="t")
    database.transact(lambda tx: bridge.answered(tx, [(SERVER, wish)]), label="test")
    again = database.read(lambda tx: bridge.to_ask(tx, 10))

    assert asked == SERVER
    assert again == [(SERVER, wish + 1)]
    assert database.read(lambda tx: [uuid for uuid, _ in bridge.every_known(tx, "", 10)]) == sorted([SERVER, OTHER])


def test_past_events_by_time(database: Database) -> None:
    """
    Pages of events by time and place, both ways, without loss at equal times.
    """

    def write(tx: Any) -> None:
        kept.add_logs(tx, ("lifecycle", "ipam"), T0)
        for service in ("lifecycle", "ipam"):
            kept.add(tx, (followed(service, position, time=T0 + position // 2).row() for position in range(1, 8)))

    database.transact(write, label="test")

    def pages(newest_first: bool) -> list[tuple[str, int]]:
        seen, behind = list[Any](), None
        while page := database.read(
            lambda tx: kept.query(tx, Chosen(), 3, newest_first=newest_first, behind=behind)  # noqa: B023 -- read at once
        ):
            seen += page
            behind = (page[-1].time, page[-1].id)
        assert [row.time for row in seen] == sorted((row.time for row in seen), reverse=newest_first)
        return [(row.service, row.position) for row in seen]

    assert len(set(pages(newest_first=False))) == 14
    assert pages(newest_first=True) == pages(newest_first=False)[::-1]


@pytest.mark.parametrize(
    ("chosen", "positions"),
    [
        (Chosen(), [1, 2, 3]),
        (Chosen(stream=f"servers/{OTHER}"), [2]),
        (Chosen(type_prefix="port."), [2, 3]),
        (Chosen(type_prefix="port%"), []),
        (Chosen(service="ipam"), []),
        (Chosen(instance="projects/demo/instances/a"), [3]),
        (Chosen(start=T0 + 2_000_000), [2, 3]),
        (Chosen(end=T0 + 2_000_000), [1]),
        (Chosen(projects=frozenset({"demo", "x"})), [3]),
        (Chosen(projects=frozenset()), []),
    ],
)
def test_events_are_chosen_alike_in_the_store_and_live(
    database: Database, chosen: Chosen, positions: list[int]
) -> None:
    """
    SQL and the function that looks at one event say the same.
    """
    rows = [
        followed(position=1).row(),
        followed(position=2, type="port.x", stream=f"servers/{OTHER}").row(),
        followed(position=3, type="port.y", project="demo", instance="projects/demo/instances/a").row(),
    ]
    database.transact(lambda tx: kept.add(tx, rows), label="test")
    found = database.read(lambda tx: kept.query(tx, chosen, 10, newest_first=False, behind=None))

    assert [row.position for row in found] == positions
    assert [row.position for row in rows if chosen.admits(row)] == positions
