# SPDX-License-Identifier: Apache-2.0
"""Protected instances: whatever destroys their disks is refused, with the way out; all else goes on."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2 as ins
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.states import State
from services.lifecycle.ports import Marks
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.lifecycle.test_crashes import delete, quarantine, recover
from tests.lifecycle.test_servicer import active, deleting, deploying, failed, pending, rescued, stopped
from tests.support.wire import admin, fields, member, reader, remedy

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"


def protect(rig: Rig) -> ins.Instance:
    found: ins.Instance = rig.wire.ok("ProtectInstance", ins.ProtectInstanceRequest(name=WEB, reason="the database"))
    return found


def unprotect(rig: Rig) -> None:
    rig.wire.ok("UnprotectInstance", ins.UnprotectInstanceRequest(name=WEB))


@pytest.mark.parametrize("state", [active, stopped, rescued])
def test_its_disks_are_not_destroyed(rig: Rig, state: Callable[[Rig], None]) -> None:
    """
    Deleting and rebuilding are refused with the command that ends protection, and nothing is begun; without it they go.
    """
    state(rig)
    shown = protect(rig)
    assert (shown.protected, shown.protected_reason) == (True, "the database")
    rig.settle()
    before = rig.server(UUID).version
    for method, request in (
        ("DeleteInstance", ins.DeleteInstanceRequest(name=WEB)),
        ("RebuildInstance", ins.RebuildInstanceRequest(name=WEB)),
    ):
        reply = rig.wire.call(method, request)
        assert reply.code is grpc.StatusCode.FAILED_PRECONDITION, (method, reply.status)
        assert "bms instance unprotect web --project demo" in remedy(reply.status)
    assert rig.server(UUID).version == before

    unprotect(rig)
    rig.settle()
    delete(rig, UUID)
    rig.settle()
    assert rig.instance() is None
    assert rig.server(UUID).state is State.AVAILABLE


def test_all_else_goes_on(rig: Rig) -> None:
    """
    Stopped, started, rebooted, rescued: its disks are what they were.
    """
    active(rig)
    protect(rig)
    for verb in ("Stop", "Start", "Reboot", "Rescue", "Unrescue"):
        rig.ok(f"{verb}Instance", getattr(ins, f"{verb}InstanceRequest")(name=WEB))
        rig.settle()
    found = rig.instance()

    assert found is not None
    assert (found.state, found.protected) == (InstanceState.ACTIVE, True)


def test_quarantine_leaves_the_disks_and_taking_back_does_not(rig: Rig) -> None:
    """
    An administrator may set the server aside; what would erase it is refused to him too.
    """
    active(rig)
    protect(rig)
    quarantine(rig, UUID)
    rig.settle()
    taken = rig.wire.call(
        "RecoverServer", srv.RecoverServerRequest(name=SERVER, take_from_instance=True), caller=admin()
    )
    assert taken.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "bms instance unprotect" in remedy(taken.status)

    unprotect(rig)
    recover(rig, UUID)
    rig.settle()
    left = rig.instance()
    assert rig.server(UUID).state is State.AVAILABLE
    assert left is not None
    assert (left.state, left.protected) == (InstanceState.ERROR, False)


def test_its_controller_shows_it(rig: Rig) -> None:
    """
    While it is deployed there, and no longer than it is protected.
    """
    active(rig)
    protect(rig)
    rig.settle()
    assert rig.hardware.machine(UUID).marks == Marks(protected=True, protected_reason="the database")
    unprotect(rig)
    rig.settle()
    assert rig.hardware.machine(UUID).marks == Marks()


def test_the_next_holder_is_another(rig: Rig) -> None:
    """
    What one instance was, the server does not keep for the next.
    """
    active(rig)
    protect(rig)
    unprotect(rig)
    protect(rig)
    unprotect(rig)
    delete(rig, UUID)
    rig.settle()
    rig.create(BLUE)
    rig.settle()
    found = rig.instance()

    assert found is not None
    assert (found.state, found.protected, rig.server(UUID).protected) == (InstanceState.ACTIVE, False, False)


@pytest.mark.parametrize("state", [pending, failed, deleting])
def test_there_must_be_something_to_protect(rig: Rig, state: Callable[[Rig], None]) -> None:
    """
    Without a server, or on its way out, it is refused.
    """
    state(rig)
    reply = rig.wire.call("ProtectInstance", ins.ProtectInstanceRequest(name=WEB, reason="x"))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert remedy(reply.status)


def test_while_it_is_being_deployed(rig: Rig) -> None:
    """
    The deploy goes on, and the deletion that would end it is refused.
    """
    deploying(rig)
    protect(rig)
    assert rig.wire.call("DeleteInstance", ins.DeleteInstanceRequest(name=WEB)).code is (
        grpc.StatusCode.FAILED_PRECONDITION
    )
    rig.hardware.machine(UUID).slow = False
    rig.settle()
    found = rig.instance()

    assert found is not None
    assert (found.state, found.protected) == (InstanceState.ACTIVE, True)


def test_form_and_rights(rig: Rig) -> None:
    """
    A reason of at most 1,000 characters; members of the project; who asked is on record.
    """
    active(rig)
    for why in ("", "x" * 1001):
        reply = rig.wire.call("ProtectInstance", ins.ProtectInstanceRequest(name=WEB, reason=why))
        assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, ["reason"])
    for caller, code in ((reader("demo"), grpc.StatusCode.PERMISSION_DENIED), (member("other"), None)):
        reply = rig.wire.call("ProtectInstance", ins.ProtectInstanceRequest(name=WEB, reason="x"), caller=caller)
        assert reply.code in (code or grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND)
    protect(rig)

    told = [event for event in rig.events(SERVER) if event.header.type == "instance.protected"]
    assert [(event.body.actor, event.body.message) for event in told] == [(rig.caller.subject, "the database")]
