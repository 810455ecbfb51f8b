# SPDX-License-Identifier: Apache-2.0
"""What leaks is found, what is merely in motion is not, and only what can be shown to be safe is repaired."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from bms.lifecycle.v1 import audit_service_pb2, instance_pb2, server_status_pb2
from services.kernel.errors import Busy
from services.lifecycle.audit_servicer import KINDS
from services.lifecycle.audits.leaks import Kind
from services.lifecycle.audits.remedies import REMEDIES
from services.lifecycle.audits.shelves import KINDS as FOUND_IN
from services.lifecycle.audits.sweep import MAX_PAUSING, Settling
from tests.lifecycle.audited import Auditor, Leak
from tests.lifecycle.leaking import SCENARIOS, delete, gone, late_lease
from tests.lifecycle.rig import BLUE, GREEN, WEB, Crash, Rig
from tests.support.wire import admin, fields


@pytest.fixture
def audit(rig: Rig) -> Auditor:
    return Auditor(rig)


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
    assert [part.examined_count for part in parts] == [1, 1, 2, 1, 1, 0, 1, 0, 0]
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


def test_few_wait_at_a_time_and_nobody_while_it_stops() -> None:
    """
    Each waiting caller holds a thread: further ones are refused; when the service stops, all are answered at once.
    """
    settling = Settling()
    refused: list[Busy] = []

    def pause() -> None:
        try:
            settling.pause(timedelta(seconds=60))
        except Busy as error:
            refused.append(error)
            settling.drain()

    callers = [threading.Thread(target=pause) for _ in range(MAX_PAUSING + 1)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=30)

    assert not any(caller.is_alive() for caller in callers)
    assert [error.remedy for error in refused] == ["Try again in a few seconds."]
