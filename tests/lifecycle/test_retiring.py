# SPDX-License-Identifier: Apache-2.0
"""Retired servers: offered to nobody, what runs on them runs on, and free they rest as enrolled."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.states import State
from services.lifecycle.ports import Marks
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.lifecycle.test_crashes import clean, exhausted, provide, quarantine, recover
from tests.support.wire import admin, fields, member, remedy

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"


def retire(rig: Rig, why: str = "too old") -> srv.ServerStatus:
    status: srv.ServerStatus = rig.wire.ok(
        "RetireServer", srv.RetireServerRequest(name=SERVER, reason=why), caller=admin()
    )
    return status


def unretire(rig: Rig) -> None:
    rig.wire.ok("UnretireServer", srv.UnretireServerRequest(name=SERVER), caller=admin())


def delete(rig: Rig) -> None:
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))
    rig.settle()


def test_a_free_one_leaves_the_pool_at_once(rig: Rig) -> None:
    """
    Enrolled with the call, RETIRED in inventory's row, which placement explains; nobody gets it.
    """
    rig.available()
    status = retire(rig)
    assert (status.retired, status.retired_reason, status.state) == (True, "too old", srv.ServerStatus.STATE_ENROLLED)
    rig.settle()
    rig.create(BLUE)
    rig.settle()

    left = rig.instance()
    assert left is not None
    assert (left.state, left.server) == (InstanceState.ERROR, "")
    assert (rig.inventory.pool[UUID].available, rig.inventory.pool[UUID].reason) == (False, "RETIRED")
    found = rig.wire.ok("DiagnoseServer", srv.DiagnoseServerRequest(name=SERVER), caller=admin())
    assert found.blocked_on == "RETIRED"
    assert f"bms server unretire {UUID}" in found.commands
    assert rig.hardware.machine(UUID).marks == Marks(retired=True, retired_reason="too old")


def test_an_instance_lives_on_and_what_it_leaves_is_cleaned_and_kept(rig: Rig) -> None:
    """
    Nothing changes for the tenant; given back, the server is erased as always, and enrolled instead of available.
    """
    rig.active(BLUE)
    retire(rig)
    rig.settle()
    held = rig.instance()
    assert held is not None
    assert (held.state, rig.server(UUID).state) == (InstanceState.ACTIVE, State.ACTIVE)
    assert rig.inventory.pool[UUID].reason == "IN_USE"
    rig.ok("RebootInstance", instance_pb2.RebootInstanceRequest(name=WEB))
    rig.settle()
    delete(rig)

    left = rig.server(UUID)
    assert (left.state, left.intent, left.instance, left.leases) == (State.ENROLLED, None, "", ())
    assert set(rig.hardware.machine(UUID).disks.values()) == {""}
    assert rig.inventory.pool[UUID].reason == "RETIRED"
    assert rig.types(UUID)[-1] != "server.failed"
    assert rig.hardware.machine(UUID).marks.retired


def test_it_may_then_be_deleted(rig: Rig) -> None:
    """
    Inventory's deletion closes its log.
    """
    rig.available()
    retire(rig)
    rig.settle()
    rig.inventory.tell(UUID, "server.deleting")
    rig.hear()
    rig.settle()

    assert rig.server(UUID).closed


@pytest.mark.parametrize("act", [provide, clean, quarantine])
def test_what_is_under_way_goes_on(rig: Rig, act: Callable[[Rig, str], None]) -> None:
    """
    Retired while something is done to it: that comes to its end, and the pool is not it.
    """
    rig.register() if act is provide else rig.available()
    rig.hardware.machine(UUID).slow = True
    act(rig, UUID)
    rig.settle(rounds=5)
    retire(rig)
    rig.hardware.machine(UUID).slow = False
    rig.settle()
    if act is quarantine:
        assert rig.server(UUID).state is State.QUARANTINED
        recover(rig, UUID)
        rig.settle()

    left = rig.server(UUID)
    assert (left.state, left.intent, left.fault) == (State.ENROLLED, None, "")
    assert rig.inventory.pool[UUID].available is False


def test_an_instance_that_never_came_to_be_leaves_it_retired(rig: Rig) -> None:
    """
    Reserved, retired, and given back untouched: enrolled.
    """
    rig.available()
    exhausted(rig, UUID)
    rig.settle(rounds=2)
    retire(rig)
    rig.settle()

    assert rig.server(UUID).state is State.ENROLLED


def test_unretired_it_is_like_any_other(rig: Rig) -> None:
    """
    It comes into the pool by being provided, with a clean pass, and its controller's flag is gone.
    """
    rig.available()
    retire(rig)
    rig.settle()
    refused = rig.wire.call("ProvideServer", srv.ProvideServerRequest(name=SERVER), caller=admin())
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "bms server unretire" in remedy(refused.status)

    unretire(rig)
    rig.settle()
    assert rig.inventory.pool[UUID].reason == "ENROLLED"
    assert rig.hardware.machine(UUID).marks == Marks()
    provide(rig, UUID)
    rig.settle()
    assert rig.inventory.pool[UUID].available


def test_a_controller_that_does_not_answer_is_told_later(rig: Rig) -> None:
    """
    The flag is for others; ours holds at once, and theirs follows at the next look.
    """
    rig.available()
    rig.hardware.machine(UUID).silent = True
    retire(rig)
    rig.settle()
    assert rig.inventory.pool[UUID].reason == "RETIRED"
    assert not rig.hardware.machine(UUID).marks.retired

    rig.hardware.machine(UUID).silent = False
    rig.pass_time(1000)
    assert rig.hardware.machine(UUID).marks.retired


def test_form_and_rights(rig: Rig) -> None:
    """
    A reason of at most 1,000 characters, an administrator; a rehearsal writes nothing.
    """
    rig.available()
    for why in ("", "x" * 1001):
        reply = rig.wire.call("RetireServer", srv.RetireServerRequest(name=SERVER, reason=why), caller=admin())
        assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, ["reason"])
    tenant = rig.wire.call("RetireServer", srv.RetireServerRequest(name=SERVER, reason="x"), caller=member("demo"))
    assert tenant.code is grpc.StatusCode.PERMISSION_DENIED
    rig.wire.ok("RetireServer", srv.RetireServerRequest(name=SERVER, reason="x", validate_only=True), caller=admin())

    assert rig.server(UUID).state is State.AVAILABLE
