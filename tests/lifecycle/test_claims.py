# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from bms.lifecycle.v1 import server_status_pb2
from services.kernel.errors import Stale
from services.lifecycle import looks
from services.lifecycle.claims import claim, next_due, next_of_each
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.walk import Change
from services.runtime.database import Transaction
from services.runtime.times import to_micros
from tests.lifecycle.rig import Rig
from tests.support.clocks import START
from tests.support.explained import Explained
from tests.support.wire import admin

UUID = "00000001-0000-4000-8000-000000000000"
LATER = START + timedelta(seconds=60)


def kept(rig: Rig) -> Server:
    """A server that is due at START and an instance that is due at LATER; answers the server."""

    def put(tx: Transaction) -> Server:
        server = Server(UUID, "a", START)
        rig.store.insert_server(tx, server, (note(server, server, "server.enrolled", START),))
        made = Instance("projects/demo/instances/web", "demo", "flavors/f", "images/i", (), START, START)
        rig.store.insert_instance(tx, made, None, LATER)
        return rig.store.write(tx, Change(rig.store.server(tx, UUID)), START, due=START).server

    return rig.database.transact(put, label="test")


def test_each_table_says_when_it_has_something(rig: Rig) -> None:
    """
    A tick claims only from the tables that have something to claim; the whole has it when the first of them does.
    """
    assert rig.database.read(next_of_each) == {}
    kept(rig)

    assert rig.database.read(next_of_each) == {"servers": to_micros(START), "instances": to_micros(LATER)}
    rig.database.transact(lambda tx: claim(tx, "servers", START, LATER + timedelta(seconds=1), 1), label="claim")
    assert rig.database.read(next_of_each)["servers"] == to_micros(LATER) + 1_000_000
    assert rig.database.read(next_due) == to_micros(LATER)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_due_is_found_at_the_ends_of_indexes(rig: Rig) -> None:
    """
    A tick costs the same however many servers there are: no part of the question goes over all rows. What PostgreSQL
    plans depends on its statistics.
    """

    def explain(tx: Transaction) -> list[str]:
        explained = Explained(tx)
        next_of_each(cast("Transaction", explained))
        return explained.plan

    looks = [step for step in rig.database.read(explain) if "servers" in step or "instances" in step]

    assert len(looks) == 4
    assert [look for look in looks if "USING" not in look] == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_who_is_due_is_looked_for_among_those_that_are_due(rig: Rig) -> None:
    """
    Whoever claims reads from the beginning of the index of dues, and sorts nothing. By states, which nearly all share,
    he would go through the whole fleet.
    """

    def explain(tx: Transaction) -> list[str]:
        explained = cast("Transaction", Explained(tx))
        looks.due(explained, START, 64, lambda _server: True)
        claim(explained, "servers", START, LATER, 16, busy=(UUID,))
        claim(explained, "instances", START, LATER, 16)
        return cast("Explained", explained).plan

    assert [step.partition("(")[0] for step in rig.database.read(explain)] == [
        "SEARCH servers USING INDEX servers_due ",
        "SEARCH servers USING INDEX servers_due ",
        "SEARCH instances USING INDEX instances_due ",
    ]


@pytest.mark.parametrize(("version", "fence"), [(-1, 0), (0, 1)])
def test_a_look_that_recorded_no_event_is_refused_like_any_write(rig: Rig, version: int, fence: int) -> None:
    """
    A row changed by somebody else meanwhile, or claimed by somebody else, is not written over, even without an event.
    """
    server = kept(rig)
    late = Change(replace(server, version=server.version + version, display_name="late"))

    with pytest.raises(Stale):
        rig.database.transact(
            lambda tx: rig.store.write(tx, late, START, due=LATER, fence=server.fence + fence), label="write"
        )

    assert rig.server(UUID) == server


def test_of_calm_servers_those_alone_are_claimed_that_need_a_walk(rig: Rig) -> None:
    """
    The others are left to a round; who is at work, waits or was left by a worker that died is claimed in any case.
    """
    calm, odd, waiting, working, dead = (rig.register(number) for number in range(1, 6))
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{working}"), admin())
    now = rig.clock.now()
    micros = int(now.timestamp() * 1_000_000)

    def lay(tx: Transaction) -> None:
        tx.execute("UPDATE servers SET due = ?", (micros,))
        tx.execute("UPDATE servers SET wait_code = 'POWER_LOST' WHERE uuid = ?", (waiting,))
        tx.execute("UPDATE servers SET claim_until = ? WHERE uuid = ?", (micros - 1, dead))

    rig.database.transact(lay, label="lay")
    taken = rig.database.transact(
        lambda tx: claim(tx, "servers", now, now + timedelta(seconds=60), 10, busy=(odd,)), label="claim"
    )
    rest = rig.database.transact(
        lambda tx: claim(tx, "servers", now, now + timedelta(seconds=60), 10, busy=()), label="claim"
    )

    assert {one.key for one in taken} == {odd, waiting, working, dead}
    assert rest == []
    everyone = rig.database.transact(
        lambda tx: claim(tx, "servers", now, now + timedelta(seconds=60), 10), label="claim"
    )
    assert [one.key for one in everyone] == [calm]
