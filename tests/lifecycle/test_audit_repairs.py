# SPDX-License-Identifier: Apache-2.0
"""Only what can be shown to be safe is repaired, and by those alone who may."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from bms.lifecycle.v1 import audit_service_pb2, instance_pb2
from services.kernel.calls import Caller
from services.lifecycle.domain.server import PortClass, Tag
from tests.lifecycle.audited import Auditor, Leak
from tests.lifecycle.leaking import (
    gone,
    late_lease,
    late_reservation,
    lease_left,
    offered,
    port_left_on,
    second_reservation,
)
from tests.lifecycle.rig import BLUE, WEB, Rig
from tests.support.judging import findings, stored_events
from tests.support.wire import admin, auditor, fields, member, reader, reason, remedy, service


@pytest.fixture
def audit(rig: Rig) -> Auditor:
    return Auditor(rig)


# -- who


@pytest.mark.parametrize(
    ("caller", "audits", "repairs"),
    [
        *((admin(), True, True), (auditor(), True, False), (service(), True, True)),
        *((member(), False, False), (reader(), False, False)),
    ],
    ids=["admin", "auditor", "service", "member", "reader"],
)
def test_who_may(rig: Rig, audit: Auditor, caller: Caller, audits: bool, repairs: bool) -> None:
    """
    Auditors look, administrators and services repair, tenants do neither.
    """
    _, name = lease_left(rig)
    request = audit_service_pb2.RepairLeakRequest(kind=Leak.KIND_LEASE_OF_ENDED_OWNER, resource=name)

    looked = audit.wire.call("AuditLeaks", audit_service_pb2.AuditLeaksRequest(), caller=caller).code
    assert (looked is grpc.StatusCode.OK) is audits
    assert (audit.wire.call("RepairLeak", request, caller=caller).code is grpc.StatusCode.OK) is repairs


# -- repairs


def test_a_late_lease_is_given_back(rig: Rig, audit: Auditor) -> None:
    """
    Its server is read back off the network, the address rests, and the log tells both what was meant and what was done.
    """
    uuid = gone(rig)
    name = late_lease(rig)
    (leak,) = audit.leaks()
    assert (leak.owner, leak.server, leak.repairable) == (WEB, f"servers/{uuid}", True)
    before = len(rig.types(uuid))

    done = audit.wire.ok("RepairLeak", audit.request(leak))

    assert "rests" in done.done
    assert rig.addresses.leases[name][2] == "cooling"
    asked, told = rig.events(f"servers/{uuid}")[before:]
    assert [asked.header.type, told.header.type] == ["audit.repair_requested", "audit.repaired"]
    assert told.body.reason == "LEASE_OF_ENDED_OWNER"
    assert told.body.actor == "admin"
    assert (told.body.instance, told.body.project) == (WEB, "demo")
    assert [seen.lease for seen in told.body.evidence.addresses] == [name]
    assert {port.port_class for port in told.body.evidence.ports} == {"quarantine"}
    assert all(port.reading_digest for port in told.body.evidence.ports)
    assert audit.kinds() == []
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []


def test_a_repair_may_be_repeated(rig: Rig, audit: Auditor) -> None:
    """
    The same request is answered the same; another one finds nothing left to repair.
    """
    gone(rig)
    late_lease(rig)
    (leak,) = audit.leaks()
    request = audit.request(leak, request_id="00000000-0000-4000-8000-000000000001")

    first = audit.wire.ok("RepairLeak", request)
    assert audit.wire.ok("RepairLeak", request) == first
    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.NOT_FOUND


def test_a_rehearsed_repair_changes_nothing(rig: Rig, audit: Auditor) -> None:
    """
    With validate_only all is checked, and neither the address nor the log is touched.
    """
    uuid = gone(rig)
    name = late_lease(rig)
    (leak,) = audit.leaks()
    before = rig.types(uuid)

    assert audit.wire.ok("RepairLeak", audit.request(leak, validate_only=True)).done
    assert rig.addresses.leases[name][2] == "leased"
    assert rig.types(uuid) == before


def _on_the_network(rig: Rig) -> None:
    port = next(iter(rig.networks.ports.values()))
    port.port_class, port.networks = PortClass.TENANT, (Tag(BLUE),)


def _unreadable(rig: Rig) -> None:
    rig.networks.unreadable.add(next(iter(rig.networks.ports)))


def _forgotten(rig: Rig) -> None:
    rig.networks.ports.clear()


@pytest.mark.parametrize("unsafe", [_on_the_network, _unreadable, _forgotten])
def test_an_address_is_kept_while_its_server_may_use_it(
    rig: Rig, audit: Auditor, unsafe: Callable[[Rig], None]
) -> None:
    """
    A port on the network, one that cannot be read, none that is known: the address stays leased, and why is said.
    """
    gone(rig)
    name = late_lease(rig)
    unsafe(rig)
    leak = next(one for one in audit.leaks() if one.resource == name)

    reply = audit.wire.call("RepairLeak", audit.request(leak))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert remedy(reply.status)
    assert rig.addresses.leases[name][2] == "leased"


def test_an_address_is_given_back_though_another_instance_is_on_its_network(rig: Rig, audit: Auditor) -> None:
    """
    Whoever holds the server now got it clean: the port on the network is his, not the one's who ended.
    """
    uuid = gone(rig)
    rig.create(BLUE, name="next")
    rig.settle()
    assert rig.server(uuid).instance.endswith("/next")
    name = late_lease(rig)
    (leak,) = audit.leaks()

    audit.wire.ok("RepairLeak", audit.request(leak))

    assert rig.addresses.leases[name][2] == "cooling"
    assert audit.kinds() == []
    assert not rig.events(f"servers/{uuid}")[-1].body.evidence.ports
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name="projects/demo/instances/next"))
    rig.settle()
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []


def test_a_server_at_work_is_left_alone(rig: Rig, audit: Auditor) -> None:
    """
    ABORTED while somebody works on the server.
    """
    uuid = gone(rig)
    late_lease(rig)
    (leak,) = audit.leaks()
    rig.hardware.machine(uuid).slow = True
    rig.create(BLUE, name="next")
    for _ in range(3):
        rig.worker.tick(rig.clock.now())

    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.ABORTED


def test_an_owner_that_came_back_keeps_its_address(rig: Rig, audit: Auditor) -> None:
    """
    An instance made again under the same name takes the lease over: it is no leak any more.
    """
    gone(rig)
    name = late_lease(rig)
    (leak,) = audit.leaks()
    rig.create(BLUE)
    rig.settle()

    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.NOT_FOUND
    assert rig.addresses.leases[name][2] == "leased"
    assert audit.kinds() == []


@pytest.mark.parametrize("scenario", [late_reservation, second_reservation, offered])
def test_inventory_is_told_again(rig: Rig, audit: Auditor, scenario: Callable[[Rig], tuple[str, str]]) -> None:
    """
    What inventory has wrong is put right by a report of how the server stands, recorded in its log.
    """
    kind, resource = scenario(rig)
    leak = next(one for one in audit.leaks() if one.resource == resource)
    assert leak.repairable

    audit.wire.ok("RepairLeak", audit.request(leak))
    rig.settle()

    assert (kind, resource) not in audit.kinds()
    assert "audit.repaired" in rig.types(resource.removeprefix("servers/"))


def test_only_what_is_safe_is_repaired(rig: Rig, audit: Auditor) -> None:
    """
    Anything else is refused with what to do instead; a leak that changed is another leak; nonsense is no kind.
    """
    _, name = port_left_on(rig)
    leak = next(one for one in audit.leaks() if one.resource == name)

    refused = audit.wire.call("RepairLeak", audit.request(leak))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert remedy(refused.status) == leak.remedy
    stale = audit_service_pb2.RepairLeakRequest(kind=leak.kind, resource=leak.resource, etag='"x"')
    assert reason(audit.wire.call("RepairLeak", stale).status) == "STALE"
    for kind in (0, 99):
        reply = audit.wire.call("RepairLeak", audit_service_pb2.RepairLeakRequest(kind=kind, resource=name))  # type: ignore[arg-type]  # any number crosses the wire
        assert fields(reply.status) == ["kind"]
    assert not [one for one in rig.events() if one.header.type.startswith("audit.")]
