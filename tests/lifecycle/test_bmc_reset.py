# SPDX-License-Identifier: Apache-2.0
"""A BMC that does not answer: restarted once by itself, and then it is a person's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.errors import WrongState
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.domain import remedies
from services.lifecycle.domain.blocker import Cure
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.remedies import Budget
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.ports import Target
from services.lifecycle.settings import LifecycleSettings
from tests.lifecycle.fake_inventory import FakeInventory
from tests.lifecycle.rig import BLUE, WEB, Crash, Rig
from tests.lifecycle.test_remedies import at_step, events, minutes
from tests.support.clocks import FakeClock
from tests.support.wire import admin


def tried(rig: Rig, uuid: str) -> list[event_pb2.Event]:
    return [event for event in events(rig, uuid, "remedy.tried") if event.body.reason == "BMC_SILENT"]


def stop(rig: Rig) -> str:
    return rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))


def test_a_bmc_that_hangs_is_restarted_once_and_the_verb_goes_on(rig: Rig) -> None:
    """
    Not before it was silent for a minute; with an event; and the server was never touched by it.
    """
    uuid = rig.active(BLUE)
    machine = rig.hardware.machine(uuid)
    machine.hangs = True
    operation = stop(rig)
    rig.pass_time(50)
    assert (machine.resets, tried(rig, uuid)) == (0, [])
    rig.pass_time(60)
    (told,) = tried(rig, uuid)
    instance = rig.instance()

    assert machine.resets == 1
    assert (told.body.facts["remedy"], told.body.facts["attempt"], told.body.facts["of"]) == ("reset_bmc", "1", "1")
    assert not rig.operation(operation)[0].HasField("error")
    assert instance is not None
    assert instance.state is InstanceState.STOPPED


def test_a_bmc_that_stays_silent_has_the_time_it_had(rig: Rig) -> None:
    """
    Restarted in vain: said in the wait, and the step ends at its own limit, not before; never a second time.
    """
    uuid = rig.active(BLUE)
    machine = rig.hardware.machine(uuid)
    machine.silent = True
    operation = stop(rig)
    rig.pass_time(75, step=1)
    server = rig.server(uuid)
    assert server.wait is not None
    assert "restarting it did not help" in server.wait.reason
    rig.pass_time(215)
    assert rig.server(uuid).intent is not None
    rig.pass_time(60)

    assert rig.operation(operation)[0].HasField("error")
    assert (machine.resets, len(tried(rig, uuid))) == (1, 1)
    assert (rig.server(uuid).state, rig.server(uuid).intent) == (State.ACTIVE, None)


def test_in_quarantine_it_is_restarted_once_and_no_more(rig: Rig) -> None:
    """
    A step that is never given up tries it no oftener: what did not help does not help every quarter of an hour.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", request, admin())
    rig.pass_time(3600, step=30)

    assert rig.hardware.machine(uuid).resets == 1
    assert len(tried(rig, uuid)) == 1


def test_a_restart_that_was_recorded_is_made_by_whoever_comes_next(rig: Rig) -> None:
    """
    Killed between the record and the restart: made once, under its number.
    """
    uuid = rig.active(BLUE)
    machine = rig.hardware.machine(uuid)
    machine.hangs = True
    stop(rig)
    rig.pass_time(55)

    def at_reset(label: str, when: str) -> None:
        if when == "before" and label == "bmc.reset":
            raise Crash(label)

    assert rig.killed_at(at_reset)
    assert machine.resets == 0
    rig.settle(rounds=60)

    assert machine.resets == 1
    assert len(tried(rig, uuid)) == 1
    assert not machine.on


def test_no_power_is_asked_for_by_a_restart(rig: Rig) -> None:
    """
    It comes back and reads on: the step's one command to the BMC stays one.
    """
    uuid = rig.active(BLUE)
    machine = rig.hardware.machine(uuid)
    machine.stuck_on = True
    stop(rig)
    rig.pass_time(10)
    asked = len(rig.hardware.history)
    machine.hangs = True
    rig.pass_time(75, step=1)

    assert machine.resets == 1
    assert len(rig.hardware.history) == asked


def test_a_job_is_never_restarted_under(rig: Rig) -> None:
    """
    While an image is written, or a disk erased, nobody restarts what may hold its medium.
    """
    uuid = rig.available()
    rig.hardware.machine(uuid).slow = True
    rig.create(BLUE)
    rig.settle(rounds=20)
    rig.hardware.machine(uuid).hangs = True
    rig.pass_time(600, step=30)

    assert rig.server(uuid).task.step.name is StepName.WRITE_IMAGE
    assert rig.hardware.machine(uuid).resets == 0


def test_where_a_backend_cannot_nothing_is_tried() -> None:
    """
    Over Ironic the remedy is a person's: no try, none shown, and whoever asks all the same is told.
    """
    ironic = {"BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "site"}
    budget = LifecycleSettings.read(ironic).pace.budget
    server = at_step(IntentKind.STOP, StepName.POWER_OFF, "BMC_SILENT")

    assert (budget.of(Cure.RESET_BMC), budget.of(Cure.ASK_POWER)) == (0, 3)
    assert not remedies.is_due(server, budget, minutes(60))
    assert remedies.is_due(server, LifecycleSettings.read({}).pace.budget, minutes(2))
    hardware = IronicHardware(IronicApi(endpoint="http://127.0.0.1:9"), FakeInventory(), FakeClock())
    with pytest.raises(WrongState, match="restarts no BMC"):
        hardware.reset_bmc(Target("u", 1))


def test_what_is_only_being_adopted_is_left_alone() -> None:
    """
    Its BMC is not ours yet.
    """
    server = at_step(IntentKind.ADOPT, StepName.VERIFY_BMC, "BMC_SILENT")
    adopting = server.__class__(server.uuid, "r1", server.state_since, state=State.ADOPTING, intent=server.intent)

    assert remedies.cure_for(server, "BMC_SILENT") is Cure.RESET_BMC
    assert remedies.cure_for(adopting, "BMC_SILENT") is None
    assert Budget(cool_down=timedelta(seconds=1)).of(Cure.RESET_BMC) == 1
