# SPDX-License-Identifier: Apache-2.0
"""The verifier at work: verdicts are kept as servers live, and what it finds broken sets a server aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import audit_service_pb2, brake_pb2, instance_pb2, server_status_pb2
from services.kernel.effect import observed
from services.kernel.errors import PeerUnavailable
from services.kernel.events import Evidence, PortSeen
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.findings import VIOLATED
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.states import State
from services.lifecycle.domain.walk import Change
from services.lifecycle.judging import docket
from services.lifecycle.judging.bench import TURN, Bench, Listener
from services.lifecycle.judging.hearing import Hearing
from services.lifecycle.judging.sentence import Sentence
from services.lifecycle.judging.sources import own
from services.lifecycle.judging.wire import stream_verdict
from services.verifier.verdict import Interval, Verdict
from tests.lifecycle.audited import Auditor
from tests.lifecycle.rig import BLUE, WEB, Crash, Rig
from tests.support.judging import judged, stored_events
from tests.support.wire import admin

MALLORY = "projects/mallory/networks/lair"


def bench(rig: Rig) -> Bench:
    """A fresh process's verifier over the rig's database."""
    hearing = Hearing("lifecycle", partial(own, rig.log), rig.database)
    return Bench((hearing,), Sentence(rig.database, rig.store, rig.ids, Brakes()))


def hear(rig: Rig, judge: Bench | None = None) -> None:
    """Everything that is committed is judged, and acted on."""
    stored_events(rig.database, rig.log)
    judge = judge or bench(rig)
    while judge.tick(rig.clock.now()) <= rig.clock.now():
        pass
    judge.tick(rig.clock.now())


def kept(rig: Rig) -> dict[str, list[Interval]]:
    """The verdicts as kept."""
    return rig.database.read(lambda tx: docket.verdicts(tx, stream="", since=0, flawed_only=False, after="", most=100))


def expose(rig: Rig, uuid: str) -> None:
    """A worker reads the server's first port on another's network, and nobody but the verifier takes notice."""
    server, now = rig.server(uuid), rig.clock.now()
    seen = PortSeen(server.ports[0].name, "tenant", (MALLORY,), now, b"d" * 32)
    event = note(server, server, "server.taken_over", now, evidence=Evidence(ports=(seen,)))
    rig.database.transact(lambda tx: rig.store.write(tx, Change(server, (event,)), now, due=None), label="test")


def test_what_is_kept_is_what_the_whole_log_comes_to(rig: Rig) -> None:
    """
    Judged as it grows, by one process after the other, the intervals are those of judging all of it at once.
    """
    uuid = rig.active(BLUE)
    hear(rig)
    for verb in ("Stop", "Start", "Rescue", "Unrescue"):
        rig.ok(f"{verb}Instance", getattr(instance_pb2, f"{verb}InstanceRequest")(name=WEB))
        rig.settle()
        hear(rig)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    hear(rig)

    whole = judged("lifecycle", stored_events(rig.database, rig.log))
    assert {stream: tuple(intervals) for stream, intervals in kept(rig).items()} == {
        stream: report.intervals for stream, report in whole.items()
    }
    assert [one.verdict for one in kept(rig)[f"servers/{uuid}"]] == [Verdict.PASS]


@pytest.mark.finds("I1")
def test_a_violation_is_an_event_and_sets_the_server_aside(rig: Rig) -> None:
    """
    A port on somebody else's network: FAIL with its two witnesses, quarantine on all ports, the instance in error.
    """
    uuid = rig.active(BLUE)
    hear(rig)
    expose(rig, uuid)
    hear(rig)
    rig.settle()

    server, instance = rig.server(uuid), rig.instance()
    assert (server.state, server.fault, server.isolated) == (State.QUARANTINED, VIOLATED, True)
    assert instance is not None
    assert instance.state is InstanceState.ERROR
    violated = [event for event in rig.events(f"servers/{uuid}") if event.header.type == "server.violated"]
    assert len(violated) == 1
    hear(rig)
    failing = [one for one in kept(rig)[f"servers/{uuid}"] if one.verdict is Verdict.FAIL]
    assert [one.findings[0].invariant for one in failing] == ["I1"]
    facts = violated[0].body.facts
    assert [facts["witness_first"], facts["witness_second"]] == [one.event for one in failing[0].findings[0].witnesses]
    recover = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True)
    rig.ok("RecoverServer", recover, admin())
    rig.settle()
    hear(rig)
    assert kept(rig)[f"servers/{uuid}"][-1].verdict is Verdict.PASS


@pytest.mark.finds("I1")
def test_a_violation_while_the_instance_is_being_deleted_leaves_it_to_be_deleted_again(rig: Rig) -> None:
    """
    The deletion is taken over and its operation says so; deleted again, the instance goes.
    """
    uuid = rig.active(BLUE)
    hear(rig)
    first = rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    expose(rig, uuid)
    hear(rig)
    rig.settle()

    assert rig.operation(first)[0].HasField("error")
    instance = rig.instance()
    assert instance is not None
    assert instance.state is InstanceState.ERROR
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()
    assert rig.instance() is None
    assert rig.server(uuid).state is State.QUARANTINED


@pytest.mark.finds("I1")
@pytest.mark.parametrize("label", ["judge", "sentence"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_work_it_judges_once(rig: Rig, label: str, when: str) -> None:
    """
    Killed before or after it keeps its verdicts, or acts: the next process goes on, and one violation is one event.
    """
    uuid = rig.active(BLUE)
    expose(rig, uuid)
    stored_events(rig.database, rig.log)

    def kill(point: str, moment: str) -> None:
        if (point.removeprefix("db."), moment) == (label, when):
            raise Crash

    with pytest.raises(Crash), observed(kill):
        hear(rig)
    hear(rig)
    rig.settle()
    hear(rig)

    assert rig.types(uuid).count("server.violated") == 1
    assert rig.server(uuid).state is State.QUARANTINED


@pytest.mark.finds("I1")
def test_two_replicas_judge_each_event_once(rig: Rig) -> None:
    """
    Whoever is late throws its thought away: the verdicts are those of one.
    """
    uuid = rig.active(BLUE)
    first, second = bench(rig), bench(rig)
    hear(rig, first)
    hear(rig, second)
    expose(rig, uuid)
    stored_events(rig.database, rig.log)
    for _ in range(3):
        first.tick(rig.clock.now())
        second.tick(rig.clock.now())

    assert rig.types(uuid).count("server.violated") == 1
    whole = judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"]
    hear(rig, second)
    assert tuple(kept(rig)[f"servers/{uuid}"]) == whole.intervals


def all_found(rig: Rig, wrong: Callable[[Rig, str], None]) -> list[str]:
    """Five servers in use; *wrong* happens to one after the other, and each is judged at once."""
    servers = []
    for number in range(1, 6):
        servers.append(rig.available(number))
        rig.create(BLUE, name=f"web{number}")
        rig.settle()
    hear(rig)
    judge = bench(rig)
    for uuid in servers:
        wrong(rig, uuid)
        hear(rig, judge)
    return servers


@pytest.mark.finds("I1")
def test_the_brake_holds_when_one_cause_hits_many(rig: Rig) -> None:
    """
    A fabric that shows somebody else's network on server after server: two are set aside, then tenants stay connected
    and the alarm is raised.
    """
    servers = all_found(rig, expose)

    held = [uuid for uuid in servers if rig.server(uuid).state is State.ACTIVE]
    assert len(held) == 3
    types = [kind for uuid in servers for kind in rig.types(uuid)]
    assert types.count("server.violated") == 5
    assert types.count("brake.pulled") == 1

    # Patrol reads their ports where they should be: nothing is left that an administrator would have to decide.
    rig.pass_time(30)
    assert {rig.server(uuid).fault for uuid in held} == {""}


def forge(rig: Rig, uuid: str) -> None:
    """A worker whose claim another had taken over records something all the same."""
    server, now = rig.server(uuid), rig.clock.now()
    event = note(replace(server, fence=server.fence - 1), server, "server.taken_over", now)
    rig.database.transact(lambda tx: rig.store.write(tx, Change(server, (event,)), now, due=None), label="test")


@pytest.mark.finds("I5")
def test_what_no_reading_shows_is_kept_in_mind_while_the_brake_holds(rig: Rig) -> None:
    """
    Stale workers on server after server: the brake holds the third and later ones, shown as such, until it is released.
    """
    servers = all_found(rig, forge)
    held = [uuid for uuid in servers if rig.server(uuid).state is State.ACTIVE]
    assert len(held) == 3

    rig.pass_time(30)
    assert [rig.server(uuid).state for uuid in held] == [State.ACTIVE] * 3
    waits = [rig.server(uuid).wait for uuid in held]
    assert [wait.code for wait in waits if wait is not None] == ["BRAKE_PULLED"] * 3
    rig.wire.ok("ReleaseBrake", brake_pb2.ReleaseBrakeRequest(reason="the log tells the truth"), caller=admin())
    rig.pass_time(30)
    states = [rig.server(uuid) for uuid in held]
    assert [one.state for one in states].count(State.QUARANTINED) == 2
    assert {one.fault for one in states} == {VIOLATED}


def test_a_log_that_cannot_be_read_holds_no_other_back(rig: Rig) -> None:
    """
    ipam is away: lifecycle's own log is judged all the same, and ipam's when it is back.
    """

    def away(_after: int) -> Sequence[event_pb2.StoredEvent]:
        raise PeerUnavailable("ipam cannot be reached")

    uuid = rig.available()
    own_hearing = Hearing("lifecycle", partial(own, rig.log), rig.database)
    judge = Bench((Hearing("ipam", away, rig.database), own_hearing), Sentence(rig.database, rig.store, rig.ids))
    hear(rig, judge)

    assert [one.verdict for one in kept(rig)[f"servers/{uuid}"]] == [Verdict.PASS]
    assert rig.database.read(lambda tx: docket.place(tx, "ipam")) == 0


class Elsewhere:
    """A log in another service, which may be away; it counts the questions."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.away = False

    def __call__(self, after: int) -> Sequence[event_pb2.StoredEvent]:
        self.asked.append(after)
        if self.away:
            raise PeerUnavailable("ipam cannot be reached")
        return ()


def listeners(rig: Rig, count: int) -> tuple[list[Listener], list[Elsewhere]]:
    logs = [Elsewhere() for _ in range(count)]
    return [Listener(Hearing("ipam", log, rig.database)) for log in logs], logs


def test_one_replica_asks_for_a_log_that_is_elsewhere(rig: Rig) -> None:
    """
    Of three replicas one asks, as long as it asks; it died, and another does once its turn has ended.
    """
    replicas, logs = listeners(rig, 3)
    for _ in range(60):
        for replica in replicas:
            replica.tick(rig.clock.now())
        rig.clock.advance(1)
    assert [len(log.asked) for log in logs] == [60, 0, 0]
    for _ in range(int(TURN.total_seconds()) + 2):
        for replica in replicas[1:]:
            replica.tick(rig.clock.now())
        rig.clock.advance(1)

    assert len(logs[1].asked) + len(logs[2].asked) in (1, 2, 3)
    assert not logs[2].asked


def test_who_cannot_reach_a_log_lets_another_try(rig: Rig) -> None:
    """
    The turn is left at once, and nothing is lost of the place.
    """
    replicas, logs = listeners(rig, 2)
    logs[0].away = True
    for _ in range(4):
        for replica in replicas:
            replica.tick(rig.clock.now())
        rig.clock.advance(1)

    assert (len(logs[0].asked), len(logs[1].asked)) == (1, 4)
    assert rig.database.read(lambda tx: docket.turn(tx, "ipam")) > 0


def test_a_turn_is_taken_by_one(rig: Rig) -> None:
    """
    Two who find it free at once: the second is told that it is another's, and renewing is for whoever has it.
    """

    def take(mine: int, now: int, until: int) -> bool:
        return rig.database.transact(lambda tx: docket.take_turn(tx, "ipam", mine, now, until), label="test")

    assert [take(0, 10, 20), take(0, 10, 21), take(20, 15, 25), take(20, 16, 26)] == [True, False, True, False]
    rig.database.transact(lambda tx: docket.leave_turn(tx, "ipam", 20), label="test")
    assert rig.database.read(lambda tx: docket.turn(tx, "ipam")) == 25
    rig.database.transact(lambda tx: docket.leave_turn(tx, "ipam", 25), label="test")
    assert take(0, 17, 30)


def test_verdicts_are_answered_as_the_contract_says(rig: Rig) -> None:
    """
    Every verdict has its number, and an interval's times and sequences are those of its events.
    """
    uuid = rig.available()
    hear(rig)
    (interval,) = kept(rig)[f"servers/{uuid}"]
    answer = stream_verdict(f"servers/{uuid}", [interval])

    assert answer.verdict == audit_service_pb2.VERDICT_PASS
    assert answer.intervals[0].last_sequence == len(rig.types(uuid))
    assert answer.intervals[0].start_time.ToMicroseconds() == interval.begin


@pytest.mark.finds("I1")
def test_verdicts_are_served_page_by_page(rig: Rig) -> None:
    """
    By stream, by time, the flawed alone; a token serves its own listing; what was never judged is not found.
    """
    servers = [rig.available(number) for number in (1, 2, 3)]
    expose(rig, servers[1])
    hear(rig)
    audited = Auditor(rig)

    def ask(**request: Any) -> audit_service_pb2.AuditIsolationResponse:
        answer: audit_service_pb2.AuditIsolationResponse = audited.wire.ok(
            "AuditIsolation", audit_service_pb2.AuditIsolationRequest(**request)
        )
        return answer

    names = [f"servers/{uuid}" for uuid in servers]
    first = ask(page_size=2)
    rest = ask(page_size=2, page_token=first.next_page_token)
    assert [one.stream for one in (*first.verdicts, *rest.verdicts)] == names
    assert not rest.next_page_token
    assert {log.service: log.position > 0 for log in rest.logs} == {"lifecycle": True, "ipam": False}
    (flawed,) = ask(flawed_only=True).verdicts
    assert (flawed.stream, flawed.verdict) == (names[1], audit_service_pb2.VERDICT_FAIL)
    assert len(flawed.intervals[-1].findings[0].witnesses) == 2
    assert ask(since=Timestamp(seconds=int(rig.clock.now().timestamp()) + 60)).verdicts == []
    refused = audited.wire.call(
        "AuditIsolation",
        audit_service_pb2.AuditIsolationRequest(page_token=first.next_page_token, page_size=2, stream=names[0]),
    )
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    unknown = audited.wire.call("AuditIsolation", audit_service_pb2.AuditIsolationRequest(stream="servers/none"))
    assert unknown.code is grpc.StatusCode.NOT_FOUND
