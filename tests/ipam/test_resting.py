# SPDX-License-Identifier: Apache-2.0
"""Released addresses rest before another has them, over both databases; their epochs go on counting."""

from __future__ import annotations

import uuid
from datetime import timedelta

import grpc
from google.rpc import error_details_pb2

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2
from tests.ipam.rig import (
    DEMO,
    Rig,
    verify,
    wish,
)
from tests.support.wire import detail, remedy

COOLING = lease_pb2.AddressLease.STATE_COOLING
FREED = lease_pb2.AddressLease.STATE_FREED


def test_the_events_of_an_address(rig: Rig) -> None:
    """
    An address that goes through two owners tells: leased, cooling, freed, leased; the freed event names no caller.
    """
    rig.prefix("10.1.0.0/32", cool_down=timedelta(seconds=30))
    rig.release(rig.lease("vm-1"))
    rig.clock.advance(30)
    rig.lease("vm-2", request_id=str(uuid.uuid4()))

    events = rig.events()

    (stream,) = verify(events).values()
    assert [header.type for header in stream] == [
        "address.leased",
        "address.cooling",
        "address.freed",
        "address.leased",
    ]
    assert [header.state_after for header in stream] == ["leased", "cooling", "free", "leased"]
    bodies = [event_pb2.EventBody.FromString(event.body) for event in rig.of_addresses()]
    assert [body.actor for body in bodies] == [DEMO.subject, DEMO.subject, "ipam", DEMO.subject]
    assert [body.facts["owner"] for body in bodies] == ["vm-1", "vm-1", "vm-1", "vm-2"]
    assert bodies[3].cause.request_id


def test_the_sweeper_frees_what_has_rested(rig: Rig) -> None:
    """
    Without anybody asking, a rested address is freed in the log; the sweeper says when to look again.
    """
    rig.prefix(cool_down=timedelta(seconds=2))
    lease = rig.release(rig.lease("vm-1"))

    due = rig.sweeper.tick(rig.clock.now())
    early = rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=lease.name))
    rig.clock.advance(2)
    rig.sweeper.tick(rig.clock.now())
    rig.sweeper.tick(rig.clock.now())

    assert due == rig.clock.now()
    assert early.state == COOLING
    assert rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=lease.name)).state == FREED
    (stream,) = verify(rig.events()).values()
    assert [header.type for header in stream][-1] == "address.freed"
    assert len(stream) == 3


def test_old_leases_are_forgotten_but_epochs_are_not(rig: Rig) -> None:
    """
    A lease freed more than thirty days ago is gone; the next grant of its address goes on counting.
    """
    rig.prefix("10.1.0.0/32", cool_down=timedelta())
    lease = rig.release(rig.lease("vm-1"))
    rig.sweeper.tick(rig.clock.now())
    rig.clock.advance(31 * 86400)
    rig.sweeper.tick(rig.clock.now())

    assert rig.refused("GetLease", lease_pb2.GetLeaseRequest(name=lease.name)).code is grpc.StatusCode.NOT_FOUND
    assert rig.lease("vm-2").epoch == 2
    verify(rig.events())


def test_a_late_release_never_frees_the_new_owner(rig: Rig) -> None:
    """
    The old owner's release, repeated after another owner got the address, answers the old lease and changes nothing.
    """
    rig.prefix("10.1.0.0/32", cool_down=timedelta(seconds=1))
    old = rig.lease("vm-1")
    rig.release(old)
    rig.clock.advance(1)
    new = rig.lease("vm-2")

    late = rig.release(old)
    wrong = rig.refused("ReleaseLease", lease_pb2.ReleaseLeaseRequest(name=new.name, epoch=old.epoch))

    assert late.state == FREED
    assert wrong.code is grpc.StatusCode.ABORTED
    assert rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=new.name)) == new
    assert rig.refused("LeaseAddress", wish("vm-3")).code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_releasing_twice_rests_once(rig: Rig) -> None:
    """
    Releasing a lease that rests answers it; its rest does not begin again.
    """
    rig.prefix()
    lease = rig.lease("vm-1")
    first = rig.release(lease)
    rig.clock.advance(60)

    assert first.state == COOLING
    assert rig.release(lease) == first


def test_exhaustion_tells_when_the_next_is_free(rig: Rig) -> None:
    """
    With every address leased or resting the refusal says so, with the next free time and RetryInfo; then it succeeds.
    """
    rig.prefix("10.1.0.0/30", gateway="none", cool_down=timedelta(minutes=10))
    first, second = rig.lease("vm-1"), rig.lease("vm-2")
    full = rig.refused("LeaseAddress", wish("vm-3"))
    rig.release(second)
    rig.clock.advance(60)
    rig.release(first)

    reply = rig.refused("LeaseAddress", wish("vm-3"))

    assert full.code is reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    info = detail(reply.status, error_details_pb2.ErrorInfo)
    assert info is not None
    assert info.metadata["next_free_time"] == (rig.clock.now() + timedelta(minutes=9)).isoformat()
    assert detail(reply.status, error_details_pb2.RetryInfo) is not None
    assert remedy(reply.status)
    rig.clock.advance(540)
    again = rig.lease("vm-3")
    assert (again.address, again.epoch) == (second.address, 2)
    assert rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=second.name)).state == FREED
