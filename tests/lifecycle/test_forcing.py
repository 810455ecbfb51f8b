# SPDX-License-Identifier: Apache-2.0
"""Forced actions: two administrators, one record, and no more done than they answer for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest

from bms.lifecycle.v1 import forced_action_pb2 as fa
from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.calls import Caller
from services.kernel.errors import WrongState
from services.lifecycle import forced_wire
from services.lifecycle.domain.forced import ForcedKind, ForcedState, check
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.wire import admin, auditor, fields, member, reason, remedy, service

ANN, BOB = admin("ann"), admin("bob")
RELEASE, AVAILABLE = fa.ForcedAction.KIND_RELEASE, fa.ForcedAction.KIND_AVAILABLE
SKIP, ATTEST = fa.ForcedAction.KIND_SKIP_CLEAN, fa.ForcedAction.KIND_ATTEST_POWER_OFF


def asked(
    uuid: str, kind: fa.ForcedAction.Kind.ValueType, why: str = "the rack burnt down", **more: Any
) -> fa.CreateForcedActionRequest:
    action = fa.ForcedAction(kind=kind, reason=why)
    return fa.CreateForcedActionRequest(parent=f"servers/{uuid}", forced_action=action, **more)


def request(rig: Rig, uuid: str, kind: fa.ForcedAction.Kind.ValueType, caller: Caller = ANN) -> fa.ForcedAction:
    made: fa.ForcedAction = rig.wire.ok("CreateForcedAction", asked(uuid, kind), caller=caller)
    return made


def approve(rig: Rig, name: str, caller: Caller = BOB) -> str:
    """Approves and waits for what follows; answers the operation's name."""
    operation = rig.ok("ApproveForcedAction", fa.ApproveForcedActionRequest(name=name), caller)
    rig.settle()
    return operation


def force(rig: Rig, uuid: str, kind: fa.ForcedAction.Kind.ValueType) -> str:
    return approve(rig, request(rig, uuid, kind).name)


def delete(rig: Rig) -> str:
    return rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))


def status(rig: Rig, uuid: str) -> server_status_pb2.ServerStatus:
    found: server_status_pb2.ServerStatus = rig.wire.ok(
        "GetServerStatus", server_status_pb2.GetServerStatusRequest(name=f"servers/{uuid}/status"), caller=ANN
    )
    return found


def unreadable(rig: Rig) -> tuple[str, str]:
    """A server that is being given back and whose BMC and switch are gone; and the tenant's deletion."""
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    rig.networks.unreadable = {port.name for port in rig.server(uuid).ports}
    deletion = delete(rig)
    rig.pass_time(900, 10)
    assert rig.server(uuid).state is State.RELEASING
    return uuid, deletion


def silent(rig: Rig) -> str:
    """A server whose instance was deleted and whose BMC stays silent: it keeps the address until power off is read."""
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    delete(rig)
    rig.pass_time(900, 10)
    assert rig.server(uuid).leases
    return uuid


def quarantined(rig: Rig) -> str:
    """A server that nobody holds, in quarantine because a disk could not be erased."""
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).fail_jobs[JobKind.CLEAN] = 9
    delete(rig)
    rig.settle()
    assert rig.server(uuid).state is State.QUARANTINED
    return uuid


def cleaning(rig: Rig) -> str:
    """A server that is being cleaned on its way back and does not get on."""
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).slow = True
    delete(rig)
    rig.pass_time(60)
    assert rig.server(uuid).state is State.CLEANING
    return uuid


def test_a_forced_release_frees_what_nobody_can_read(rig: Rig) -> None:
    """
    The addresses rest without proof, the tenant's deletion ends with a warning, the server stays in quarantine; its
    ports are cut and its power is put off as soon as they answer.
    """
    uuid, deletion = unreadable(rig)

    operation = force(rig, uuid, RELEASE)

    done, metadata = rig.operation(deletion)
    assert (done.done, done.HasField("error")) == (True, False)
    assert "by force" in metadata.warnings[0]
    forced, _ = rig.operation(operation)
    assert (forced.done, forced.HasField("error")) == (True, False)
    assert rig.instance() is None
    server = rig.server(uuid)
    assert (server.state, server.instance, server.leases, server.isolated) == (State.QUARANTINED, "", (), False)
    assert [by for _, by in rig.addresses.unproven] == [server.tainted_by]
    assert (rig.inventory.pool[uuid].available, rig.inventory.pool[uuid].held_by) == (False, "")

    rig.networks.unreadable = set()
    rig.hardware.machine(uuid).silent = False
    rig.pass_time(60)
    server = rig.server(uuid)
    assert (server.isolated, server.intent, rig.hardware.machine(uuid).on) == (True, None, False)
    # Nobody leads it out but an administrator: he is told how.
    asked = server_status_pb2.DiagnoseServerRequest(name=f"servers/{uuid}")
    diagnosis = rig.wire.ok("DiagnoseServer", asked, caller=ANN)
    assert diagnosis.who_must_act == "administrator"
    assert diagnosis.commands[0].startswith(f"bms server recover {uuid}")


def test_forced_again_it_still_brings_the_tenants_deletion_to_its_end(rig: Rig) -> None:
    """
    Two more pairs of administrators lose patience while ipam is away: one release is left, and the tenant's deletion
    ends when that does.
    """
    uuid, deletion = unreadable(rig)
    rig.addresses.silent = True
    first, second, third = (
        rig.ok("ApproveForcedAction", fa.ApproveForcedActionRequest(name=request(rig, uuid, RELEASE).name), BOB)
        for _ in range(3)
    )
    rig.pass_time(30)

    assert not rig.operation(deletion)[0].done
    assert [rig.operation(name)[0].HasField("error") for name in (first, second, third)] == [True, True, False]
    rig.addresses.silent = False
    rig.settle()
    assert rig.operation(deletion)[0].HasField("response")
    assert rig.operation(third)[0].HasField("response")
    assert rig.instance() is None


def test_set_aside_after_it_was_forced_the_deletion_is_ended_once(rig: Rig) -> None:
    """
    An administrator quarantines what was being released by force, and others force it again and set it aside again.
    """
    uuid, deletion = unreadable(rig)
    rig.addresses.silent = True
    for _ in range(2):
        rig.ok("ApproveForcedAction", fa.ApproveForcedActionRequest(name=request(rig, uuid, RELEASE).name), BOB)
        rig.pass_time(10)
        wanted = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
        rig.ok("QuarantineServer", wanted, ANN)
        rig.pass_time(10)

    assert rig.operation(deletion)[0].HasField("error")
    assert rig.server(uuid).state is State.QUARANTINED
    last = rig.ok("ApproveForcedAction", fa.ApproveForcedActionRequest(name=request(rig, uuid, RELEASE).name), BOB)
    rig.addresses.silent = False
    rig.settle()
    assert rig.operation(last)[0].HasField("response")
    instance = rig.instance()
    assert instance is not None
    assert (instance.state, instance.server) == (InstanceState.ERROR, "")


def test_forced_into_the_pool_while_it_is_set_aside_that_operation_ends(rig: Rig) -> None:
    """
    Whoever had it quarantined hears that two others had it offered; no operation is left that nobody ends.
    """
    uuid = rig.available()
    rig.networks.unreadable = {port.name for port in rig.server(uuid).ports}
    wanted = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    aside = rig.ok("QuarantineServer", wanted, ANN)
    rig.pass_time(10)
    assert not rig.operation(aside)[0].done
    name = request(rig, uuid, AVAILABLE).name
    rig.ok("ApproveForcedAction", fa.ApproveForcedActionRequest(name=name), BOB)

    assert rig.operation(aside)[0].HasField("error")
    rig.networks.unreadable = set()
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE


def test_an_attested_power_off_lets_addresses_go_and_nothing_else(rig: Rig) -> None:
    """
    The kept address rests, behind a reading of the ports as ever; the server stays in quarantine.
    """
    uuid = silent(rig)

    operation = force(rig, uuid, ATTEST)

    assert rig.operation(operation)[0].HasField("response")
    assert {state for _, _, state in rig.addresses.leases.values()} == {"cooling"}
    assert rig.addresses.unproven == []
    types = rig.types(uuid)
    assert types[-4:] == ["forced.requested", "forced.approved", "power.attested", "address.cooling"]
    assert rig.server(uuid).state is State.QUARANTINED


def test_only_a_silent_bmc_is_spoken_for(rig: Rig) -> None:
    """
    A BMC that answers speaks for itself, whatever it says; and nobody attests what nobody waits for.
    """
    uuid = rig.active(BLUE)
    for held in (uuid, rig.available(2)):
        assert rig.wire.call("CreateForcedAction", asked(held, ATTEST), caller=ANN).code is (
            grpc.StatusCode.FAILED_PRECONDITION
        )
    rig.hardware.machine(uuid).silent = True
    delete(rig)
    rig.pass_time(900, 10)
    rig.hardware.machine(uuid).silent, rig.hardware.machine(uuid).stuck_on = False, True
    rig.pass_time(30)
    reply = rig.wire.call("CreateForcedAction", asked(uuid, ATTEST), caller=ANN)
    assert (reply.code, "BMC" in remedy(reply.status)) == (grpc.StatusCode.FAILED_PRECONDITION, True)


def test_forced_into_the_pool_it_is_isolated_off_and_says_that_it_is_not_clean(rig: Rig) -> None:
    """
    No clean pass; ports and power are read back all the same; the status and the plan's end say since when and by what.
    """
    uuid = quarantined(rig)
    rig.hardware.machine(uuid).on = True

    action = request(rig, uuid, AVAILABLE)
    approve(rig, action.name)

    server, shown = rig.server(uuid), status(rig, uuid)
    assert (server.state, server.isolated, rig.hardware.machine(uuid).on) == (State.AVAILABLE, True, False)
    assert rig.inventory.pool[uuid].available
    assert (shown.tainted_by, shown.HasField("tainted_since")) == (action.name, True)
    assert not shown.HasField("clean_time")


def test_the_next_full_clean_pass_ends_the_taint(rig: Rig) -> None:
    """
    Offered as usual, taken, given back and cleaned: then nothing is tainted any more.
    """
    uuid = quarantined(rig)
    force(rig, uuid, AVAILABLE)
    rig.hardware.machine(uuid).fail_jobs.clear()
    rig.create(BLUE)
    rig.settle()
    assert status(rig, uuid).tainted_by
    delete(rig)
    rig.settle()

    shown = status(rig, uuid)
    assert (shown.state, shown.tainted_by) == (server_status_pb2.ServerStatus.STATE_AVAILABLE, "")
    assert shown.HasField("clean_time")
    assert not shown.HasField("tainted_since")


def test_a_clean_pass_is_left_out(rig: Rig) -> None:
    """
    Of a server that is being cleaned on its way back: powered off, detached, read back, available, and tainted.
    """
    uuid = cleaning(rig)

    force(rig, uuid, SKIP)

    types = rig.types(uuid)
    assert "clean.passed" not in types[types.index("instance.ended") :]
    assert types.index("forced.approved") < types.index("clean.skipped")
    server = rig.server(uuid)
    assert (server.state, server.isolated, rig.hardware.machine(uuid).on) == (State.AVAILABLE, True, False)
    assert server.clean_time is None
    assert server.tainted_since is not None


def test_the_first_clean_pass_is_never_left_out(rig: Rig) -> None:
    """
    A server that nobody cleaned yet is cleaned before anybody gets it.
    """
    server = rig.server(cleaning(rig))
    first = replace(server, intent=replace(server.task, kind=IntentKind.PROVIDE, index=5))

    with pytest.raises(WrongState, match="first clean pass"):
        check(first, ForcedKind.SKIP_CLEAN)


def test_both_administrators_and_their_reason_are_in_the_log(rig: Rig) -> None:
    """
    Who asked, who approved, why and what: in the body of the approval, behind which everything is tainted.
    """
    uuid = silent(rig)
    action = request(rig, uuid, ATTEST)
    approve(rig, action.name)

    events = {event.header.type: event for event in rig.events(f"servers/{uuid}")}
    requested, approved = events["forced.requested"].body, events["forced.approved"].body
    assert (requested.actor, approved.actor) == ("ann", "bob")
    assert (approved.facts["requested_by"], approved.facts["approved_by"]) == ("ann", "bob")
    assert (approved.facts["kind"], approved.facts["action"]) == ("attest_power_off", action.name)
    assert approved.message == "the rack burnt down"
    assert events["power.attested"].body.facts["by"] == "ann, bob"


def test_nobody_approves_his_own(rig: Rig) -> None:
    """
    The same login is refused with its own reason, whatever else it may do; nothing is begun.
    """
    uuid = silent(rig)
    action = request(rig, uuid, ATTEST)

    reply = rig.wire.call("ApproveForcedAction", fa.ApproveForcedActionRequest(name=action.name), caller=ANN)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.PERMISSION_DENIED, "SAME_ADMINISTRATOR")
    assert rig.server(uuid).leases
    assert not rig.server(uuid).tainted_by


def test_a_server_that_stands_otherwise_by_now_is_left_alone(rig: Rig) -> None:
    """
    An approval is of what was shown: when that has changed, it is refused, and says what is otherwise.
    """
    uuid = quarantined(rig)
    action = request(rig, uuid, AVAILABLE)
    rig.hardware.machine(uuid).fail_jobs.clear()
    recover = server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}")
    rig.ok("RecoverServer", recover, ANN)
    rig.settle()
    quarantine = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", quarantine, ANN)
    rig.settle()

    reply = rig.wire.call("ApproveForcedAction", fa.ApproveForcedActionRequest(name=action.name), caller=BOB)

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "BY_ADMINISTRATOR" in reply.status.message
    assert action.name in remedy(reply.status)


def test_looking_again_and_again_changes_nothing_of_what_was_shown(rig: Rig) -> None:
    """
    A server that only waits, however often it is looked at, stands as it was shown an hour ago.
    """
    uuid = silent(rig)
    action = request(rig, uuid, ATTEST)
    rig.pass_time(3600, 60)
    approve(rig, action.name)

    assert not rig.server(uuid).leases


def test_unapproved_it_expires_after_a_day(rig: Rig) -> None:
    """
    Then nobody approves or withdraws it, and another may be asked for.
    """
    uuid = silent(rig)
    action = request(rig, uuid, ATTEST)
    assert (action.expire_time.seconds - action.create_time.seconds, action.state) == (
        86400,
        fa.ForcedAction.STATE_PENDING,
    )
    rig.clock.advance(86400)

    found = rig.wire.ok("GetForcedAction", fa.GetForcedActionRequest(name=action.name), caller=auditor())
    assert found.state == fa.ForcedAction.STATE_EXPIRED
    for method, verb in (
        ("ApproveForcedAction", fa.ApproveForcedActionRequest(name=action.name)),
        ("DeleteForcedAction", fa.DeleteForcedActionRequest(name=action.name)),
    ):
        assert rig.wire.call(method, verb, caller=BOB).code is grpc.StatusCode.FAILED_PRECONDITION
    assert request(rig, uuid, ATTEST).name != action.name


def test_withdrawn_it_stays_on_record(rig: Rig) -> None:
    """
    Whoever withdraws it is named; it is not approved any more; another may be asked for, two of a kind may not.
    """
    uuid = silent(rig)
    action = request(rig, uuid, ATTEST)
    twice = rig.wire.call("CreateForcedAction", asked(uuid, ATTEST), caller=BOB)
    assert (twice.code, action.name in remedy(twice.status)) == (grpc.StatusCode.ALREADY_EXISTS, True)

    gone = rig.wire.ok("DeleteForcedAction", fa.DeleteForcedActionRequest(name=action.name), caller=BOB)

    assert (gone.state, gone.withdrawer, gone.approver) == (fa.ForcedAction.STATE_WITHDRAWN, "bob", "")
    reply = rig.wire.call("ApproveForcedAction", fa.ApproveForcedActionRequest(name=action.name), caller=BOB)
    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert rig.types(uuid)[-1] == "forced.withdrawn"
    request(rig, uuid, ATTEST)


def test_each_is_listed_for_its_server_and_all_for_the_site(rig: Rig) -> None:
    """
    By page, by filter, and what was shown is told.
    """
    uuid, other = silent(rig), rig.available(2)
    quarantine = server_status_pb2.QuarantineServerRequest(name=f"servers/{other}", reason="smoke")
    rig.ok("QuarantineServer", quarantine, ANN)
    rig.settle()
    first, second = request(rig, uuid, ATTEST), request(rig, other, AVAILABLE)

    def listed(parent: str, filter_: str = "") -> list[str]:
        names, token = [], ""
        while True:
            asking = fa.ListForcedActionsRequest(parent=parent, page_size=1, page_token=token, filter=filter_)
            page = rig.wire.ok("ListForcedActions", asking, caller=auditor())
            names += [one.name for one in page.forced_actions]
            token = page.next_page_token
            if not token:
                return names

    assert listed("servers/-") == sorted([first.name, second.name])
    assert listed(f"servers/{uuid}") == [first.name]
    assert listed("servers/-", "kind = KIND_AVAILABLE") == [second.name]
    assert listed("servers/-", "state = approved") == []
    approve(rig, second.name)
    assert listed("servers/-", "approver = bob AND state = STATE_APPROVED") == [second.name]
    assert any(line.startswith("power unknown") for line in first.shown)
    assert any("holds 10.0.0.1" in line for line in first.shown)


@pytest.mark.parametrize("kind", [RELEASE, AVAILABLE, SKIP, ATTEST])
def test_each_kind_is_refused_where_it_leads_nowhere(rig: Rig, kind: fa.ForcedAction.Kind.ValueType) -> None:
    """
    Of an available server nothing is forced, and each refusal says what to do instead; nothing is recorded.
    """
    uuid = rig.available()
    events = len(rig.types(uuid))

    reply = rig.wire.call("CreateForcedAction", asked(uuid, kind), caller=ANN)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert remedy(reply.status)
    assert len(rig.types(uuid)) == events


def test_what_is_still_held_is_not_forced_into_the_pool(rig: Rig) -> None:
    """
    An instance or an address comes first.
    """
    uuid = rig.active(BLUE)
    quarantine = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", quarantine, ANN)
    rig.settle()

    reply = rig.wire.call("CreateForcedAction", asked(uuid, AVAILABLE), caller=ANN)
    assert "--kind release" in remedy(reply.status)
    force(rig, uuid, RELEASE)
    force(rig, uuid, AVAILABLE)
    assert rig.server(uuid).state is State.AVAILABLE
    instance = rig.instance()
    assert instance is not None
    assert instance.server == ""


@pytest.mark.parametrize("caller", [member(), auditor(), service()])
def test_only_administrators_force(rig: Rig, caller: Caller) -> None:
    """
    Neither members, nor auditors, nor services, which may otherwise what administrators may.
    """
    uuid = silent(rig)
    action = request(rig, uuid, ATTEST)
    for method, verb in (
        ("CreateForcedAction", asked(uuid, RELEASE)),
        ("ApproveForcedAction", fa.ApproveForcedActionRequest(name=action.name)),
        ("DeleteForcedAction", fa.DeleteForcedActionRequest(name=action.name)),
    ):
        assert rig.wire.call(method, verb, caller=caller).code is grpc.StatusCode.PERMISSION_DENIED


def test_a_reason_is_needed_and_bounded(rig: Rig) -> None:
    """
    Blank, too long, and no kind are refused by field; a stale etag too.
    """
    uuid = silent(rig)
    for wrong, field in (
        (asked(uuid, ATTEST, " "), "forced_action.reason"),
        (asked(uuid, ATTEST, "x" * 1001), "forced_action.reason"),
        (asked(uuid, fa.ForcedAction.KIND_UNSPECIFIED), "forced_action.kind"),
    ):
        assert fields(rig.wire.call("CreateForcedAction", wrong, caller=ANN).status) == [field]
    action = request(rig, uuid, ATTEST)
    stale = fa.ApproveForcedActionRequest(name=action.name, etag='"9"')
    assert rig.wire.call("ApproveForcedAction", stale, caller=BOB).code is grpc.StatusCode.ABORTED


def test_a_dry_run_shows_and_writes_nothing(rig: Rig) -> None:
    """
    validate_only of the request shows the server, of the approval the plan; neither leaves an event.
    """
    uuid = silent(rig)
    shown = rig.wire.ok("CreateForcedAction", asked(uuid, ATTEST, validate_only=True), caller=ANN).shown
    assert shown
    action = request(rig, uuid, ATTEST)
    events = len(rig.types(uuid))
    dry = fa.ApproveForcedActionRequest(name=action.name, validate_only=True)

    assert rig.wire.ok("ApproveForcedAction", dry, caller=BOB).name == ""
    assert len(rig.types(uuid)) == events
    assert rig.server(uuid).leases


def test_set_aside_during_a_forced_release_the_tenants_deletion_is_not_forgotten(rig: Rig) -> None:
    """
    What takes over from a forced release ends both operations it carried.
    """
    uuid, deletion = unreadable(rig)
    rig.addresses.silent = True
    operation = force(rig, uuid, RELEASE)
    assert not rig.operation(operation)[0].done
    quarantine = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", quarantine, ANN)

    for name in (operation, deletion):
        assert rig.operation(name)[0].HasField("error")


def test_every_kind_and_state_has_its_number_in_the_contract() -> None:
    """
    The contract knows each, and no other.
    """
    assert len({*forced_wire.KINDS.values()}) == len(ForcedKind) == len(fa.ForcedAction.Kind.values()) - 1
    assert len({*forced_wire.STATES.values()}) == len(ForcedState) == len(fa.ForcedAction.State.values()) - 1
