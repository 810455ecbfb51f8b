# SPDX-License-Identifier: Apache-2.0
"""Leases of bare metal instances, over both databases: services hold them, and prove that the server let go."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2
from tests.ipam.rig import (
    ADMIN,
    BARE_METAL,
    DEMO,
    LIFECYCLE,
    SERVER,
    Rig,
    proof,
    wish,
)
from tests.support.wire import fields, reason, remedy

LEASED = lease_pb2.AddressLease.STATE_LEASED
COOLING = lease_pb2.AddressLease.STATE_COOLING
INSTANCE = "projects/demo/instances/web"


def test_bare_metal_belongs_to_services(rig: Rig) -> None:
    """
    Only services lease and release for bare metal instances; the refusal says what to do instead.
    """
    rig.prefix()
    request = wish(INSTANCE, kind=BARE_METAL)
    for caller in (DEMO, ADMIN):
        assert rig.refused("LeaseAddress", request, caller).code is grpc.StatusCode.PERMISSION_DENIED
    lease = rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL, fence=3)
    release = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch, detach=proof(rig))
    for caller in (DEMO, ADMIN):
        reply = rig.refused("ReleaseLease", release, caller)
        assert reply.code is grpc.StatusCode.PERMISSION_DENIED
        assert "etach" in remedy(reply.status)
    release.fence = 3

    assert rig.wire.ok("ReleaseLease", release, caller=LIFECYCLE).state == COOLING
    body = event_pb2.EventBody.FromString(rig.events()[-1].body)
    assert (body.instance, body.cause.fence) == (INSTANCE, 3)
    assert body.facts["detached_server"] == SERVER


def test_bare_metal_must_prove_its_detach(rig: Rig) -> None:
    """
    A bare metal instance's address is not released without a reading of its ports made after it was granted.
    """
    rig.prefix()
    rig.clock.advance(3600)
    lease = rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL)
    release = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)

    assert fields(rig.refused("ReleaseLease", release, LIFECYCLE).status) == ["detach"]
    release.detach.CopyFrom(proof(rig, -1800))
    assert fields(rig.refused("ReleaseLease", release, LIFECYCLE).status) == ["detach.read_time"]
    release.detach.CopyFrom(proof(rig))
    release.detach.reading_digest = b"short"
    assert fields(rig.refused("ReleaseLease", release, LIFECYCLE).status) == ["detach.reading_digest"]
    release.detach.reading_digest = b"d" * 32
    release.detach.server = "servers/none"
    assert fields(rig.refused("ReleaseLease", release, LIFECYCLE).status) == ["detach.server"]
    assert rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=lease.name)).state == LEASED


def test_times_that_no_clock_shows(rig: Rig) -> None:
    """
    A detach read at the end of time is taken as it is: it is evidence, not our clock.
    """
    rig.prefix()
    lease = rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL)
    detach = proof(rig)
    detach.read_time.CopyFrom(Timestamp(seconds=253402300799))

    reply = rig.wire.call(
        "ReleaseLease",
        lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=1, detach=detach),
        caller=LIFECYCLE,
    )

    assert reply.code is grpc.StatusCode.OK
    assert reason(reply.status) == ""


@pytest.mark.parametrize(
    ("by", "told"),
    [
        (f"{SERVER}/forcedActions/22222222-2222-4222-8222-222222222222", "address.forced_free"),
        (SERVER, "address.withdrawn"),
    ],
)
def test_what_is_released_without_proof_rests_and_says_why(rig: Rig, by: str, told: str) -> None:
    """
    A service may name, instead of a proof, what allows the release: the event is another one and names it, and the
    address rests as any does.
    """
    rig.prefix()
    lease = rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL, fence=3)
    release = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch, without_proof=by, fence=3)

    resting = rig.wire.ok("ReleaseLease", release, caller=LIFECYCLE)

    assert (resting.state, resting.HasField("free_time")) == (COOLING, True)
    event = rig.events()[-1]
    header = event_pb2.EventHeader.FromString(event.header)
    assert (header.type, header.state_after) == (told, "cooling")
    assert event_pb2.EventBody.FromString(event.body).facts["without_proof"] == by
    assert rig.wire.ok("ReleaseLease", release, caller=LIFECYCLE) == resting


def test_nobody_else_releases_without_proof(rig: Rig) -> None:
    """
    Not administrators, not for virtual machines, not beside a proof, not for something that allows nothing.
    """
    rig.prefix()
    held, virtual = rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL), rig.lease("vm-1")
    release = lease_pb2.ReleaseLeaseRequest(name=held.name, epoch=held.epoch, without_proof=SERVER)
    of_vm = lease_pb2.ReleaseLeaseRequest(name=virtual.name, epoch=virtual.epoch, without_proof=SERVER)
    for caller in (DEMO, ADMIN):
        assert rig.refused("ReleaseLease", release, caller).code is grpc.StatusCode.PERMISSION_DENIED
        assert rig.refused("ReleaseLease", of_vm, caller).code is grpc.StatusCode.PERMISSION_DENIED
    assert fields(rig.refused("ReleaseLease", of_vm, LIFECYCLE).status) == ["without_proof"]
    release.detach.CopyFrom(proof(rig))
    assert fields(rig.refused("ReleaseLease", release, LIFECYCLE).status) == ["without_proof"]
    release.ClearField("detach")
    release.without_proof = "servers/none"
    assert fields(rig.refused("ReleaseLease", release, LIFECYCLE).status) == ["without_proof"]
    assert rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=held.name)).state == LEASED


def test_an_address_that_is_held_names_its_holder_to_those_who_may_know(rig: Rig) -> None:
    """
    A service that asks for a held address is told whose it is; another project's member is not.
    """
    rig.prefix()
    held = rig.lease("vm-secret")
    asked = wish(INSTANCE, kind=BARE_METAL, address=held.address)

    assert "vm-secret" in rig.refused("LeaseAddress", asked, LIFECYCLE).status.message


def test_a_lower_fence_is_refused(rig: Rig) -> None:
    """
    Once a fence was seen, lower ones of the same owner are ABORTED and change nothing; equal and higher ones pass.
    """
    rig.prefix()
    lease = rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL, fence=7)

    again = wish(INSTANCE, kind=BARE_METAL, interface="other", fence=6)
    release = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=1, fence=6, detach=proof(rig))

    assert rig.refused("LeaseAddress", again, LIFECYCLE).code is grpc.StatusCode.ABORTED
    assert rig.refused("ReleaseLease", release, LIFECYCLE).code is grpc.StatusCode.ABORTED
    assert rig.lease(INSTANCE, LIFECYCLE, kind=BARE_METAL, fence=7) == lease
    assert rig.lease("projects/demo/instances/db", LIFECYCLE, kind=BARE_METAL, fence=1).epoch == 1
    assert fields(rig.refused("LeaseAddress", wish(fence=1)).status) == ["fence"]
    assert fields(rig.refused("LeaseAddress", wish(fence=-1), LIFECYCLE).status) == ["fence"]
