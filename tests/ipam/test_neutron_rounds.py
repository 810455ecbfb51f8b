# SPDX-License-Identifier: Apache-2.0
"""Rounds over Neutron: what others have there is observed, what was changed by hand is put right."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from services.ipam.domain.leases import LeaseState
from tests.ipam.neutron_rig import MAC, OTHER_MAC, NeutronRig
from tests.ipam.rig import Rig, wish
from tests.support.stores import MakeDatabase

COOL_DOWN = timedelta(seconds=30)


@pytest.fixture
def rig(make_database: MakeDatabase) -> NeutronRig:
    return NeutronRig(make_database("services.ipam"))


def test_a_round_observes_and_unobserves(rig: NeutronRig) -> None:
    """
    Owners of Neutron's become owners here, routers and DHCP too, and free addresses again when they have gone.
    """
    rig.prefix("10.1.0.0/29", cool_down=COOL_DOWN)
    router = rig.vm("10.1.0.1", device_owner="network:router_interface")
    theirs = rig.vm("10.1.0.2")
    rig.round()
    assert rig.holder("10.1.0.1").ref == router["id"]
    assert rig.types() == ["address.observed", "address.observed"]

    del rig.neutron.ports[theirs["id"]]
    rig.round()
    rig.round()

    assert rig.types() == ["address.observed", "address.observed", "address.unobserved"]
    assert rig.holder("10.1.0.2") is None
    assert rig.lease("vm-1").address == "10.1.0.3", "neighbours may still look for the old owner"
    assert rig.lease("vm-2", address="10.1.0.2").epoch == 1


def test_another_machine_at_the_same_address(rig: NeutronRig) -> None:
    """
    An address that went from one machine of Nova's to the next between two rounds is observed anew.
    """
    rig.prefix()
    first = rig.vm("10.1.0.2")
    rig.round()
    del rig.neutron.ports[first["id"]]
    second = rig.vm("10.1.0.2")

    rig.round()

    assert rig.holder("10.1.0.2").ref == second["id"]
    assert rig.types() == ["address.observed", "address.observed"]


def test_neutron_away_frees_nothing(rig: NeutronRig) -> None:
    """
    A round that gets no answer, or whose subnet is gone, takes nobody for gone.
    """
    rig.prefix()
    rig.vm("10.1.0.2")
    rig.lease("vm-1", address="10.1.0.9")
    rig.round()
    rig.neutron.away = True
    rig.round()

    assert rig.types() == ["address.leased", "address.observed"]
    assert rig.holder("10.1.0.2") is not None


def test_a_port_deleted_by_hand(rig: NeutronRig) -> None:
    """
    The port of a lease that somebody deleted is made again by the next round, and the log says so.
    """
    rig.prefix()
    lease = rig.lease(mac_address=MAC)
    (port,) = rig.ports()
    del rig.neutron.ports[port["id"]]

    rig.round()
    rig.round()

    (made,) = rig.ports()
    assert (made["name"], made["mac_address"]) == (lease.name, MAC)
    assert rig.types() == ["address.leased", "address.held_again"]
    assert rig.stored(lease.name).hold == made["id"]


def test_a_port_changed_by_hand(rig: NeutronRig) -> None:
    """
    Another MAC address, name or address of a lease's port is put right.
    """
    rig.prefix()
    lease = rig.lease(mac_address=MAC)
    (port,) = rig.ports()
    port["mac_address"] = OTHER_MAC
    rig.round()
    assert port["mac_address"] == MAC
    port["name"] = "mine"
    rig.round()
    assert port["name"] == lease.name
    port["fixed_ips"][0]["ip_address"] = "10.1.0.77"
    rig.round()
    assert port["fixed_ips"][0]["ip_address"] == lease.address
    assert len(rig.ports()) == 1


def test_an_address_taken_from_a_lease(rig: NeutronRig) -> None:
    """
    Where the port was deleted and Neutron gave the address to a machine, the log says that it is contested, once, and
    later that it no longer is; the lease gets its port back.
    """
    rig.prefix(cool_down=COOL_DOWN)
    lease = rig.lease(mac_address=MAC)
    rig.neutron.ports.clear()
    theirs = rig.vm(lease.address)
    for _ in range(3):
        rig.round()
        rig.clock.advance(61)
    assert rig.types() == ["address.leased", "address.contested"]

    del rig.neutron.ports[theirs["id"]]
    rig.round()
    rig.settle()

    assert rig.types()[2:] in (
        ["address.uncontested", "address.held_again"],
        ["address.held_again", "address.uncontested"],
    )
    assert [port["name"] for port in rig.ports()] == [lease.name]


def test_a_contested_address_that_rested(rig: NeutronRig) -> None:
    """
    When a contested address has rested, it is free for nobody: it is the other's.
    """
    rig.prefix(cool_down=COOL_DOWN)
    lease = rig.lease()
    rig.neutron.ports.clear()
    rig.vm(lease.address)
    rig.round()
    rig.release(lease)
    rig.clock.advance(61)
    rig.settle()

    assert rig.types() == [
        "address.leased", "address.contested", "address.cooling", "address.freed", "address.observed",
    ]  # fmt: skip
    assert rig.lease("vm-2").address != lease.address


def test_a_port_left_over(rig: NeutronRig) -> None:
    """
    A port of a lease that is freed is removed by a round, or by who needs its address; one of a lease that nobody
    knows stays, and counts as somebody's.
    """
    rig.prefix("10.1.0.0/29", cool_down=COOL_DOWN)
    lease = rig.lease()
    rig.release(lease)
    rig.clock.advance(31)
    rig.settle()
    left = rig.vm(lease.address, name=lease.name, description="bms-lease")
    unknown = rig.vm(
        "10.1.0.6", name="projects/demo/leases/99999999-9999-4999-8999-999999999999", description="bms-lease"
    )

    taken = rig.lease("vm-2", address=lease.address)
    assert left["id"] not in rig.neutron.ports
    rig.release(taken)
    rig.clock.advance(31)
    rig.settle()
    again = rig.vm(lease.address, name=lease.name, description="bms-lease")
    rig.round()

    assert again["id"] not in rig.neutron.ports
    assert unknown["id"] in rig.neutron.ports
    assert rig.holder("10.1.0.6").ref == unknown["id"]


def test_leases_from_before(make_database: MakeDatabase) -> None:
    """
    Prefixes and leases that were there before Neutron get their subnet and ports by the next round; what rested already
    is freed as before.
    """
    database = make_database("services.ipam")
    before = Rig(database)
    before.prefix(cool_down=COOL_DOWN)
    lease, resting = before.lease("vm-1", mac_address=MAC), before.lease("vm-2")
    before.release(resting)
    rig = NeutronRig(database)

    rig.round()

    assert [port["name"] for port in rig.ports()] == [lease.name]
    assert rig.stored(lease.name).hold == rig.ports()[0]["id"]
    rig.clock.advance(31)
    rig.settle()
    assert rig.stored(resting.name).state is LeaseState.FREED
    assert len(rig.ports()) == 1


def test_an_address_allocated_to_nobody(rig: NeutronRig) -> None:
    """
    An address that Neutron takes for allocated though no port has it is passed over, and tried again later.
    """

    class Always(dict[tuple[str, str], tuple[int, str]]):
        def pop(self, key: tuple[str, str], default: Any = None) -> Any:
            return self.get(key, default)

    rig.prefix("10.1.0.0/30", cool_down=COOL_DOWN)
    rig.neutron.refuses = Always({("POST", "ports"): (409, "IpAddressAlreadyAllocated")})
    assert rig.refused("LeaseAddress", wish()).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.holder("10.1.0.2").ref == "nobody"

    rig.neutron.refuses = {}
    rig.round()
    rig.clock.advance(31)

    assert rig.lease().address == "10.1.0.2"
    assert rig.types() == ["address.observed", "address.unobserved", "address.leased"]


def test_a_subnet_that_went(rig: NeutronRig) -> None:
    """
    A prefix whose subnet somebody removed gets another by the next round.
    """
    rig.prefix()
    rig.neutron.subnets.clear()
    next(iter(rig.neutron.networks.values()))["subnets"].clear()

    rig.round()

    assert [subnet["cidr"] for subnet in rig.neutron.subnets.values()] == ["10.1.0.0/24"]
    assert rig.lease().address == "10.1.0.2"


def test_a_mac_address_for_a_contested_lease(rig: NeutronRig) -> None:
    """
    The owner of a lease whose address Neutron gave to another is told so when he comes with a MAC address.
    """
    rig.prefix()
    lease = rig.lease()
    rig.neutron.ports.clear()
    rig.vm(lease.address)

    reply = rig.refused("LeaseAddress", wish(mac_address=MAC))

    assert reply.code is grpc.StatusCode.ALREADY_EXISTS
    assert lease.address in reply.status.message
    assert rig.types() == ["address.leased", "address.contested"]


def test_one_that_cannot_be_understood_keeps_nobody_waiting(rig: NeutronRig) -> None:
    """
    A port or subnet that makes no sense delays its own lease or prefix, and no other.
    """
    rig.prefix(cool_down=COOL_DOWN)
    rig.prefix("2001:db8::/64", "p6")
    strange, other = rig.lease("vm-1"), rig.lease("vm-2")
    port = rig.port_at(strange.address)
    assert port is not None
    port["fixed_ips"][0]["ip_address"] = "no address"
    del rig.neutron.ports[rig.stored(other.name).hold]
    six = rig.lease("vm-6", ip_version=6)
    del rig.neutron.ports[rig.stored(six.name).hold]
    rig.database.transact(lambda tx: tx.execute("UPDATE leases SET settle_at = 1 WHERE ip_version = 4"), label="test")

    rig.round()

    assert {found["name"] for found in rig.ports()} == {strange.name, other.name, six.name}
