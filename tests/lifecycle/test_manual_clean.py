# SPDX-License-Identifier: Apache-2.0
"""Clean steps run by hand: from where, in which order, back to where, and what becomes of a step that fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from bms.lifecycle.v1 import clean_pb2, instance_pb2, operation_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.domain.server import PortClass, Power
from services.lifecycle.domain.states import State
from services.lifecycle.operations.cleaning import CLEANS
from services.verifier.server_trial import ServerTrial
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.lifecycle.test_crashes import quarantine
from tests.support.wire import admin, fields, member, reason, remedy

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"
RAID = clean_pb2.CleanStep(interface="raid", step="create_configuration")
WIPE = clean_pb2.CleanStep(interface="deploy", step="erase_devices")
UNKNOWN = clean_pb2.CleanStep(interface="vendor", step="dance")


def request(*steps: clean_pb2.CleanStep, **more: Any) -> clean_pb2.CleanServerRequest:
    return clean_pb2.CleanServerRequest(name=SERVER, steps=steps or [RAID], **more)


def clean(rig: Rig, *steps: clean_pb2.CleanStep) -> str:
    """Asks for a manual clean; answers its operation's name."""
    return rig.ok("CleanServer", request(*steps), admin())


def enrolled(rig: Rig) -> None:
    rig.register()


def available(rig: Rig) -> None:
    rig.available()


def quarantined(rig: Rig) -> None:
    quarantine(rig, rig.available())
    rig.settle()


BEFORE: dict[State, Callable[[Rig], None]] = {
    State.ENROLLED: enrolled,
    State.AVAILABLE: available,
    State.QUARANTINED: quarantined,
}


@pytest.mark.parametrize("state", BEFORE)
def test_it_ends_where_it_began(rig: Rig, state: State) -> None:
    """
    Its steps are run in their order on the private cleaning network; then it is off, in quarantine on all ports, and in
    the state it was in, for the reason it was there.
    """
    BEFORE[state](rig)
    fault = rig.server(UUID).fault
    args = Struct()
    args.update({"level": 1, "disks": ["a", "b"]})
    first = clean_pb2.CleanStep(interface="raid", step="create_configuration", args=args)
    operation = clean(rig, first, WIPE)
    assert rig.server(UUID).state is State.CLEANING
    rig.settle()
    left, machine = rig.server(UUID), rig.hardware.machine(UUID)

    assert rig.operation(operation)[0].done
    assert not rig.operation(operation)[0].HasField("error"), rig.operation(operation)[0].error
    assert machine.ran == [
        ("raid.create_configuration", '{"disks": ["a", "b"], "level": 1}'),
        ("deploy.erase_devices", "{}"),
    ]
    assert (left.state, left.intent, left.power, machine.on) == (state, None, Power.OFF, False)
    assert (left.fault, left.isolated) == (fault, True)
    assert rig.inventory.pool[UUID].available is (state is State.AVAILABLE)
    assert {port.port_class for port in rig.networks.ports.values()} == {PortClass.QUARANTINE}
    types = rig.types(UUID)
    begun = types.index("manual_clean.requested")
    assert types[begun - 1] == "port.attach_observed"
    assert types.index("manual_clean.passed", begun) < types.index("port.detach_requested", begun)
    told = next(event for event in rig.events(SERVER) if event.header.type == "manual_clean.requested")
    assert dict(told.body.facts) == {"steps": "raid.create_configuration, deploy.erase_devices"}


def test_nobody_gets_it_meanwhile_and_it_is_cleaned_before_anybody_does(rig: Rig) -> None:
    """
    An available server is not offered from the call on; it is inspected anew and passes a full clean of what is found
    then, before it is offered again.
    """
    available(rig)
    machine = rig.hardware.machine(UUID)
    machine.slow = True
    clean(rig)
    rig.settle(rounds=20)
    assert rig.inventory.pool[UUID].available is False
    rig.create(BLUE)
    rig.settle(rounds=20)
    failed = rig.instance()
    assert failed is not None
    assert failed.server == ""

    # The steps made one logical disk out of two.
    machine.disks = {"raid-1": "what lay there"}
    machine.slow = False
    rig.settle()

    assert rig.server(UUID).state is State.AVAILABLE
    assert machine.disks == {"raid-1": ""}
    assert [disk.serial for disk in rig.server(UUID).disks] == ["raid-1"]
    types = rig.types(UUID)
    after = types[types.index("manual_clean.passed") :]
    assert after.index("disks.inspected") < after.index("clean.requested") < after.index("clean.passed")


@pytest.mark.parametrize("state", BEFORE)
def test_a_step_that_fails_leads_to_quarantine(rig: Rig, state: State) -> None:
    """
    Its ports are cut, the operation says which step, and what was run is not run again.
    """
    BEFORE[state](rig)
    operation = clean(rig, RAID, UNKNOWN, WIPE)
    rig.settle()
    left = rig.server(UUID)

    assert (left.state, left.fault, left.isolated, left.intent) == (State.QUARANTINED, "CLEAN_STEP_FAILED", True, None)
    assert "vendor.dance" in rig.operation(operation)[0].error.message
    assert [label for label, _ in rig.hardware.machine(UUID).ran] == ["raid.create_configuration"]
    assert rig.hardware.history.count((UUID, "manual_clean")) == 1

    rig.ok("RecoverServer", srv.RecoverServerRequest(name=SERVER), admin())
    rig.settle()
    assert rig.server(UUID).state is State.AVAILABLE


def test_a_job_that_was_lost_is_not_begun_again(rig: Rig) -> None:
    """
    A controller that forgot what it ran may have run it: firmware is not written twice on a guess.
    """
    available(rig)
    rig.hardware.machine(UUID).slow = True
    clean(rig)
    rig.settle(rounds=20)
    rig.hardware.machine(UUID).jobs.clear()
    rig.settle()

    assert (rig.server(UUID).state, rig.server(UUID).fault) == (State.QUARANTINED, "JOB_LOST")
    assert rig.hardware.history.count((UUID, "manual_clean")) == 1


def test_steps_run_by_hand_are_no_clean_pass(rig: Rig) -> None:
    """
    The verifier knows of no clean pass after them, whatever they erased; nor does the row.
    """
    enrolled(rig)
    clean(rig, WIPE)
    rig.settle()

    assert rig.server(UUID).clean_time is None
    assert "clean.passed" not in rig.types(UUID)


def test_the_verifier_takes_it_for_on_while_steps_run() -> None:
    """
    Power off that was read before does not hold for what comes after: the ramdisk ran in between.
    """
    trial = ServerTrial()
    assert trial.picture.off is None
    from services.verifier.following import _TAKES

    assert _TAKES["manual_clean.requested"] is _TAKES["inspection.requested"]


def test_an_etag_binds_it_to_what_was_seen(rig: Rig) -> None:
    """
    Another state's etag is ABORTED, and nothing is done.
    """
    available(rig)
    seen = rig.wire.ok("GetServerStatus", srv.GetServerStatusRequest(name=f"{SERVER}/status"), caller=admin())
    rig.wire.ok("SetMaintenance", srv.SetMaintenanceRequest(name=SERVER, reason="fan"), caller=admin())
    rig.wire.ok("ClearMaintenance", srv.ClearMaintenanceRequest(name=SERVER), caller=admin())
    stale = rig.wire.call("CleanServer", request(etag=seen.etag), caller=admin())

    assert stale.code is grpc.StatusCode.ABORTED
    assert rig.server(UUID).state is State.AVAILABLE


def maintained(rig: Rig) -> None:
    rig.register()
    rig.wire.ok("SetMaintenance", srv.SetMaintenanceRequest(name=SERVER, reason="fan"), caller=admin())


def active(rig: Rig) -> None:
    rig.active(BLUE)


def failed(rig: Rig) -> None:
    rig.active(BLUE)
    quarantine(rig, UUID)
    rig.settle()


def owing(rig: Rig) -> None:
    """Its instance ended with a silent BMC: addresses are held until it is off."""
    rig.active(BLUE)
    rig.hardware.machine(UUID).silent = True
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.pass_time(700)
    assert rig.server(UUID).leases


def unmanaged(rig: Rig) -> None:
    uuid = rig.register()
    known = rig.inventory.servers[uuid]
    rig.inventory.servers[uuid] = type(known)(uuid, known.display_name, known.ports, providable=False, deleting=False)
    rig.inventory.tell(uuid, "server.updated")
    rig.hear()


@pytest.mark.parametrize(
    "before",
    [
        maintained,
        active,
        failed,
        owing,
        unmanaged,
    ],
)
def test_what_is_refused_says_what_to_do(rig: Rig, before: Callable[[Rig], None]) -> None:
    """
    A server that an instance holds or that is not ours to touch is left alone, and the refusal names the way out.
    """
    before(rig)
    state = rig.server(UUID).version
    reply = rig.wire.call("CleanServer", request(), caller=admin())

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION, reply.status
    assert remedy(reply.status)
    assert rig.server(UUID).version == state
    assert rig.hardware.machine(UUID).ran == []


@pytest.mark.finds("I1")
def test_one_whose_ports_were_moved_is_cut_off_first(rig: Rig) -> None:
    """
    In quarantine by name, and on a network by the last reading: nothing is begun before its ports were read there.
    """
    quarantined(rig)
    next(iter(rig.networks.ports.values())).port_class = PortClass.TENANT
    rig.networks.deaf = set(rig.networks.ports)
    rig.pass_time(1000)
    reply = rig.wire.call("CleanServer", request(), caller=admin())

    assert not rig.server(UUID).isolated
    assert reply.code is grpc.StatusCode.ABORTED, reply.status


def test_only_administrators_may(rig: Rig) -> None:
    """
    No tenant has steps run on a server.
    """
    available(rig)
    reply = rig.wire.call("CleanServer", request(), caller=member("demo"))

    assert reply.code is grpc.StatusCode.PERMISSION_DENIED


def nan() -> Struct:
    made = Struct()
    made["x"] = math.nan
    return made


def large() -> Struct:
    made = Struct()
    made["x"] = "y" * 16384
    return made


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "steps"),
        ([RAID] * 65, "steps"),
        ([RAID, clean_pb2.CleanStep(interface="disk", step="x")], "steps[1].interface"),
        ([clean_pb2.CleanStep(interface="raid", step="a b")], "steps[0].step"),
        ([clean_pb2.CleanStep(interface="raid", step="")], "steps[0].step"),
        ([clean_pb2.CleanStep(interface="raid", step="x", args=nan())], "steps[0].args"),
        ([clean_pb2.CleanStep(interface="raid", step="x", args=large())], "steps[0].args"),
    ],
)
def test_malformed_steps_are_refused_by_their_place(rig: Rig, steps: list[clean_pb2.CleanStep], field: str) -> None:
    """
    INVALID_ARGUMENT with the step's place; nothing is begun.
    """
    available(rig)
    reply = rig.wire.call("CleanServer", clean_pb2.CleanServerRequest(name=SERVER, steps=steps), caller=admin())

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT, reply.status
    assert fields(reply.status)[0].startswith(field)
    assert rig.server(UUID).state is State.AVAILABLE


@pytest.mark.parametrize("state", BEFORE)
def test_a_check_answers_the_plan(rig: Rig, state: State) -> None:
    """
    validate_only: the steps of the state's plan, those that erase marked; nothing is written.
    """
    BEFORE[state](rig)
    version = rig.server(UUID).version
    operation = rig.wire.ok("CleanServer", request(validate_only=True), caller=admin())
    metadata = operation_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)

    assert (operation.name, operation.done, metadata.verb) == ("", True, "clean")
    assert next(step.step for step in metadata.plan if step.erases) == "run_steps"
    assert rig.server(UUID).version == version


def test_at_work_it_is_aborted(rig: Rig) -> None:
    """
    A second verb waits for the first, and is told which.
    """
    available(rig)
    rig.hardware.machine(UUID).slow = True
    operation = clean(rig)
    again = rig.wire.call("CleanServer", request(), caller=admin())

    assert (again.code, reason(again.status)) == (grpc.StatusCode.ABORTED, "BUSY")
    assert operation in remedy(again.status)
    assert set(CLEANS) == set(BEFORE)
