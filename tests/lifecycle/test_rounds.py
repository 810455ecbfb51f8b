# SPDX-License-Identifier: Apache-2.0
"""Looks at many servers at rest: cheap where nothing is new, and nothing is decided by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.lifecycle.v1 import server_status_pb2
from services.kernel.effect import observed
from services.kernel.events import PowerSeen
from services.lifecycle import looks, rounds
from services.lifecycle.claims import claim
from services.lifecycle.domain.server import PortClass, Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.pace import Pace
from services.lifecycle.ports import Target
from services.lifecycle.rounds import next_look
from services.runtime.database import Transaction
from tests.lifecycle.rig import BLUE, Crash, Rig
from tests.support.wire import admin

PATROL = Pace().patrol
COUNT = 5


@pytest.fixture
def fleet(rig: Rig) -> Rig:
    """Servers of which the first is let, the last only enrolled, and the others available; all are due together."""
    rig.active(BLUE)
    for number in range(2, COUNT):
        rig.available(number)
    rig.register(COUNT)
    rig.settle()
    rig.clock.advance(PATROL.total_seconds())
    everyone_due(rig)
    return rig


def uuids(rig: Rig) -> list[str]:
    return sorted(row["uuid"] for row in rig.database.read(lambda tx: tx.all("SELECT uuid FROM servers")))


def everyone_due(rig: Rig) -> None:
    now = int(rig.clock.now().timestamp() * 1_000_000)
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET due = ?", (now,)), label="due")


def dues(rig: Rig) -> dict[str, float]:
    """In how many seconds each server is due."""
    rows = rig.database.read(lambda tx: tx.all("SELECT uuid, due FROM servers"))
    return {row["uuid"]: row["due"] / 1_000_000 - rig.clock.now().timestamp() for row in rows}


def done(rig: Rig, body: Callable[[], object]) -> Counter[str]:
    """How often each effect was met."""
    found: Counter[str] = Counter()
    with observed(lambda label, when: found.update([label] if when == "before" else [])):
        body()
    return found


def tick(rig: Rig) -> None:
    rig.worker.tick(rig.clock.now())


def test_what_is_as_it_was_is_looked_at_together(fleet: Rig) -> None:
    """
    Each BMC is read, all ports in one call, and all is recorded in one transaction: when it was read, and no event.
    """
    names, before = uuids(fleet), {uuid: fleet.types(uuid) for uuid in uuids(fleet)}
    versions = {uuid: fleet.server(uuid).version for uuid in names}
    effects = done(fleet, lambda: tick(fleet))

    assert effects["bmc.read_power"] == COUNT - 1
    assert (effects["network.look"], effects["network.read"]) == (1, 0)
    assert (effects["db.round"], effects["db.step.rest"]) == (1, 0)
    # Who is due at what; claims: whom to take, taking them, and those that walk by themselves; instances; the record.
    assert sum(count for label, count in effects.items() if label.endswith(".statement")) == 7
    assert {uuid: fleet.types(uuid) for uuid in names} == before
    for uuid in names[:-1]:
        server = fleet.server(uuid)
        assert server.power_time == fleet.clock.now()
        assert {port.read_time for port in server.ports} == {fleet.clock.now()}
        assert server.version == versions[uuid] + 1
    cell = PATROL.total_seconds() / 30
    assert all(PATROL.total_seconds() - cell <= due <= PATROL.total_seconds() for due in dues(fleet).values())
    assert done(fleet, lambda: tick(fleet))["bmc.read_power"] == 0


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("moved", ["power", pytest.param("port", marks=pytest.mark.finds("I1"))])
def test_what_shows_something_else_has_a_walk_of_its_own(fleet: Rig, number: int, moved: str) -> None:
    """
    Claimed, read afresh and told of with its reading, as if it had been looked at alone; the others are recorded.
    """
    uuid = uuids(fleet)[number - 1]
    if moved == "power":
        fleet.hardware.machine(uuid).on = not fleet.hardware.machine(uuid).on
    else:
        port = next(port for name, port in sorted(fleet.networks.ports.items()) if port.server == uuid)
        port.port_class = PortClass.CLEANING
    first = done(fleet, lambda: tick(fleet))
    told = fleet.types(uuid)
    second = done(fleet, lambda: tick(fleet))

    assert (first["db.round"], first["network.read"]) == (1, 0)
    assert second["db.round"] == 0
    assert second["network.read"] >= 1
    assert fleet.types(uuid)[len(told)] == "server.patrolled"
    others = [other for other in uuids(fleet)[:-1] if other != uuid]
    assert all(fleet.server(other).power_time == fleet.clock.now() for other in others)
    fleet.settle()
    after = fleet.server(uuid)
    if number == 2:
        assert (after.state, after.power, after.isolated) == (State.QUARANTINED, Power.OFF, True)
    elif moved == "power":
        assert after.wait is not None
        assert after.wait.code == "POWER_LOST"
    else:
        assert after.state is State.QUARANTINED


def test_a_silent_bmc_keeps_nobody_from_being_looked_at(fleet: Rig) -> None:
    """
    It is found out by a walk of its own; from then on no round takes it as long as its power is unknown.
    """
    uuid = uuids(fleet)[1]
    fleet.hardware.machine(uuid).silent = True
    for _ in range(3):
        tick(fleet)
    assert fleet.server(uuid).power is Power.UNKNOWN
    assert fleet.server(uuids(fleet)[2]).power_time == fleet.clock.now()
    everyone_due(fleet)
    effects = done(fleet, lambda: tick(fleet))
    assert (effects["bmc.read_power"], effects["db.round"], effects["db.step.rest"]) == (COUNT - 1, 1, 1)
    fleet.hardware.machine(uuid).silent = False
    everyone_due(fleet)
    tick(fleet)
    assert fleet.server(uuid).power is Power.OFF


def test_where_network_does_not_answer_each_has_a_walk_of_its_own(fleet: Rig) -> None:
    """
    As a network of an older release, which does not know the call: nothing is taken for read that was not.
    """
    fleet.networks.silent = True
    before = fleet.server(uuids(fleet)[0]).ports
    for _ in range(4):
        tick(fleet)

    assert fleet.server(uuids(fleet)[0]).ports == before
    assert all(fleet.server(uuid).power_time == fleet.clock.now() for uuid in uuids(fleet)[:-1])
    fleet.networks.silent = False
    everyone_due(fleet)
    assert done(fleet, lambda: tick(fleet))["network.look"] == 1


def test_a_defect_met_at_one_server_keeps_no_other_from_being_looked_at(fleet: Rig, defect: Exception) -> None:
    """
    What nobody thought of is that server's alone.
    """
    uuid, read_power = uuids(fleet)[1], fleet.hardware.read_power

    def broken(target: Target) -> PowerSeen:
        if target.server == uuid:
            raise defect
        return read_power(target)

    fleet.hardware.read_power = broken  # type: ignore[method-assign]
    tick(fleet)

    assert fleet.server(uuid).power_time != fleet.clock.now()
    assert fleet.server(uuids(fleet)[2]).power_time == fleet.clock.now()


def at(label: str, when: str, act: Callable[[], object]) -> Callable[[str, str], None]:
    """Acts once, at this point."""
    acted: list[bool] = []

    def observer(met: str, met_when: str) -> None:
        if (met, met_when) == (label, when) and not acted:
            acted.append(True)
            act()

    return observer


def test_what_was_read_loses_against_anything_newer(fleet: Rig) -> None:
    """
    A verb that comes while the ports are read goes on at once, and the round writes nothing over it.
    """
    uuid = uuids(fleet)[1]
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    with observed(at("network.look", "after", lambda: fleet.ok("QuarantineServer", request, admin()))):
        tick(fleet)
    server = fleet.server(uuid)

    assert server.state is State.QUARANTINED
    assert server.intent is not None
    assert server.power_time != fleet.clock.now()
    assert dues(fleet)[uuid] <= 0
    assert fleet.server(uuids(fleet)[2]).power_time == fleet.clock.now()
    fleet.settle()
    assert fleet.server(uuid).isolated


@pytest.mark.parametrize("odd", [False, True])
def test_a_claim_taken_meanwhile_is_left_alone(fleet: Rig, *, odd: bool) -> None:
    """
    Whoever holds the server by then decides: neither what was read nor when it is due is written.
    """
    uuid = uuids(fleet)[1]
    fleet.hardware.machine(uuid).on = odd

    def steal() -> None:
        late = fleet.clock.now() + timedelta(seconds=61)
        fleet.database.transact(
            lambda tx: claim(tx, "servers", late, late + timedelta(seconds=60), COUNT), label="steal"
        )

    with observed(at("network.look", "after", steal)):
        tick(fleet)
    row = fleet.database.read(lambda tx: tx.one("SELECT * FROM servers WHERE uuid = ?", (uuid,)))

    assert row is not None
    assert row["claim_until"] is not None
    assert fleet.server(uuid).power_time != fleet.clock.now()
    assert 0 < dues(fleet)[uuid] <= 60


def test_killed_anywhere_in_a_round_they_are_looked_at_within_a_claims_time(fleet: Rig) -> None:
    """
    Nobody holds them: they are due again when the round's time is over, and no takeover is told of.
    """
    names, met = uuids(fleet), 0
    while True:
        left = met
        everyone_due(fleet)

        def kill(label: str, when: str) -> None:
            nonlocal left
            if label.endswith((".statement", ".commit")) or label == "db.read":
                return
            left -= 1
            if left < 0:
                raise Crash(label)

        try:
            with observed(kill):
                tick(fleet)
        except Crash:
            met += 1
            fleet.start()
        else:
            break
        killed = fleet.clock.now()
        fleet.clock.advance(61)
        tick(fleet)
        assert all((fleet.server(uuid).power_time or killed) >= killed for uuid in names[:-1])
        assert not any("server.taken_over" in fleet.types(uuid) for uuid in names)
    assert met > 2 * COUNT


def test_two_replicas_take_different_servers(fleet: Rig) -> None:
    """
    Who was taken is not due for the time of a claim; what is left can be taken by others.
    """
    now = fleet.clock.now()
    until = now + timedelta(seconds=60)

    def take() -> list[str]:
        def those(tx: Transaction) -> tuple[Server, ...]:
            found = looks.due(tx, now, 3, lambda _: True).resting
            looks.take(tx, found, until)
            return found

        return [server.uuid for server in fleet.database.transact(those, label="take")]

    first, second, third = take(), take(), take()
    assert (len(first), len(second), third) == (3, COUNT - 3, [])
    assert sorted(first + second) == uuids(fleet)


def test_only_who_is_at_rest_and_waits_for_nothing_is_taken(fleet: Rig) -> None:
    """
    Neither one at work, nor one that was set aside under a wait, nor one that inventory was not told of.
    """
    one, two = uuids(fleet)[1:3]
    fleet.ok("QuarantineServer", server_status_pb2.QuarantineServerRequest(name=f"servers/{one}", reason="x"), admin())
    fleet.database.transact(
        lambda tx: tx.execute("UPDATE servers SET wait_code = 'POWER_LOST' WHERE uuid = ?", (two,)), label="wait"
    )
    found = fleet.database.transact(
        lambda tx: looks.due(tx, fleet.clock.now(), 10, fleet.worker._rounds._rests), label="due"
    )

    assert {server.uuid for server in found.resting} == set(uuids(fleet)) - {one, two}
    assert found.busy == ()


def test_a_round_ends_in_time_and_leaves_the_rest_to_the_next(fleet: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    BMCs that take long to answer: what was not come to is due again at once.
    """
    read_power = fleet.hardware.read_power

    def slow(target: Target) -> PowerSeen:
        fleet.clock.advance(15)
        return read_power(target)

    monkeypatch.setattr(fleet.hardware, "read_power", slow)
    effects = done(fleet, lambda: tick(fleet))
    assert effects["bmc.read_power"] == 2
    assert sorted(due > 0 for due in dues(fleet).values()) == [False] * (COUNT - 3) + [True] * 3
    for _ in range(3):
        tick(fleet)
    assert all(due > 0 for due in dues(fleet).values())


def test_a_backlog_leaves_room_for_work(fleet: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Rounds fill three quarters of the slots at most; work that comes then begins at once.
    """
    monkeypatch.setattr(rounds, "MOST", 1)
    waiting: list[Callable[[], None]] = []
    fleet.worker._run = waiting.append
    for _ in range(6):
        tick(fleet)
    assert len(waiting) == 3
    assert fleet.worker.tick(fleet.clock.now()) is None
    # One more is due than slots are kept for rounds: it is not walked alone, though a slot is free.
    assert sum(due <= 0 for due in dues(fleet).values()) == COUNT - 3
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuids(fleet)[0]}", reason="smoke")
    fleet.ok("QuarantineServer", request, admin())
    tick(fleet)
    assert len(waiting) == 4
    effects = done(fleet, lambda: [walk() for walk in waiting[:4]])
    assert effects["db.round"] == 3
    assert effects["db.step.power_off"]


def test_nobody_is_left_out_for_a_day(fleet: Rig) -> None:
    """
    Every server is read at least once in every quarter of an hour, whenever its turn first came.
    """
    names = uuids(fleet)[:-1]
    began, read = fleet.clock.now(), {uuid: [fleet.clock.now()] for uuid in names}
    while fleet.clock.now() - began < timedelta(hours=6):
        tick(fleet)
        for uuid in names:
            moment = fleet.server(uuid).power_time
            if moment is not None and moment > read[uuid][-1]:
                read[uuid].append(moment)
        fleet.clock.advance(10)

    for moments in read.values():
        gaps = [after - before for before, after in pairwise(moments)]
        assert max(gaps) <= PATROL + timedelta(seconds=10)
        assert len(gaps) >= 23


@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- hypothesis wants the bounds without a zone
    patrol=st.timedeltas(timedelta(microseconds=1), timedelta(days=1)),
)
def test_the_next_look_is_never_late_and_never_much_too_early(now: datetime, patrol: timedelta) -> None:
    """
    After a round's time at most, and less than a thirtieth of it before; those of one moment are due together.
    """
    due = next_look(now, patrol)

    assert max(now, now + patrol - max(patrol / 30, timedelta(microseconds=1))) <= due <= now + patrol
    assert now <= due
