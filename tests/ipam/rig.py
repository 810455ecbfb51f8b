# SPDX-License-Identifier: Apache-2.0
"""ipam over one database, called as a caller calls it; and its log, read as a stranger reads it."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.ipam import wire
from services.ipam.gathering import Asked
from services.ipam.servicer import IpamServicer
from services.ipam.worker import Sweeper
from services.kernel.calls import Call, Caller
from services.kernel.chain import body_digest, digest
from services.kernel.clock import Ids
from services.kernel.names import stable_uuid
from services.runtime.database import Database
from services.runtime.eventlog import EventLog
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from tests.support.clocks import FakeClock, SequentialIds
from tests.support.wire import Reply, Wire, admin, member, service

NETWORK = "projects/demo/networks/blue"
SERVER = "servers/11111111-1111-4111-8111-111111111111"
VM = lease_pb2.Owner.KIND_VIRTUAL_MACHINE
BARE_METAL = lease_pb2.Owner.KIND_BARE_METAL_INSTANCE

ADMIN, LIFECYCLE, DEMO, OTHER = admin(), service(), member("demo"), member("other")


class Rig:
    """ipam, a clock that stands still, and callers; by default a member of the project ``demo``."""

    def __init__(self, database: Database, *, ids: Ids | None = None) -> None:
        self.database = database
        self.clock = FakeClock()
        self.log = EventLog(database, ids or SequentialIds("log"), chained=True)
        self.servicer = IpamServicer(
            database,
            self.log,
            Writer(database, Replies(b"k" * 32)),
            PageTokens(b"p" * 32),
            ids or SequentialIds("ipam"),
        )
        self.wire = Wire(self.servicer, DEMO, clock=self.clock)
        self.sweeper = Sweeper(database, self.servicer.store)

    def prefix(self, cidr: str = "10.1.0.0/24", prefix_id: str = "p1", **fields: Any) -> prefix_pb2.Prefix:
        """Makes a prefix in the project ``demo``."""
        message: prefix_pb2.Prefix = self.wire.ok("CreatePrefix", creation(cidr, prefix_id, **fields))
        return message

    def lease(self, resource: str = "vm-1", caller: Caller | None = None, **fields: Any) -> lease_pb2.AddressLease:
        """Leases an address."""
        message: lease_pb2.AddressLease = self.wire.ok("LeaseAddress", wish(resource, **fields), caller=caller)
        return message

    def release(self, lease: lease_pb2.AddressLease, caller: Caller | None = None) -> lease_pb2.AddressLease:
        """Releases a virtual machine's lease."""
        request = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)
        message: lease_pb2.AddressLease = self.wire.ok("ReleaseLease", request, caller=caller)
        return message

    def refused(self, method: str, request: Any, caller: Caller | None = None) -> Reply:
        """Calls *method*, which must be refused."""
        reply = self.wire.call(method, request, caller=caller)
        assert reply.message is None, f"{method} was not refused"
        return reply

    def events(self) -> list[event_pb2.StoredEvent]:
        """Every event there is, in commit order."""
        while self.log.seal() if self.database.dialect == "postgresql" else 0:
            pass
        found: list[event_pb2.StoredEvent] = []
        after = 0
        while True:
            listed = self.log.list(after=after, limit=1000, wait=0)
            if not listed.events:
                return found
            found += [
                event_pb2.StoredEvent(
                    header=row.header,
                    body=row.body,
                    body_digest=row.body_digest,
                    previous=row.previous,
                    digest=row.digest,
                    position=row.position,
                )
                for row in listed.events
            ]
            after = listed.next_after

    def of_addresses(self) -> list[event_pb2.StoredEvent]:
        """Those of addresses alone, without what happened to prefixes."""
        return [one for one in self.events() if event_pb2.EventHeader.FromString(one.header).stream.startswith("vrfs/")]


def creation(
    cidr: str = "10.1.0.0/24",
    prefix_id: str = "p1",
    *,
    network: str = NETWORK,
    parent: str = "projects/demo",
    cool_down: timedelta | None = None,
    pools: tuple[tuple[str, str], ...] = (),
    validate_only: bool = False,
    request_id: str = "",
    **fields: Any,
) -> prefix_pb2.CreatePrefixRequest:
    """A request for a prefix."""
    prefix = prefix_pb2.Prefix(cidr=cidr, network=network, **fields)
    if cool_down is not None:
        rest = Duration()
        rest.FromTimedelta(cool_down)
        prefix.cool_down.CopyFrom(rest)
    for start, end in pools:
        prefix.pools.add(start=start, end=end)
    return prefix_pb2.CreatePrefixRequest(
        parent=parent, prefix_id=prefix_id, prefix=prefix, validate_only=validate_only, request_id=request_id
    )


def wish(
    resource: str = "vm-1",
    *,
    network: str = NETWORK,
    parent: str = "projects/demo",
    kind: Any = VM,
    interface: str = "",
    mac_address: str = "",
    **fields: Any,
) -> lease_pb2.LeaseAddressRequest:
    """A request for an address."""
    return lease_pb2.LeaseAddressRequest(
        parent=parent,
        network=network,
        owner=lease_pb2.Owner(kind=kind, resource=resource, interface=interface, mac_address=mac_address),
        **fields,
    )


def asked(rig: Rig, request: lease_pb2.LeaseAddressRequest, caller: Caller = DEMO) -> Asked:
    """*request* as it waits to be granted together with others."""
    method = "/bms.ipam.v1.IpamService/LeaseAddress"
    return Asked(Call(caller, method, "test", rig.clock.now(), request.request_id), request, wire.wanted(request))


def proof(rig: Rig, seconds: float = 0) -> lease_pb2.DetachProof:
    """What proves a detach, read *seconds* from now."""
    read_time = Timestamp()
    read_time.FromDatetime(rig.clock.now() + timedelta(seconds=seconds))
    return lease_pb2.DetachProof(server=SERVER, read_time=read_time, reading_digest=b"d" * 32)


def verify(events: list[event_pb2.StoredEvent]) -> dict[str, list[event_pb2.EventHeader]]:
    """Checks every stream's chain, and that no address had two owners; answers the headers of addresses by stream."""
    ends: dict[str, bytes] = {}
    streams: dict[str, list[event_pb2.EventHeader]] = defaultdict(list)
    sequences: dict[str, int] = defaultdict(int)
    epochs: dict[str, int] = defaultdict(int)
    owned: dict[str, str] = {}
    free_times: dict[str, Any] = {}
    for position, event in enumerate(events, start=1):
        header = event_pb2.EventHeader.FromString(event.header)
        body = event_pb2.EventBody.FromString(event.body)
        stream = header.stream
        assert event.position == position
        assert event.previous == ends.get(stream, b"")
        assert event.body_digest == body_digest(event.body)
        assert event.digest == digest(event.previous, event.header, event.body_digest)
        sequences[stream] += 1
        assert header.sequence == sequences[stream]
        ends[stream] = event.digest
        if stream.startswith("prefixes/"):
            assert header.type in ("prefix.created", "prefix.changed", "prefix.deleted")
            assert "projects/" not in stream
            continue
        before = streams[stream][-1].state_after if streams[stream] else "free"
        assert header.state_before == before
        streams[stream].append(header)
        (seen,) = body.evidence.addresses
        assert stream == f"vrfs/{stable_uuid('vrf', seen.vrf)}/addresses/{seen.address}"
        assert seen.state == header.state_after
        if header.type in ("address.observed", "address.unobserved"):
            assert before in ("free", "external")
            assert header.state_after == ("external" if header.type == "address.observed" else "free")
            assert seen.epoch == epochs[stream]
            continue
        if header.type == "address.leased":
            assert before == "free"
            assert seen.epoch == epochs[stream] + 1
            epochs[stream] = seen.epoch
            owned[stream] = seen.lease
        else:
            assert seen.epoch == epochs[stream]
            assert seen.lease == owned[stream]
        if header.type == "address.cooling":
            free_times[stream] = seen.free_time.ToDatetime()
        if header.type == "address.freed":
            assert header.time.ToDatetime() >= free_times[stream]
    return streams
