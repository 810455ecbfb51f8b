# SPDX-License-Identifier: Apache-2.0
"""ipam against a model of a dozen lines: whatever the order of calls, it grants and refuses what the model says."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.runtime.database import open_database
from tests.ipam.rig import Rig, asked, verify, wish
from tests.support.memory import IN_MEMORY
from tests.support.stores import _sqlite_copy
from tests.support.wire import Reply

COOL_DOWN = timedelta(seconds=30)
KEPT = timedelta(seconds=45)
HOSTS = [str(address) for address in ip_network("10.1.0.0/29")]
CHOSEN = {"10.1.0.2", "10.1.0.3", "10.1.0.4"}
GIVEN = {"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"}

NAME = "projects/demo/prefixes/p1"
owners = st.integers(0, 6).map(lambda number: f"vm-{number}")


class Leases(RuleBasedStateMachine):
    """Five addresses that can be had, three of them chosen from, seven owners; some reserved, or kept, for a while."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bms-ipam-", dir=IN_MEMORY))
        self.database = open_database(_sqlite_copy("services.ipam", self.folder / "ipam.sqlite"))
        self.rig = Rig(self.database)
        self.owner_of: dict[str, str] = {}
        self.free_at: dict[str, datetime] = {}
        self.epochs: dict[str, int] = {}
        self.last_owner: dict[str, str] = {}
        self.kept_until: dict[str, datetime] = {}
        self.unsaid: set[str] = set()
        self.reserved: set[str] = set()
        self.sticky = False

    @initialize()
    def a_prefix(self) -> None:
        self.rig.prefix("10.1.0.0/29", cool_down=COOL_DOWN, pools=(("10.1.0.0", "10.1.0.4"),))

    def free(self) -> set[str]:
        now = self.rig.clock.now()
        rested = {one for one in GIVEN if one not in self.owner_of and self.free_at.get(one, now) <= now}
        return rested - self.reserved

    def kept_from(self, owner: str) -> set[str]:
        """What is kept for others than *owner*."""
        now = self.rig.clock.now()
        return {one for one, until in self.kept_until.items() if until > now and self.last_owner[one] != owner}

    def open_to_all(self) -> set[str]:
        """What anybody may be given: what was kept is met again once the sweeper has said that it has rested."""
        now = self.rig.clock.now()
        kept = {one for one, until in self.kept_until.items() if until > now}
        return (self.free() - kept - self.unsaid) & CHOSEN

    def granted(self, owner: str, lease: lease_pb2.AddressLease) -> None:
        if self.owner_of.get(lease.address) == owner:
            assert lease.epoch == self.epochs[lease.address]
            return
        assert lease.address in self.free() - self.kept_from(owner)
        assert lease.epoch == self.epochs.get(lease.address, 0) + 1
        self.owner_of[lease.address] = owner
        self.epochs[lease.address] = lease.epoch
        self.kept_until.pop(lease.address, None)
        self.unsaid.discard(lease.address)
        self.last_owner[lease.address] = owner

    def had(self, owner: str) -> set[str]:
        """What *owner* had last, that has rested and is nobody's; reserved ones too."""
        now = self.rig.clock.now()
        own = {one for one in self.kept_until if self.last_owner[one] == owner}
        return {one for one in own if one not in self.owner_of and self.free_at[one] <= now}

    @rule(target=held, owner=owners)
    def lease_any(self, owner: str) -> lease_pb2.AddressLease | None:
        reply = self.rig.wire.call("LeaseAddress", wish(owner))
        held = owner in self.owner_of.values()
        open_to_all = self.open_to_all()
        own = self.had(owner) - self.reserved if self.sticky else set()
        # Of several the last is looked for, and that one may be reserved.
        sure = bool(own) and own == self.had(owner)
        if held or sure or open_to_all or (own and reply.message is not None):
            assert reply.code is grpc.StatusCode.OK
            if not held:
                assert reply.message.address in (own if sure else open_to_all | own)
            self.granted(owner, reply.message)
        else:
            assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        message: lease_pb2.AddressLease | None = reply.message
        return message

    @rule(several=st.lists(owners, min_size=2, max_size=5))
    def lease_together(self, several: list[str]) -> None:
        open_to_all = self.open_to_all()
        wanting = set(several) - set(self.owner_of.values())
        found = self.rig.servicer.gathering.granted([asked(self.rig, wish(owner)) for owner in several])
        granted = {owner: lease for owner, lease in zip(several, found, strict=True) if lease is not None}
        assert granted.keys() <= wanting
        assert sum(lease is not None for lease in found) == len(granted)
        if self.sticky:
            assert not granted
        elif wanting == set(several) and len(wanting) == len(several):
            assert len(granted) == min(len(wanting), len(open_to_all))
        for owner, lease in granted.items():
            assert lease.address in open_to_all
            self.granted(owner, lease)

    @rule(target=held, owner=owners, address=st.sampled_from(HOSTS))
    def lease_this(self, owner: str, address: str) -> lease_pb2.AddressLease | None:
        reply = self.rig.wire.call("LeaseAddress", wish(owner, address=address))
        mine = next((one for one, who in self.owner_of.items() if who == owner), "")
        if mine:
            expected = grpc.StatusCode.OK if mine == address else grpc.StatusCode.ALREADY_EXISTS
        elif address not in GIVEN - self.reserved:
            expected = grpc.StatusCode.INVALID_ARGUMENT
        elif address in self.owner_of:
            expected = grpc.StatusCode.ALREADY_EXISTS
        else:
            free = address in self.free() - self.kept_from(owner)
            expected = grpc.StatusCode.OK if free else grpc.StatusCode.FAILED_PRECONDITION
        assert reply.code is expected
        if reply.message is not None:
            assert reply.message.address == address
            self.granted(owner, reply.message)
        message: lease_pb2.AddressLease | None = reply.message
        return message

    @rule(lease=held)
    def release(self, lease: lease_pb2.AddressLease | None) -> None:
        if lease is None:
            return
        answer = self.rig.release(lease)
        assert answer.state != lease_pb2.AddressLease.STATE_LEASED
        if self.epochs[lease.address] == lease.epoch and lease.address in self.owner_of:
            del self.owner_of[lease.address]
            self.free_at[lease.address] = self.rig.clock.now() + COOL_DOWN
            if self.sticky:
                self.kept_until[lease.address] = self.free_at[lease.address] + KEPT
                self.unsaid.add(lease.address)

    @rule(lease=consumes(held), off=st.sampled_from([-1, 1, 7]))
    def release_another_epoch(self, lease: lease_pb2.AddressLease | None, off: int) -> None:
        if lease is None or lease.epoch + off == 0:
            return
        request = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch + off)
        assert self.rig.wire.call("ReleaseLease", request).code is grpc.StatusCode.ABORTED

    @rule(addresses=st.sets(st.sampled_from(HOSTS), max_size=3))
    def reserve(self, addresses: set[str]) -> None:
        ranges = [prefix_pb2.AddressRange(start=one, end=one) for one in addresses]
        reply = self.change("reserved", reserved=ranges)
        if not CHOSEN - addresses:
            assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
        elif (addresses - self.reserved) & set(self.owner_of):
            assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
        else:
            assert reply.code is grpc.StatusCode.OK
            self.reserved = addresses

    @rule(sticky=st.booleans())
    def stick(self, sticky: bool) -> None:
        assert self.change("sticky_time", sticky_time=KEPT if sticky else None).code is grpc.StatusCode.OK
        self.sticky = sticky

    def change(self, field: str, **changes: Any) -> Reply:
        prefix = prefix_pb2.Prefix(name=NAME, **changes)
        return self.rig.wire.call(
            "UpdatePrefix", prefix_pb2.UpdatePrefixRequest(prefix=prefix, update_mask=FieldMask(paths=[field]))
        )

    @rule(seconds=st.sampled_from([1, 15, 29, 30, 31, 46]))
    def time_passes(self, seconds: int) -> None:
        self.rig.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        now = self.rig.clock.now()
        self.rig.sweeper.tick(now)
        self.unsaid = {one for one in self.unsaid if self.free_at[one] > now}

    @invariant()
    def counts_agree(self) -> None:
        found = self.rig.wire.call("GetPrefix", prefix_pb2.GetPrefixRequest(name="projects/demo/prefixes/p1"))
        if found.message is not None:
            assert found.message.leased_count == len(self.owner_of)
            assert found.message.capacity == len(CHOSEN - self.reserved)

    def teardown(self) -> None:
        streams = verify(self.rig.events())
        for stream, headers in streams.items():
            granted = sum(header.type == "address.leased" for header in headers)
            assert granted == self.epochs[stream.rpartition("/")[2]]
        self.database.close()
        shutil.rmtree(self.folder)


TestLeases = Leases.TestCase
"""Every grant and refusal is the model's, and afterwards the log's chains and epochs are whole."""
TestLeases.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
