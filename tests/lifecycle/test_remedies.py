# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.events import PowerSeen
from services.lifecycle.domain import remedies
from services.lifecycle.domain.blocker import Cure
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.remedies import CURES, Budget
from services.lifecycle.domain.server import Intent, PortClass, Server, Wait
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.walk import Change
from services.lifecycle.ports import JobKind, JobPhase, JobReading, Target
from tests.lifecycle.rig import BLUE, WEB, Crash, Rig
from tests.support.clocks import START
from tests.support.wire import admin

BUDGET = Budget()
REQUEST = server_status_pb2.QuarantineServerRequest


def events(rig: Rig, uuid: str, type_: str) -> list[event_pb2.Event]:
    return [event for event in rig.events(f"servers/{uuid}") if event.header.type == type_]


def at_step(kind: IntentKind, name: StepName, code: str) -> Server:
    """A server that has waited for *code* at that step since START."""
    index = [step.name for step in plan_of(kind)].index(name)
    intent = Intent("i", kind, "", "admin", START, START, index=index)
    return Server("u", "r1", START, state=State.CLEANING, intent=intent, wait=Wait(code, "", START))


def minutes(count: float) -> datetime:
    return START + timedelta(minutes=count)


# -- the pure part


def test_a_remedy_waits_first_then_is_tried_then_is_spent() -> None:
    """
    Nothing is tried within the cool-down; then once in each, as often as the budget says; then never again.
    """
    server = at_step(IntentKind.STOP, StepName.POWER_OFF, "POWER_NOT_OFF")
    made = []
    for second in range(600):
        now = START + timedelta(seconds=second)
        if remedies.is_due(server, BUDGET, now):
            change = remedies.begin_try(server, "POWER_NOT_OFF", BUDGET, now)
            made.append((second, change.events[0].facts["attempt"], change.events[0].facts["of"]))
            assert change.server.task.cure == "POWER_NOT_OFF"
            assert not remedies.is_due(change.server, BUDGET, now)
            server = remedies.made(change.server)
            assert not server.task.cure
        assert remedies.is_spent(server, "POWER_NOT_OFF", BUDGET, now) is (second >= 240)

    assert made == [(60, "1", "3"), (120, "2", "3"), (180, "3", "3")]


def test_a_step_that_is_never_given_up_tries_on_seldom() -> None:
    """
    With the budget spent, what may not fail is tried on at long intervals, each told of like the others.
    """
    server = at_step(IntentKind.QUARANTINE, StepName.DETACH_ALL, "PORTS_NOT_SETTLED")
    made = []
    for minute in range(60):
        now = minutes(minute)
        if remedies.is_due(server, BUDGET, now):
            server = remedies.made(remedies.begin_try(server, "PORTS_NOT_SETTLED", BUDGET, now).server)
            made.append(minute)

    assert made == [1, 2, 3, 18, 33, 48]


def test_a_code_that_comes_and_goes_has_one_budget() -> None:
    """
    Tries count for the step: a wait that changes its code and comes back does not begin anew.
    """
    server = at_step(IntentKind.STOP, StepName.POWER_OFF, "POWER_NOT_OFF")
    for minute in (1, 2, 3):
        server = remedies.made(remedies.begin_try(server, "POWER_NOT_OFF", BUDGET, minutes(minute)).server)
    back = replace(server, wait=Wait("POWER_NOT_OFF", "", minutes(4)))

    assert remedies.next_try(back, BUDGET) is None
    assert remedies.is_spent(back, "POWER_NOT_OFF", BUDGET, minutes(4))


@pytest.mark.parametrize("name", StepName)
@pytest.mark.parametrize("code", ["POWER_NOT_OFF", "PORTS_NOT_SETTLED", "REFUSED_BY_PEER", "BMC_SILENT"])
def test_only_steps_that_know_a_remedy_try_it(name: StepName, code: str) -> None:
    """
    A try is recorded only where the step does something for it.
    """
    kind = next(one for one in IntentKind if name in [step.name for step in plan_of(one)])
    server = at_step(kind, name, code)
    cure = remedies.cure_for(server, code)

    assert cure is None or name in CURES[cure]
    assert remedies.is_due(server, BUDGET, minutes(2)) is (cure is not None)
    assert code != "BMC_SILENT" or cure in (None, Cure.RESET_BMC)


def test_without_a_budget_nothing_runs_by_itself() -> None:
    """
    No tries allowed: none is made, and none is spent.
    """
    none = Budget(tries=0)
    server = at_step(IntentKind.STOP, StepName.POWER_OFF, "POWER_NOT_OFF")

    assert not remedies.is_due(server, none, minutes(100))
    assert not remedies.is_spent(server, "POWER_NOT_OFF", none, minutes(100))
    lost = at_step(IntentKind.PROVIDE, StepName.CLEAN, "JOB_RUNNING")
    assert not remedies.may_begin_anew(lost, "JOB_LOST", none)


def test_a_remedy_never_means_leaving_quarantine() -> None:
    """
    An administrator leads out: no remedy runs in a step that erases for him unless the step was begun already.
    """
    for cure in Cure:
        for step in CURES[cure]:
            assert step not in (StepName.END_INSTANCE, StepName.COOL_ADDRESSES, StepName.REPORT)


# -- in a life


def stop(rig: Rig) -> str:
    return rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))


def test_a_lost_power_command_is_asked_for_again_and_told(rig: Rig) -> None:
    """
    The BMC loses the first two commands: the third is the second try, and the operation ends well.
    """
    uuid = rig.active(BLUE)
    lost = 2
    set_power = rig.hardware.set_power

    def losing(target: Target, *, on: bool, request_id: str) -> PowerSeen:
        nonlocal lost
        if lost:
            lost -= 1
            return rig.hardware.read_power(target)
        return set_power(target, on=on, request_id=request_id)

    rig.hardware.set_power = losing  # type: ignore[method-assign]  # a BMC that loses commands
    operation = stop(rig)
    rig.pass_time(100)
    assert [event.body.facts["attempt"] for event in events(rig, uuid, "remedy.tried")] == ["1"]
    assert rig.hardware.machine(uuid).on
    rig.pass_time(60)
    told = events(rig, uuid, "remedy.tried")

    assert not rig.hardware.machine(uuid).on
    assert [(one.body.facts["attempt"], one.body.facts["of"], one.body.reason) for one in told] == [
        ("1", "3", "POWER_NOT_OFF"),
        ("2", "3", "POWER_NOT_OFF"),
    ]
    assert not rig.operation(operation)[0].HasField("error")


def test_power_is_asked_for_no_oftener_than_is_told(rig: Rig) -> None:
    """
    Each command to the BMC is the step's own or a try that stands in the log: none is silent.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).stuck_on = True
    before = len(rig.hardware.history)
    stop(rig)
    rig.pass_time(400)

    asked = [act for _, act in rig.hardware.history[before:]]
    assert len(asked) == 1 + len(events(rig, uuid, "remedy.tried")) == 4
    server = rig.server(uuid)
    assert (server.state, server.intent) == (State.ACTIVE, None)


def test_a_budget_spent_ends_in_quarantine(rig: Rig) -> None:
    """
    A server in motion whose remedies did not help is set aside for what it waited for, before its time is up.
    """
    uuid = rig.available()
    rig.networks.deaf = {rig.server(uuid).ports[0].name}
    rig.create(BLUE)
    rig.pass_time(270)
    server = rig.server(uuid)

    assert (server.state, server.fault) == (State.QUARANTINED, "PORTS_NOT_SETTLED")
    assert len(events(rig, uuid, "remedy.tried")) >= 3


def test_ports_that_network_forgot_are_told_anew(rig: Rig) -> None:
    """
    Network lost its books: the server's ports are registered again by itself, and the release goes on.
    """
    uuid = rig.active(BLUE)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.networks.ports.clear()
    rig.settle(rounds=2000)

    assert rig.server(uuid).state is State.AVAILABLE
    assert rig.instance() is None
    assert [event.body.facts["remedy"] for event in events(rig, uuid, "remedy.tried")] == ["register_ports"]


def test_detaching_goes_on_under_the_alarm(rig: Rig) -> None:
    """
    What is never given up raises the alarm once, is seen as overdue, tries on seldom, and ends when it can.
    """
    uuid = rig.active(BLUE)
    rig.networks.deaf = {port.name for port in rig.server(uuid).ports}
    rig.ok("QuarantineServer", REQUEST(name=f"servers/{uuid}", reason="smoke"), admin())
    rig.pass_time(3600, step=30)
    server = rig.server(uuid)
    fleet = rig.wire.ok("SummarizeFleet", server_status_pb2.SummarizeFleetRequest(), caller=admin())

    assert server.intent is not None
    assert server.intent.step.name is StepName.DETACH_ALL
    assert [event.body.reason for event in events(rig, uuid, "server.overdue")] == ["PORTS_NOT_SETTLED"]
    assert [one.server for one in fleet.overdue] == [f"servers/{uuid}"]
    assert len(events(rig, uuid, "remedy.tried")) == 6
    rig.networks.deaf = set()
    rig.pass_time(1000, step=30)
    assert rig.server(uuid).isolated
    assert {port.port_class for port in rig.networks.ports.values()} == {PortClass.QUARANTINE}


def lose_job(rig: Rig, kind: JobKind, times: int) -> None:
    """The controller forgets work of that kind after it was begun, so often."""
    left = times
    read = rig.hardware.read_job
    lost: set[str] = set()

    def forgetting(target: Target, *, request_id: str) -> JobReading:
        nonlocal left
        known = rig.hardware.machine(target.server).jobs.get(request_id)
        if request_id in lost:
            return JobReading(JobPhase.ABSENT)
        if known is not None and known[0].kind is kind and left:
            left -= 1
            lost.add(request_id)
            return JobReading(JobPhase.RUNNING)
        return read(target, request_id=request_id)

    rig.hardware.read_job = forgetting  # type: ignore[method-assign]  # a controller that forgets


@pytest.mark.parametrize(("times", "state"), [(1, State.AVAILABLE), (2, State.QUARANTINED)])
def test_lost_work_is_begun_anew_once(rig: Rig, times: int, state: State) -> None:
    """
    Erasing may be done twice: forgotten once it is begun anew, forgotten again the server is set aside.
    """
    uuid = rig.register()
    lose_job(rig, JobKind.CLEAN, times)
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()
    server = rig.server(uuid)

    assert server.state is state
    assert server.fault == ("" if times == 1 else "JOB_LOST")
    (told,) = events(rig, uuid, "remedy.tried")
    assert (told.body.facts["remedy"], told.body.facts["attempt"], told.body.facts["of"]) == ("begin_anew", "1", "1")


def test_a_try_that_was_recorded_is_made_by_whoever_comes_next(rig: Rig) -> None:
    """
    Killed between the record of a try and the try: it is made once, under its number.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).stuck_on = True
    stop(rig)
    rig.pass_time(50)
    asked = len(rig.hardware.history)
    seen: list[str] = []

    def at_try(label: str, when: str) -> None:
        if when == "before" and label == "bmc.set_power":
            seen.append(label)
            raise Crash(label)

    assert rig.killed_at(at_try)
    assert len(rig.hardware.history) == asked
    rig.hardware.machine(uuid).stuck_on = False
    rig.settle(rounds=20)

    assert seen == ["bmc.set_power"]
    assert not rig.hardware.machine(uuid).on
    assert [event.body.facts["attempt"] for event in events(rig, uuid, "remedy.tried")] == ["1"]


def test_a_server_is_not_forgotten_while_it_is_on_a_network(rig: Rig) -> None:
    """
    Deleted while its quarantine is under way and a switch does not do as told: its log closes once its ports were read.
    """
    uuid = rig.active(BLUE)
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.networks.deaf = {port.name for port in rig.server(uuid).ports}
    rig.ok("QuarantineServer", REQUEST(name=f"servers/{uuid}", reason="smoke"), admin())
    rig.settle(rounds=20)
    held = rig.server(uuid)
    rig.database.transact(
        lambda tx: rig.store.write(
            tx, Change(replace(held, instance="", leases=())), rig.clock.now(), due=rig.clock.now()
        ),
        label="test",
    )
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()
    rig.pass_time(60)
    assert not rig.server(uuid).closed
    rig.networks.deaf = set()
    rig.pass_time(120)

    assert rig.server(uuid).closed
    assert rig.networks.ports == {}
    types = rig.types(uuid)
    assert types.index("server.closed") > max(i for i, type_ in enumerate(types) if type_ == "port.detach_observed")


def test_what_was_at_work_does_not_come_back_with_the_quarantine(rig: Rig) -> None:
    """
    Set aside in the midst of a rebuild: once the quarantine is complete the instance is failed still, and no verb
    brings its server back onto a network.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).slow = True
    rig.ok("RebuildInstance", instance_pb2.RebuildInstanceRequest(name=WEB))
    rig.settle(rounds=20)
    rig.ok("QuarantineServer", REQUEST(name=f"servers/{uuid}", reason="smoke"), admin())
    rig.settle()
    instance = rig.instance()

    assert rig.server(uuid).intent is None
    assert instance is not None
    assert instance.state is InstanceState.ERROR
