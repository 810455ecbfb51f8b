# SPDX-License-Identifier: Apache-2.0
"""Adoptions and forced actions are killed anywhere, as every other verb is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bms.lifecycle.v1 import forced_action_pb2 as fa
from bms.lifecycle.v1 import instance_pb2
from services.kernel.effect import observed
from services.lifecycle.domain.server import PortClass, Tag
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind
from tests.lifecycle.portrait import Portrait, assert_sound, portrait
from tests.lifecycle.rig import BLUE, GREEN, Rig
from tests.lifecycle.test_crashes import At, Case, Prepared, delete, held, kill, points, provide, quarantine, settled
from tests.support.wire import admin

Kind = fa.ForcedAction.Kind


def found(rig: Rig, uuid: str) -> None:
    """It runs somebody's system, on blue and green."""
    names = [port.name for port in rig.server(uuid).ports]
    classes = ((PortClass.TENANT, (Tag(BLUE),)), (PortClass.TENANT, (Tag(GREEN),)))
    rig.networks.found = dict(zip(names, classes, strict=True))
    rig.hardware.machine(uuid).on = True


def adopt(rig: Rig, uuid: str) -> None:
    request = instance_pb2.AdoptServerRequest(
        name=f"servers/{uuid}",
        parent="projects/demo",
        instance_id="web",
        instance=instance_pb2.Instance(
            flavor="flavors/any",
            image="images/debian",
            networks=[
                instance_pb2.InstanceNetwork(network=network, fixed_addresses=[address])
                for network, address in ((BLUE, "10.0.0.8"), (GREEN, "10.0.0.9"))
            ],
        ),
    )
    rig.ok("AdoptServer", request, admin())


def adopt_in_vain(rig: Rig, uuid: str) -> None:
    rig.addresses.exhausted = {GREEN}
    adopt(rig, uuid)


def cut_off(rig: Rig, uuid: str) -> None:
    """It is being given back, and neither BMC nor switch answers."""
    rig.hardware.machine(uuid).silent = True
    rig.networks.unreadable = {port.name for port in rig.server(uuid).ports}
    delete(rig, uuid)
    rig.pass_time(900, 10)


def silent(rig: Rig, uuid: str) -> None:
    """Its instance ended, and its BMC does not answer."""
    rig.hardware.machine(uuid).silent = True
    delete(rig, uuid)
    rig.pass_time(900, 10)


def uncleanable(rig: Rig, uuid: str) -> None:
    """It went to quarantine because a disk could not be erased."""
    rig.hardware.machine(uuid).fail_jobs[JobKind.CLEAN] = 9
    delete(rig, uuid)


def slow(rig: Rig, uuid: str) -> None:
    """It is being cleaned on its way back, and does not get on."""
    rig.hardware.machine(uuid).slow = True
    delete(rig, uuid)
    rig.pass_time(60)


def forced(kind: Kind.ValueType) -> Callable[[Rig, str], None]:
    """Asked for by one administrator and approved by another."""

    def act(rig: Rig, uuid: str) -> None:
        wanted = fa.ForcedAction(kind=kind, reason="fire")
        asked = fa.CreateForcedActionRequest(parent=f"servers/{uuid}", forced_action=wanted)
        name = rig.wire.ok("CreateForcedAction", asked, caller=admin("ann")).name
        rig.ok("ApproveForcedAction", fa.ApproveForcedActionRequest(name=name), admin("bob"))

    return act


def answer(rig: Rig, uuid: str) -> None:
    """Whatever was silent answers again, and what waited for it comes to its end."""
    rig.networks.unreadable = set()
    rig.hardware.machine(uuid).silent = False
    rig.pass_time(30)


def left(rig: Rig, uuid: str) -> Portrait:
    """How it stands; of an enrolled server it does not matter whether somebody who took over read its power."""
    found_ = portrait(rig, uuid)
    return replace(found_, power="") if found_.state == State.ENROLLED else found_


CASES = {
    "adopt": Case(settled(found), adopt),
    "adopt in vain": Case(settled(found), adopt_in_vain),
    "delete adopted": Case(settled(found, adopt), delete),
    "force release": Case(settled(provide, held, cut_off), forced(fa.ForcedAction.KIND_RELEASE)),
    "force release in quarantine": Case(settled(provide, held, quarantine), forced(fa.ForcedAction.KIND_RELEASE)),
    "force available": Case(settled(provide, held, uncleanable), forced(fa.ForcedAction.KIND_AVAILABLE)),
    "skip clean": Case(settled(provide, held, slow), forced(fa.ForcedAction.KIND_SKIP_CLEAN)),
    "attest": Case(settled(provide, held, silent), forced(fa.ForcedAction.KIND_ATTEST_POWER_OFF)),
}
QUICK = ("adopt", "adopt in vain", "force release", "attest", "skip clean")


@pytest.mark.parametrize(
    ("name", "both"),
    [*((name, False) for name in QUICK), *(pytest.param(name, True, marks=pytest.mark.slow) for name in CASES)],
)
def test_a_kill_anywhere_changes_nothing(name: str, *, both: bool, tmp_path: Path) -> None:
    """
    Killed before and after every effect, then started again: the end is that of the undisturbed run, and so is the log,
    but for the looks after the takeover.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case)
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    passed = points(rig, both=both)
    wanted = left(rig, prepared.uuid)
    assert passed
    assert wanted.resting or name == "force release"  # what nobody can read is waited for
    answer(rig, prepared.uuid)
    assert_sound(rig, prepared.uuid)

    for number, point in enumerate(passed):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        assert rig.killed_at(At(number, kill, both=both)), point
        rig.settle()
        assert left(rig, prepared.uuid) == wanted, (number, point)
        answer(rig, prepared.uuid)
        assert_sound(rig, prepared.uuid)
    forks.close()


def test_a_deletion_may_come_at_any_moment_of_an_adoption(tmp_path: Path) -> None:
    """
    Deleted while the worker is inside any call of it: left as it was, or, once adopted, given back clean; no leak.
    """
    prepared = Prepared(tmp_path, CASES["adopt"])
    forks = prepared.forks()
    rig = next(forks)
    adopt(rig, prepared.uuid)
    seen = set()
    for number, point in enumerate(points(rig)):
        rig = next(forks)
        adopt(rig, prepared.uuid)
        with observed(At(number, partial(delete, rig, prepared.uuid))):
            rig.settle()
        rig.settle()
        after = portrait(rig, prepared.uuid)
        seen.add(after.state)
        assert (after.resting, after.instance, after.reserved) == (True, None, {}), (number, point)
        assert after.on is (after.state == State.ENROLLED), (number, point)
        assert {state for _, _, state in after.leases} <= {"cooling"}, (number, point)
        assert_sound(rig, prepared.uuid)
    assert seen <= {State.ENROLLED, State.AVAILABLE}
    assert State.ENROLLED in seen
    forks.close()
