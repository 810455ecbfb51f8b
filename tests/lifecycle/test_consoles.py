# SPDX-License-Identifier: Apache-2.0
"""Consoles: whose may be asked for, that each is on record, and that its address is not."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
import structlog

from bms.lifecycle.v1 import console_pb2
from services.kernel.calls import Caller
from tests.lifecycle.rig import WEB, Rig
from tests.lifecycle.test_crashes import quarantine
from tests.lifecycle.test_servicer import active, deleting, deploying, failed, pending, rescued, rows, stopped
from tests.support.wire import Reply, admin, member, reader, reason, remedy

UUID = "00000001-0000-4000-8000-000000000000"
SERVER = f"servers/{UUID}"
ADDRESS = "tcp://192.0.2.9:10023/s3cret"


def ask(rig: Rig, caller: Caller | None = None) -> Reply:
    return rig.wire.call("GetInstanceConsole", console_pb2.GetInstanceConsoleRequest(name=WEB), caller=caller)


@pytest.mark.parametrize("state", [active, stopped, rescued])
def test_a_tenant_sees_his_servers_console(rig: Rig, state: Callable[[Rig], None]) -> None:
    """
    Passed through as the controller has it; who asked is an event of the server, which the tenant sees too.
    """
    state(rig)
    rig.hardware.machine(UUID).console = ADDRESS
    found = ask(rig)

    assert (found.message.server, found.message.type, found.message.url) == (SERVER, "socat", ADDRESS)
    told = rig.events(SERVER)[-1]
    assert (told.header.type, told.body.actor, dict(told.body.facts)) == (
        "console.opened", rig.caller.subject, {"type": "socat"}
    )  # fmt: skip
    assert told.body.project == "demo"


def test_its_address_is_kept_nowhere(rig: Rig) -> None:
    """
    Neither in what is stored nor in what is logged.
    """
    active(rig)
    rig.hardware.machine(UUID).console = ADDRESS
    with structlog.testing.capture_logs() as logs:
        assert ask(rig).message.url == ADDRESS

    assert "s3cret" not in str(rows(rig)) + str(logs) + str(rig.events(SERVER))


@pytest.mark.parametrize("state", [pending, deploying, failed, deleting])
def test_what_is_done_in_private_is_nobody_elses_to_see(rig: Rig, state: Callable[[Rig], None]) -> None:
    """
    While his server is prepared, given back or set aside, a tenant has no console; nothing is asked or recorded.
    """
    state(rig)
    rig.hardware.machine(UUID).console = ADDRESS
    before = rows(rig)
    reply = ask(rig)

    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert remedy(reply.status)
    assert rows(rig) == before


def test_a_tenant_whose_server_is_set_aside_has_none(rig: Rig) -> None:
    """
    Quarantine is from him too.
    """
    active(rig)
    rig.hardware.machine(UUID).console = ADDRESS
    quarantine(rig, UUID)
    rig.settle()

    assert ask(rig).code is grpc.StatusCode.FAILED_PRECONDITION


def test_an_administrator_sees_any(rig: Rig) -> None:
    """
    Of a server that nobody has as well; a tenant sees none by its server.
    """
    rig.available()
    rig.hardware.machine(UUID).console = ADDRESS
    request = console_pb2.GetServerConsoleRequest(name=SERVER)

    assert rig.wire.ok("GetServerConsole", request, caller=admin()).url == ADDRESS
    assert rig.wire.call("GetServerConsole", request, caller=member("demo")).code is grpc.StatusCode.PERMISSION_DENIED


def test_only_members_of_the_project(rig: Rig) -> None:
    """
    A console is no reading: whoever has it can type.
    """
    active(rig)
    rig.hardware.machine(UUID).console = ADDRESS

    assert ask(rig, caller=reader("demo")).code is grpc.StatusCode.PERMISSION_DENIED
    assert ask(rig, caller=member("other")).code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)


def test_a_controller_without_says_so(rig: Rig) -> None:
    """
    CONSOLE_NOT_OFFERED, or UNAVAILABLE where it does not answer; nothing is recorded.
    """
    active(rig)
    before = rig.types(UUID)
    none = ask(rig)
    rig.hardware.machine(UUID).silent = True
    silent = ask(rig)

    assert (none.code, reason(none.status)) == (grpc.StatusCode.FAILED_PRECONDITION, "CONSOLE_NOT_OFFERED")
    assert silent.code is grpc.StatusCode.UNAVAILABLE
    assert rig.types(UUID) == before
