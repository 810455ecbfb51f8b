# SPDX-License-Identifier: Apache-2.0
"""What may be changed of a prefix while it is used: reserved ranges, pools, sharing, and what its users are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.kernel.calls import Caller
from services.kernel.clock import RandomIds
from services.kernel.errors import Exhausted, StillInUse
from tests.ipam.rig import DEMO, OTHER, Rig, creation, wish
from tests.ipam.test_concurrency import served, together
from tests.support.stores import MakeDatabase
from tests.support.wire import Reply, fields, reason

NAME = "projects/demo/prefixes/p1"


def ranges(*pairs: tuple[str, str]) -> list[prefix_pb2.AddressRange]:
    return [prefix_pb2.AddressRange(start=start, end=end) for start, end in pairs]


def update(
    *mask: str, caller: Caller | None = None, etag: str = "", validate_only: bool = False, **changes: Any
) -> prefix_pb2.UpdatePrefixRequest:
    return prefix_pb2.UpdatePrefixRequest(
        prefix=prefix_pb2.Prefix(name=NAME, etag=etag, **changes),
        update_mask=FieldMask(paths=mask),
        validate_only=validate_only,
    )


def change(rig: Rig, *mask: str, **changes: Any) -> prefix_pb2.Prefix:
    message: prefix_pb2.Prefix = rig.wire.ok("UpdatePrefix", update(*mask, **changes))
    return message


def read(rig: Rig) -> prefix_pb2.Prefix:
    message: prefix_pb2.Prefix = rig.wire.ok("GetPrefix", prefix_pb2.GetPrefixRequest(name=NAME))
    return message


def taken(rig: Rig, first: int = 0) -> list[str]:
    """Every address that is chosen until there is none."""
    found: list[str] = []
    while True:
        reply: Reply = rig.wire.call("LeaseAddress", wish(f"taker-{first + len(found)}"))
        if reply.message is None:
            assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            return found
        found.append(reply.message.address)


def test_nobody_is_given_a_reserved_address(rig: Rig) -> None:
    """
    A reserved address is neither chosen nor granted by name; all others of the prefix are.
    """
    made = rig.prefix("10.1.0.0/28", reserved=ranges(("10.1.0.4", "10.1.0.9"), ("10.1.0.14", "10.1.0.14")))

    assert (made.capacity, made.free_count) == (6, 6)
    refused = rig.refused("LeaseAddress", wish("vm-9", address="10.1.0.7"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "reserved" in refused.status.message
    assert taken(rig) == [f"10.1.0.{number}" for number in (2, 3, 10, 11, 12, 13)]
    assert read(rig).free_count == 0


def test_half_a_64_can_be_reserved(rig: Rig) -> None:
    """
    A reserved range of any size costs nothing to pass over.
    """
    rig.prefix("2001:db8::/64", reserved=ranges(("2001:db8::", "2001:db8::7fff:ffff:ffff:ffff")))

    assert rig.lease("vm-1").address == "2001:db8:0:0:8000::"
    assert read(rig).capacity == 2**63 - 1


def test_a_prefix_counts_what_is_free(rig: Rig) -> None:
    """
    Free are the addresses that could be chosen now: not leased ones, nor resting ones, and those that rested again.
    """
    rig.prefix("10.1.0.0/29", pools=(("10.1.0.3", "10.1.0.6"),))
    rig.lease("outside", address="10.1.0.2")
    leases = [rig.lease(f"vm-{number}") for number in range(2)]
    rig.release(leases[0])

    resting = read(rig)
    rig.clock.advance(600)

    assert (resting.capacity, resting.free_count) == (4, 2)
    assert read(rig).free_count == 3


def test_reserving_later_waits_for_leases(rig: Rig) -> None:
    """
    A leased address is not reserved under its owner; once it is given back it is, and is given to nobody.
    """
    before = rig.prefix("10.1.0.0/29", cool_down=timedelta(seconds=5))
    lease = rig.lease("vm-1")

    refused = rig.refused("UpdatePrefix", update(reserved=ranges((lease.address, "10.1.0.4"))))
    rig.release(lease)
    after = change(rig, reserved=ranges((lease.address, "10.1.0.4")))
    rig.clock.advance(5)

    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert lease.address in refused.status.message
    assert after.etag != before.etag
    assert taken(rig) == ["10.1.0.5", "10.1.0.6"]


def test_what_is_no_longer_reserved_is_given(rig: Rig) -> None:
    """
    Taking a reservation back, or widening the pools, opens addresses below the ones already given.
    """
    rig.prefix("10.1.0.0/28", reserved=ranges(("10.1.0.2", "10.1.0.5")), pools=(("10.1.0.1", "10.1.0.8"),))
    first = taken(rig)

    change(rig, "reserved")
    second = taken(rig, 10)
    change(rig, pools=ranges(("10.1.0.1", "10.1.0.10")))

    assert first == ["10.1.0.6", "10.1.0.7", "10.1.0.8"]
    assert second == ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"]
    assert taken(rig, 20) == ["10.1.0.9", "10.1.0.10"]


def test_what_is_told_changes_for_new_leases(rig: Rig) -> None:
    """
    Name servers and the cool-down hold from the change on; a lease keeps the name servers it was granted with.
    """
    rig.prefix("10.1.0.0/29", dns_servers=["9.9.9.9"])
    old = rig.lease("vm-1")

    change(rig, dns_servers=["8.8.8.8"], cool_down=timedelta(seconds=3))

    new = rig.lease("vm-2")
    assert list(new.dns_servers) == ["8.8.8.8"]
    kept = rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=old.name))
    assert list(kept.dns_servers) == ["9.9.9.9"]
    assert rig.release(old).free_time.ToDatetime() - rig.clock.now().replace(tzinfo=None) == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"cidr": "10.2.0.0/24"}, "prefix.cidr", id="cidr"),
        pytest.param({"vrf": "demo.other"}, "prefix.vrf", id="vrf"),
        pytest.param({"network": "projects/demo/networks/red"}, "prefix.network", id="network"),
        pytest.param({"gateway": "10.1.0.3"}, "prefix.gateway", id="gateway"),
        pytest.param({"reserved": ranges(("10.1.0.0", "10.1.0.255"))}, "prefix.reserved", id="all reserved"),
        pytest.param({"reserved": ranges(("10.2.0.0", "10.2.0.1"))}, "prefix.reserved[0].start", id="outside"),
        pytest.param({"pools": ranges(("10.1.0.9", "10.1.0.8"))}, "prefix.pools[0].end", id="backwards"),
    ],
)
def test_what_cannot_be_changed(sqlite_rig: Rig, changes: dict[str, Any], field: str) -> None:
    """
    Another range, VRF, network or gateway is refused by its name, and so is a change that leaves nothing to give.
    """
    before = sqlite_rig.prefix()

    reply = sqlite_rig.refused("UpdatePrefix", update(**changes))

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields(reply.status) == [field]
    assert read(sqlite_rig) == before


def test_updates_are_guarded(rig: Rig) -> None:
    """
    A stale etag, another project's caller and a missing prefix are refused; what is only validated changes nothing.
    """
    before = rig.prefix()
    change(rig, dns_servers=["9.9.9.9"])
    now = read(rig)

    stale = rig.refused("UpdatePrefix", update(etag=before.etag, dns_servers=["8.8.8.8"]))
    stranger = rig.refused("UpdatePrefix", update(dns_servers=["8.8.8.8"]), OTHER)
    rig.wire.ok("UpdatePrefix", update(dns_servers=["8.8.8.8"], validate_only=True))

    assert stale.code is grpc.StatusCode.ABORTED
    assert stranger.code is grpc.StatusCode.NOT_FOUND
    assert read(rig) == now


def test_other_projects_use_a_shared_prefix(rig: Rig) -> None:
    """
    Members of any project lease in a shared prefix and find it; their leases are their own. Taken back, leases stay.
    """
    rig.prefix("10.1.0.0/24", shared=True)
    rig.prefix("10.2.0.0/24", "p2")
    mine = rig.lease("vm-1", OTHER, parent="projects/other")

    listing = prefix_pb2.ListPrefixesRequest(parent="projects/other", shared=True)
    (seen,) = rig.wire.ok("ListPrefixes", listing, caller=OTHER).prefixes
    apart = rig.wire.ok("ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/other"), caller=OTHER)
    change(rig, "shared")

    assert mine.name.startswith("projects/other/leases/")
    assert mine.address.startswith("10.1.0.")
    assert (seen.name, seen.leased_count) == (NAME, 1)
    assert not apart.prefixes
    owned = rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent="projects/demo"), caller=DEMO)
    assert not owned.leases
    refused = rig.refused("LeaseAddress", wish("vm-2", parent="projects/other"), OTHER)
    assert (refused.code, reason(refused.status)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert rig.release(mine, OTHER).state == lease_pb2.AddressLease.STATE_COOLING


def test_a_prefix_of_its_own_is_not_shared_by_another(rig: Rig) -> None:
    """
    Of a network of which one prefix is shared, other projects get that one's addresses alone.
    """
    rig.prefix("10.1.0.0/24")
    rig.prefix("10.2.0.0/30", "p2", shared=True)

    assert rig.lease("vm-1", OTHER, parent="projects/other").address == "10.2.0.2"
    assert rig.refused("LeaseAddress", wish("vm-2", parent="projects/other"), OTHER).code is (
        grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    by_name = rig.refused("LeaseAddress", wish("vm-2", parent="projects/other", address="10.1.0.9"), OTHER)
    assert by_name.code is grpc.StatusCode.INVALID_ARGUMENT


def test_reserving_while_all_lease(make_database: MakeDatabase) -> None:
    """
    Whatever is reserved, opened and taken by name at the same time: no reserved address is ever leased.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/26", cool_down=timedelta(0))
    half = ranges(("10.1.0.30", "10.1.0.62"))

    def work(number: int) -> list[str]:
        refusals: list[str] = []
        for turn in range(3):
            if number == 0:
                for wanted in (half, []):
                    try:
                        served(rig, "UpdatePrefix", update("reserved", reserved=wanted))
                    except StillInUse as error:
                        refusals.append(str(error))
                continue
            try:
                lease = served(rig, "LeaseAddress", wish(f"vm-{number}-{turn}"))
            except Exhausted:
                continue
            request = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)
            assert served(rig, "ReleaseLease", request).state != lease_pb2.AddressLease.STATE_LEASED
        return refusals

    together(work)
    change(rig, "reserved", reserved=half)

    assert rig.wire.call("LeaseAddress", wish("late", address="10.1.0.31")).code is grpc.StatusCode.INVALID_ARGUMENT
    left = taken(rig, 1000)
    assert len(left) == len(set(left)) == 28
    assert max(int(address.rpartition(".")[2]) for address in left) == 29


def test_a_shared_flag_is_for_the_owner_alone(rig: Rig) -> None:
    """
    Only members of the prefix's project share it.
    """
    rig.prefix()

    refused = rig.refused("UpdatePrefix", update("shared", shared=True), OTHER)

    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert rig.refused("CreatePrefix", creation(shared=True), OTHER).code is grpc.StatusCode.NOT_FOUND
