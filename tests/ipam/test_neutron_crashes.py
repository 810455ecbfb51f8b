# SPDX-License-Identifier: Apache-2.0
"""ipam over Neutron, where something dies or does not answer: nothing is granted twice, and nothing is left."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import grpc
import pytest

from bms.ipam.v1 import lease_pb2
from services.ipam.domain.holding import HALF_DONE
from services.ipam.domain.leases import LeaseState
from services.kernel.effect import observed
from services.kernel.errors import AlreadyExists, BmsError, Exhausted
from tests.ipam.neutron_rig import MAC, Crash, NeutronRig, dying
from tests.ipam.rig import wish
from tests.ipam.test_concurrency import served, together
from tests.support.neutron import FakeNeutron
from tests.support.stores import MakeDatabase

COOL_DOWN = timedelta(seconds=30)
REQUEST = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def rig(make_database: MakeDatabase) -> NeutronRig:
    made = NeutronRig(make_database("services.ipam"))
    made.prefix("10.1.0.0/29", cool_down=COOL_DOWN)
    made.lease("first")
    return made


def effects_of_a_grant(rig: NeutronRig) -> list[tuple[str, str, int]]:
    """Every place where a grant can die: label, before or after, and the how manyeth of its kind."""
    seen: Counter[tuple[str, str]] = Counter()
    places: list[tuple[str, str, int]] = []

    def observer(label: str, when: str) -> None:
        seen[label, when] += 1
        places.append((label, when, seen[label, when]))

    with observed(observer):
        served(rig, "LeaseAddress", wish("probe", mac_address="52:54:00:00:00:99", request_id=str(uuid.uuid4())))
    return places


def restarted(rig: NeutronRig) -> NeutronRig:
    """The replica that another process is."""
    again = NeutronRig(rig.database, rig.neutron)
    again.clock = rig.clock
    return again


def agrees(rig: NeutronRig) -> None:
    """Neutron's ports of ours are the leases that are not freed, and the log passes."""
    kept = {lease.name: str(lease.address) for lease in rig.stored_all() if lease.state is not LeaseState.FREED}
    there = {port["name"]: port["fixed_ips"][0]["ip_address"] for port in rig.ports()}
    assert there == kept
    assert {lease.hold for lease in rig.stored_all()} - {""} == {port["id"] for port in rig.ports()}
    assert not [lease for lease in rig.stored_all() if lease.pending and lease.state is not LeaseState.FREED]
    rig.types()


def test_a_grant_that_dies_anywhere_is_finished_by_the_next(rig: NeutronRig) -> None:
    """
    Wherever a process dies in a grant, the same request sent to another is granted one lease with one port.
    """
    places = effects_of_a_grant(rig)
    assert {("plane.hold", "before", 1), ("db.ipam.begin.commit", "after", 1)} <= set(places)
    for number, (label, when, nth) in enumerate(places):
        request = wish(f"vm-{number}", mac_address=MAC, request_id=str(uuid.uuid4()))
        with dying(label, when, nth), suppress(Crash):
            served(rig, "LeaseAddress", request)
        other = restarted(rig)

        lease = served(other, "LeaseAddress", request)

        assert served(rig, "LeaseAddress", request) == lease, (label, when, nth)
        assert [port["mac_address"] for port in rig.ports() if port["name"] == lease.name] == [MAC]
        agrees(other)
        rig.release(lease)
        rig.clock.advance(31)
        other.settle()
        agrees(other)


def test_a_grant_that_dies_and_is_not_asked_for_again(rig: NeutronRig) -> None:
    """
    Wherever a process dies in a grant that nobody asks for again, nothing is left of it but what was granted for good.
    """
    for number, (label, when, nth) in enumerate(effects_of_a_grant(rig)):
        with dying(label, when, nth), suppress(Crash):
            served(rig, "LeaseAddress", wish(f"vm-{number}", request_id=str(uuid.uuid4())))
        other = restarted(rig)
        rig.clock.advance(HALF_DONE.total_seconds() + 1)

        other.settle()
        other.settle()

        agrees(other)
        for lease in other.stored_all():
            if lease.owner.resource == f"vm-{number}" and lease.state is LeaseState.LEASED:
                assert (label, when) == ("db.LeaseAddress.commit", "after") or label == "db.LeaseAddress"
                rig.release(rig.lease(f"vm-{number}"))
        rig.clock.advance(31)
        other.settle()


def test_letting_go_can_die_anywhere(rig: NeutronRig) -> None:
    """
    Wherever the process dies that parks, drops or frees, the next goes on, and the address is free only without port.
    """
    for when in ("before", "after"):
        for label in (
            "plane.hold", "plane.drop", "db.ipam.held", "db.ipam.held.commit", "db.ipam.let_go",
            "db.ipam.let_go.commit", "db.ipam.let_go.statement",
        ):  # fmt: skip
            lease = rig.lease("vm", mac_address=MAC)
            rig.release(lease)
            for _ in range(2):
                with dying(label, when), suppress(Crash):
                    rig.settle()
                if rig.stored(lease.name).state is not LeaseState.FREED:
                    assert [port for port in rig.ports() if port["name"] == lease.name] or label != "plane.hold"
                rig.clock.advance(31)

            restarted(rig).settle()

            assert rig.stored(lease.name).state is LeaseState.FREED, (label, when)
            agrees(rig)


def test_an_answer_of_neutrons_is_lost(rig: NeutronRig) -> None:
    """
    The port was made and its answer lost: the caller is told UNAVAILABLE and sees no lease; the same request finds the
    port and is granted.
    """
    rig.neutron.loses = ("POST", "ports")
    request = wish("vm-1", mac_address=MAC, request_id=REQUEST)

    reply = rig.refused("LeaseAddress", request)

    assert reply.code is grpc.StatusCode.UNAVAILABLE
    listed = rig.wire.ok("ListLeases", lease_pb2.ListLeasesRequest(parent="projects/demo"))
    assert [lease.owner.resource for lease in listed.leases] == ["first"]
    assert len(rig.ports()) == 2
    lease = rig.wire.ok("LeaseAddress", request)
    assert len(rig.ports()) == 2
    assert rig.types().count("address.leased") == 2
    assert lease.epoch == 1
    agrees(rig)


def test_neutron_away(rig: NeutronRig) -> None:
    """
    While Neutron is away nothing is granted, and a lease that nobody was told of is neither listed, read nor released.
    Back again, what nobody came for is given up.
    """
    rig.neutron.away = True
    assert rig.refused("LeaseAddress", wish("vm-1")).code is grpc.StatusCode.UNAVAILABLE
    (pending,) = (lease for lease in rig.stored_all() if lease.pending)
    assert rig.refused("GetLease", lease_pb2.GetLeaseRequest(name=pending.name)).code is grpc.StatusCode.NOT_FOUND
    asked = wish("vm-2", address=str(pending.address))
    assert rig.refused("LeaseAddress", asked).code is grpc.StatusCode.ABORTED

    rig.clock.advance(HALF_DONE.total_seconds() + 1)
    rig.settle()
    rig.neutron.away = False
    rig.clock.advance(61)
    rig.settle()

    agrees(rig)
    assert rig.lease("vm-2", address=str(pending.address)).epoch == 1


def test_a_release_while_neutron_is_away(rig: NeutronRig) -> None:
    """
    A release goes through while Neutron is away; the address is free only when it has come back and let go of it.
    """
    lease = rig.lease("vm-1", mac_address=MAC)
    rig.neutron.away = True
    rig.release(lease)
    rig.clock.advance(31)
    rig.settle()
    rig.settle()
    assert rig.stored(lease.name).state is LeaseState.COOLING
    assert "rests until" in rig.refused("LeaseAddress", wish("vm-2", address=lease.address)).status.message

    rig.neutron.away = False
    rig.clock.advance(61)
    rig.settle()

    assert rig.stored(lease.name).state is LeaseState.FREED
    agrees(rig)
    assert rig.lease("vm-2", address=lease.address).epoch == lease.epoch + 1


def test_another_address_wanted_half_way(rig: NeutronRig) -> None:
    """
    An owner who comes again for another address than the one he was being granted gets it; the first one is given up.
    """
    rig.neutron.loses = ("POST", "ports")
    rig.refused("LeaseAddress", wish("vm-1", mac_address=MAC))
    (pending,) = (lease for lease in rig.stored_all() if lease.pending)

    lease = rig.lease("vm-1", address="10.1.0.6", mac_address=MAC)

    assert lease.address == "10.1.0.6" != str(pending.address)
    agrees(rig)


def test_replicas_grant_each_address_once(make_database: MakeDatabase) -> None:
    """
    Thirty-two callers of two replicas take a small prefix to its end while Nova takes some of it: no address has two
    owners, in Neutron or with us, and each owner has one port.
    """
    database = make_database("services.ipam")
    neutron = FakeNeutron()
    rigs = [NeutronRig(database, neutron), NeutronRig(database, neutron)]
    rigs[0].prefix("10.1.0.0/26", cool_down=COOL_DOWN)

    def take_some(number: int) -> list[str]:
        found: list[str] = []
        for turn in range(3):
            if number % 8 == 0:
                with suppress(AssertionError):
                    rigs[0].vm(f"10.1.0.{2 + (number + turn * 7) % 60}")
            with suppress(Exhausted):
                found.append(served(rigs[number % 2], "LeaseAddress", wish(f"vm-{number}-{turn}")).address)
        return found

    found = together(take_some)
    rigs[1].round()

    assert len(found) == len(set(found))
    everywhere = [port["fixed_ips"][0]["ip_address"] for port in neutron.ports.values()]
    assert len(everywhere) == len(set(everywhere)) == 61
    agrees(rigs[0])


def test_the_same_request_at_two_replicas(rig: NeutronRig) -> None:
    """
    A request that is sent to two replicas at the same moment is one lease with one port.
    """
    rigs = [rig, restarted(rig)]
    for number in range(5):
        request = wish(f"vm-{number}", mac_address=f"52:54:00:00:01:0{number}", request_id=str(uuid.uuid4()))

        def ask(which: NeutronRig, request: object = request) -> str:
            while True:
                try:
                    return str(served(which, "LeaseAddress", request).name)
                except BmsError as error:
                    if error.reason != "BUSY":
                        raise

        with ThreadPoolExecutor(2) as pool:
            names = set(pool.map(ask, rigs))
        assert len(names) == 1
        agrees(rig)
        name = names.pop()
        served(rig, "ReleaseLease", lease_pb2.ReleaseLeaseRequest(name=name, epoch=rig.stored(name).epoch))
        rig.clock.advance(31)
        rig.settle()


def test_a_given_up_grant_that_goes_on_all_the_same(rig: NeutronRig) -> None:
    """
    A caller who stood still until his grant was given up gets another; what he had made meanwhile is not left.
    """
    other = restarted(rig)

    def observer(label: str, when: str) -> None:
        if (label, when) == ("plane.hold", "before") and not stood_still:
            stood_still.append(True)
            rig.clock.advance(HALF_DONE.total_seconds() + 1)
            other.settle()
            other.settle()

    stood_still: list[bool] = []
    with observed(observer):
        lease = rig.lease("vm-1", mac_address=MAC)

    assert stood_still
    rig.round()
    rig.round()
    agrees(rig)
    assert [port["mac_address"] for port in rig.ports() if port["name"] == lease.name] == [MAC]


def test_a_mac_address_taken_by_what_was_given_up(rig: NeutronRig) -> None:
    """
    A refusal of Neutron's ends the grant; the same owner comes again at once and is granted.
    """
    rig.neutron.refuses["POST", "ports"] = (400, "InvalidInput")
    with pytest.raises(BmsError) as caught:
        served(rig, "LeaseAddress", wish("vm-1", mac_address=MAC))

    assert not isinstance(caught.value, AlreadyExists)
    assert rig.lease("vm-1", mac_address=MAC).epoch == 1
    rig.settle()
    agrees(rig)
