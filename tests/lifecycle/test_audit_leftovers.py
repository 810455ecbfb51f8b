# SPDX-License-Identifier: Apache-2.0
"""What network finds left over at the fabric's controller is told as a leak, and removed by a repair."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from bms.lifecycle.v1 import audit_service_pb2, server_status_pb2
from services.lifecycle.audits.seen import LeftoverSeen
from tests.lifecycle.audited import Auditor
from tests.lifecycle.rig import Rig
from tests.support.clocks import START
from tests.support.judging import findings, stored_events
from tests.support.wire import admin, fields

NAME = "leftovers/00000009-0000-4000-8000-00000000000a"
ADDRESS = "projects/demo/prefixes/p1/leftovers/00000009-0000-4000-8000-00000000000a"
STRANGER = "000000ff-0000-4000-8000-000000000000"


@pytest.fixture
def audit(rig: Rig) -> Auditor:
    return Auditor(rig)


def leave(audit: Auditor, server: str, *, removable: bool = True) -> LeftoverSeen:
    seen = LeftoverSeen(NAME, server, "an interface is at nothing", START, removable, '"1"')
    audit.stores.fabric.left[NAME] = seen
    return seen


def test_a_leftover_is_removed_and_told(rig: Rig, audit: Auditor) -> None:
    """
    The server's log has what was meant and what was done; nothing is left.
    """
    uuid = rig.available()
    leave(audit, uuid)
    assert audit.kinds() == [("fabric_leftover", NAME)]
    (leak,) = audit.leaks()
    assert (leak.server, leak.why, leak.repairable) == (f"servers/{uuid}", "an interface is at nothing", True)
    before = len(rig.types(uuid))

    assert "removed" in audit.wire.ok("RepairLeak", audit.request(leak)).done
    assert [name for name, _ in audit.stores.fabric.removed] == [NAME]
    assert rig.types(uuid)[before:] == ["audit.repair_requested", "audit.repaired"]
    assert audit.kinds() == []
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []


def test_one_of_a_server_that_lifecycle_has_not_is_removed_all_the_same(rig: Rig, audit: Auditor) -> None:
    """
    Network had its ports, and network's log tells of it.
    """
    leave(audit, STRANGER)
    (leak,) = audit.leaks()

    assert audit.wire.ok("RepairLeak", audit.request(leak)).done
    assert audit.kinds() == []


def test_what_may_be_another_managers_is_told_and_not_removed(rig: Rig, audit: Auditor) -> None:
    """
    Network would not remove it, so it is a kind of its own.
    """
    leave(audit, STRANGER, removable=False)
    assert audit.kinds() == [("fabric_leftover_of_stranger", NAME)]
    (leak,) = audit.leaks()

    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.FAILED_PRECONDITION
    assert audit.stores.fabric.removed == []


def test_what_has_changed_is_left(rig: Rig, audit: Auditor) -> None:
    """
    Network shows it with another etag than the audit did: ABORTED, nothing recorded.
    """
    uuid = rig.available()
    seen = leave(audit, uuid)
    (leak,) = audit.leaks()
    audit.stores.fabric.left[NAME] = replace(seen, etag='"2"')
    before = rig.types(uuid)

    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.ABORTED
    assert audit.stores.fabric.removed == []
    assert rig.types(uuid) == before


def test_nothing_at_a_server_that_is_worked_on_is_a_leak(rig: Rig, audit: Auditor) -> None:
    """
    Its walk brings the fabric in order.
    """
    uuid = rig.register()
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    leave(audit, uuid)
    assert audit.kinds() == []


def test_a_rehearsal_removes_nothing(rig: Rig, audit: Auditor) -> None:
    """
    With validate_only network checks and removes nothing, and nothing is recorded.
    """
    uuid = rig.available()
    leave(audit, uuid)
    (leak,) = audit.leaks()
    before = rig.types(uuid)

    assert audit.wire.ok("RepairLeak", audit.request(leak, validate_only=True)).done
    assert audit.stores.fabric.removed == []
    assert rig.types(uuid) == before


def test_a_controller_that_is_away_is_said_to_be(rig: Rig, audit: Auditor) -> None:
    """
    Its part is UNAVAILABLE, after all others were answered.
    """
    rig.available()
    audit.stores.fabric.away = True
    with pytest.raises(AssertionError, match="does not answer"):
        audit.leaks()


def test_one_book_may_be_asked_for(rig: Rig, audit: Auditor) -> None:
    """
    While a controller is away, the books after its own are looked through by name; one that is not kept is refused.
    """
    rig.available()
    audit.stores.fabric.away = True
    audit.stores.addresses.left[ADDRESS] = LeftoverSeen(ADDRESS, "", "nothing", None, removable=True, etag='"1"')
    found = audit.wire.ok("AuditLeaks", audit_service_pb2.AuditLeaksRequest(book="address_leftovers"))
    assert ([leak.resource for leak in found.leaks], found.next_page_token) == ([ADDRESS], "")

    token = audit.wire.ok("AuditLeaks", audit_service_pb2.AuditLeaksRequest()).next_page_token
    for request in (
        audit_service_pb2.AuditLeaksRequest(book="x"),
        audit_service_pb2.AuditLeaksRequest(book="ports", page_token=token),
    ):
        reply = audit.wire.call("AuditLeaks", request)
        assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
        assert fields(reply.status) == (["page_token"] if request.page_token else ["book"])


def test_an_address_that_is_left_over_is_removed(rig: Rig, audit: Auditor) -> None:
    """
    It is no server's; ipam's log tells of it. What is in doubt is told alone.
    """
    left = audit.stores.addresses.left
    left[ADDRESS] = LeftoverSeen(ADDRESS, "", "nothing uses it", None, removable=True, etag='"1"')
    assert audit.kinds() == [("address_leftover", ADDRESS)]
    (leak,) = audit.leaks()

    assert "rests" in audit.wire.ok("RepairLeak", audit.request(leak)).done
    assert [name for name, _ in audit.stores.addresses.removed] == [ADDRESS]
    assert audit.kinds() == []
    left[ADDRESS] = LeftoverSeen(ADDRESS, "", "a host uses it", None, removable=False, etag='"2"')
    (leak,) = audit.leaks()
    assert audit.kinds() == [("address_leftover_in_doubt", ADDRESS)]
    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.FAILED_PRECONDITION
