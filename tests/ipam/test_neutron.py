# SPDX-License-Identifier: Apache-2.0
"""Prefixes and leases that Neutron keeps: what is asked of it, what it refuses, and what is told of others."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from bms.event.v1 import event_pb2
from bms.ipam.v1 import prefix_pb2
from services.ipam.domain.holding import parked_mac
from services.kernel.effect import observed
from tests.ipam.neutron_rig import MAC, NeutronRig
from tests.ipam.rig import ADMIN, creation, wish
from tests.support.neutron import OWN
from tests.support.stores import MakeDatabase
from tests.support.wire import detail, remedy

COOL_DOWN = timedelta(seconds=30)


def facts(status: Any) -> dict[str, str]:
    """What an error names."""
    info = detail(status, error_details_pb2.ErrorInfo)
    return dict(info.metadata) if info is not None else {}


@pytest.fixture
def rig(make_database: MakeDatabase) -> NeutronRig:
    return NeutronRig(make_database("services.ipam"))


# -- prefixes ----------------------------------------------------------------------------------------------------------


def test_a_prefix_makes_a_subnet(rig: NeutronRig) -> None:
    """
    Where Neutron has no such range it is made, with what the prefix says; removed with the prefix.
    """
    rig.prefix(dns_servers=["9.9.9.9"], pools=(("10.1.0.10", "10.1.0.20"),))

    (subnet,) = rig.neutron.subnets.values()
    assert (subnet["network_id"], subnet["cidr"], subnet["gateway_ip"]) == (rig.network, "10.1.0.0/24", "10.1.0.1")
    assert [subnet["enable_dhcp"], subnet["dns_nameservers"]] == [False, ["9.9.9.9"]]
    assert subnet["allocation_pools"] == [{"start": "10.1.0.10", "end": "10.1.0.20"}]
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1"))
    assert not rig.neutron.subnets


def test_a_subnet_that_is_there_is_taken_over(rig: NeutronRig) -> None:
    """
    What the prefix leaves open comes from the subnet that is there, which outlives it.
    """
    rig.neutron.subnet(
        rig.network, "10.1.0.0/24", gateway_ip="10.1.0.254", dns_nameservers=["9.9.9.9"],
        allocation_pools=[{"start": "10.1.0.100", "end": "10.1.0.200"}],
    )  # fmt: skip

    prefix = rig.prefix()

    assert [prefix.gateway, *prefix.dns_servers] == ["10.1.0.254", "9.9.9.9"]
    assert [(pool.start, pool.end) for pool in prefix.pools] == [("10.1.0.100", "10.1.0.200")]
    assert rig.lease().address == "10.1.0.100"
    assert len(rig.neutron.subnets) == 1
    lease = rig.lease()
    rig.release(lease)
    rig.clock.advance(601)
    rig.settle()
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=prefix.name))
    assert len(rig.neutron.subnets) == 1


def test_another_gateway_is_refused(rig: NeutronRig) -> None:
    """
    A gateway that is not the subnet's is refused, and both are named.
    """
    rig.neutron.subnet(rig.network, "10.1.0.0/24", gateway_ip="10.1.0.254")

    reply = rig.refused("CreatePrefix", creation(gateway="10.1.0.1"))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert facts(reply.status)["gateway"] == "10.1.0.254"
    assert facts(reply.status)["given"] == "10.1.0.1"
    assert rig.prefix(gateway="10.1.0.254").gateway == "10.1.0.254"


def test_a_refused_prefix_leaves_no_subnet(rig: NeutronRig) -> None:
    """
    What ipam refuses is not made in Neutron, what Neutron refuses is no prefix, and a rehearsal makes nothing.
    """
    rig.prefix()
    assert rig.refused("CreatePrefix", creation("10.1.0.128/25", "p2")).code is grpc.StatusCode.ALREADY_EXISTS
    rig.wire.ok("CreatePrefix", creation("10.2.0.0/24", "p3", validate_only=True))
    assert len(rig.neutron.subnets) == 1

    rig.neutron.quota["subnets"] = 1
    reply = rig.refused("CreatePrefix", creation("10.2.0.0/24", "p3"))

    assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.wire.call("GetPrefix", prefix_pb2.GetPrefixRequest(name="projects/demo/prefixes/p3")).message is None


def test_a_network_that_neutron_has_not(rig: NeutronRig) -> None:
    """
    A prefix in a network that Neutron does not know is refused, unless it is another project's: that does not exist.
    """
    reply = rig.refused("CreatePrefix", creation(network="projects/demo/networks/red"))
    other = rig.refused("CreatePrefix", creation(network="projects/other/networks/red"))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "Neutron has no network" in reply.status.message
    assert other.code is grpc.StatusCode.NOT_FOUND
    assert "Neutron" not in other.status.message


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_lease_is_a_port(rig: NeutronRig) -> None:
    """
    An address that is granted is a port of Neutron's, unbound, with the owner's MAC address; the log names it.
    """
    rig.prefix()
    lease = rig.lease(mac_address=MAC, request_id="11111111-1111-4111-8111-111111111111")

    (port,) = rig.ports()
    assert port["fixed_ips"][0]["ip_address"] == lease.address
    assert (port["network_id"], port["project_id"], port["mac_address"]) == (rig.network, OWN, MAC)
    assert [port["name"], port["tags"]] == [lease.name, ["bms-lease"]]
    assert (port["binding:vnic_type"], port["binding:host_id"], port["device_owner"]) == ("baremetal", "", "")
    (event,) = rig.of_addresses()
    body = event_pb2.EventBody.FromString(event.body)
    assert body.facts["held_as"] == port["id"]
    again = rig.lease(mac_address=MAC, request_id="11111111-1111-4111-8111-111111111111")
    assert again == lease
    assert rig.lease(mac_address=MAC) == lease
    assert len(rig.neutron.told) == 4, "a subnet and its mark, a port and its mark"


def test_the_port_stays_through_the_cool_down(rig: NeutronRig) -> None:
    """
    A released address keeps its port under a MAC address that is in nobody's way, until it has rested; then it is free.
    """
    rig.prefix("10.1.0.0/30", cool_down=COOL_DOWN)
    lease = rig.lease(mac_address=MAC)
    rig.release(lease)
    rig.settle()

    (port,) = rig.ports()
    assert port["mac_address"] == parked_mac(lease.name)
    rig.clock.advance(29)
    rig.settle()
    assert rig.ports()
    assert rig.refused("LeaseAddress", wish("vm-2")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "rests until" in rig.refused("LeaseAddress", wish("vm-2", address=lease.address)).status.message
    rig.clock.advance(2)
    assert rig.refused("LeaseAddress", wish("vm-2")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    rig.settle()
    assert not rig.ports()
    assert rig.lease("vm-2", mac_address=MAC).address == lease.address
    assert rig.types() == ["address.leased", "address.cooling", "address.freed", "address.leased"]


def test_a_mac_address_is_learnt(rig: NeutronRig) -> None:
    """
    A MAC address given later becomes the port's; while Neutron is away it is not learnt.
    """
    rig.prefix()
    lease = rig.lease()
    (port,) = rig.ports()
    assert port["mac_address"] == parked_mac(lease.name)
    rig.neutron.away = True
    assert rig.refused("LeaseAddress", wish(mac_address=MAC)).code is grpc.StatusCode.UNAVAILABLE
    assert rig.stored(lease.name).owner.mac_address == ""

    rig.neutron.away = False
    assert rig.lease(mac_address=MAC).owner.mac_address == MAC

    assert port["mac_address"] == MAC
    assert rig.types() == ["address.leased", "address.mac_changed"]


def test_a_mac_address_of_somebody_else(rig: NeutronRig) -> None:
    """
    A MAC address that another port of the network has is refused, and its holder is named; nothing is left.
    """
    rig.prefix()
    other = rig.vm("10.1.0.50", mac_address=MAC)

    reply = rig.refused("LeaseAddress", wish(mac_address=MAC))
    rig.settle()

    assert reply.code is grpc.StatusCode.ALREADY_EXISTS
    assert facts(reply.status)["holder"] == other["id"]
    assert not rig.ports()
    assert rig.types() == []


def test_the_next_owner_of_the_same_server(rig: NeutronRig) -> None:
    """
    While one owner's address rests, the next gets another with the same MAC address: it is the same server's.
    """
    rig.prefix()
    first = rig.lease("vm-1", mac_address=MAC)
    rig.release(first)

    second = rig.lease("vm-2", mac_address=MAC)

    assert {port["name"]: port["mac_address"] for port in rig.ports()} == {
        first.name: parked_mac(first.name),
        second.name: MAC,
    }


def test_both_ip_versions_of_one_interface(rig: NeutronRig) -> None:
    """
    An interface's second IP version is kept by a port of its own, since the MAC address is the first one's.
    """
    rig.prefix()
    rig.prefix("2001:db8::/64", "p6")
    four, six = rig.lease(mac_address=MAC), rig.lease(mac_address=MAC, ip_version=6)

    rig.round()

    macs = {port["name"]: port["mac_address"] for port in rig.ports()}
    assert macs == {four.name: MAC, six.name: parked_mac(six.name)}


def test_a_quota(rig: NeutronRig) -> None:
    """
    Where Neutron's quota is used up the caller is told what helps, and no address is lost.
    """
    rig.prefix("10.1.0.0/30")
    rig.neutron.quota["ports"] = 0

    reply = rig.refused("LeaseAddress", wish())
    rig.settle()

    assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "quota" in remedy(reply.status)
    rig.neutron.quota.clear()
    assert rig.lease().epoch == 1


def test_a_rehearsal_asks_and_keeps_nothing(rig: NeutronRig) -> None:
    """
    With validate_only Neutron is asked who has the address, and nothing is made there or here.
    """
    rig.prefix()
    rig.vm("10.1.0.50")
    told = len(rig.neutron.told)

    assert rig.wire.ok("LeaseAddress", wish(address="10.1.0.51", validate_only=True)).address == "10.1.0.51"
    taken = rig.refused("LeaseAddress", wish(address="10.1.0.50", validate_only=True))

    assert taken.code is grpc.StatusCode.ALREADY_EXISTS
    assert len(rig.neutron.told) == told
    assert rig.stored_all() == []


def test_what_a_grant_costs(rig: NeutronRig) -> None:
    """
    A grant is two transactions, of seven and of five statements, and two requests to Neutron.
    """
    rig.prefix()
    rig.lease("first")
    told, seen = len(rig.neutron.told), Counter[str]()

    with observed(lambda label, when: seen.update([label] if when == "before" else [])):
        rig.lease("vm-1", mac_address=MAC)

    counts = {label: seen[label] for label in ("db.ipam.begin.statement", "db.LeaseAddress.statement", "plane.hold")}
    assert counts == {"db.ipam.begin.statement": 7, "db.LeaseAddress.statement": 5, "plane.hold": 1}
    assert [method for method, _ in rig.neutron.told[told:]] == ["POST", "PUT"]


# -- what others have --------------------------------------------------------------------------------------------------


def test_an_address_of_a_machine_of_novas(rig: NeutronRig) -> None:
    """
    It is refused when asked for by name, naming its holder to those who may know; it is passed over when any will do,
    and counts as an owner from then on.
    """
    rig.prefix()
    theirs = rig.vm("10.1.0.2", project_id="somebody")

    by_member = rig.refused("LeaseAddress", wish(address="10.1.0.2"))
    by_admin = rig.refused("LeaseAddress", wish(address="10.1.0.2"), caller=ADMIN)
    told = len(rig.neutron.told)
    any_will_do = rig.lease()

    assert by_member.code is by_admin.code is grpc.StatusCode.ALREADY_EXISTS
    assert "holder" not in facts(by_member.status)
    assert facts(by_admin.status)["holder"] == theirs["id"]
    assert facts(by_admin.status)["holder_kind"] == "compute:nova"
    assert facts(by_admin.status)["holder_device"] == "vm-of-nova"
    assert any_will_do.address == "10.1.0.3"
    assert len(rig.neutron.told) == told + 2, "it is not tried again"
    assert rig.types() == ["address.observed", "address.leased"]
    assert rig.holder("10.1.0.2").device == "vm-of-nova"


def test_many_addresses_of_others(rig: NeutronRig) -> None:
    """
    In a network full of others' addresses a few are tried, then all are listed.
    """
    rig.prefix()
    for last in range(2, 42):
        rig.vm(f"10.1.0.{last}")

    assert rig.lease().address == "10.1.0.42"

    assert sum(method == "POST" and path == "/ports" for method, path in rig.neutron.told) == 5
    assert rig.types().count("address.observed") == 40
