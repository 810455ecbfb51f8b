# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from google.rpc import error_details_pb2

from bms.lifecycle.v1 import instance_pb2 as ins
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.diagnosis import blocked_on
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Intent, Server, Wait
from services.lifecycle.domain.states import State
from services.lifecycle.domain.waits import BLOCKERS
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.clocks import START
from tests.support.wire import admin

UUID = "00000001-0000-4000-8000-000000000000"
REST = Server(UUID, "r1", START, state=State.AVAILABLE)
WORK = Intent("i", IntentKind.PROVIDE, "", "admin", START, START)
HELD = Instance(WEB, "demo", "flavors/f", "images/i", (), START, START, server=UUID)


def diagnosis(rig: Rig) -> srv.DiagnoseServerResponse:
    answer = rig.wire.ok("DiagnoseServer", srv.DiagnoseServerRequest(name=f"servers/{UUID}"), caller=admin())
    assert isinstance(answer, srv.DiagnoseServerResponse)
    return answer


@pytest.mark.parametrize("code", BLOCKERS)
def test_every_code_is_explained_with_what_to_do(rig: Rig, code: str) -> None:
    """
    As a wait and as a fault, each code comes with meaning, remedy, who must act and commands without a gap.
    """
    waiting = replace(REST, state=State.CLEANING, intent=WORK, wait=Wait(code, "because", START))
    rig.database.transact(
        lambda tx: rig.store.insert_server(tx, waiting, (note(waiting, waiting, "test", START),)), label="test"
    )
    told, blocker = diagnosis(rig), BLOCKERS[code]

    assert (told.blocked_on, told.who_must_act, told.meaning) == (code, blocker.who, blocker.meaning)
    assert told.remedy == blocker.remedy
    expected = [one for one in blocker.commands if not one.startswith("bms server recover") and " --class " not in one]
    assert len(told.commands) == len(expected)
    assert not any("{" in command for command in told.commands)
    assert all(UUID in command for command in told.commands if "{server}" in blocker.commands[0])
    assert blocked_on(replace(REST, state=State.QUARANTINED, fault=code), None) == (code, START)


@pytest.mark.parametrize(
    ("state", "code", "reason", "isolated", "commands"),
    [
        # It only waits: recovering would be refused, and is not proposed.
        (State.PROVISIONING, "BMC_SILENT", "no answer", False, ["bms server show", "bms event list"]),
        (State.QUARANTINED, "", "", True, ["bms server show", "bms event list", "bms server recover"]),
        # A port may be on a network still: it is cut off first.
        (State.QUARANTINED, "", "", False, ["bms server show", "bms event list", "bms server quarantine"]),
        # Of the private networks only the one that is missing.
        (
            State.RESCUING,
            "PRIVATE_NETWORK_MISSING",
            "no private network for rescue",
            False,
            ["bms network create rescue"],
        ),
    ],
)
def test_only_commands_that_help_now_are_told(
    rig: Rig, state: State, code: str, reason: str, isolated: bool, commands: list[str]
) -> None:
    """
    A command that would be refused as the server stands, or that makes what is there already, is left out.
    """
    wait = Wait(code, reason, START) if code else None
    fault = "BMC_SILENT" if state is State.QUARANTINED else ""
    server = replace(REST, state=state, intent=WORK if code else None, wait=wait, fault=fault, isolated=isolated)
    rig.database.transact(
        lambda tx: rig.store.insert_server(tx, server, (note(server, server, "test", START),)), label="test"
    )

    told = list(diagnosis(rig).commands)

    assert len(told) == len(commands)
    assert all(one.startswith(start) for one, start in zip(told, commands, strict=True))


@pytest.mark.parametrize(
    ("server", "instance", "code"),
    [
        (REST, None, ""),
        (replace(REST, state=State.ENROLLED), None, "ENROLLED"),
        (replace(REST, state=State.ENROLLED, unmanaged=True), None, "UNMANAGED"),
        (replace(REST, maintenance=True), None, "MAINTENANCE"),
        (replace(REST, state=State.VERIFYING, intent=WORK), None, ""),
        (replace(REST, state=State.QUARANTINED, fault="NO_DISKS"), None, "NO_DISKS"),
        (
            replace(REST, state=State.QUARANTINED, fault="NO_DISKS", wait=Wait("BMC_SILENT", "", START), intent=WORK),
            None,
            "NO_DISKS",
        ),
        (
            replace(REST, state=State.QUARANTINED, fault="NO_DISKS"),
            replace(HELD, state=InstanceState.ERROR),
            "INSTANCE_FAILED",
        ),
        (
            replace(REST, state=State.QUARANTINED, fault="NO_DISKS"),
            replace(HELD, state=InstanceState.DELETING),
            "NO_DISKS",
        ),
        (replace(REST, state=State.ACTIVE), HELD, ""),
        # Its ports are being cut: that comes before all.
        (
            replace(
                REST,
                state=State.QUARANTINED,
                fault="NO_DISKS",
                wait=Wait("FABRIC_SILENT", "", START),
                intent=Intent("q", IntentKind.QUARANTINE, "", "admin", START, START),
            ),
            replace(HELD, state=InstanceState.ERROR),
            "FABRIC_SILENT",
        ),
    ],
)
def test_what_comes_first_is_told(server: Server, instance: Instance | None, code: str) -> None:
    """
    Of several reasons the one to act on first: the instance that must go, the fault, the wait, what it is set to.
    """
    assert blocked_on(server, instance)[0] == code


def test_a_diagnosis_tells_since_when_how_late_and_what_was_last(rig: Rig) -> None:
    """
    The wait's age, the excess over the state's limit, and the newest twenty events, the last first.
    """
    rig.active(BLUE)
    rig.hardware.machine(UUID).silent = True
    request = srv.QuarantineServerRequest(name=f"servers/{UUID}", reason="smoke")
    rig.ok("QuarantineServer", request, admin())
    rig.pass_time(60)
    told = diagnosis(rig)

    assert told.blocked_on == "INSTANCE_FAILED"
    assert told.status.wait.code == "BMC_SILENT"
    assert len(told.last_effects) == 20
    sequences = [effect.sequence for effect in told.last_effects]
    assert sequences == sorted(sequences, reverse=True)
    assert not told.HasField("overdue_by")


def test_a_server_that_nobody_can_reach_is_told_of_in_full(rig: Rig) -> None:
    """
    Neither its switch nor its BMC answers: not isolated, since when and how late, who must act, what was done last, and
    no command that would be refused.
    """
    rig.active(BLUE)
    rig.hardware.machine(UUID).silent = True
    rig.networks.dead_switches = {"leaf1"}
    rig.ok("QuarantineServer", srv.QuarantineServerRequest(name=f"servers/{UUID}", reason="smoke"), admin())
    rig.pass_time(600)
    told, server = diagnosis(rig), rig.server(UUID)

    assert (told.status.isolated, told.blocked_on, told.who_must_act) == (
        False,
        "FABRIC_SILENT",
        "network administrator",
    )
    assert server.wait is not None
    assert told.since.ToDatetime(UTC) == server.wait.since
    assert told.wait_limit.ToTimedelta() == timedelta(minutes=5)
    assert told.wait_overdue_by.ToTimedelta() == rig.clock.now() - server.wait.since - timedelta(minutes=5)
    assert "does not answer" in told.status.wait.reason
    assert list(told.commands) == [f"bms server port list {UUID}"]
    assert {"port.detach_requested", "server.overdue"} <= {effect.type for effect in told.last_effects}


def test_who_is_late_is_told_by_how_much(rig: Rig) -> None:
    """
    The limit counts from entering the state.
    """
    rig.register()
    rig.hardware.machine(UUID).silent = True
    rig.ok("ProvideServer", srv.ProvideServerRequest(name=f"servers/{UUID}"), admin())
    rig.worker.tick(rig.clock.now())
    rig.clock.advance(16 * 60)
    told = diagnosis(rig)

    assert (told.blocked_on, told.who_must_act) == ("BMC_SILENT", "administrator")
    assert told.overdue_by.ToTimedelta() == timedelta(minutes=1)
    fleet = rig.wire.ok("SummarizeFleet", srv.SummarizeFleetRequest(), caller=admin())
    assert (fleet.overdue_count, fleet.waits[0].code, fleet.waits[0].count) == (1, "BMC_SILENT", 1)


def test_what_runs_by_itself_is_told(rig: Rig) -> None:
    """
    What the remedy does, how often it ran and may run, when it runs next; the wait's own limit, and where more stands.
    """
    rig.active(BLUE)
    rig.hardware.machine(UUID).stuck_on = True
    rig.ok("StopInstance", ins.StopInstanceRequest(name=WEB))
    rig.pass_time(150)
    told, server = diagnosis(rig), rig.server(UUID)
    own = told.self_remedy

    assert told.blocked_on == "POWER_NOT_OFF"
    assert told.runbook == "docs/runbook.md#power_not_off"
    assert told.wait_limit.ToTimedelta() == timedelta(minutes=2)
    assert server.wait is not None
    assert told.wait_overdue_by.ToTimedelta() == rig.clock.now() - server.wait.since - timedelta(minutes=2)
    assert (own.attempts, own.budget, own.left) == (2, 3, 1)
    assert own.next_time.ToDatetime(UTC) == own.last_time.ToDatetime(UTC) + timedelta(minutes=1)
    assert told.last_effects[0].type in ("remedy.tried", "server.overdue")


def test_where_nothing_runs_by_itself_nothing_is_told_of_it(rig: Rig) -> None:
    """
    For an inventory that is silent nothing can be done from here; what rests may rest as long as it likes.
    """
    rig.register()
    told = diagnosis(rig)
    assert told.blocked_on == "ENROLLED"
    assert not told.HasField("wait_limit")
    rig.inventory.silent = True
    rig.ok("ProvideServer", srv.ProvideServerRequest(name=f"servers/{UUID}"), admin())
    rig.worker.tick(rig.clock.now())
    told = diagnosis(rig)

    assert told.blocked_on == "INVENTORY_SILENT"
    assert not told.HasField("self_remedy")
    assert not told.HasField("wait_overdue_by")


def test_a_failed_operation_leads_to_the_runbook(rig: Rig) -> None:
    """
    The Help of its error is a path in the product's own tree.
    """
    rig.register()
    rig.hardware.machine(UUID).login_refused = True
    operation = rig.ok("ProvideServer", srv.ProvideServerRequest(name=f"servers/{UUID}"), admin())
    rig.settle()
    error = rig.operation(operation)[0].error
    help_ = error_details_pb2.Help()
    assert any(detail.Unpack(help_) for detail in error.details)

    assert help_.links[0].url == "docs/runbook.md#bmc_login_refused"


def test_what_should_pass_by_itself_and_does_not_is_an_administrators(rig: Rig) -> None:
    """
    Nobody must act on a wait that is young; on one that is overdue an administrator must.
    """
    rig.active(BLUE)
    rig.networks.deaf = {port.name for port in rig.server(UUID).ports}
    rig.ok("QuarantineServer", srv.QuarantineServerRequest(name=f"servers/{UUID}", reason="smoke"), admin())
    rig.pass_time(60)
    young = diagnosis(rig)
    rig.pass_time(90)
    old = diagnosis(rig)

    assert (young.blocked_on, young.who_must_act) == ("PORTS_NOT_SETTLED", "nobody")
    assert (old.blocked_on, old.who_must_act) == ("PORTS_NOT_SETTLED", "administrator")
    assert not any("recover" in command for command in old.commands)
