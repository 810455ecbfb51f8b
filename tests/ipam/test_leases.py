# SPDX-License-Identifier: Apache-2.0
"""Leases as callers meet them, over both databases: granted, refused, listed."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime, timedelta

import grpc
import pytest
from google.rpc import error_details_pb2

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2
from services.kernel.effect import observed
from tests.ipam.rig import (
    ADMIN,
    BARE_METAL,
    LIFECYCLE,
    NETWORK,
    OTHER,
    Rig,
    creation,
    verify,
    wish,
)
from tests.support.wire import detail, fields, member, reader, remedy

LEASED = lease_pb2.AddressLease.STATE_LEASED
COOLING = lease_pb2.AddressLease.STATE_COOLING
INSTANCE = "projects/demo/instances/web"


def test_a_lease_says_everything_its_user_needs(rig: Rig) -> None:
    """
    A lease tells address, length, gateway, name servers, VRF, owner and epoch; it reads back the same.
    """
    rig.prefix("10.1.0.0/24", dns_servers=["10.9.9.9"])

    lease = rig.lease("vm-1", interface="eth0", mac_address="52:54:00:AA:BB:CC")

    assert (lease.address, lease.prefix_length, lease.gateway) == ("10.1.0.2", 24, "10.1.0.1")
    assert list(lease.dns_servers) == ["10.9.9.9"]
    assert lease.vrf == "demo.blue"
    assert (lease.network, lease.prefix) == (NETWORK, "projects/demo/prefixes/p1")
    assert (lease.epoch, lease.state) == (1, LEASED)
    assert lease.owner.mac_address == "52:54:00:aa:bb:cc"
    assert lease.create_time.ToDatetime() == rig.clock.now().replace(tzinfo=None)
    assert rig.wire.ok("GetLease", lease_pb2.GetLeaseRequest(name=lease.name)) == lease


def test_the_same_owner_gets_the_same_lease(rig: Rig) -> None:
    """
    Asking again for the same network, interface and IP version answers the same lease and writes nothing.
    """
    rig.prefix()
    first = rig.lease("vm-1")

    assert rig.lease("vm-1") == first
    assert rig.lease("vm-1", ip_version=4) == first
    assert rig.lease("vm-1", address=first.address) == first
    assert rig.lease("vm-1", interface="eth1").address != first.address
    assert len(rig.of_addresses()) == 2


def test_a_request_id_answers_the_same_lease_even_after_its_release(rig: Rig) -> None:
    """
    A repeated request is answered from what was kept, not from what is.
    """
    rig.prefix()
    request_id = str(uuid.uuid4())
    first = rig.lease("vm-1", request_id=request_id)
    rig.release(first)

    assert rig.lease("vm-1", request_id=request_id) == first
    assert rig.lease("vm-1").epoch == 1
    assert rig.lease("vm-1").address != first.address


def test_a_mac_address_is_learnt_once(rig: Rig) -> None:
    """
    An owner that tells another MAC address keeps its lease, and the change is an event; telling none changes nothing.
    """
    rig.prefix()
    rig.lease("vm-1")

    told = rig.lease("vm-1", mac_address="52-54-00-00-00-01")

    assert told.owner.mac_address == "52:54:00:00:00:01"
    assert rig.lease("vm-1") == told
    (stream,) = verify(rig.events()).values()
    assert [header.type for header in stream] == ["address.leased", "address.mac_changed"]


def test_what_is_only_validated_leaves_nothing(rig: Rig) -> None:
    """
    validate_only answers the lease that would be granted, writes nothing, and the address stays free.
    """
    rig.prefix()

    would_be = rig.lease("vm-1", validate_only=True)

    assert would_be.address == "10.1.0.2"
    assert rig.refused("GetLease", lease_pb2.GetLeaseRequest(name=would_be.name)).code is grpc.StatusCode.NOT_FOUND
    assert rig.of_addresses() == []
    assert rig.database.read(lambda tx: tx.one("SELECT count(*) AS n FROM addresses"))["n"] == 0  # type: ignore[index]
    assert rig.lease("vm-2").address == "10.1.0.2"


def test_a_fixed_address_is_granted_as_asked(rig: Rig) -> None:
    """
    A fixed address may lie outside the pools, and is never chosen for another.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.11"),))

    assert rig.lease("vm-1", address="10.1.0.200").address == "10.1.0.200"
    assert rig.lease("vm-2", address="10.1.0.10").address == "10.1.0.10"
    assert rig.lease("vm-3").address == "10.1.0.11"
    assert rig.refused("LeaseAddress", wish("vm-4")).code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("10.1.0.0", "network"),
        ("10.1.0.255", "broadcast"),
        ("10.1.0.1", "gateway"),
        ("10.2.0.7", "no prefix"),
        ("10.1.0", "not an IPv4"),
        ("fe80::1%eth0", "not an IPv4"),
        ("::ffff:10.1.0.7", "is the IPv4 address 10.1.0.7"),
    ],
)
def test_addresses_that_nobody_may_have(sqlite_rig: Rig, address: str, what: str) -> None:
    """
    Network, broadcast, gateway, foreign and malformed addresses are refused, by name of the field.
    """
    sqlite_rig.prefix()

    reply = sqlite_rig.refused("LeaseAddress", wish(address=address))

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert fields(reply.status) == ["address"]
    assert what in reply.status.message
    assert remedy(reply.status)


def test_a_fixed_address_of_another_owner(rig: Rig) -> None:
    """
    A fixed address that has an owner is ALREADY_EXISTS; one that rests is FAILED_PRECONDITION with the time it is free.
    """
    rig.prefix(cool_down=timedelta(minutes=5))
    lease = rig.lease("vm-1", address="10.1.0.7")

    taken = rig.refused("LeaseAddress", wish("vm-2", address="10.1.0.7"))
    rig.release(lease)
    resting = rig.refused("LeaseAddress", wish("vm-2", address="10.1.0.7"))

    assert taken.code is grpc.StatusCode.ALREADY_EXISTS
    assert resting.code is grpc.StatusCode.FAILED_PRECONDITION
    info = detail(resting.status, error_details_pb2.ErrorInfo)
    assert info is not None
    free = rig.clock.now() + timedelta(minutes=5)
    assert info.metadata["free_time"] == free.isoformat()
    shown = datetime.fromisoformat(resting.status.message.rpartition(" ")[2])
    assert (timedelta(0) <= shown - free < timedelta(seconds=1), shown.microsecond) == (True, 0)
    assert "12:05" in remedy(resting.status)
    rig.clock.advance(300)
    assert rig.lease("vm-2", address="10.1.0.7").epoch == 2


def test_an_owner_has_one_address_per_interface(rig: Rig) -> None:
    """
    Another fixed address for the same interface is refused, and the refusal names the lease to release.
    """
    rig.prefix()
    lease = rig.lease("vm-1")

    reply = rig.refused("LeaseAddress", wish("vm-1", address="10.1.0.99"))

    assert reply.code is grpc.StatusCode.ALREADY_EXISTS
    assert lease.name in remedy(reply.status)


def test_networks_have_both_versions(rig: Rig) -> None:
    """
    An owner has one lease per IP version; asked for any, IPv4 comes first, and IPv6 where there is no IPv4.
    """
    rig.prefix("10.1.0.0/24", "v4")
    rig.prefix("2001:db8::/64", "v6")
    rig.prefix("2001:db8:1::/64", "only-v6", network="projects/demo/networks/six")

    assert rig.lease("vm-1").address == "10.1.0.2"
    assert rig.lease("vm-1", ip_version=6).address == "2001:db8::2"
    assert rig.lease("vm-1", network="projects/demo/networks/six").address == "2001:db8:1::2"
    wrong = rig.refused("LeaseAddress", wish("vm-2", address="10.1.0.9", ip_version=6))
    assert fields(wrong.status) == ["ip_version"]
    assert fields(rig.refused("LeaseAddress", wish("vm-2", ip_version=5)).status) == ["ip_version"]
    none = rig.refused("LeaseAddress", wish("vm-2", network="projects/demo/networks/six", ip_version=4))
    assert none.code is grpc.StatusCode.FAILED_PRECONDITION


def test_the_second_prefix_serves_when_the_first_is_full(rig: Rig) -> None:
    """
    A network's prefixes serve in the order in which they were made.
    """
    rig.prefix("10.1.0.0/31", "p1", gateway="none")
    rig.clock.advance(1)
    rig.prefix("10.0.0.0/24", "p0")

    found = [rig.lease(f"vm-{number}").address for number in range(3)]

    assert found == ["10.1.0.0", "10.1.0.1", "10.0.0.2"]


def test_projects_do_not_see_each_other(rig: Rig) -> None:
    """
    Another project's network and leases do not exist for a member; the same names in his own are his own.
    """
    rig.prefix()
    lease = rig.lease("vm-1")
    get = lease_pb2.GetLeaseRequest(name=lease.name)

    assert rig.refused("GetLease", get, OTHER).code is grpc.StatusCode.NOT_FOUND
    stolen = lease.name.replace("projects/demo", "projects/other")
    release = lease_pb2.ReleaseLeaseRequest(name=stolen, epoch=1)
    assert rig.refused("ReleaseLease", release, OTHER).code is grpc.StatusCode.NOT_FOUND
    assert rig.refused("LeaseAddress", wish(parent="projects/other"), OTHER).code is grpc.StatusCode.NOT_FOUND
    assert rig.refused("LeaseAddress", wish(), OTHER).code is grpc.StatusCode.NOT_FOUND
    assert rig.refused("LeaseAddress", wish(), reader("demo")).code is grpc.StatusCode.PERMISSION_DENIED
    assert rig.lease("vm-1", ADMIN, parent="projects/other").address != lease.address
    foreign = wish(INSTANCE, kind=BARE_METAL, parent="projects/other")
    assert fields(rig.refused("LeaseAddress", foreign, LIFECYCLE).status) == ["owner.resource"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"resource": "x" * 256}, "owner.resource"),
        ({"resource": "a\nb"}, "owner.resource"),
        ({"resource": ""}, "owner.resource"),
        ({"interface": "x" * 256}, "owner.interface"),
        ({"mac_address": "52:54"}, "owner.mac_address"),
        ({"mac_address": "01:00:5e:00:00:01"}, "owner.mac_address"),
        ({"mac_address": "ff:ff:ff:ff:ff:ff"}, "owner.mac_address"),
        ({"mac_address": "00:00:00:00:00:00"}, "owner.mac_address"),
        ({"kind": 0}, "owner.kind"),
        ({"kind": 99}, "owner.kind"),
        ({"network": "blue"}, "network"),
        ({"request_id": "7"}, "request_id"),
    ],
)
def test_malformed_wishes(sqlite_rig: Rig, change: dict[str, object], field: str) -> None:
    """
    A malformed field is refused by its name.
    """
    sqlite_rig.prefix()

    reply = sqlite_rig.refused("LeaseAddress", wish(**change))  # type: ignore[arg-type]

    assert reply.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in fields(reply.status)


def test_leases_are_listed_in_pages_and_filtered(rig: Rig) -> None:
    """
    Pages cover all leases once, by name; filters narrow them; a token serves only the listing it came from.
    """
    rig.prefix()
    rig.wire.ok(
        "CreatePrefix",
        creation("10.1.0.0/24", network="projects/other/networks/n", parent="projects/other"),
        caller=OTHER,
    )
    made = [rig.lease(f"vm-{number}") for number in range(5)]
    rig.release(made[0])
    rig.lease("vm-x", OTHER, network="projects/other/networks/n", parent="projects/other")
    request = lease_pb2.ListLeasesRequest(parent="projects/demo", page_size=2)
    names: list[str] = []
    while True:
        page = rig.wire.ok("ListLeases", request)
        names += [lease.name for lease in page.leases]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert names == sorted(lease.name for lease in made)

    def listed(text: str, parent: str = "projects/demo") -> set[str]:
        found = rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent=parent, filter=text), caller=ADMIN)
        return {lease.owner.resource for lease in found.leases}

    assert listed("state = COOLING") == {"vm-0"}
    assert listed("state != STATE_COOLING") == {"vm-1", "vm-2", "vm-3", "vm-4"}
    assert listed("owner = vm-3") == {"vm-3"}
    assert listed(f"address = {made[2].address}", "projects/-") == {"vm-2"}
    assert listed("vrf = other.n", "projects/-") == {"vm-x"}
    request.filter = "state = LEASED"
    assert fields(rig.refused("ListLeases", request).status) == ["page_token"]
    for text in ("state = GONE", "address = 10", "color = red"):
        bad = lease_pb2.ListLeasesRequest(parent="projects/demo", filter=text)
        assert fields(rig.refused("ListLeases", bad).status) == ["filter"]
    everywhere = lease_pb2.ListLeasesRequest(parent="projects/-")
    assert rig.refused("ListLeases", everywhere).code is grpc.StatusCode.NOT_FOUND


def test_events_hide_bodies_of_other_projects(rig: Rig) -> None:
    """
    Everybody may follow the log; a body is there only for those who may read its project.
    """
    rig.prefix()
    rig.lease("vm-1")
    rig.events()
    request = event_pb2.ListEventsRequest()

    own = rig.wire.ok("ListEvents", request).events
    others = rig.wire.ok("ListEvents", request, caller=member("other")).events

    assert [one.body.facts["prefix"] for one in own] == ["projects/demo/prefixes/p1"] * 2
    assert own[1].body.facts["owner"] == "vm-1"
    assert not [one for one in others if one.HasField("body") or "demo" in one.header.stream]
    assert [one.digest for one in others] == [one.digest for one in own]


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "10.1.0.0/24", "2001:db8::/64", "::/0"])
def test_a_grant_costs_six_statements(rig: Rig, cidr: str) -> None:
    """
    However wide or full the prefix, a grant runs six statements, and making addresses beforehand three more.
    """
    rig.prefix(cidr)
    rig.lease("vm-0")
    seen: list[str] = []

    with observed(lambda label, when: seen.append(label) if when == "before" else None):
        for number in range(1, 100):
            rig.lease(f"vm-{number}")

    counts = Counter(seen)
    made = counts["db.ipam.extend"]
    assert made == 2
    # The try before the addresses were made ran three: which prefixes, what the owner has, which row is free.
    assert counts["db.LeaseAddress.statement"] == 6 * 99 + 3 * made
    assert counts["db.ipam.extend.statement"] == 3 * made
