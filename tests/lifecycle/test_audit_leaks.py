# SPDX-License-Identifier: Apache-2.0
"""What leaks is found, what is merely in motion is not, and only what can be shown to be safe is repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from bms.lifecycle.v1 import audit_service_pb2, instance_pb2, server_status_pb2
from services.kernel.calls import Caller
from services.lifecycle.audit_servicer import KINDS
from services.lifecycle.audits.leaks import Kind
from services.lifecycle.audits.remedies import REMEDIES
from services.lifecycle.audits.shelves import KINDS as FOUND_IN
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Report, Tag
from services.lifecycle.domain.walk import Change
from tests.lifecycle.audited import Auditor, Leak
from tests.lifecycle.rig import BLUE, GREEN, WEB, Crash, Rig
from tests.support.wire import admin, auditor, fields, member, reader, reason, remedy, service

NOBODY = "projects/demo/instances/nobody"


@pytest.fixture
def audit(rig: Rig) -> Auditor:
    return Auditor(rig)


def delete(rig: Rig) -> None:
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))


def gone(rig: Rig) -> str:
    """A server that was web's and is available again."""
    uuid = rig.active(BLUE)
    delete(rig)
    rig.settle()
    assert rig.instance() is None
    return uuid


def late_lease(rig: Rig, owner: str = WEB) -> str:
    """A lease call that was still inside ipam when its worker's claim ended; the lease's name."""
    return rig.addresses.lease("demo", owner, BLUE, "", "", 1, "late").name


# -- what is no leak


def test_a_whole_life_leaks_nothing(rig: Rig, audit: Auditor) -> None:
    """
    At every rest of a server's life both sides agree.
    """
    uuid = rig.register()
    assert audit.kinds() == []
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()
    assert audit.kinds() == []
    rig.create(BLUE)
    rig.settle()
    assert audit.kinds() == []
    requests: list[tuple[str, Any]] = [
        (
            "AttachNetwork",
            instance_pb2.AttachNetworkRequest(name=WEB, network=instance_pb2.InstanceNetwork(network=GREEN)),
        ),
        ("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=BLUE)),
        ("StopInstance", instance_pb2.StopInstanceRequest(name=WEB)),
        ("StartInstance", instance_pb2.StartInstanceRequest(name=WEB)),
        ("RebuildInstance", instance_pb2.RebuildInstanceRequest(name=WEB)),
        ("RescueInstance", instance_pb2.RescueInstanceRequest(name=WEB)),
        ("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB)),
    ]
    for method, request in requests:
        rig.ok(method, request)
        rig.settle()
        assert audit.kinds() == [], method
    assert audit.pauses == []


def test_what_a_silent_bmc_keeps_is_no_leak(rig: Rig, audit: Auditor) -> None:
    """
    A tenant's deletion ended while power off could not be read: addresses and reservation are held on purpose.
    """
    uuid = rig.active(BLUE)
    rig.hardware.machine(uuid).silent = True
    delete(rig)
    rig.pass_time(900)

    assert rig.instance() is None
    assert rig.server(uuid).leases
    assert audit.kinds() == []


def test_nothing_in_motion_is_a_leak(rig: Rig, audit: Auditor) -> None:
    """
    Whenever one looks during a deployment and a deletion, with the worker going on or standing still between the looks.
    """
    rig.available()
    for act in (lambda: rig.create(BLUE), lambda: delete(rig)):
        act()
        for number in range(80):
            audit.between = (lambda: rig.worker.tick(rig.clock.now())) if number % 2 else (lambda: None)
            assert audit.kinds() == []
            rig.worker.tick(rig.clock.now())
            rig.clock.advance(0.2)
    rig.settle()
    assert audit.kinds() == []


@pytest.mark.parametrize("number", range(0, 60, 3))
def test_a_worker_that_was_killed_leaves_no_leak(rig: Rig, number: int) -> None:
    """
    Killed at any point of a deployment and a deletion, what is left is work that goes on.
    """
    rig.available()
    rig.create(BLUE)
    seen = 0

    def kill(label: str, moment: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number * 5:
            raise Crash

    rig.killed_at(kill)
    assert Auditor(rig).kinds() == []
    rig.settle()
    assert Auditor(rig).kinds() == []


def test_what_is_put_right_between_the_looks_is_no_leak(rig: Rig, audit: Auditor) -> None:
    """
    Only what both looks find unchanged is told, after the time that was asked for.
    """
    gone(rig)
    name = late_lease(rig)
    lease, owner, _ = rig.addresses.leases[name]

    def cool() -> None:
        rig.addresses.leases[name] = (lease, owner, "cooling")

    audit.between = cool
    assert audit.kinds() == []
    assert [pause.total_seconds() for pause in audit.pauses] == [2.0]


def test_what_changes_between_the_looks_is_no_leak_yet(rig: Rig, audit: Auditor) -> None:
    """
    A lease that was given up and granted again is another one: the next audit tells.
    """
    gone(rig)
    name = late_lease(rig)

    def again() -> None:
        lease, owner, state = rig.addresses.leases[name]
        rig.addresses.leases[name] = (replace(lease, epoch=lease.epoch + 1), owner, state)

    audit.between = again
    assert audit.kinds() == []
    audit.between = lambda: None
    assert audit.kinds() == [("lease_of_ended_owner", name)]


# -- what is


def _late_lease(rig: Rig) -> tuple[str, str]:
    gone(rig)
    return "lease_of_ended_owner", late_lease(rig)


def _unknown_owner(rig: Rig) -> tuple[str, str]:
    return "lease_of_unknown_owner", late_lease(rig, NOBODY)


def _lease_of_another_network(rig: Rig) -> tuple[str, str]:
    rig.active(BLUE)
    return "lease_not_kept", rig.addresses.lease("demo", WEB, GREEN, "", "", 1, "late").name


def _lease_lost(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    name = rig.server(uuid).leases[0].name
    rig.addresses.leases.pop(name)
    return "lease_lost", name


def _lease_regranted(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    name = rig.server(uuid).leases[0].name
    lease, owner, _ = rig.addresses.leases[name]
    rig.addresses.leases[name] = (lease, owner, "cooling")
    return "lease_lost", name


def _late_reservation(rig: Rig) -> tuple[str, str]:
    uuid = gone(rig)
    rig.inventory.reserved[WEB] = uuid
    return "reservation_of_nobody", f"servers/{uuid}"


def _second_reservation(rig: Rig) -> tuple[str, str]:
    rig.active(BLUE)
    other = rig.available(2)
    rig.inventory.reserved = {WEB: other}
    return "reservation_elsewhere", f"servers/{other}"


def _reservation_lost(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    rig.inventory.reserved.clear()
    return "held_not_reserved", f"servers/{uuid}"


def _offered(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    rig.inventory.pool[uuid] = Report(available=True, reason="", held_by="")
    return "offer_differs", f"servers/{uuid}"


def _not_followed(rig: Rig) -> tuple[str, str]:
    uuid = "00000009-0000-4000-8000-000000000000"
    known = rig.register()
    rig.inventory.servers[uuid] = replace(rig.inventory.servers[known], uuid=uuid)
    rig.inventory.pool[uuid] = rig.inventory.pool[known]
    return "server_not_followed", f"servers/{uuid}"


def _not_recorded(rig: Rig) -> tuple[str, str]:
    uuid = rig.available()
    del rig.inventory.servers[uuid], rig.inventory.pool[uuid]
    return "server_not_recorded", f"servers/{uuid}"


def _port_of_nobody(rig: Rig) -> tuple[str, str]:
    uuid = rig.available()
    name, port = next(iter(rig.networks.ports.items()))
    ghost = name.replace(uuid, "00000009-0000-4000-8000-000000000000")
    rig.networks.ports[ghost] = replace(port, server="00000009-0000-4000-8000-000000000000")
    return "port_of_unknown_server", ghost


def _port_left_on(rig: Rig) -> tuple[str, str]:
    rig.available()
    name, port = next(iter(rig.networks.ports.items()))
    port.port_class, port.networks = PortClass.TENANT, (Tag(BLUE),)
    return "port_not_in_quarantine", name


def _port_moved(rig: Rig) -> tuple[str, str]:
    rig.active(BLUE)
    name, port = next((name, port) for name, port in rig.networks.ports.items() if port.networks)
    port.networks = (Tag(GREEN),)
    return "port_differs", name


def _port_forgotten(rig: Rig) -> tuple[str, str]:
    rig.available()
    name = min(rig.networks.ports)
    del rig.networks.ports[name]
    return "port_unknown_to_network", name


def _operation_left(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    name = rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    _change(rig, uuid, intent=None)
    return "operation_of_nobody", name


def _stranded(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    _change_instance(rig, state=InstanceState.DEPLOYING)
    assert rig.server(uuid).intent is None
    return "instance_stranded", WEB


def _held_by_nobody(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    rig.database.transact(lambda tx: tx.execute("DELETE FROM instances"), label="test")
    return "hold_one_sided", f"servers/{uuid}"


def _holds_nothing(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    for lease in list(rig.addresses.leases):
        rig.addresses.leases.pop(lease)
    _change(rig, uuid, instance="", leases=())
    return "hold_one_sided", WEB


def _asleep(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET due = NULL"), label="test")
    return "intent_asleep", f"servers/{uuid}"


def _abandoned(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET claim_until = due"), label="test")
    rig.clock.advance(120)
    return "claim_abandoned", f"servers/{uuid}"


def _change(rig: Rig, uuid: str, **fields: Any) -> None:
    """Writes what no code of ours would."""
    broken = Change(replace(rig.server(uuid), **fields))
    rig.database.transact(lambda tx: rig.store.write(tx, broken, rig.clock.now(), due=None), label="test")


def _change_instance(rig: Rig, **fields: Any) -> None:
    found = rig.instance()
    assert found is not None
    rig.database.transact(lambda tx: rig.store.write_instance(tx, replace(found, **fields), due=None), label="test")


SCENARIOS: list[Callable[[Rig], tuple[str, str]]] = [
    *(_late_lease, _unknown_owner, _lease_of_another_network, _lease_lost, _lease_regranted),
    *(_late_reservation, _second_reservation, _reservation_lost, _offered, _not_followed, _not_recorded),
    *(_port_of_nobody, _port_left_on, _port_moved, _port_forgotten),
    *(_operation_left, _stranded, _held_by_nobody, _holds_nothing, _asleep, _abandoned),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__.lstrip("_"))
def test_every_leak_is_found(rig: Rig, audit: Auditor, scenario: Callable[[Rig], tuple[str, str]]) -> None:
    """
    Each leak is told with its kind, both sides and what to do, however small the parts are that are looked through.
    """
    expected = scenario(rig)

    found = audit.leaks()
    assert expected in audit.kinds()
    assert audit.kinds() == audit.kinds(page_size=1)
    for leak in found:
        assert leak.why
        assert leak.remedy
        assert leak.HasField("since")
        assert all("{" not in command for command in leak.commands)


def test_every_kind_is_in_the_contract_and_has_a_scenario() -> None:
    """
    Kinds, their numbers, their remedies and the books they are found in are the same set.
    """
    named = {name.removeprefix("KIND_") for name in Leak.Kind.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 -- an enum

    assert named == {kind.name for kind in Kind} == {kind.name for kind in KINDS} == {kind.name for kind in REMEDIES}
    assert set(Kind) == set().union(*FOUND_IN.values())


def test_books_are_looked_through_in_order(rig: Rig, audit: Auditor) -> None:
    """
    Every book comes, with how much was looked at; a token of something else is refused.
    """
    rig.active(BLUE)

    parts = audit.parts()
    assert [part.book for part in parts] == list(FOUND_IN)
    assert [part.examined_count for part in parts] == [1, 1, 2, 1, 1, 0]
    reply = audit.wire.call("AuditLeaks", audit_service_pb2.AuditLeaksRequest(page_token="x"))
    assert fields(reply.status) == ["page_token"]


@pytest.mark.parametrize("seconds", [-1, 11, 2**60])
def test_the_time_between_the_looks_has_bounds(audit: Auditor, seconds: int) -> None:
    """
    A caller's thread is not held for ever.
    """
    reply = audit.wire.call("AuditLeaks", audit_service_pb2.AuditLeaksRequest(settle=Duration(seconds=seconds)))

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields(reply.status) == ["settle"]


def test_a_service_that_does_not_answer_is_no_leak(rig: Rig, audit: Auditor) -> None:
    """
    A repair whose reading fails is UNAVAILABLE, and nothing was recorded.
    """
    uuid = gone(rig)
    late_lease(rig)
    (leak,) = audit.leaks()
    before = rig.types(uuid)
    rig.networks.silent = True

    assert audit.wire.call("RepairLeak", audit.request(leak)).code is grpc.StatusCode.UNAVAILABLE
    assert rig.types(uuid) == before


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
    _, name = _late_lease(rig)
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


@pytest.mark.parametrize("scenario", [_late_reservation, _second_reservation, _offered])
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
    _, name = _port_left_on(rig)
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
