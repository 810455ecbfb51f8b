# SPDX-License-Identifier: Apache-2.0
"""The event log loses nothing, repeats nothing and changes no byte."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from bms.event.v1 import event_pb2
from services.kernel.calls import Caller
from services.kernel.chain import body_digest, digest
from services.kernel.errors import InvalidField
from services.kernel.events import AddressSeen, DiskSeen, Event, Evidence, Head, ImageSeen, PortSeen, PowerSeen
from services.runtime.database import Database, Transaction, UniqueViolation, open_database
from services.runtime.eventlog import EventLog, serve_list_events
from tests.support.clocks import START, SequentialIds
from tests.support.stores import MakeDatabase
from tests.support.wire import admin, auditor, member, reader, service

SAMPLE = "tests.runtime.sample"


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(SAMPLE)


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database, SequentialIds(), chained=True)


def event(stream: str = "servers/a", project: str = "demo", **facts: str) -> Event:
    return Event(stream=stream, type="note.written", time=START, actor="alice", project=project, facts=facts)


def append(database: Database, log: EventLog, *events: Event, head: Head | None = None) -> Head:
    def write(tx: Transaction) -> Head:
        end = head or Head()
        for one in events:
            end = log.append(tx, one, end)
        return end

    end = database.transact(write, label="append")
    seal(database, log)
    return end


def seal(database: Database, log: EventLog) -> None:
    """Where the database needs a sealer, lets it run once."""
    if database.dialect == "postgresql":
        while log.seal():
            pass


def served(log: EventLog, caller: Caller, **request: Any) -> event_pb2.ListEventsResponse:
    answer = serve_list_events(log, event_pb2.ListEventsRequest(**request), caller)
    return event_pb2.ListEventsResponse.FromString(answer.SerializeToString())


def test_a_stream_is_a_chain(database: Database, log: EventLog) -> None:
    """
    Each event's digest is computed over the stored bytes and the digest before; the head is the last one's.
    """
    end = append(database, log, event(), event(), event())

    rows = log.list(after=0, limit=10, wait=0).events
    previous = b""
    for number, row in enumerate(rows, 1):
        header = event_pb2.EventHeader.FromString(row.header)
        assert (header.sequence, row.position) == (number, number)
        assert row.previous == previous
        assert row.body_digest == body_digest(row.body)
        assert row.digest == digest(previous, row.header, row.body_digest)
        previous = row.digest
    assert end == Head(3, previous)


def test_several_streams_go_on_at_once(database: Database, log: EventLog) -> None:
    """
    Events of several streams are appended in one statement, each after the head of its own; none forks.
    """
    end = append(database, log, event("servers/a"))
    ends = database.transact(
        lambda tx: log.append_each(tx, [(event("servers/a"), end), (event("servers/b"), Head())]), label="append"
    )
    append(database, log, event("servers/a"), head=ends[0])

    listed = served(log, admin()).events
    chain = [event_pb2.EventHeader.FromString(one.header.SerializeToString()) for one in listed]
    assert [(one.stream, one.sequence) for one in chain] == [
        ("servers/a", 1), ("servers/a", 2), ("servers/b", 1), ("servers/a", 3),
    ]  # fmt: skip
    assert [one.previous for one in listed] == [b"", listed[0].digest, b"", listed[1].digest]
    with pytest.raises(UniqueViolation):
        database.transact(lambda tx: log.append_each(tx, [(event("servers/b"), Head())]), label="append")


def test_without_a_chain_sequences_are_gapless_all_the_same(database: Database) -> None:
    """
    A log that is not chained has empty digests of the chain, but numbers its streams.
    """
    log = EventLog(database, SequentialIds(), chained=False)
    end = append(database, log, event(), event())

    rows = log.list(after=0, limit=10, wait=0).events
    assert end == Head(2, b"")
    assert [(row.previous, row.digest) for row in rows] == [(b"", b""), (b"", b"")]
    assert all(row.body_digest == body_digest(row.body) for row in rows)


def test_a_stream_never_forks(database: Database, log: EventLog) -> None:
    """
    Whoever appends after a head that is no longer the end is refused, and nothing of his is written.
    """
    append(database, log, event())

    with pytest.raises(UniqueViolation):
        append(database, log, event())

    assert log.latest_position() == 1


def test_everything_an_event_says_is_stored(database: Database, log: EventLog) -> None:
    """
    Cause, actor, evidence and facts of a kernel Event are all in the bytes, and none but the header's in the header.
    """
    seen = START + timedelta(seconds=1.5)
    full = Event(
        stream="servers/a",
        type="port.attach_observed",
        time=START,
        actor="alice",
        state_before="provisioning",
        state_after="switching",
        project="secretproject",
        instance="projects/secretproject/instances/i",
        operation="operations/lifecycle-1",
        request_id="r",
        fence=7,
        step="attach",
        reason="WHY",
        message="A sentence.",
        evidence=Evidence(
            ports=(PortSeen("servers/a/ports/eth0", "tenant", ("projects/p/networks/n",), seen, b"d" * 32),),
            power=PowerSeen("off", seen, b"e" * 32),
            disks=(DiskSeen("S1", 10, "overwrite", START, seen, b"f" * 32),),
            image=ImageSeen("images/i", "sha256:1", "sha256:2", "S1"),
            addresses=(AddressSeen("projects/p/leases/l", "vrf", "10.0.0.1", 3, "cooling", seen),),
        ),
        facts={"b": "2", "a": "1"},
    )
    append(database, log, full)

    (row,) = log.list(after=0, limit=1, wait=0).events
    header, body = event_pb2.EventHeader.FromString(row.header), event_pb2.EventBody.FromString(row.body)
    assert (header.state_before, header.state_after) == ("provisioning", "switching")
    assert header.time.ToDatetime(START.tzinfo) == START
    assert b"secretproject" not in row.header
    assert b"alice" not in row.header
    assert (body.actor, body.project, body.reason, body.message) == ("alice", "secretproject", "WHY", "A sentence.")
    assert (body.cause.operation, body.cause.request_id, body.cause.fence, body.cause.step) == (
        "operations/lifecycle-1",
        "r",
        7,
        "attach",
    )
    assert body.evidence.ports[0].networks == ["projects/p/networks/n"]
    assert body.evidence.power.read_time.ToDatetime(START.tzinfo) == seen
    assert body.evidence.disks[0].sample_digest == b"f" * 32
    assert body.evidence.image.actual_checksum == "sha256:2"
    assert body.evidence.addresses[0].epoch == 3
    assert dict(body.facts) == {"a": "1", "b": "2"}
    assert len(body.salt) == 16


def test_pages_and_streams(database: Database, log: EventLog) -> None:
    """
    Pages go on from the position given; with a stream, next_after passes over the others' events.
    """
    append(database, log, *(event("servers/a") for _ in range(3)))
    append(database, log, *(event("servers/b") for _ in range(4)))

    first = log.list(after=0, limit=2, wait=0)
    rest = log.list(after=first.next_after, limit=10, wait=0)
    assert [row.position for row in (*first.events, *rest.events)] == [1, 2, 3, 4, 5, 6, 7]
    assert log.list(after=7, limit=10, wait=0).next_after == 7
    assert log.list(after=99, limit=10, wait=0).next_after == 99
    of_a = log.list(after=0, limit=10, wait=0, stream="servers/a")
    assert ([row.position for row in of_a.events], of_a.next_after) == ([1, 2, 3], 7)
    assert log.list(after=0, limit=2, wait=0, stream="servers/a").next_after == 2
    assert log.latest_position() == 7


def test_what_was_rolled_back_leaves_no_gap(database: Database, log: EventLog) -> None:
    """
    Positions stay dense when a transaction with events is undone.
    """

    def fail(tx: Transaction) -> None:
        log.append(tx, event("servers/lost"), Head())
        raise LookupError

    head = append(database, log, event())
    with pytest.raises(LookupError):
        database.transact(fail, label="fail")
    append(database, log, event(), head=head)

    assert [row.position for row in log.list(after=0, limit=9, wait=0).events] == [1, 2]


def test_served_bytes_are_the_stored_ones(database: Database, log: EventLog) -> None:
    """
    A response carries header and body byte for byte as stored, so that digests computed by a reader fit.
    """
    append(database, log, *(event(**{f"key{n}": "v" * 200 for n in range(12)}) for _ in range(5)))

    answer = serve_list_events(log, event_pb2.ListEventsRequest(), admin()).SerializeToString()
    rows = log.list(after=0, limit=10, wait=0).events
    twin = _stored_events(answer)
    assert [(found.header, found.body, found.digest, found.position) for found in twin] == [
        (row.header, row.body, row.digest, row.position) for row in rows
    ]
    assert event_pb2.ListEventsResponse.FromString(answer).next_after == 5
    assert [found.header.sequence for found in event_pb2.ListEventsResponse.FromString(answer).events] == [
        1,
        2,
        3,
        4,
        5,
    ]


def _stored_events(answer: bytes) -> list[event_pb2.StoredEvent]:
    """Reads field 1 of a ListEventsResponse as StoredEvent, by hand."""
    found, at = [], 0
    while at < len(answer) and answer[at] == 0x0A:
        size, shift, at = 0, 0, at + 1
        while True:
            byte = answer[at]
            size |= (byte & 127) << shift
            shift, at = shift + 7, at + 1
            if byte < 128:
                break
        found.append(event_pb2.StoredEvent.FromString(answer[at : at + size]))
        at += size
    return found


@pytest.mark.parametrize(
    ("caller", "visible"),
    [
        (admin(), [True, True, True]),
        (service(), [True, True, True]),
        (auditor(), [True, True, True]),
        (member("demo"), [True, False, False]),
        (reader("demo"), [True, False, False]),
        (member("other"), [False, True, False]),
        (Caller("nobody"), [False, False, False]),
    ],
    ids=lambda value: value.subject if isinstance(value, Caller) else "",
)
def test_bodies_are_hidden_from_other_projects(
    database: Database, log: EventLog, caller: Caller, visible: list[bool]
) -> None:
    """
    Everybody sees headers and digests; bodies are for the site's roles and the event's project.
    """
    append(database, log, event(project="demo"), event(project="other"), event(project=""))

    answer = served(log, caller)
    assert [found.HasField("body") for found in answer.events] == visible
    assert all(found.digest and found.body_digest and found.header.id for found in answer.events)


@pytest.mark.parametrize("field", ["after", "page_size", "wait_seconds"])
def test_negative_numbers_are_refused(database: Database, log: EventLog, field: str) -> None:
    """
    A negative number names its field.
    """
    with pytest.raises(InvalidField) as caught:
        served(log, admin(), **{field: -1})

    assert caught.value.facts["field"] == field


def test_waits_no_longer_than_half_a_minute(database: Database, log: EventLog) -> None:
    """
    A wait beyond 30 s is refused instead of holding a thread.
    """
    with pytest.raises(InvalidField):
        served(log, admin(), wait_seconds=31)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_news_wake_whoever_waits(database: Database, log: EventLog) -> None:
    """
    A waiting caller is answered by an event's commit, long before his wait is over.
    """
    log.start_sealer()
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(log.list, after=0, limit=10, wait=20)
        database.transact(lambda tx: log.append(tx, event(), Head()), label="append")

        assert len(waiting.result(10).events) == 1
        assert time.monotonic() - began < 5
    log.drain()


def test_the_ninth_who_waits_is_answered_at_once(database: Database, log: EventLog) -> None:
    """
    Eight callers wait at a time; the next gets what there is; drain answers all, and nobody waits afterwards.
    """
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(log.list, after=0, limit=10, wait=25) for _ in range(8)]
        eventually(lambda: log._news._places._value == 0)
        began = time.monotonic()
        assert log.list(after=0, limit=10, wait=25).events == []
        log.drain()
        assert [list(future.result(10).events) for future in waiting] == [[]] * 8
        assert log.list(after=0, limit=10, wait=25).events == []
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_no_event_is_passed_over_however_commits_race(make_url: Callable[[str], str]) -> None:
    """
    Writers that commit in another order than they insert, some undoing all, several sealers in several replicas, and a
    reader that only goes forward: it sees every committed event exactly once, each stream in order, positions dense.
    """
    url = make_url(SAMPLE)
    replicas = [open_database(url) for _ in range(3)]
    logs = [EventLog(database, SequentialIds(str(number)), chained=True) for number, database in enumerate(replicas)]
    for log in logs:
        log.start_sealer()
    seen: list[tuple[int, str, int]] = []
    done = threading.Event()

    def read_on() -> None:
        after = 0
        while True:
            last = done.is_set()
            listed = logs[0].list(after=after, limit=7, wait=0.2)
            for row in listed.events:
                header = event_pb2.EventHeader.FromString(row.header)
                seen.append((row.position, header.stream, header.sequence))
            if last and not listed.events:
                return
            after = listed.next_after

    def write_on(writer: int) -> int:
        chance = random.Random(writer)
        database, log, head = replicas[writer % 3], logs[writer % 3], Head()
        for _ in range(40):
            many, fails, pause = chance.randint(1, 3), chance.random() < 0.2, chance.random() * 0.004

            def write(
                tx: Transaction, head: Head = head, many: int = many, fails: bool = fails, pause: float = pause
            ) -> Head:
                for _ in range(many):
                    head = log.append(tx, event(f"servers/{writer}"), head)
                threading.Event().wait(pause)  # keeps the transaction open while others insert and commit
                if fails:
                    raise LookupError
                return head

            try:
                head = database.transact(write, label="append")
            except LookupError:
                continue
        return head.sequence

    with ThreadPoolExecutor(13) as pool:
        reading = pool.submit(read_on)
        written = list(pool.map(write_on, range(12)))
        for log in logs:
            while log.seal():
                pass
        done.set()
        reading.result(60)
    for log in logs:
        log.drain()
    for database in replicas:
        database.close()

    assert [position for position, _, _ in seen] == list(range(1, sum(written) + 1))
    for writer, count in enumerate(written):
        assert [sequence for _, stream, sequence in seen if stream == f"servers/{writer}"] == list(range(1, count + 1))
