# SPDX-License-Identifier: Apache-2.0
"""Prefixes as callers meet them, over both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from bms.ipam.v1 import lease_pb2, prefix_pb2
from tests.ipam.rig import ADMIN, DEMO, LIFECYCLE, NETWORK, OTHER, Rig, creation, verify, wish
from tests.support.wire import fields, member, reader, remedy


def test_a_prefix_says_what_holds_for_it(rig: Rig) -> None:
    """
    What was left out is told as it holds: gateway, VRF, cool-down, IP version; it reads back the same.
    """
    made = rig.prefix("10.1.0.0/24")

    assert made.name == "projects/demo/prefixes/p1"
    assert (made.gateway, made.vrf, made.ip_version) == ("10.1.0.1", "demo.blue", 4)
    assert made.cool_down.ToTimedelta() == timedelta(minutes=10)
    assert made.etag
    assert rig.wire.ok("GetPrefix", prefix_pb2.GetPrefixRequest(name=made.name)) == made


def test_a_prefix_counts_what_it_holds(rig: Rig) -> None:
    """
    Leased and resting addresses are counted in reads and lists.
    """
    rig.prefix()
    rig.release(rig.lease("vm-1"))
    rig.lease("vm-2")
    rig.lease("vm-3")

    one = rig.wire.ok("GetPrefix", prefix_pb2.GetPrefixRequest(name="projects/demo/prefixes/p1"))
    (listed,) = rig.wire.ok("ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/demo")).prefixes

    assert (one.leased_count, one.cooling_count) == (2, 1)
    assert listed == one


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cidr": "10.1.0.0"}, "prefix.cidr"),
        ({"cidr": "10.1.0.7/24"}, "prefix.cidr"),
        ({"cidr": "10.1.0.0/255.255.255.0"}, "prefix.cidr"),
        ({"cidr": "10.1.0.0/33"}, "prefix.cidr"),
        ({"cidr": "2001:db8::/129"}, "prefix.cidr"),
        ({"cidr": "fe80::%eth0/64"}, "prefix.cidr"),
        ({"cidr": "224.0.0.0/4"}, "prefix.cidr"),
        ({"cidr": "127.0.0.0/8"}, "prefix.cidr"),
        ({"cidr": "169.254.0.0/16"}, "prefix.cidr"),
        ({"cidr": "0.0.0.0/8"}, "prefix.cidr"),
        ({"cidr": "fe80::/64"}, "prefix.cidr"),
        ({"cidr": "::ffff:10.1.0.0/120"}, "prefix.cidr"),
        ({"gateway": "::ffff:10.1.0.1"}, "prefix.gateway"),
        ({"cidr": ""}, "prefix.cidr"),
        ({"cidr": "x" * 5000}, "prefix.cidr"),
        ({"network": ""}, "prefix.network"),
        ({"network": "networks/blue"}, "prefix.network"),
        ({"vrf": "UPPER"}, "prefix.vrf"),
        ({"gateway": "10.2.0.1"}, "prefix.gateway"),
        ({"gateway": "10.1.0.0"}, "prefix.gateway"),
        ({"gateway": "10.1.0.255"}, "prefix.gateway"),
        ({"gateway": "2001:db8::1"}, "prefix.gateway"),
        ({"gateway": "first"}, "prefix.gateway"),
        ({"pools": (("10.1.0.9", "10.1.0.8"),)}, "prefix.pools[0].end"),
        ({"pools": (("10.1.0.8", "10.1.1.8"),)}, "prefix.pools[0].end"),
        ({"pools": (("2001:db8::1", "10.1.0.8"),)}, "prefix.pools[0].start"),
        ({"pools": (("10.1.0.8", "10.1.0.20"), ("10.1.0.20", "10.1.0.30"))}, "prefix.pools"),
        ({"pools": (("10.1.0.1", "10.1.0.1"),)}, "prefix.pools"),
        ({"pools": tuple((f"10.1.0.{n}", f"10.1.0.{n}") for n in range(65))}, "prefix.pools"),
        ({"cidr": "10.1.0.0/32", "gateway": "10.1.0.0"}, "prefix.gateway"),
        ({"dns_servers": ["ns1"]}, "prefix.dns_servers[0]"),
        ({"dns_servers": ["10.0.0.1"] * 9}, "prefix.dns_servers"),
        ({"cool_down": timedelta(seconds=-1)}, "prefix.cool_down"),
        ({"cool_down": timedelta(days=31)}, "prefix.cool_down"),
        ({"prefix_id": "P 1"}, "prefix_id"),
        ({"parent": "demo"}, "parent"),
    ],
)
def test_malformed_prefixes(sqlite_rig: Rig, change: dict[str, Any], field: str) -> None:
    """
    A malformed field is refused by its name, with a remedy, and nothing is made.
    """
    reply = sqlite_rig.refused("CreatePrefix", creation(**{"cidr": "10.1.0.0/24", **change}), ADMIN)

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields(reply.status) == [field]
    assert len(sqlite_rig.wire.ok("ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/demo")).prefixes) == 0


@pytest.mark.parametrize("cidr", ["10.1.0.0/24", "10.1.0.0/16", "10.0.0.0/8", "10.1.0.128/25", "10.1.0.5/32"])
def test_overlaps_in_a_vrf_are_refused(rig: Rig, cidr: str) -> None:
    """
    The same, a wider and a narrower range are ALREADY_EXISTS in the VRF, and the refusal names the other prefix.
    """
    rig.prefix("10.1.0.0/24")

    reply = rig.refused("CreatePrefix", creation(cidr, "p2"))

    assert reply.code is grpc.StatusCode.ALREADY_EXISTS
    assert "10.1.0.0/24" in reply.status.message
    assert "projects/demo/prefixes/p1" in reply.status.message


def test_ranges_beside_each_other_are_fine(rig: Rig) -> None:
    """
    Neighbours in a VRF, the same range in another VRF, and IPv6 over everything do not overlap.
    """
    rig.prefix("10.1.1.0/24", "middle")
    rig.prefix("10.1.0.0/24", "before")
    rig.prefix("10.1.2.0/24", "after")
    rig.prefix("::/0", "everything")
    rig.prefix("10.1.1.0/24", "elsewhere", network="projects/demo/networks/red")

    assert rig.lease("vm-1", network="projects/demo/networks/red", address="10.1.1.7").vrf == "demo.red"
    assert rig.lease("vm-1", address="10.1.1.7").vrf == "demo.blue"
    verify(rig.events())


def test_a_network_is_in_one_vrf(rig: Rig) -> None:
    """
    A second VRF for a network is refused until its last prefix is gone.
    """
    first = rig.prefix("10.1.0.0/24", vrf="demo.shared")
    other = creation("10.2.0.0/24", "p2", vrf="demo.other")

    reply = rig.refused("CreatePrefix", other)
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=first.name))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "demo.shared" in remedy(reply.status)
    assert rig.wire.ok("CreatePrefix", other).vrf == "demo.other"


def test_vrfs_belong_to_projects(rig: Rig) -> None:
    """
    A project names only its own VRFs, and cannot get into another's by an id with a dot; administrators can share one.
    """
    rig.prefix(network="projects/demo/networks/b.c")
    named = creation(vrf="demo.b.c", parent="projects/other", network="projects/other/networks/n")
    dotted = creation(parent="projects/demo.b", network="projects/demo.b/networks/c", cidr="10.9.0.0/24")

    assert rig.refused("CreatePrefix", named, OTHER).code is grpc.StatusCode.PERMISSION_DENIED
    assert rig.refused("CreatePrefix", named, ADMIN).code is grpc.StatusCode.ALREADY_EXISTS
    clash = rig.refused("CreatePrefix", dotted, member("demo.b"))
    assert clash.code is grpc.StatusCode.ALREADY_EXISTS
    assert "10.1.0.0" not in clash.status.message
    named.prefix.cidr = "10.9.0.0/24"
    assert rig.wire.ok("CreatePrefix", named, caller=ADMIN).vrf == "demo.b.c"


def test_prefixes_of_other_projects(rig: Rig) -> None:
    """
    Another project's prefixes do not exist for a member, and he makes none in its networks; readers make none at all.
    """
    made = rig.prefix()
    foreign = creation(parent="projects/other", network=NETWORK)

    for method, request in (
        ("GetPrefix", prefix_pb2.GetPrefixRequest(name=made.name)),
        ("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=made.name)),
        ("ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/demo")),
        ("CreatePrefix", foreign),
    ):
        assert rig.refused(method, request, OTHER).code is grpc.StatusCode.NOT_FOUND
    assert (
        rig.refused("CreatePrefix", creation("10.2.0.0/24", "p2"), reader()).code is grpc.StatusCode.PERMISSION_DENIED
    )


def test_a_name_is_given_once(rig: Rig) -> None:
    """
    The same id again is ALREADY_EXISTS; the same request_id answers the prefix that was made.
    """
    request_id = "6a9d0a5c-8f5d-4b54-9f0f-2b5f3b1c7d10"
    made = rig.prefix(request_id=request_id)

    assert rig.prefix(request_id=request_id) == made
    assert rig.refused("CreatePrefix", creation("10.2.0.0/24")).code is grpc.StatusCode.ALREADY_EXISTS
    changed = creation("10.2.0.0/24", request_id=request_id)
    assert fields(rig.refused("CreatePrefix", changed).status) == ["request_id"]


def test_a_validated_prefix_is_not_made(rig: Rig) -> None:
    """
    validate_only answers the prefix and leaves name, range and VRF free.
    """
    rig.prefix(validate_only=True, vrf="demo.one")

    assert rig.prefix(vrf="demo.two").vrf == "demo.two"


def test_deleting_waits_for_the_last_address(rig: Rig) -> None:
    """
    A prefix with a leased or resting address is FAILED_PRECONDITION; once the last has rested it goes, told in the log.
    """
    made = rig.prefix(cool_down=timedelta(seconds=60))
    lease = rig.lease("vm-1")
    request = prefix_pb2.DeletePrefixRequest(name=made.name)

    leased = rig.refused("DeletePrefix", request)
    rig.release(lease)
    resting = rig.refused("DeletePrefix", request)
    rig.clock.advance(60)
    rig.wire.ok("DeletePrefix", request)

    assert leased.code is resting.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "elease" in remedy(leased.status)
    assert "ait" in remedy(resting.status)
    assert rig.refused("GetPrefix", prefix_pb2.GetPrefixRequest(name=made.name)).code is grpc.StatusCode.NOT_FOUND
    assert rig.refused("DeletePrefix", request).code is grpc.StatusCode.NOT_FOUND
    freed = rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=lease.name))
    assert freed.state == lease_pb2.AddressLease.STATE_FREED
    assert freed.gateway == "10.1.0.1"
    (stream,) = verify(rig.events()).values()
    assert stream[-1].type == "address.freed"


def test_a_stale_etag_deletes_nothing(rig: Rig) -> None:
    """
    An etag of an earlier prefix of the same name is ABORTED.
    """
    first = rig.prefix()
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=first.name, etag=first.etag))
    rig.clock.advance(1)
    second = rig.prefix()

    stale = rig.refused("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=second.name, etag=first.etag))

    assert stale.code is grpc.StatusCode.ABORTED
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=second.name, etag=second.etag, validate_only=True))
    assert rig.wire.ok("GetPrefix", prefix_pb2.GetPrefixRequest(name=second.name)) == second


def test_addresses_remember_their_streams(rig: Rig) -> None:
    """
    A prefix made again over the same addresses goes on with their epochs and chains; a new gateway is never given.
    """
    first = rig.prefix("10.1.0.0/29", cool_down=timedelta())
    for number in range(5):
        rig.release(rig.lease(f"vm-{number}"))
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=first.name))
    rig.prefix("10.1.0.0/28", gateway="10.1.0.4", cool_down=timedelta())

    leases = [rig.lease(f"new-{number}") for number in range(13)]

    assert rig.refused("LeaseAddress", wish("one-more")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    found = {lease.address: lease.epoch for lease in leases}
    assert set(found) == {f"10.1.0.{number}" for number in range(1, 15) if number != 4}
    assert [found[f"10.1.0.{number}"] for number in (1, 2, 3, 5, 6, 7)] == [1, 2, 2, 2, 2, 1]
    verify(rig.events())


def test_prefixes_are_listed_in_pages_and_filtered(rig: Rig) -> None:
    """
    Pages cover all prefixes once, by name; filters narrow them; only the site's people see all projects.
    """
    for number in range(5):
        rig.prefix(f"10.{number}.0.0/24", f"p{number}")
    rig.prefix("2001:db8::/64", "six")
    request = prefix_pb2.ListPrefixesRequest(parent="projects/demo", page_size=4)

    first = rig.wire.ok("ListPrefixes", request)
    request.page_token = first.next_page_token
    second = rig.wire.ok("ListPrefixes", request)

    assert [prefix.name.rpartition("/")[2] for prefix in (*first.prefixes, *second.prefixes)] == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
        "six",
    ]
    assert not second.next_page_token
    six = prefix_pb2.ListPrefixesRequest(parent="projects/-", filter="ip_version = 6 AND vrf = demo.blue")
    assert len(rig.wire.ok("ListPrefixes", six, caller=LIFECYCLE).prefixes) == 1
    assert rig.refused("ListPrefixes", six, DEMO).code is grpc.StatusCode.NOT_FOUND
    bad = prefix_pb2.ListPrefixesRequest(parent="projects/demo", filter="ip_version = 5")
    assert fields(rig.refused("ListPrefixes", bad).status) == ["filter"]


def test_a_network_has_a_bounded_number_of_prefixes(rig: Rig) -> None:
    """
    The sixty-fifth prefix of a network is RESOURCE_EXHAUSTED.
    """
    for number in range(64):
        rig.prefix(f"10.1.{number}.0/24", f"p{number}")

    reply = rig.refused("CreatePrefix", creation("10.2.0.0/24", "more"))

    assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
