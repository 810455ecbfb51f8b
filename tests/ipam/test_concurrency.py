# SPDX-License-Identifier: Apache-2.0
"""Many callers at once, by real threads: no address is granted twice, and none is left over."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_network
from itertools import combinations
from typing import Any, TypeVar

import grpc

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.kernel.calls import Call
from services.kernel.clock import RandomIds
from services.kernel.errors import AlreadyExists, BmsError, Exhausted, Stale
from services.runtime.context import current
from tests.ipam.rig import DEMO, Rig, creation, verify, wish
from tests.support.stores import MakeDatabase

T = TypeVar("T")

CALLERS = 32


def served(rig: Rig, method: str, request: Any) -> Any:
    """Calls the servicer's method as the interceptors do; cheaper than the wire, where threads are many."""
    token = current.set(
        Call(
            DEMO,
            f"/bms.ipam.v1.IpamService/{method}",
            "test",
            rig.clock.now(),
            request.request_id,
            request.validate_only,
        )
    )
    try:
        return getattr(rig.servicer, method)(request, None)
    finally:
        current.reset(token)


def together(work: Callable[[int], list[T]]) -> list[T]:
    """Runs *work* in `CALLERS` threads that begin at the same moment; answers all they answered."""
    barrier = threading.Barrier(CALLERS)

    def begin(number: int) -> list[T]:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(CALLERS) as pool:
        return [one for found in pool.map(begin, range(CALLERS)) for one in found]


def test_a_prefix_goes_to_its_last_address(make_database: MakeDatabase) -> None:
    """
    Thirty-two callers who take until there is no more get every address of a /24 once, and none twice.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/24")

    def take_all(number: int) -> list[str]:
        found: list[str] = []
        while True:
            try:
                found.append(served(rig, "LeaseAddress", wish(f"vm-{number}-{len(found)}")).address)
            except Exhausted:
                return found

    found = together(take_all)

    assert sorted(Counter(found).values()) == [1] * 253
    assert len(verify(rig.events())) == 253


def test_an_owner_asked_for_by_many_gets_one(make_database: MakeDatabase) -> None:
    """
    Thirty-two callers who ask for the same owner at the same moment are answered the same lease.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/24")

    found = together(lambda _: [served(rig, "LeaseAddress", wish("vm-1")).name])

    assert len(set(found)) == 1
    assert len(rig.of_addresses()) == 1


def test_a_fixed_address_wanted_by_many_goes_to_one(make_database: MakeDatabase) -> None:
    """
    Of thirty-two owners who want the same address one gets it; the others are told that it has an owner.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/24")

    def want(number: int) -> list[str]:
        try:
            return [served(rig, "LeaseAddress", wish(f"vm-{number}", address="10.1.0.99")).address]
        except BmsError as error:
            return [error.reason]

    found = together(want)

    assert Counter(found) == {"10.1.0.99": 1, "ALREADY_EXISTS": CALLERS - 1}


def test_taking_and_giving_back_never_doubles(make_database: MakeDatabase) -> None:
    """
    With fewer addresses than callers, all taking, releasing and releasing late, the log shows one owner at a time.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/28", cool_down=timedelta())
    holders: dict[str, int] = {}
    guard = threading.Lock()

    def churn(number: int) -> list[str]:
        done: list[str] = []
        last: lease_pb2.AddressLease | None = None
        for turn in range(12):
            try:
                lease = served(rig, "LeaseAddress", wish(f"vm-{number}-{turn}"))
            except Exhausted:
                continue
            with guard:
                assert lease.address not in holders
                holders[lease.address] = number
            if last is not None:
                late = lease_pb2.ReleaseLeaseRequest(name=last.name, epoch=last.epoch)
                assert served(rig, "ReleaseLease", late).state != lease_pb2.AddressLease.STATE_LEASED
                wrong = lease_pb2.ReleaseLeaseRequest(name=last.name, epoch=last.epoch + 1)
                try:
                    served(rig, "ReleaseLease", wrong)
                except Stale:
                    done.append("stale")
            with guard:
                del holders[lease.address]
            served(rig, "ReleaseLease", lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch))
            last = lease
            done.append(lease.address)
        return done

    found = together(churn)

    assert len(found) > CALLERS
    streams = verify(rig.events())
    assert sum(header.type == "address.leased" for stream in streams.values() for header in stream) == len(
        [one for one in found if one != "stale"]
    )


def test_deleting_a_prefix_while_others_lease(make_database: MakeDatabase) -> None:
    """
    A prefix deleted at the very moment at which addresses are wanted never leaves a lease without its prefix.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    for turn in range(6):
        rig.prefix("10.1.0.0/29", cool_down=timedelta())

        def act(number: int, turn: int = turn) -> list[str]:
            try:
                if number % 8 == 0:
                    served(rig, "DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1"))
                    return ["deleted"]
                address = f"10.1.0.{2 + number % 5}" if number % 2 else ""
                return [served(rig, "LeaseAddress", wish(f"vm-{turn}-{number}", address=address)).name]
            except BmsError as error:
                return [error.reason]

        found = together(act)

        leases = rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent="projects/demo", filter="state = LEASED"))
        held = {lease.name for lease in leases.leases}
        assert held == {name for name in found if name.startswith("projects/")}
        if "deleted" in found:
            assert not held
        else:
            for lease in leases.leases:
                rig.release(lease)
            rig.clock.advance(1)
            rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1"))
    verify(rig.events())


def test_overlapping_prefixes_made_at_once(make_database: MakeDatabase) -> None:
    """
    Of prefixes that overlap, made at the same moment in a VRF that is there, only such are made as lie apart.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("192.168.0.0/24", network="projects/demo/networks/first", vrf="demo.shared")

    def make(number: int) -> list[str]:
        cidr = f"10.1.{8 * number}.0/{21 - number % 4}"
        narrow = ip_network(cidr, strict=False)
        request = creation(str(narrow), f"p{number}", network=f"projects/demo/networks/n{number}", vrf="demo.shared")
        try:
            return [served(rig, "CreatePrefix", request).cidr]
        except AlreadyExists:
            return []

    found = [ip_network(cidr) for cidr in together(make)]

    assert found
    assert all(not one.overlaps(other) for one, other in combinations(found, 2))


def test_callers_meet_over_the_wire_too(make_database: MakeDatabase) -> None:
    """
    Through every interceptor too: eight callers, one address, one winner.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/32")
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda number: rig.wire.call("LeaseAddress", wish(f"vm-{number}")).code, range(8)))

    assert Counter(codes) == {grpc.StatusCode.OK: 1, grpc.StatusCode.RESOURCE_EXHAUSTED: 7}
