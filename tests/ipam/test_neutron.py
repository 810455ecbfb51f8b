# SPDX-License-Identifier: Apache-2.0
"""Leases that Neutron keeps the addresses of: what is asked of it, what it refuses, and what is told of others."""

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
from services.ipam.domain.leases import LeaseState
from services.kernel.effect import observed
from tests.ipam.neutron_rig import MAC, OTHER_MAC, NeutronRig
from tests.ipam.rig import ADMIN, Rig, creation, wish
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


# -- what goes wrong there ---------------------------------------------------------------------------------------------


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
