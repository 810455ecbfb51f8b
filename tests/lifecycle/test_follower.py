# SPDX-License-Identifier: Apache-2.0
"""Inventory's log is followed to its end, whatever one server of it has to wait for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.effect import observed
from services.lifecycle.claims import followed, held_back
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.states import State
from services.lifecycle.follower import Follower
from tests.lifecycle.portrait import assert_sound, portrait
from tests.lifecycle.rig import BLUE, WEB, Crash, Rig
from tests.lifecycle.test_crashes import At, Case, Prepared, kill, points, provide, quarantine, settled
from tests.support.wire import admin


def place(rig: Rig) -> int:
    return rig.database.read(lambda tx: followed(tx, "inventory"))


def owed(rig: Rig) -> list[str]:
    return rig.database.read(lambda tx: held_back(tx, "inventory"))


def at_work(rig: Rig) -> str:
    """A server that is being inspected and does not get on, and whose deletion is asked for."""
    uuid = rig.register()
    rig.hardware.machine(uuid).slow = True
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle(rounds=10)
    rig.inventory.tell(uuid, "server.deleting")
    return uuid


def closed(rig: Rig, uuid: str) -> bool:
    """Everybody goes on until nothing is owed; answers whether its log is closed."""
    for _ in range(4):
        rig.hear()
        rig.settle()
    return rig.server(uuid).closed and rig.inventory.closed == {uuid} and owed(rig) == []


def test_a_deletion_that_waits_holds_back_nobody_else(rig: Rig) -> None:
    """
    What stands behind it in the log is heard; it is remembered, and done when its server has come to rest.
    """
    uuid = at_work(rig)
    other = rig.register(2)
    assert rig.server(other).state is State.ENROLLED
    assert (place(rig), owed(rig)) == (3, [f"servers/{uuid}"])
    rig.start()
    rig.hear()
    assert not rig.server(uuid).closed

    rig.hardware.machine(uuid).slow = False
    rig.settle()
    assert closed(rig, uuid)


def test_killed_while_it_hears_a_deletion_it_forgets_none(rig: Rig) -> None:
    """
    The place and what is remembered are one transaction: killed before or after it, the deletion is still owed.
    """
    uuid = at_work(rig)
    number, killed = 0, True
    while killed:
        killed = False
        with observed(At(number, kill, both=True)):
            try:
                rig.hear()
            except Crash:
                killed = True
                rig.start()
        assert (owed(rig) == [f"servers/{uuid}"]) == (place(rig) == 2)
        number += 1
    assert number > 1
    assert owed(rig) == [f"servers/{uuid}"]


def test_what_its_life_before_owed_does_not_close_a_server_that_came_back(rig: Rig) -> None:
    """
    Closed, let go and registered again before the follower looked: the new life stays.
    """
    uuid = at_work(rig)
    rig.hear()
    rig.hardware.machine(uuid).slow = False
    rig.settle()
    rig.hear()
    rig.settle()
    assert rig.server(uuid).closed
    assert owed(rig) == [f"servers/{uuid}"]
    rig.inventory.versions = {}
    rig.register()
    rig.hear()
    rig.settle()

    assert (rig.server(uuid).state, rig.server(uuid).closed) == (State.ENROLLED, False)
    assert owed(rig) == []


def test_a_closing_that_is_taken_over_is_begun_again(rig: Rig) -> None:
    """
    An administrator sets the server aside while its log is being closed: it is cut off, and closed all the same.
    """
    uuid = rig.available()
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()
    quarantine(rig, uuid)
    assert rig.server(uuid).task.kind is IntentKind.QUARANTINE

    assert closed(rig, uuid)


def forget(rig: Rig, uuid: str) -> None:
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()


def test_an_administrator_may_set_aside_at_any_moment_of_a_deletion(tmp_path: Path) -> None:
    """
    Quarantined while the worker is inside any call of closing, and killed there too: the log is closed in the end.
    """
    prepared = Prepared(tmp_path, Case(settled(provide), forget))
    forks = prepared.forks()
    rig = next(forks)
    forget(rig, prepared.uuid)
    for number, point in enumerate(points(rig)):
        rig = next(forks)
        forget(rig, prepared.uuid)

        def interrupt(rig: Rig = rig) -> None:
            if not rig.server(prepared.uuid).closed:
                quarantine(rig, prepared.uuid)
            kill()

        assert rig.killed_at(At(number, interrupt)), point
        assert closed(rig, prepared.uuid), (number, point)
    forks.close()


def waiting_for_power(rig: Rig, uuid: str) -> None:
    """It lies in quarantine, cut off, and its BMC does not answer."""
    rig.hardware.machine(uuid).silent = True
    quarantine(rig, uuid)


CASES = {
    "resting": Case(settled(provide, quarantine), forget),
    "waiting for power": Case(settled(provide, waiting_for_power), forget),
}


@pytest.mark.parametrize("name", CASES)
def test_a_kill_anywhere_in_closing_out_of_quarantine_changes_nothing(name: str, tmp_path: Path) -> None:
    """
    Killed before and after every effect of a closing that began in quarantine, whoever takes over closes all the same.
    """
    prepared = Prepared(tmp_path, CASES[name])
    forks = prepared.forks()
    rig = next(forks)
    forget(rig, prepared.uuid)
    found = points(rig, both=True)
    wanted = replace(portrait(rig, prepared.uuid), power="")  # nobody knows that of hardware that was forgotten
    assert wanted.resting
    assert closed(rig, prepared.uuid)
    assert found

    for number, point in enumerate(found):
        rig = next(forks)
        forget(rig, prepared.uuid)
        assert rig.killed_at(At(number, kill, both=True)), point
        rig.settle()
        assert replace(portrait(rig, prepared.uuid), power="") == wanted, (number, point)
        assert_sound(rig, prepared.uuid)
        assert closed(rig, prepared.uuid)
    forks.close()


def test_no_log_is_closed_while_addresses_are_held(rig: Rig) -> None:
    """
    A server whose BMC fell silent while it was given back keeps its addresses until it is off; its deletion waits.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.pass_time(900, 10)
    assert (rig.instance(), len(rig.server(uuid).leases)) == (None, 1)
    forget(rig, uuid)
    rig.pass_time(30)
    rig.hear()
    assert not rig.server(uuid).closed

    rig.hardware.machine(uuid).silent = False
    rig.pass_time(30)
    assert closed(rig, uuid)
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}


def test_whoever_remembers_something_of_a_server_is_told_of_its_changes(rig: Rig) -> None:
    """
    Each replica tells its own, of everything in the log: also of what another replica has gone past meanwhile.
    """
    told: tuple[list[str], list[str]] = ([], [])
    both = [Follower(rig.database, rig.store, rig.inventory, rig.clock, rig.ids, changed=one.append) for one in told]
    first = rig.register(1)
    for replica in both:
        replica.tick(rig.clock.now())
    for one in told:
        one.clear()
    second = rig.register(2)
    rig.inventory.tell(first, "server.updated")
    both[0].tick(rig.clock.now())
    assert place(rig) == 3
    versions = [rig.server(uuid).version for uuid in (first, second)]
    both[1].tick(rig.clock.now())
    both[1].tick(rig.clock.now())

    assert told == ([second, first], [second, first])
    assert [rig.server(uuid).version for uuid in (first, second)] == versions
