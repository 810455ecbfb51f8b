# SPDX-License-Identifier: Apache-2.0
"""Containers, and the prefixes that they are divided into."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import pairwise
from typing import Any, cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.ipam.v1 import prefix_pb2
from services.ipam.domain.addresses import Network
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.carving import carve, next_range, put_back
from services.ipam.operations.ports import Store
from services.kernel.clock import RandomIds
from services.kernel.errors import AlreadyExists, Exhausted
from tests.ipam.neutron_rig import NeutronRig
from tests.ipam.rig import ADMIN, OTHER, Rig, creation
from tests.ipam.test_concurrency import served, together
from tests.ipam.test_domain import a_prefix
from tests.ipam.test_tuning import read, update
from tests.support.stores import MakeDatabase
from tests.support.wire import fields

POOL = "projects/demo/prefixes/pool"


def container(rig: Rig, cidr: str = "10.0.0.0/22", **given: Any) -> prefix_pb2.Prefix:
    message: prefix_pb2.Prefix = rig.wire.ok(
        "CreatePrefix", creation(cidr, "pool", network="", container=True, **{"vrf": "demo.all", **given})
    )
    return message


def part(prefix_id: str, length: int = 0, cidr: str = "", **given: Any) -> prefix_pb2.CreatePrefixRequest:
    """A request for a part of the container."""
    fields = {"network": f"projects/demo/networks/{prefix_id}", "parent_prefix": POOL, **given}
    request = creation(cidr, prefix_id, **fields)
    request.prefix_length = length
    return request


def pool(rig: Rig) -> prefix_pb2.Prefix:
    message: prefix_pb2.Prefix = rig.wire.ok("GetPrefix", prefix_pb2.GetPrefixRequest(name=POOL))
    return message


def delete(name: str) -> prefix_pb2.DeletePrefixRequest:
    return prefix_pb2.DeletePrefixRequest(name=f"projects/demo/prefixes/{name}")


def test_the_next_free_range(rig: Rig) -> None:
    """
    Parts are made from the lowest gap of the smallest that fits; they are prefixes like others, of the container's VRF.
    """
    container(rig)
    rig.wire.ok("CreatePrefix", part("named", cidr="10.0.1.0/24"))

    first = rig.wire.ok("CreatePrefix", part("a", 26))
    second = rig.wire.ok("CreatePrefix", part("b", 24))
    third = rig.wire.ok("CreatePrefix", part("c", 26))

    assert (first.cidr, first.gateway, first.vrf, first.parent_prefix) == ("10.0.0.0/26", "10.0.0.1", "demo.all", POOL)
    assert (second.cidr, third.cidr) == ("10.0.2.0/24", "10.0.0.64/26")
    assert rig.lease("vm-1", network="projects/demo/networks/b").address == "10.0.2.2"
    seen = pool(rig)
    assert (seen.child_count, seen.capacity, seen.free_count) == (4, 1024, 1024 - 2 * 256 - 2 * 64)
    listing = prefix_pb2.ListPrefixesRequest(parent="projects/demo", filter=f'parent_prefix = "{POOL}"')
    assert len(rig.wire.ok("ListPrefixes", listing).prefixes) == 4


def test_a_container_goes_to_its_last_range(rig: Rig) -> None:
    """
    When nothing of the length is left it says so; a part that is removed is whole again, with its neighbours.
    """
    container(rig, "2001:db8::/62")
    made = [rig.wire.ok("CreatePrefix", part(f"p{number}", 64)).cidr for number in range(4)]

    refused = rig.refused("CreatePrefix", part("more", 64))
    for number in range(4):
        rig.wire.ok("DeletePrefix", delete(f"p{number}"))

    assert made == ["2001:db8::/64", *(f"2001:db8:0:{number}::/64" for number in range(1, 4))]
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.wire.ok("CreatePrefix", part("whole", 62)).cidr == "2001:db8::/62"


def test_a_container_is_not_removed_under_its_parts(rig: Rig) -> None:
    """
    No part is orphaned: a container is removed after the prefixes that were made of it, at every depth.
    """
    container(rig)
    inner = part("inner", 23, network="", container=True)
    rig.wire.ok("CreatePrefix", inner)
    rig.wire.ok("CreatePrefix", part("leaf", 24, parent_prefix="projects/demo/prefixes/inner"))

    for name in ("pool", "inner"):
        reply = rig.refused("DeletePrefix", delete(name))
        assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
        assert reply.status.message.endswith("is divided into 1 prefix")
    for name in ("leaf", "inner", "pool"):
        rig.wire.ok("DeletePrefix", delete(name))

    assert container(rig).free_count == 1024


def test_parts_and_strangers_lie_apart(rig: Rig) -> None:
    """
    A range that is another part's, or reaches out of the container, is refused; so is one in it without its name.
    """
    container(rig)
    rig.wire.ok("CreatePrefix", part("a", cidr="10.0.1.0/24"))

    for cidr in ("10.0.1.0/24", "10.0.1.128/25", "10.0.0.0/23"):
        assert rig.refused("CreatePrefix", part("b", cidr=cidr)).code is grpc.StatusCode.ALREADY_EXISTS
    outside = rig.refused("CreatePrefix", part("b", cidr="10.0.4.0/24"))
    assert (outside.code, fields(outside.status)) == (grpc.StatusCode.INVALID_ARGUMENT, ["prefix.cidr"])
    beside = rig.refused("CreatePrefix", creation("10.0.2.0/24", "b", vrf="demo.all"))
    assert beside.code is grpc.StatusCode.ALREADY_EXISTS
    assert pool(rig).child_count == 1


def test_what_is_left_out_is_told_by_its_name(rig: Rig) -> None:
    """
    A length without its container, no range and no length, and a network that is missing: each is said so.
    """
    container(rig)

    for request, field in (
        (part("a", 24, parent_prefix=""), "prefix.parent_prefix"),
        (part("a"), "prefix.cidr"),
        (part("a", 24, network=""), "prefix.network"),
    ):
        reply = rig.refused("CreatePrefix", request)
        assert fields(reply.status) == [field]
        assert "is not given" in reply.status.message


def test_a_shared_container_serves_all_projects(rig: Rig) -> None:
    """
    Of a shared container any project makes prefixes of its own; of one that is not, none but its own does.
    """
    container(rig)
    request = part("mine", 24, parent="projects/other", network="projects/other/networks/red")

    hidden = rig.refused("CreatePrefix", request, OTHER)
    rig.wire.ok(
        "UpdatePrefix",
        prefix_pb2.UpdatePrefixRequest(prefix=prefix_pb2.Prefix(name=POOL, shared=True, etag=pool(rig).etag)),
    )
    made = rig.wire.ok("CreatePrefix", request, caller=OTHER)

    assert hidden.code is grpc.StatusCode.NOT_FOUND
    assert made.name == "projects/other/prefixes/mine"
    foreign = part("theirs", 24, parent="projects/other", network="projects/demo/networks/blue")
    assert rig.refused("CreatePrefix", foreign, OTHER).code is grpc.StatusCode.NOT_FOUND
    assert rig.lease("vm-1", OTHER, parent="projects/other", network="projects/other/networks/red").vrf == "demo.all"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        pytest.param(creation("10.0.0.0/8", "x", network="", container=True), "prefix.vrf", id="no vrf"),
        pytest.param(
            creation("10.0.0.0/8", "x", container=True, vrf="demo.all"), "prefix.network", id="with a network"
        ),
        pytest.param(part("x", 24, cidr="10.0.0.0/24"), "prefix_length", id="range and length"),
        pytest.param(part("x", 21), "prefix_length", id="wider than the container"),
        pytest.param(part("x", 33), "prefix_length", id="no length"),
        pytest.param(part("x", 24, parent_prefix=""), "prefix.parent_prefix", id="length of nothing"),
        pytest.param(part("x", 24, vrf="demo.other"), "prefix.vrf", id="another vrf"),
        pytest.param(part("x", cidr="2001:db8::/64"), "prefix.cidr", id="another version"),
    ],
)
def test_malformed_parts(sqlite_rig: Rig, request_: prefix_pb2.CreatePrefixRequest, field: str) -> None:
    """
    What cannot be a container, or a part of one, is refused by its field.
    """
    container(sqlite_rig)

    reply = sqlite_rig.refused("CreatePrefix", request_, ADMIN)

    assert (reply.code, fields(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert pool(sqlite_rig).child_count == 0


def test_a_prefix_of_addresses_is_not_divided(rig: Rig) -> None:
    """
    Either addresses or parts: a prefix of a network has no parts, and a container gives no addresses.
    """
    rig.prefix()

    refused = rig.refused("CreatePrefix", part("x", 26, parent_prefix="projects/demo/prefixes/p1"))
    turned = rig.refused("UpdatePrefix", update("container", container=True))

    assert fields(refused.status) == ["prefix.parent_prefix"]
    assert fields(turned.status) == ["prefix.container"]
    assert not read(rig).container


def test_many_divide_a_container(make_database: MakeDatabase) -> None:
    """
    Thirty-two callers who want ranges at once get each of them once, to the last, and nobody fails otherwise.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    container(rig, "10.0.0.0/24")

    def work(number: int) -> list[str]:
        try:
            return [served(rig, "CreatePrefix", part(f"p{number}", 28)).cidr]
        except Exhausted:
            return []

    found = together(work)

    assert sorted(found) == sorted(str(one) for one in ip_network("10.0.0.0/24").subnets(new_prefix=28))
    assert pool(rig).free_count == 0


def test_a_part_is_a_subnet(make_database: MakeDatabase) -> None:
    """
    Where Neutron gives addresses too, a part is made there as a subnet, and the container is nothing to it.
    """
    rig = NeutronRig(make_database("services.ipam"))
    container(rig)

    made = rig.wire.ok("CreatePrefix", part("a", 24, network="projects/demo/networks/blue"))
    rig.round()

    assert [subnet["cidr"] for subnet in rig.neutron.subnets.values()] == [made.cidr] == ["10.0.0.0/24"]


class Blocks:
    """As much of a store as dividing needs."""

    def __init__(self, whole: Network) -> None:
        self.free = {whole}

    def smallest_block(self, container: Prefix, length: int) -> Network | None:
        wide = [block for block in self.free if block.prefixlen <= length]
        return min(wide, key=lambda block: (-block.prefixlen, int(block.network_address)), default=None)

    def block_among(self, container: str, blocks: list[Network]) -> Network | None:
        return next((block for block in blocks if block in self.free), None)

    def take_block(self, container: str, block: Network) -> bool:
        there = block in self.free
        self.free.discard(block)
        return there

    def add_blocks(self, container: str, blocks: list[Network]) -> None:
        assert not self.free & set(blocks)
        self.free |= set(blocks)


@given(st.lists(st.tuples(st.integers(24, 30), st.integers(0, 63), st.booleans(), st.booleans()), max_size=40))
def test_dividing_loses_nothing(steps: list[tuple[int, int, bool, bool]]) -> None:
    """
    Whatever is cut out and put back in whatever order: parts and free blocks are the container, each address once; a
    range is refused only when there is none; and what is all put back is one block again.
    """
    whole = ip_network("10.0.0.0/24")
    prefix = a_prefix(whole)
    blocks = Blocks(whole)
    store = cast("Store", blocks)
    parts: list[Network] = []
    for length, pick, giving, named in steps:
        if giving and parts:
            put_back(store, prefix, parts.pop(pick % len(parts)))
        elif named:
            ranges: list[Network] = [*whole.subnets(new_prefix=length)]
            wanted = ranges[pick % len(ranges)]
            if any(wanted.overlaps(one) for one in parts):
                with pytest.raises(AlreadyExists):
                    carve(store, prefix, wanted)
            else:
                carve(store, prefix, wanted)
                parts.append(wanted)
        else:
            fits = any(not any(one.overlaps(other) for other in parts) for one in whole.subnets(new_prefix=length))
            try:
                wanted = next_range(store, prefix, length)
            except Exhausted:
                assert not fits
                continue
            carve(store, prefix, wanted)
            parts.append(wanted)
        spans = sorted((int(one.network_address), one.num_addresses) for one in [*parts, *blocks.free])
        assert sum(many for _, many in spans) == whole.num_addresses
        assert all(first + many == after for (first, many), (after, _) in pairwise(spans))
    for one in parts:
        put_back(store, prefix, one)
    assert blocks.free == {whole}
