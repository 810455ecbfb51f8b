# SPDX-License-Identifier: Apache-2.0
"""Faults of address managers that are in use, each of which somebody ran into: ours has none of them.

The first part is of go-ipam, as it was run; the second of issues of metal3, understack, NICo and metal-stack, whose
numbers the docstrings name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import grpc
import pytest

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.kernel.calls import Call
from services.kernel.clock import RandomIds
from services.kernel.effect import observed
from services.kernel.errors import AlreadyExists, DeadlineExceeded, Exhausted
from services.runtime.context import current
from services.runtime.database import Database, open_database
from tests.ipam.rig import ADMIN, BARE_METAL, DEMO, LIFECYCLE, NETWORK, OTHER, Rig, creation, proof, verify, wish
from tests.ipam.test_concurrency import served, together
from tests.ipam.test_containers import container, delete, part
from tests.ipam.test_interfaces import held
from tests.ipam.test_races import overtake
from tests.support.stores import MakeDatabase
from tests.support.wire import reason

REST = timedelta(seconds=30)


def released(lease: lease_pb2.AddressLease, **given: Any) -> lease_pb2.ReleaseLeaseRequest:
    return lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch, **given)


def rested(rig: Rig) -> None:
    """Until everything that was released has rested, and was freed."""
    rig.clock.advance(REST.total_seconds())
    rig.sweeper.tick(rig.clock.now())


@pytest.fixture
def replicas(make_url: Callable[[str], str], database_kind: str) -> Iterator[tuple[Rig, Rig]]:
    """Two replicas: over PostgreSQL each with connections of its own, over SQLite two servicers of the one process."""
    url = make_url("services.ipam")
    with closing(open_database(url)) as one:
        if database_kind == "sqlite":
            yield Rig(one, ids=RandomIds()), Rig(one, ids=RandomIds())
            return
        with closing(open_database(url)) as other:
            yield Rig(one, ids=RandomIds()), Rig(other, ids=RandomIds())


# --- go-ipam


def test_go_ipam_a_late_release_gives_the_address_to_two(rig: Rig) -> None:
    """
    A releases, B gets the same address, A's release arrives once more: B still has it, and C does not get it.
    """
    rig.prefix("10.1.0.0/30", cool_down=REST)
    first = rig.lease("a")
    rig.release(first)
    rested(rig)
    second = rig.lease("b")
    assert second.address == first.address

    rig.release(first)
    late = lease_pb2.ReleaseLeaseRequest(name=second.name, epoch=first.epoch)

    assert rig.refused("ReleaseLease", late).code is grpc.StatusCode.ABORTED
    assert rig.refused("LeaseAddress", wish("c")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert held(rig) == [second.address]
    verify(rig.events())


@pytest.mark.parametrize("cidr", ["10.1.0.0/30", "10.1.0.0/24", "2001:db8::/126"])
def test_go_ipam_the_network_address_is_leased(rig: Rig, cidr: str) -> None:
    """
    Network, broadcast and gateway addresses are nobody's, whatever is released before: by name as little as by chance.
    """
    network = ip_network(cidr)
    rig.prefix(cidr, cool_down=timedelta(0))
    reserved = [network.network_address, network.network_address + 1]
    reserved += [network.broadcast_address] if network.version == 4 else []
    for _ in range(3):
        rig.release(rig.lease("a"))

    for address in reserved:
        refused = rig.refused("LeaseAddress", wish("a", address=str(address)))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert rig.lease("a").address not in map(str, reserved)


def test_go_ipam_an_address_is_given_again_at_once(rig: Rig) -> None:
    """
    Though it is the only one, a released address is nobody's before it has rested.
    """
    rig.prefix("10.1.0.0/30", cool_down=REST)
    lease = rig.lease("a")
    rig.release(lease)

    soon = rig.refused("LeaseAddress", wish("b"))
    rig.clock.advance(REST.total_seconds() - 1)
    still = rig.refused("LeaseAddress", wish("b", address=lease.address))
    rig.clock.advance(1)

    assert soon.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert still.code is grpc.StatusCode.FAILED_PRECONDITION
    assert rig.lease("b").address == lease.address


def test_go_ipam_a_listing_shows_another_namespace(rig: Rig) -> None:
    """
    A tenant's listings hold his own prefixes and leases alone, and another's project, or all, are not his to list.
    """
    rig.prefix("10.1.0.0/24")
    rig.lease("a")
    theirs = creation("10.1.0.0/24", "p1", parent="projects/other", network="projects/other/networks/blue")
    rig.wire.ok("CreatePrefix", theirs, caller=OTHER)

    prefixes = rig.wire.ok(
        "ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/other"), caller=OTHER
    ).prefixes
    leases = rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent="projects/other"), caller=OTHER).leases

    assert [one.name for one in prefixes] == ["projects/other/prefixes/p1"]
    assert not leases
    for parent in ("projects/demo", "projects/-"):
        for method, request in (
            ("ListPrefixes", prefix_pb2.ListPrefixesRequest(parent=parent)),
            ("ListLeases", lease_pb2.ListLeasesRequest(parent=parent)),
        ):
            refused = rig.refused(method, request, OTHER)
            assert refused.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)


def test_go_ipam_children_are_orphaned(rig: Rig) -> None:
    """
    A container with a prefix that holds an address is not removed, nor is that prefix; and nothing is lost of either.
    """
    container(rig)
    rig.wire.ok("CreatePrefix", part("child", 24))
    rig.lease("a", network="projects/demo/networks/child")

    for name in ("pool", "child"):
        assert rig.refused("DeletePrefix", delete(name)).code is grpc.StatusCode.FAILED_PRECONDITION

    assert len(rig.wire.ok("ListPrefixes", prefix_pb2.ListPrefixesRequest(parent="projects/demo")).prefixes) == 2


def test_go_ipam_everything_is_invalid_argument(rig: Rig) -> None:
    """
    Each refusal has its own code and reason, so that a program can tell what to do.
    """
    rig.prefix("10.1.0.0/30", cool_down=REST)
    lease = rig.lease("a")
    elsewhere = wish("b", network="projects/demo/networks/none")
    lost = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch + 1)
    missing = lease_pb2.GetLeaseRequest(name=f"{lease.name[:-1]}{'0' if lease.name[-1] != '0' else '1'}")

    codes = {
        (reply.code.name, reason(reply.status))
        for reply in (
            rig.refused("LeaseAddress", wish("b")),
            rig.refused("LeaseAddress", wish("b", address=lease.address)),
            rig.refused("LeaseAddress", wish("b", address="10.9.9.9")),
            rig.refused("LeaseAddress", elsewhere),
            rig.refused("ReleaseLease", lost),
            rig.refused("GetLease", missing),
            rig.refused("CreatePrefix", creation("10.1.0.0/24", "p2")),
            rig.refused("DeletePrefix", delete("p1")),
        )
    }

    assert {code for code, _ in codes} == {
        "RESOURCE_EXHAUSTED",
        "ALREADY_EXISTS",
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
        "ABORTED",
        "NOT_FOUND",
    }
    assert all(why for _, why in codes)


def test_go_ipam_an_address_has_no_owner(rig: Rig) -> None:
    """
    Who has an address, since when, by which request and how often it was given is on the lease and in its log.
    """
    rig.prefix()
    request = wish("a", mac_address="52:54:00:00:00:01", request_id="3d2f1c0e-7b6a-4c5d-9e8f-0a1b2c3d4e5f")

    lease = rig.wire.ok("LeaseAddress", request)

    assert (lease.owner.resource, lease.owner.mac_address, lease.epoch) == ("a", "52:54:00:00:00:01", 1)
    assert lease.create_time.ToDatetime() == rig.clock.now().replace(tzinfo=None)
    (stream,) = verify(rig.events()).values()
    assert (stream[0].type, rig.wire.ok("LeaseAddress", request)) == ("address.leased", lease)


def test_go_ipam_two_replicas_make_overlapping_prefixes(replicas: tuple[Rig, Rig]) -> None:
    """
    Overlaps are the database's to refuse, not one process's: of what both replicas make, all lies apart.
    """
    replicas[0].prefix("192.168.0.0/24", network="projects/demo/networks/first", vrf="demo.all")

    def make(number: int) -> list[str]:
        cidr = str(ip_network(f"10.1.{8 * number}.0/{21 - number % 4}", strict=False))
        request = creation(cidr, f"p{number}", network=f"projects/demo/networks/n{number}", vrf="demo.all")
        try:
            return [served(replicas[number % 2], "CreatePrefix", request).cidr]
        except AlreadyExists:
            return []

    found = [ip_network(cidr) for cidr in together(make)]

    assert found
    assert all(not one.overlaps(other) for one, other in combinations(found, 2))


@pytest.mark.parametrize("label", ["db.CreatePrefix.statement", "db.CreatePrefix.commit"])
def test_go_ipam_a_crash_leaks_a_child(make_database: MakeDatabase, label: str) -> None:
    """
    Wherever the making of a part dies, the container has all of its addresses, or the part is there.
    """

    class CrashError(BaseException):
        pass

    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    container(rig, "10.0.0.0/24")
    seen: list[str] = []
    with observed(lambda at, when: seen.append(at) if (at, when) == (label, "before") else None):
        served(rig, "CreatePrefix", part("probe", 26))
    rig.wire.ok("DeletePrefix", delete("probe"))

    for fatal in range(1, len(seen) + 1):
        counted: list[str] = []

        def die(at: str, when: str, fatal: int = fatal, counted: list[str] = counted) -> None:
            if (at, when) == (label, "before"):
                counted.append(at)
                if len(counted) == fatal:
                    raise CrashError

        with pytest.raises(CrashError), observed(die):
            served(rig, "CreatePrefix", part("child", 26))
        left = rig.wire.ok("GetPrefix", prefix_pb2.GetPrefixRequest(name="projects/demo/prefixes/pool"))
        assert (left.child_count, left.free_count) == (0, 256)

    assert rig.wire.ok("CreatePrefix", part("child", 24)).cidr == "10.0.0.0/24"


def test_go_ipam_each_address_costs_more_than_the_one_before(rig: Rig) -> None:
    """
    A grant with six hundred addresses held runs as many statements as one with ten: nothing is scanned.
    """
    rig.prefix("10.0.0.0/16")
    counts: list[int] = []
    for number in range(600):
        seen: list[str] = []
        with observed(
            lambda label, when: seen.append(label) if (label, when) == ("db.LeaseAddress.statement", "before") else None  # noqa: B023 -- called in this turn alone
        ):
            served(rig, "LeaseAddress", wish(f"vm-{number}"))
        counts.append(len(seen))

    # Nine when addresses were made between: the first try ran three.
    assert Counter(counts[:40]).keys() == Counter(counts[-200:]).keys() | {9} == {6, 9}


def test_go_ipam_who_loses_a_race_is_refused(replicas: tuple[Rig, Rig]) -> None:
    """
    However many want addresses at once from two replicas, each gets one: nobody is told that somebody was faster.
    """
    replicas[0].prefix("10.1.0.0/24")

    found = together(lambda number: [served(replicas[number % 2], "LeaseAddress", wish(f"vm-{number}")).address])

    assert len(set(found)) == len(found) == 32


# --- 8 to 13


def test_08_a_claim_given_up_during_its_allocation_leaks(rig: Rig) -> None:
    """
    metal3 ip-address-manager 694: a caller who gives up while he is granted an address leaves none of it behind.
    """
    rig.prefix("10.1.0.0/30")
    lease_address: Any = rig.servicer.LeaseAddress
    token = current.set(
        Call(DEMO, "/bms.ipam.v1.IpamService/LeaseAddress", "test", rig.clock.now(), awaited=lambda: False)
    )
    try:
        with pytest.raises(DeadlineExceeded):
            lease_address(wish("gone"), None)
    finally:
        current.reset(token)

    assert held(rig) == []
    assert rig.lease("next").epoch == 1


def test_08_a_claim_deleted_while_it_is_allocated_leaks(make_database: MakeDatabase) -> None:
    """
    metal3 ip-address-manager 694: who asks for an address while his is released ends with what the log says.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix(cool_down=REST)
    lease = rig.lease("a")

    ended, again = overtake(
        lambda: served(rig, "ReleaseLease", released(lease)),
        lambda: served(rig, "LeaseAddress", wish("a")),
        verb="ReleaseLease",
    )

    assert ended.state == lease_pb2.AddressLease.STATE_COOLING
    current_lease = rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=again.name))
    assert held(rig) == ([again.address] if current_lease.state == lease_pb2.AddressLease.STATE_LEASED else [])
    verify(rig.events())


def test_09_what_was_not_freed_is_given_to_an_unrelated_network(rig: Rig) -> None:
    """
    understack 2239, PR 2180: an address that is leased, or rests, reaches no other network: its prefix stays till then.
    """
    rig.prefix("10.1.0.0/29", cool_down=REST, vrf="demo.all")
    lease = rig.lease("a")
    unrelated = creation("10.1.0.0/29", "p2", vrf="demo.all", network="projects/demo/networks/red")

    for _ in range(2):
        assert rig.refused("DeletePrefix", delete("p1")).code is grpc.StatusCode.FAILED_PRECONDITION
        assert rig.refused("CreatePrefix", unrelated).code is grpc.StatusCode.ALREADY_EXISTS
        rig.release(lease)
    rested(rig)
    rig.wire.ok("DeletePrefix", delete("p1"))
    rig.wire.ok("CreatePrefix", unrelated)

    next_one = rig.lease("b", network="projects/demo/networks/red", address=lease.address)
    assert next_one.epoch == 2
    verify(rig.events())


def test_10_a_release_is_not_idempotent(rig: Rig) -> None:
    """
    NICo 6067: released again, with or without its request's id, a lease is answered as it is, and rests once.
    """
    rig.prefix(cool_down=REST)
    lease = rig.lease("a")
    request = released(lease, request_id="0f8a7c1e-52b4-4a2e-9d0c-3b1a6f5e4d2c")

    first = rig.wire.ok("ReleaseLease", request)
    rig.clock.advance(10)

    assert rig.wire.ok("ReleaseLease", request) == first
    assert rig.release(lease).free_time == first.free_time
    assert [one.type for one in next(iter(verify(rig.events()).values()))] == ["address.leased", "address.cooling"]


def test_10_a_prefix_is_exhausted_though_it_is_free(rig: Rig) -> None:
    """
    NICo 4908: whatever was taken, named, refused and given back, in the end every address can be had, once.
    """
    rig.prefix("10.1.0.0/28", cool_down=REST)
    for turn in range(4):
        leases = [rig.lease(f"vm-{turn}-{number}") for number in range(13)]
        assert rig.refused("LeaseAddress", wish("more")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        rig.wire.call("LeaseAddress", wish("named", address=leases[0].address))
        for lease in leases:
            rig.release(lease)
        rig.clock.advance(REST.total_seconds())
        if turn % 2:
            rig.sweeper.tick(rig.clock.now())

    assert len({rig.lease(f"last-{number}").address for number in range(13)}) == 13


def test_11_two_machines_have_the_same_address(replicas: tuple[Rig, Rig]) -> None:
    """
    metal-api 169: two replicas, thirty-two callers who take, name and give back: no address ever has two owners.
    """
    replicas[0].prefix("10.1.0.0/27", cool_down=timedelta(0))

    def work(number: int) -> list[str]:
        rig = replicas[number % 2]
        for turn in range(4):
            wanted = {"address": f"10.1.0.{2 + (number + turn) % 29}"} if turn % 2 else {}
            reply = rig.wire.call("LeaseAddress", wish(f"vm-{number}", **wanted))
            if reply.message is not None and (number + turn) % 3:
                rig.wire.ok("ReleaseLease", released(reply.message))
        return [reply.message.address] if reply.message is not None else []

    together(work)

    addresses = held(replicas[1])
    assert len(addresses) == len(set(addresses))
    streams = verify(replicas[0].events())
    assert sum(headers[-1].state_after == "leased" for headers in streams.values()) == len(addresses)


def test_12_an_address_in_use_expires(rig: Rig) -> None:
    """
    NICo 2916: a lease has no end of its own: however long it is held, nobody else gets its address.
    """
    rig.prefix("10.1.0.0/30", cool_down=REST)
    lease = rig.lease("a")
    for _ in range(4):
        rig.clock.advance(timedelta(days=100).total_seconds())
        rig.sweeper.tick(rig.clock.now())

    assert rig.refused("LeaseAddress", wish("b")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.lease("a") == lease


def test_12_a_claim_that_is_being_deleted_is_used_again(rig: Rig) -> None:
    """
    CAPM3 680: who asks again after his release gets a lease of its own, of another address, never the one that ends.
    """
    rig.prefix(cool_down=REST)
    first = rig.lease("a")
    rig.release(first)

    second = rig.lease("a")

    assert (second.name != first.name, second.address != first.address) == (True, True)
    assert rig.release(first).state == lease_pb2.AddressLease.STATE_COOLING
    assert held(rig) == [second.address]


def test_12_another_namespaces_claim_is_deleted(rig: Rig) -> None:
    """
    CAPM3 1251: an owner of the same name in another project has a lease of his own, and releases no other.
    """
    rig.prefix(shared=True)
    mine = rig.lease("a")
    theirs = rig.lease("a", OTHER, parent="projects/other")

    refused = rig.refused("ReleaseLease", released(mine), OTHER)
    renamed = released(mine)
    renamed.name = mine.name.replace("projects/demo", "projects/other")
    unknown = rig.refused("ReleaseLease", renamed, OTHER)
    rig.release(theirs, OTHER)

    assert refused.code is unknown.code is grpc.StatusCode.NOT_FOUND
    assert rig.lease("a") == mine


def test_12_a_server_keeps_its_address_until_it_is_off(rig: Rig) -> None:
    """
    NICo 2916: an instance's address does not even rest before its server was read off the network.
    """
    rig.prefix()
    owner: dict[str, Any] = {"kind": BARE_METAL, "resource": "projects/demo/instances/i1"}
    lease = rig.lease(**owner, caller=LIFECYCLE)

    assert rig.refused("ReleaseLease", released(lease), LIFECYCLE).code is grpc.StatusCode.INVALID_ARGUMENT
    assert rig.refused("ReleaseLease", released(lease), ADMIN).code is grpc.StatusCode.PERMISSION_DENIED
    assert held(rig) == [lease.address]
    rig.wire.ok("ReleaseLease", released(lease, detach=proof(rig)), caller=LIFECYCLE)
    assert held(rig) == []


def test_13_one_stale_row_stops_all(rig: Rig) -> None:
    """
    NICo 3383: a resting lease whose address is gone is freed with the others, and all are granted as ever.
    """
    rig.prefix("10.1.0.0/29", cool_down=REST)
    stale, other = rig.lease("stale"), rig.lease("other")
    for lease in (stale, other):
        rig.release(lease)

    def spoil(database: Database) -> None:
        database.transact(
            lambda tx: tx.execute("DELETE FROM addresses WHERE lease = ?", (stale.name,)), label="test.spoil"
        )

    spoil(rig.database)
    rig.clock.advance(REST.total_seconds())
    due = rig.sweeper.tick(rig.clock.now())

    assert due > rig.clock.now()
    states = {lease.name: lease.state for lease in _all_leases(rig)}
    assert states == dict.fromkeys((stale.name, other.name), lease_pb2.AddressLease.STATE_FREED)
    assert len({rig.lease(f"vm-{number}").address for number in range(4)}) == 4


@pytest.mark.postgres
def test_13_a_row_that_somebody_sits_on_stops_all(make_url: Callable[[str], str], database_kind: str) -> None:
    """
    NICo 3383: while a transaction that does not end holds the next free address, all others are had without waiting.
    """
    if database_kind == "sqlite":
        return  # its writers follow one another: there are no rows to sit on
    with closing(open_database(make_url("services.ipam"))) as database:
        rig = Rig(database, ids=RandomIds())
        rig.prefix("10.1.0.0/29")
        rig.release(rig.lease("probe"))

        def sit(number: int) -> list[str]:
            def inside(tx: Any) -> list[str]:
                sat = tx.one("SELECT address FROM addresses WHERE free_at = 0 ORDER BY address LIMIT 1 FOR UPDATE")
                assert sat is not None
                return [served(rig, "LeaseAddress", wish(f"vm-{turn}")).address for turn in range(3)]

            return database.transact(inside, label="test.sit")

        found = sit(0)

    assert found == ["10.1.0.4", "10.1.0.5", "10.1.0.6"]


def test_13_exhaustion_says_what_helps(rig: Rig) -> None:
    """
    NICo 3383: a prefix that is full names the time at which the next address is free, and refuses nothing else.
    """
    rig.prefix("10.1.0.0/30", cool_down=REST)
    rig.prefix("2001:db8::/64", "p6")
    rig.release(rig.lease("a", ip_version=4))

    with pytest.raises(Exhausted, match="the next one is free at"):
        served(rig, "LeaseAddress", wish("b", ip_version=4))

    assert rig.lease("b", ip_version=6).network == NETWORK


def _all_leases(rig: Rig) -> list[lease_pb2.AddressLease]:
    return list(rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent="projects/demo")).leases)
