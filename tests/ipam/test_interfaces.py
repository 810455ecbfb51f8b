# SPDX-License-Identifier: Apache-2.0
"""Both IP versions of an interface, host names, and addresses that are kept for whoever had them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from bms.ipam.v1 import lease_pb2
from services.kernel.clock import RandomIds
from services.kernel.errors import Exhausted
from tests.ipam.rig import BARE_METAL, LIFECYCLE, NETWORK, OTHER, SERVER, Rig, proof, verify, wish
from tests.ipam.test_concurrency import served, together
from tests.ipam.test_tuning import change, read
from tests.support.stores import MakeDatabase
from tests.support.wire import fields as fields_of

REST, KEPT = timedelta(seconds=10), timedelta(minutes=5)


def both(resource: str = "vm-1", *, kind: Any = lease_pb2.Owner.KIND_VIRTUAL_MACHINE, **given: Any) -> Any:
    """A request for an address of each IP version."""
    owner = lease_pb2.Owner(kind=kind, resource=resource)
    fields: dict[str, Any] = {"parent": "projects/demo", "network": NETWORK, "owner": owner, **given}
    return lease_pb2.LeaseAddressesRequest(**fields)


def dual(rig: Rig) -> None:
    """A network with both IP versions."""
    rig.prefix("10.1.0.0/29")
    rig.prefix("2001:db8::/64", "p6", domain="blue.example.org")


def held(rig: Rig) -> list[str]:
    """All addresses that are leased."""
    request = lease_pb2.ListLeasesRequest(parent="projects/demo", filter="state = LEASED", page_size=1000)
    return sorted(lease.address for lease in rig.wire.ok("ListLeases", request).leases)


def test_an_interface_gets_both_versions(rig: Rig) -> None:
    """
    One of each IP version that the network has, IPv4 first; asked for again, the same; each is released on its own.
    """
    dual(rig)

    first = rig.wire.ok("LeaseAddresses", both()).leases
    again = rig.wire.ok("LeaseAddresses", both()).leases
    rig.release(first[0])

    assert [lease.address for lease in first] == ["10.1.0.2", "2001:db8::2"]
    assert list(again) == list(first)
    assert held(rig) == ["2001:db8::2"]
    assert rig.wire.ok("LeaseAddresses", both()).leases[1] == first[1]
    verify(rig.events())


def test_one_version_was_leased_before(rig: Rig) -> None:
    """
    Who has an address of one version keeps it, and gets the other beside it.
    """
    dual(rig)
    mine = rig.lease("vm-1", address="10.1.0.5")

    leases = rig.wire.ok("LeaseAddresses", both()).leases

    assert leases[0].name == mine.name
    assert leases[1].address == "2001:db8::2"


def test_a_network_of_one_version(rig: Rig) -> None:
    """
    A network with one IP version gives one lease; one without prefixes is refused.
    """
    rig.prefix("2001:db8::/64")

    assert [lease.address for lease in rig.wire.ok("LeaseAddresses", both()).leases] == ["2001:db8::2"]
    other = rig.refused("LeaseAddresses", both(network="projects/demo/networks/red"))
    assert other.code is grpc.StatusCode.FAILED_PRECONDITION
    of_other_version = rig.refused("LeaseAddresses", both("vm-2", addresses=["10.1.0.5"]))
    assert of_other_version.code is grpc.StatusCode.FAILED_PRECONDITION


def test_all_versions_or_none(rig: Rig) -> None:
    """
    When the prefix of one version is full, or its very address taken, nothing of the other version is held.
    """
    dual(rig)
    for number in range(5):
        rig.lease(f"filler-{number}")
    rig.lease("six", address="2001:db8::99")
    before = held(rig)

    full = rig.refused("LeaseAddresses", both())
    rig.release(rig.lease("filler-0"))
    rig.clock.advance(600)
    taken = rig.refused("LeaseAddresses", both(addresses=["2001:db8::99"]))

    assert full.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert taken.code is grpc.StatusCode.ALREADY_EXISTS
    assert len(held(rig)) == len(before) - 1


def test_the_very_addresses_of_each_version(rig: Rig) -> None:
    """
    Each named address is granted; two of one version are refused by their place, and what is only validated is not.
    """
    dual(rig)
    wanted = both(addresses=["2001:db8::7", "10.1.0.6"])
    wanted.validate_only = True

    planned = rig.wire.ok("LeaseAddresses", wanted).leases
    assert held(rig) == []
    twice = rig.refused("LeaseAddresses", both(addresses=["10.1.0.6", "10.1.0.5"]))

    assert [lease.address for lease in planned] == ["10.1.0.6", "2001:db8::7"]
    assert (twice.code, fields_of(twice.status)) == (grpc.StatusCode.INVALID_ARGUMENT, ["addresses[1]"])


def test_bare_metal_and_its_fence(rig: Rig) -> None:
    """
    A service leases both for an instance under its fence; a lower one is refused, and a repeated request answered.
    """
    dual(rig)
    owner: dict[str, Any] = {"kind": BARE_METAL, "resource": "projects/demo/instances/i1"}
    request = both(**owner, fence=7, request_id="6b1d1c1e-9a35-4d5a-8c52-2b8a3b4ff4c5")

    first = rig.wire.ok("LeaseAddresses", request, caller=LIFECYCLE)

    assert rig.wire.ok("LeaseAddresses", request, caller=LIFECYCLE) == first
    assert rig.refused("LeaseAddresses", both(**owner, fence=6), LIFECYCLE).code is grpc.StatusCode.ABORTED
    assert rig.refused("LeaseAddresses", both(**owner)).code is grpc.StatusCode.PERMISSION_DENIED
    assert rig.refused("LeaseAddresses", both("vm-1"), OTHER).code is grpc.StatusCode.NOT_FOUND
    for lease in first.leases:
        release = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch, detach=proof(rig), fence=7)
        assert release.detach.server == SERVER
        rig.wire.ok("ReleaseLease", release, caller=LIFECYCLE)
    assert held(rig) == []


def test_many_take_both_versions(make_database: MakeDatabase) -> None:
    """
    Thirty-two callers, each wanting both versions while others want one, end with whole pairs, none of them double.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix("10.1.0.0/26")
    rig.prefix("2001:db8::/122", "p6")

    def work(number: int) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for turn in range(3):
            try:
                if number % 4:
                    leases = served(rig, "LeaseAddresses", both(f"vm-{number}-{turn}")).leases
                else:
                    leases = [served(rig, "LeaseAddress", wish(f"vm-{number}-{turn}", ip_version=6 if turn else 4))]
            except Exhausted:
                continue
            found.append(tuple(lease.address for lease in leases))
        return found

    found = together(work)

    addresses = [address for each in found for address in each]
    assert sorted(addresses) == held(rig)
    assert len(addresses) == len(set(addresses))
    assert all(len(each) in (1, 2) for each in found)
    verify(rig.events())


def test_host_names(rig: Rig) -> None:
    """
    A lease tells a DNS server all it needs; a network has each name once per IP version, and others are not told whose.
    """
    dual(rig)
    four, six = rig.wire.ok("LeaseAddresses", both(host_name="Web-1")).leases

    assert (four.host_name, four.fqdn, four.reverse_name) == ("web-1", "web-1", "2.0.1.10.in-addr.arpa")
    assert six.fqdn == "web-1.blue.example.org"
    assert six.reverse_name.endswith(".8.b.d.0.1.0.0.2.ip6.arpa")
    again = rig.refused("LeaseAddress", wish("vm-2", host_name="web-1"))
    assert again.code is grpc.StatusCode.ALREADY_EXISTS
    assert "vm-1" in again.status.message
    renamed = rig.refused("LeaseAddress", wish("vm-1", host_name="web-2"))
    assert renamed.code is grpc.StatusCode.ALREADY_EXISTS
    assert rig.lease("vm-1") == four
    listed = lease_pb2.ListLeasesRequest(parent="projects/demo", filter='host_name = "web-1"')
    assert len(rig.wire.ok("ListLeases", listed).leases) == 2
    rig.release(four)
    assert rig.lease("vm-2", host_name="web-1").host_name == "web-1"


def test_a_name_of_another_project_is_not_told(rig: Rig) -> None:
    """
    In a shared network, who has a host name is for those alone who may read it.
    """
    rig.prefix(shared=True)
    rig.lease("secret-vm", host_name="web")

    refused = rig.refused("LeaseAddress", wish("vm-9", parent="projects/other", host_name="web"), OTHER)

    assert refused.code is grpc.StatusCode.ALREADY_EXISTS
    assert "secret-vm" not in str(refused.status)


def test_a_name_wanted_by_many_is_one_owners(make_database: MakeDatabase) -> None:
    """
    Of thirty-two owners who want the same host name at once, one gets it, and the others are told that it is taken.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    rig.prefix()

    def work(number: int) -> list[str]:
        request = wish(f"vm-{number}", host_name="web")
        reply = rig.wire.call("LeaseAddress", request)
        return [reply.code.name]

    assert sorted(set(together(work))) == ["ALREADY_EXISTS", "OK"]
    assert len(held(rig)) == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        pytest.param({"host_name": "a.b"}, "host_name", id="two labels"),
        pytest.param({"host_name": "-a"}, "host_name", id="hyphen first"),
        pytest.param({"host_name": "x" * 64}, "host_name", id="too long"),
        pytest.param({"addresses": ["10.1.0"]}, "addresses[0]", id="no address"),
    ],
)
def test_malformed_wishes(sqlite_rig: Rig, given: dict[str, Any], field: str) -> None:
    """
    What is no host name or address is refused by its field.
    """
    dual(sqlite_rig)

    reply = sqlite_rig.refused("LeaseAddresses", both(**given))

    assert (reply.code, fields_of(reply.status)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


def sticky(rig: Rig, cidr: str = "10.1.0.0/29") -> None:
    rig.prefix(cidr, cool_down=REST)
    change(rig, sticky_time=KEPT)


def test_who_comes_back_gets_the_same_address(rig: Rig) -> None:
    """
    Within the sticky time, and as long as nobody else had it, an owner's address is his again; its epoch is the next.
    """
    sticky(rig)
    mine = rig.lease("vm-1")
    rig.lease("vm-2")
    resting = rig.release(mine)
    rig.clock.advance(REST.total_seconds())
    rig.sweeper.tick(rig.clock.now())
    rig.lease("vm-3")

    back = rig.lease("vm-1")

    assert resting.keep_time.ToDatetime() - resting.free_time.ToDatetime() == KEPT
    assert (back.address, back.epoch) == (mine.address, 2)
    verify(rig.events())


def test_nobody_else_gets_a_kept_address(rig: Rig) -> None:
    """
    Though all others are taken, or it is asked for by name, a kept address is nobody else's before its time is over.
    """
    sticky(rig)
    mine = rig.lease("vm-1")
    for number in range(4):
        rig.lease(f"filler-{number}")
    rig.release(mine)
    for _ in range(2):
        assert rig.refused("LeaseAddress", wish("vm-9")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        rig.clock.advance(REST.total_seconds())
        rig.sweeper.tick(rig.clock.now())

    by_name = rig.refused("LeaseAddress", wish("vm-9", address=mine.address))
    full = read(rig).free_count
    rig.clock.advance(KEPT.total_seconds())

    assert by_name.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "kept" in by_name.status.message
    assert full == 0
    assert rig.lease("vm-9").address == mine.address


def test_the_owner_names_his_kept_address(rig: Rig) -> None:
    """
    Before anybody swept, its owner gets it by name as well as without.
    """
    sticky(rig)
    mine = rig.lease("vm-1")
    rig.release(mine)
    rig.clock.advance(REST.total_seconds())

    assert rig.lease("vm-1", address=mine.address).epoch == 2
    verify(rig.events())


def test_a_resting_address_is_not_had_early(rig: Rig) -> None:
    """
    While it rests not even its owner gets it: he gets another.
    """
    sticky(rig)
    mine = rig.lease("vm-1")
    rig.release(mine)

    assert rig.lease("vm-1").address != mine.address
    verify(rig.events())


def test_a_reserved_address_is_not_kept(rig: Rig) -> None:
    """
    What was reserved meanwhile is nobody's, its last owner's neither.
    """
    sticky(rig)
    mine = rig.lease("vm-1")
    rig.release(mine)
    rig.clock.advance(REST.total_seconds())
    rig.sweeper.tick(rig.clock.now())
    change(rig, reserved=[{"start": mine.address, "end": mine.address}])

    assert rig.lease("vm-1").address != mine.address


def test_owners_come_back_together(make_database: MakeDatabase) -> None:
    """
    However many return at once while strangers come too, each has the address that he had before.
    """
    rig = Rig(make_database("services.ipam"), ids=RandomIds())
    sticky(rig, "10.1.0.0/24")
    before = {f"vm-{number}": rig.lease(f"vm-{number}") for number in range(16)}
    for lease in before.values():
        rig.release(lease)
    rig.clock.advance(REST.total_seconds())

    def work(number: int) -> list[tuple[str, str]]:
        owner = f"vm-{number}"
        return [(owner, served(rig, "LeaseAddress", wish(owner)).address)]

    found = dict(together(work))

    assert {owner: found[owner] for owner in before} == {owner: lease.address for owner, lease in before.items()}
    assert len(set(found.values())) == 32
    verify(rig.events())
