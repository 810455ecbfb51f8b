# SPDX-License-Identifier: Apache-2.0
"""Servers that are not migrated to other switch ports: every refusal says why, what to do, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest

from bms.lifecycle.v1 import instance_pb2
from bms.lifecycle.v1.server_move_pb2 import ConfirmServerMoveRequest, PortMove
from services.lifecycle.domain.server import PortClass
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import BLUE, WEB, Rig, World
from tests.lifecycle.test_moving import FIRST, NEW, OLD, SECOND, SERVER, UUID, Before, links, move, request, running
from tests.support.stores import MakeDatabase
from tests.support.wire import admin, fields, member, reason, remedy


def provisioning(rig: Rig) -> None:
    rig.available()
    rig.hardware.machine(UUID).slow = True
    rig.create(BLUE)
    rig.pass_time(60)
    assert rig.server(UUID).state is State.PROVISIONING


def rescued(rig: Rig) -> None:
    running(rig)
    rig.ok("RescueInstance", instance_pb2.RescueInstanceRequest(name=WEB))
    rig.settle()


def unmanaged(rig: Rig) -> None:
    rig.register()
    rig.inventory.servers[UUID] = replace(rig.inventory.servers[UUID], providable=False)
    rig.inventory.tell(UUID, "server.updated")
    rig.hear()


def refused(rig: Rig, asked: Any, code: grpc.StatusCode) -> Any:
    """The refusal of *asked*, which says what to do and changes nothing."""
    version = rig.server(UUID).version
    reply = rig.wire.call("MoveServer", asked, caller=admin())
    assert reply.code is code, reply.status
    assert remedy(reply.status)
    assert rig.server(UUID).version == version
    assert links(rig)["inventory"] == OLD
    return reply


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (provisioning, grpc.StatusCode.ABORTED),
        (rescued, grpc.StatusCode.FAILED_PRECONDITION),
        (unmanaged, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_where_it_is_not_moved_from(rig: Rig, before: Before, code: grpc.StatusCode) -> None:
    """
    At work: later; rescued: when that has ended; what is only on record is not touched.
    """
    before(rig)
    refused(rig, request(), code)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (request(ports=[]), "ports"),
        (request(ports=[PortMove(port=FIRST, switch_name="leaf2")]), "ports[0].switch_port"),
        (request(ports=[PortMove(port=FIRST, switch_port="xe-1")]), "ports[0].switch_name"),
        (request(ports=[PortMove(port=FIRST, switch_name="a\nb", switch_port="x")]), "ports[0].switch_name"),
        (request(ports=[PortMove(port="x", switch_name="a", switch_port="b")]), "ports[0].port"),
        (
            request(ports=[PortMove(port=FIRST.replace("1-", "2-", 1), switch_name="a", switch_port="b")]),
            "ports[0].port",
        ),
        (
            request(ports=[PortMove(port=f"{SERVER}/ports/ffffffffffff", switch_name="a", switch_port="b")]),
            "ports[0].port",
        ),
        (request(ports=[PortMove(port=FIRST, switch_name="a", switch_port="b")] * 2), "ports[1].port"),
        (request(FIRST, SECOND, to=dict.fromkeys(NEW, ("a", "b"))), "ports[1].switch_port"),
        (
            request(ports=[PortMove(port=FIRST, switch_name="a", switch_port="b", switch_id="x" * 64)]),
            "ports[0].switch_id",
        ),
        (request(reason=""), "reason"),
        (request(reason="x" * 1001), "reason"),
    ],
    ids=[
        *("none", "no port", "no switch", "unprintable", "no name", "another's", "unknown", "twice"),
        *("one link", "switch id", "no reason", "long reason"),
    ],
)
def test_malformed_requests_name_the_field(rig: Rig, asked: Any, field: str) -> None:
    """
    Each has its own refusal.
    """
    running(rig)
    reply = rig.wire.call("MoveServer", asked, caller=admin())

    assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


def test_links_that_are_so_or_taken_are_refused(rig: Rig) -> None:
    """
    The present link; another port's of the server, or of another server, which is named; one that something is on, or
    that cannot be read.
    """
    running(rig)
    other = rig.register(2)
    theirs = replace(rig.inventory.servers[other].ports[0], switch_port="xe-5/0/0")
    rig.inventory.servers[other] = replace(rig.inventory.servers[other], ports=(theirs,))
    code = grpc.StatusCode.FAILED_PRECONDITION

    assert "already" in refused(rig, request(to=OLD), code).status.message
    assert SECOND in refused(rig, request(to={FIRST: OLD[SECOND]}), code).status.message
    taken = refused(rig, request(to={FIRST: (theirs.switch_name, theirs.switch_port)}), code)
    assert theirs.name in taken.status.message
    rig.networks.shows = {NEW[FIRST]: PortClass.TENANT}
    assert "something is on leaf2 xe-9/0/0" in refused(rig, request(), code).status.message
    rig.networks.shows = {}
    rig.networks.dead_switches = {"leaf2"}
    assert "cannot be read" in refused(rig, request(), code).status.message


def test_rights_rehearsal_and_company(rig: Rig) -> None:
    """
    By administrators, of what was seen; a rehearsal answers the plan and changes nothing; one at a time.
    """
    running(rig)
    tenant = rig.wire.call("MoveServer", request(), caller=member("demo"))
    assert tenant.code is grpc.StatusCode.PERMISSION_DENIED
    refused(rig, request(etag='"0"'), grpc.StatusCode.ABORTED)
    idle = rig.wire.call("ConfirmServerMove", ConfirmServerMoveRequest(name=SERVER), caller=admin())
    assert (idle.code, bool(remedy(idle.status))) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    planned = rig.wire.ok("MoveServer", request(validate_only=True), caller=admin())
    assert (planned.name, planned.done) == ("", True)
    assert rig.server(UUID).intent is None

    move(rig)
    busy = rig.wire.call("MoveServer", request(), caller=admin())
    assert (busy.code, reason(busy.status)) == (grpc.StatusCode.ABORTED, "BUSY")
    stale = rig.wire.call("ConfirmServerMove", ConfirmServerMoveRequest(name=SERVER, etag='"0"'), caller=admin())
    assert stale.code is grpc.StatusCode.ABORTED


def test_a_controller_that_moves_ports_does_not_follow_a_server_in_use(make_database: MakeDatabase) -> None:
    """
    It would clean it at the links that it knows: only a free one is moved there.
    """
    rig = Rig(make_database("services.lifecycle"), world=World(observed=True))
    rig.available()
    move(rig)
    rig.settle()
    assert links(rig)["network"][FIRST] == NEW[FIRST]
    rig.create(BLUE)
    rig.settle()
    reply = rig.wire.call("MoveServer", request(to={FIRST: ("leaf3", "xe-1")}), caller=admin())

    assert (reply.code, bool(remedy(reply.status))) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert "would not follow" in reply.status.message
