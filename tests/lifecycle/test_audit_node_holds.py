# SPDX-License-Identifier: Apache-2.0
"""What a controller holds for nobody of ours, and what of ours it does not hold: found, let go where that is safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest

from bms.lifecycle.v1 import audit_service_pb2
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.ports import HoldSeen
from tests.lifecycle.audited import Auditor
from tests.lifecycle.leaking import delete, gone
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.judging import findings, stored_events
from tests.support.wire import reason

HOLD = "00000009-0000-4000-8000-00000000000a"
STRANGER = "00000099-0000-4000-8000-000000000000"


@pytest.fixture
def audit(rig: Rig) -> Auditor:
    return Auditor(rig)


def hold(rig: Rig, uuid: str, instance: str = WEB) -> None:
    """A call that was still inside the controller when its worker's claim ended."""
    machine = rig.hardware.machine(uuid)
    machine.holders, machine.held_for = (HOLD,), instance


def left(rig: Rig) -> str:
    """A server that is offered, and held for an instance that ended, for a while."""
    uuid = gone(rig)
    hold(rig, uuid)
    rig.clock.advance(300)
    return uuid


def used(rig: Rig) -> str:
    uuid = left(rig)
    rig.hardware.machine(uuid).used = True
    return uuid


def unheard_of(rig: Rig) -> str:
    hold(rig, STRANGER)
    return STRANGER


def lost(rig: Rig) -> str:
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).holders = ()
    rig.clock.advance(300)
    return uuid


def elsewhere(rig: Rig) -> str:
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).taken = True
    rig.clock.advance(300)
    return uuid


def for_another(rig: Rig) -> str:
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).held_for = "projects/demo/instances/before"
    rig.clock.advance(300)
    return uuid


# -- what is


@pytest.mark.parametrize(
    ("scenario", "kind", "repairable"),
    [
        (left, "node_hold_of_nobody", True),
        (used, "node_hold_used", False),
        (unheard_of, "node_hold_of_unknown_server", False),
        (lost, "node_hold_lost", False),
        *((elsewhere, "node_held_elsewhere", False), (for_another, "node_held_elsewhere", False)),
    ],
    ids=lambda one: one.__name__ if callable(one) else str(one),
)
def test_every_hold_that_is_wrong_is_found(
    rig: Rig, audit: Auditor, scenario: Callable[[Rig], str], kind: str, repairable: bool
) -> None:
    """
    With both sides, since when, and what to do; what is not to be repaired by itself is refused with that.
    """
    name = f"servers/{scenario(rig)}"
    assert audit.kinds() == [(kind, name)]
    (leak,) = audit.leaks()
    assert (leak.repairable, leak.owner, leak.server) == (repairable, WEB, name)
    assert leak.why
    assert leak.HasField("since")
    assert all("{" not in command for command in leak.commands)

    reply = audit.wire.call("RepairLeak", audit.request(leak, validate_only=True))
    assert (reply.code is grpc.StatusCode.OK) is repairable
    if not repairable:
        assert reply.code is grpc.StatusCode.FAILED_PRECONDITION


# -- what is not


def test_a_life_with_time_at_each_rest_leaks_no_hold(rig: Rig, audit: Auditor) -> None:
    """
    Offered, in use and offered again, each for long: the controller holds what an instance has, and nothing else.
    """
    rig.available()
    rig.clock.advance(300)
    assert audit.kinds() == []
    rig.create(BLUE)
    rig.settle()
    rig.clock.advance(300)
    assert audit.kinds() == []


def test_what_was_made_a_moment_ago_is_no_leak(rig: Rig, audit: Auditor) -> None:
    """
    A worker's last call may be on its way when its claim has ended: the server must have been at rest for a while.
    """
    uuid = gone(rig)
    hold(rig, uuid)
    assert audit.kinds() == []
    rig.clock.advance(300)
    assert audit.kinds() == [("node_hold_of_nobody", f"servers/{uuid}")]


def test_what_others_hold_is_theirs(rig: Rig, audit: Auditor) -> None:
    """
    Servers that others hold, known to us or not, without a note of ours or with an old one, are not listed, nor let go.
    """
    rig.hardware.machine(STRANGER).taken = True
    uuid = left(rig)
    rig.hardware.machine(uuid).taken = True

    assert audit.kinds() == []
    reply = audit.wire.call("RepairLeak", _request(uuid))
    assert reply.code is grpc.StatusCode.NOT_FOUND
    assert rig.hardware.machine(uuid).holders == (HOLD,)


def test_quarantine_keeps_its_hold(rig: Rig, audit: Auditor) -> None:
    """
    A server whose cleaning failed stays held for the instance before, until it is led back.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    delete(rig)
    rig.pass_time(900)

    assert rig.hardware.machine(uuid).holders
    assert audit.kinds() == []


# -- repairs


def test_a_hold_of_nobody_is_let_go(rig: Rig, audit: Auditor) -> None:
    """
    The log tells what was meant and what was done; the server can be claimed and deployed as before.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    before = len(rig.types(uuid))

    assert "for nobody" in audit.wire.ok("RepairLeak", audit.request(leak)).done
    assert rig.hardware.machine(uuid).holders == ()
    asked, told = rig.events(f"servers/{uuid}")[before:]
    assert [asked.header.type, told.header.type] == ["audit.repair_requested", "audit.repaired"]
    assert told.body.reason == "NODE_HOLD_OF_NOBODY"
    assert told.body.actor == "admin"
    assert audit.kinds() == []
    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.NOT_FOUND
    rig.create(BLUE)
    rig.settle()
    assert rig.server(uuid).instance == WEB
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []


def test_a_rehearsed_repair_lets_nothing_go(rig: Rig, audit: Auditor) -> None:
    """
    With validate_only neither the controller, the log nor the claim is touched.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    before = rig.types(uuid)

    assert audit.wire.ok("RepairLeak", audit.request(leak, validate_only=True)).done
    assert rig.hardware.machine(uuid).holders == (HOLD,)
    assert rig.types(uuid) == before
    assert not _claimed(rig)


def test_what_is_held_otherwise_by_now_is_not_let_go(rig: Rig, audit: Auditor) -> None:
    """
    Another hold than the one that was audited makes the etag old, and is left.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    rig.hardware.machine(uuid).holders = ("another",)

    reply = audit.wire.call("RepairLeak", audit.request(leak))
    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.ABORTED, "STALE")
    assert rig.hardware.machine(uuid).holders == ("another",)


def test_what_changes_while_it_is_repaired_is_left(rig: Rig, audit: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Somebody takes it after it was judged: the look under the claim sees that, nothing is let go, and the claim ends.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    looks: list[HoldSeen | None] = []
    plain = audit.holds.hold

    def late(server: str) -> HoldSeen | None:
        seen = plain(server)
        looks.append(seen)
        return replace(seen, holder="somebody") if seen is not None and len(looks) == 3 else seen

    monkeypatch.setattr(audit.holds, "hold", late)
    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.ABORTED
    assert rig.hardware.machine(uuid).holders == (HOLD,)
    assert not _claimed(rig)


def test_a_server_that_was_taken_meanwhile_keeps_its_hold(
    rig: Rig, audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An instance that takes the server between the look and the claim has it; the hold is its own to set.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    plain = audit.holds.hold

    def then_taken(server: str) -> HoldSeen | None:
        seen = plain(server)
        if rig.server(uuid).intent is None and rig.instance() is None:
            rig.create(BLUE)
            rig.worker.tick(rig.clock.now())
        return seen

    monkeypatch.setattr(audit.holds, "hold", then_taken)
    reply = audit.wire.call("RepairLeak", audit.request(leak))

    assert reply.code in (grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND)
    server = rig.server(uuid)
    assert server.intent is None or server.intent.kind is IntentKind.DEPLOY
    assert "audit.repair_requested" not in rig.types(uuid)


def test_nobody_works_on_the_server_meanwhile(rig: Rig, audit: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While it is let go the server is claimed: an instance that takes it is deployed afterwards, with a hold of its own.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    plain = rig.hardware.unreserve

    def with_others_at_work(target: object) -> None:
        rig.create(BLUE)
        for _ in range(20):
            rig.worker.tick(rig.clock.now())
            rig.clock.advance(0.2)
        assert rig.hardware.machine(uuid).holders == (HOLD,)
        plain(target)  # type: ignore[arg-type]  # handed on as it came
        monkeypatch.undo()

    monkeypatch.setattr(rig.hardware, "unreserve", with_others_at_work)
    audit.wire.ok("RepairLeak", audit.request(leak))
    rig.settle()

    assert rig.server(uuid).instance == WEB
    assert rig.hardware.machine(uuid).held_for == WEB
    rig.clock.advance(300)
    assert audit.kinds() == []
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []


def test_a_process_killed_in_a_repair_leaves_the_server_to_workers(
    rig: Rig, audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was meant is in the log; the claim runs out, the leak is found again and repaired.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()

    def die(target: object) -> None:
        msg = "the process ends here"
        raise RuntimeError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(rig.hardware, "unreserve", die)
        assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.INTERNAL
    assert rig.types(uuid)[-1] == "audit.repair_requested"
    (again,) = audit.leaks()
    assert audit.wire.call("RepairLeak", audit.request(again)).code is grpc.StatusCode.ABORTED
    rig.pass_time(120)
    (again,) = audit.leaks()
    audit.wire.ok("RepairLeak", audit.request(again))
    assert audit.kinds() == []


# -- a controller that is away


def test_a_controller_that_is_away_is_said_to_be(rig: Rig, audit: Auditor) -> None:
    """
    All other books are answered first; the controller's is UNAVAILABLE, and not empty; a repair is so too.
    """
    uuid = left(rig)
    (leak,) = audit.leaks()
    rig.hardware.deaf = True

    reply, token = audit.wire.call("AuditLeaks", audit_service_pb2.AuditLeaksRequest()), ""
    books = []
    while reply.code is grpc.StatusCode.OK:
        books.append(reply.message.book)
        token = reply.message.next_page_token
        assert token, "ended without the controller's book"
        reply = audit.wire.call("AuditLeaks", audit_service_pb2.AuditLeaksRequest(page_token=token))
    assert books == ["leases", "reservations", "ports", "servers", "instances", "operations"]
    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.UNAVAILABLE
    assert not _claimed(rig)

    rig.hardware.deaf = False
    reply = audit.wire.call("AuditLeaks", audit_service_pb2.AuditLeaksRequest(page_token=token))
    assert [one.resource for one in reply.message.leaks] == [f"servers/{uuid}"]


def test_pages_are_bounded(rig: Rig, audit: Auditor) -> None:
    """
    The controller is read a page at a time, however many servers it has.
    """
    for number in range(25):
        rig.hardware.machine(f"000000ff-0000-4000-8000-0000000000{number:02d}").taken = True
    uuid = left(rig)

    assert audit.kinds(page_size=5) == [("node_hold_of_nobody", f"servers/{uuid}")]
    parts = [part for part in audit.parts(page_size=5) if part.book == "node_holds"]
    assert [part.examined_count for part in parts] == [5, 5, 5, 5, 5, 1]


def _request(uuid: str) -> audit_service_pb2.RepairLeakRequest:
    kind = audit_service_pb2.Leak.KIND_NODE_HOLD_OF_NOBODY
    return audit_service_pb2.RepairLeakRequest(kind=kind, resource=f"servers/{uuid}")


def _claimed(rig: Rig) -> bool:
    query = "SELECT 1 AS one FROM servers WHERE claim_until IS NOT NULL"
    return rig.database.read(lambda tx: tx.one(query, ())) is not None
