# SPDX-License-Identifier: Apache-2.0
"""What Contrail answers and does not mean, and processes that die between two of its answers."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from bms.ipam.v1 import lease_pb2
from services.ipam.backends.contrail_words import hold_uuid
from services.ipam.domain.leases import LeaseState
from services.kernel.effect import observed
from tests.ipam.contrail_rig import BLUE, ContrailRig
from tests.ipam.controller_rig import MAC, Crash, dying, facts
from tests.ipam.rig import ADMIN, wish
from tests.ipam.test_concurrency import served
from tests.support.contrail_objects import Thing
from tests.support.stores import MakeDatabase

COOL_DOWN = timedelta(seconds=30)
POOL = (("10.1.0.10", "10.1.0.20"),)


@pytest.fixture
def rig(make_database: MakeDatabase) -> ContrailRig:
    made = ContrailRig(make_database("services.ipam"))
    made.prefix(pools=POOL, cool_down=COOL_DOWN)
    return made


def restarted(rig: ContrailRig) -> ContrailRig:
    """The replica that another process is."""
    again = ContrailRig(rig.database, rig.contrail)
    again.clock = rig.clock
    return again


def agrees(rig: ContrailRig) -> None:
    """Contrail's instance-ips of ours are the leases that are not freed, and the log passes."""
    stored = rig.stored_all()
    kept = {hold_uuid(one.name): str(one.address) for one in stored if one.state is not LeaseState.FREED}
    assert {one["uuid"]: one["instance_ip_address"] for one in rig.ours()} == kept
    assert not [one for one in stored if one.pending and one.state is not LeaseState.FREED]
    rig.types()


def test_done_and_no_address(rig: ContrailRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An instance-ip that was made (200) and has no address is no grant: it is removed, and the address asked for again.
    """
    grant = rig.contrail.addresses.grant
    lies = iter([True])

    def granted(thing: Thing) -> None:
        if next(lies, False):
            del thing.body["instance_ip_address"]
        else:
            grant(thing)

    monkeypatch.setattr(rig.contrail.addresses, "grant", granted)

    lease = rig.lease()

    assert [one["instance_ip_address"] for one in rig.ours()] == [lease.address]
    assert [method for method, path in rig.contrail.told if "instance-ip" in path] == ["POST", "DELETE", "POST"]
    agrees(rig)


def test_done_and_nothing_there(rig: ContrailRig) -> None:
    """
    An answer of 200 after which there is nothing is no grant.
    """
    rig.contrail.refuses["POST", "instance-ips"] = (200, "")

    lease = rig.lease()

    assert [one["instance_ip_address"] for one in rig.ours()] == [lease.address]


def test_an_address_freed_from_under_a_machine(rig: ContrailRig) -> None:
    """
    ip-free frees what an instance-ip has, and Contrail gives it to us too: the machine has it, and is named.
    """
    theirs = rig.vm("10.1.0.10", "vm-77")
    rig.contrail.do("POST", f"/virtual-network/{rig.network}/ip-free", {"ip_addr": ["10.1.0.10"]})

    reply = rig.refused("LeaseAddress", wish(address="10.1.0.10"), caller=ADMIN)
    rig.settle()

    assert reply.code is grpc.StatusCode.ALREADY_EXISTS
    assert facts(reply.status)["holder_device"] == "vm-77"
    assert [one["uuid"] for one in rig.at("10.1.0.10")] == [theirs["uuid"]]
    assert rig.lease().address == "10.1.0.11"


def test_an_address_freed_from_under_a_lease(rig: ContrailRig) -> None:
    """
    Where ip-free let a machine have our address, the log says that it is contested; when the machine goes, no longer.
    """
    lease = rig.lease(mac_address=MAC)
    rig.contrail.do("POST", f"/virtual-network/{rig.network}/ip-free", {"ip_addr": [lease.address]})
    theirs = rig.vm(lease.address)
    for _ in range(3):
        rig.round()
        rig.clock.advance(61)
    assert rig.types() == ["address.leased", "address.contested"]
    assert len(rig.at(lease.address)) == 2, "its owner uses it"

    rig.vm_goes(theirs["uuid"])
    rig.round()
    rig.settle()

    assert rig.types()[2:] == ["address.uncontested"]
    agrees(rig)


def test_we_never_ask_for_what_lies(rig: ContrailRig) -> None:
    """
    No ip-alloc, no ip-free and no count of free addresses is asked for, and no list of references is written whole.
    """
    lease = rig.lease()
    rig.round()
    rig.release(lease)
    rig.clock.advance(31)
    rig.settle()

    asked = [(method, path.split("?")[0].split("/")) for method, path in rig.contrail.asked]
    assert not {word for _, words in asked for word in words} & {"ip-alloc", "ip-free", "subnet-ip-count"}
    assert "PUT" not in {method for method, _ in asked}


def test_an_address_that_nobody_is_seen_to_have(rig: ContrailRig) -> None:
    """
    An address of a bare ip-alloc is in use (409) without anybody who has it: it is passed over, and told as nobody's.
    """
    rig.contrail.do("POST", f"/virtual-network/{rig.network}/ip-alloc", {"count": 1})

    assert rig.lease().address == "10.1.0.11"
    assert rig.holder("10.1.0.10").ref == "nobody"
    assert "10.1.0.10" in rig.refused("LeaseAddress", wish("vm-2", address="10.1.0.10")).status.message


def test_who_loses_a_race_for_an_address(rig: ContrailRig) -> None:
    """
    Of several who ask at once all but one are told 400 and of a lock: the address is taken, as for a 409.
    """
    text = "FQ Name: /api-server/subnets/x:10.1.0.0/24/10.1.0.10 exists already with ID: y at zookeeper"

    rig.vm("10.1.0.10")
    rig.contrail.refuses["POST", "instance-ips"] = (400, text)

    assert rig.lease().address == "10.1.0.11"
    assert rig.types() == ["address.observed", "address.leased"]


def test_a_500_is_not_tried_again(rig: ContrailRig) -> None:
    """
    A 500 is a refusal: it is told at once, asked once, and nothing is left of the grant.
    """
    rig.contrail.refuses["POST", "instance-ips"] = (500, "KeyError: 'to'")
    told = len(rig.contrail.told)

    reply = rig.refused("LeaseAddress", wish())

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "KeyError" in reply.status.message
    rig.settle()
    assert [path for _, path in rig.contrail.told[told:] if path == "/instance-ips"] == ["/instance-ips"]
    assert rig.lease().epoch == 1
    agrees(rig)


def test_without_rights_nothing_is_decided(rig: ContrailRig) -> None:
    """
    A 403 is about our login, and told as such: the caller may come again.
    """
    rig.contrail.refuses["POST", "instance-ips"] = (403, "Permission Denied for bms")

    assert rig.refused("LeaseAddress", wish()).code is grpc.StatusCode.UNAVAILABLE
    assert rig.lease().address == "10.1.0.10"
    agrees(rig)


@pytest.mark.parametrize("where", [("POST", "instance-ips"), ("GET", "instance-ips")], ids=["made", "read"])
def test_an_answer_is_lost(rig: ContrailRig, where: tuple[str, str]) -> None:
    """
    The instance-ip was made and an answer lost: the caller is told UNAVAILABLE; who comes again is granted it.
    """
    rig.contrail.loses = where
    reply = rig.refused("LeaseAddress", wish(mac_address=MAC))

    assert reply.code is grpc.StatusCode.UNAVAILABLE
    listed = rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent="projects/demo"))
    assert not listed.leases
    assert len(rig.ours()) == 1
    assert rig.lease(mac_address=MAC).address == "10.1.0.10"
    agrees(rig)


def test_a_grant_that_dies_anywhere(rig: ContrailRig) -> None:
    """
    At whatever request to Contrail a grant dies, before or after it, the next who comes has one address, kept once.
    """
    places: list[tuple[str, str]] = []
    with observed(lambda label, when: places.append((label, when))):
        rig.lease("probe")
    for number, (label, when) in enumerate(place for place in places if place[0].startswith(("contrail.", "plane."))):
        owner = f"vm-{number}"
        with pytest.raises(Crash), dying(label, when):
            served(rig, "LeaseAddress", wish(owner, mac_address=MAC))

        again = restarted(rig)
        lease = again.lease(owner, mac_address=MAC)

        assert lease.epoch == 1, (label, when)
        agrees(again)
        again.release(lease)
        rig.clock.advance(31)
        again.settle()


def test_a_grant_that_nobody_asks_for_again(rig: ContrailRig) -> None:
    """
    A grant that died and is not asked for again is given up after five minutes, in Contrail as well.
    """
    with pytest.raises(Crash), dying("contrail.POST instance-ips", "after"):
        served(rig, "LeaseAddress", wish())
    assert len(rig.ours()) == 1

    again = restarted(rig)
    again.clock.advance(301)
    for _ in range(3):
        again.settle()

    assert not again.ours()
    assert again.types() == []
    agrees(again)


def test_letting_go_can_die_anywhere(rig: ContrailRig) -> None:
    """
    At whatever request the letting go of an address dies, the next who comes ends it.
    """
    for when in ("before", "after"):
        lease = rig.lease(f"vm-{when}")
        rig.release(lease)
        rig.settle()
        rig.clock.advance(31)
        with pytest.raises(Crash), dying("contrail.DELETE instance-ip", when):
            rig.settle()

        restarted(rig).settle()

        assert rig.stored(lease.name).state is LeaseState.FREED, when
        agrees(rig)


def test_two_replicas_grant_each_address_once(rig: ContrailRig) -> None:
    """
    Replicas that grant in turn give no address twice, and pass over what a machine took in between.
    """
    other = restarted(rig)
    given = []
    for number in range(4):
        given += [rig.lease(f"a-{number}").address, other.lease(f"b-{number}").address]
        if number == 1:
            rig.vm("10.1.0.14")

    assert given == [f"10.1.0.{last}" for last in (10, 11, 12, 13, 15, 16, 17, 18)]
    agrees(rig)
    assert rig.contrail.named("virtual-network", *BLUE) is not None
