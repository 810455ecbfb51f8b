# SPDX-License-Identifier: Apache-2.0
"""Both IP versions of an interface, and kept addresses, where Neutron keeps addresses too."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from bms.ipam.v1 import lease_pb2
from services.ipam.domain.holding import parked_mac
from tests.ipam.neutron_rig import MAC, Crash, NeutronRig, dying
from tests.ipam.rig import VM
from tests.ipam.test_concurrency import served
from tests.ipam.test_interfaces import both, held
from tests.ipam.test_neutron_crashes import restarted
from tests.ipam.test_tuning import change
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase) -> NeutronRig:
    made = NeutronRig(make_database("services.ipam"))
    made.prefix("10.1.0.0/29", cool_down=timedelta(seconds=10))
    made.prefix("2001:db8::/64", "p6", cool_down=timedelta(seconds=10))
    return made


def test_each_version_is_kept_by_a_port(rig: NeutronRig) -> None:
    """
    Both are kept before either is answered; asked for again they are the same, and cost nothing at Neutron.
    """
    owner = lease_pb2.Owner(kind=VM, resource="vm-1", mac_address=MAC)

    four, six = rig.wire.ok("LeaseAddresses", both(owner=owner)).leases
    again = rig.wire.ok("LeaseAddresses", both(owner=owner)).leases

    assert [four.address, six.address] == ["10.1.0.2", "2001:db8::2"]
    assert list(again) == [four, six]
    assert {port["name"]: port["mac_address"] for port in rig.ports()} == {
        four.name: MAC,
        six.name: parked_mac(six.name),
    }
    assert rig.types().count("address.leased") == 2


def test_a_refused_version_leaves_no_port(rig: NeutronRig) -> None:
    """
    When Neutron gave the very IPv6 address to a machine of its own, the IPv4 address is given up as well, at once.
    """
    rig.vm("2001:db8::7")

    refused = rig.refused("LeaseAddresses", both(addresses=["2001:db8::7"]))
    rig.settle()

    assert refused.code is grpc.StatusCode.ALREADY_EXISTS
    assert (rig.ports(), held(rig)) == ([], [])
    assert rig.lease("vm-2", address="10.1.0.2").epoch == 1


def test_a_rehearsal_asks_about_both(rig: NeutronRig) -> None:
    """
    What is only validated leaves no port, and Neutron's word about a very address counts.
    """
    rig.vm("2001:db8::7")

    planned = rig.wire.ok("LeaseAddresses", both(validate_only=True)).leases
    refused = rig.refused("LeaseAddresses", both(addresses=["2001:db8::7"], validate_only=True))

    assert len(planned) == 2
    assert refused.code is grpc.StatusCode.ALREADY_EXISTS
    assert (rig.ports(), held(rig)) == ([], [])


@pytest.mark.parametrize(("label", "when"), [("plane.hold", "after"), ("db.LeaseAddresses.commit", "before")])
def test_a_death_between_the_versions(rig: NeutronRig, label: str, when: str) -> None:
    """
    Whoever dies between the two, or before he could answer, leaves nothing held: the owner's next call finishes it.
    """
    with pytest.raises(Crash), dying(label, when):
        served(rig, "LeaseAddresses", both())
    other = restarted(rig)
    assert held(other) == []

    leases = served(other, "LeaseAddresses", both()).leases

    assert sorted(port["name"] for port in rig.ports()) == sorted(lease.name for lease in leases)
    assert [lease.epoch for lease in leases] == [1, 1]


def test_a_kept_address_has_no_port(rig: NeutronRig) -> None:
    """
    When it has rested Neutron lets go of it, and from then on it is kept for its owner here.
    """
    change(rig, sticky_time=timedelta(minutes=5))
    mine = rig.lease("vm-1")
    rig.release(mine)
    rig.clock.advance(10)
    rig.settle()
    before = rig.ports()

    back = rig.lease("vm-1")

    assert before == []
    assert (back.address, back.epoch) == (mine.address, 2)
    assert rig.refused("LeaseAddress", both_named(mine.address)).code is grpc.StatusCode.ALREADY_EXISTS


def both_named(address: str) -> lease_pb2.LeaseAddressRequest:
    """A stranger's request for a very address."""
    owner = lease_pb2.Owner(kind=VM, resource="stranger")
    return lease_pb2.LeaseAddressRequest(
        parent="projects/demo", network="projects/demo/networks/blue", owner=owner, address=address
    )
