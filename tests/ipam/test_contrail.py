# SPDX-License-Identifier: Apache-2.0
"""Leases that Contrail keeps the addresses of: what is asked of it, what it refuses, and what is told of others."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from ipaddress import ip_network

import grpc
import pytest

from bms.event.v1 import event_pb2
from bms.ipam.v1 import prefix_pb2
from services.ipam.backends.contrail_words import SERVICE, hold_uuid
from services.ipam.compose import _plane
from services.ipam.domain.holding import parked_mac
from services.ipam.settings import PlaneSettings
from services.kernel.effect import observed
from services.kernel.errors import PeerUnavailable
from services.runtime.contrail import LEASE, dashed, pairs_of
from services.runtime.contrail import MAC as NOTED_MAC
from tests.ipam.contrail_rig import BLUE, HOME, ContrailRig
from tests.ipam.controller_rig import MAC, facts
from tests.ipam.rig import ADMIN, NETWORK, creation, wish
from tests.support.contrail_http import served
from tests.support.stores import MakeDatabase
from tests.support.wire import remedy

COOL_DOWN = timedelta(seconds=30)


@pytest.fixture
def rig(make_database: MakeDatabase) -> ContrailRig:
    return ContrailRig(make_database("services.ipam"))


def notes(rig: ContrailRig) -> dict[str, str]:
    """The MAC address noted on each of our instance-ips, by lease."""
    found = [pairs_of(one, "annotations") for one in rig.ours()]
    return {one[LEASE]: one[NOTED_MAC] for one in found}


# -- prefixes ----------------------------------------------------------------------------------------------------------


def test_a_prefix_makes_a_subnet(rig: ContrailRig) -> None:
    """
    Where Contrail has no such range it is made under an IPAM of its own, beside what others have, and goes with it.
    """
    theirs = rig.subnet("10.9.0.0/24")
    rig.prefix(dns_servers=["9.9.9.9"], pools=(("10.1.0.10", "10.1.0.20"),))

    _, ours = rig.subnets()
    assert (ours["subnet"], ours["default_gateway"]) == ({"ip_prefix": "10.1.0.0", "ip_prefix_len": 24}, "10.1.0.1")
    assert (ours["dns_server_address"], ours["enable_dhcp"], ours["subnet_name"]) == ("10.1.0.2", True, "p1")
    assert ours["dhcp_option_list"]["dhcp_option"][0]["dhcp_option_value"] == "9.9.9.9"
    assert ours["allocation_pools"] == [{"start": "10.1.0.10", "end": "10.1.0.20"}]
    assert len(rig.contrail.every("network-ipam")) == 2
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1"))
    assert rig.subnets() == [theirs]
    assert len(rig.contrail.every("network-ipam")) == 1


def test_a_prefix_without_gateway(rig: ContrailRig) -> None:
    """
    A prefix that has no gateway has none in Contrail, which gives one to who says nothing.
    """
    rig.prefix(gateway="none")

    (subnet,) = rig.subnets()
    assert subnet["default_gateway"] == "0.0.0.0"
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1"))
    rig.subnet("10.1.0.0/24", default_gateway="0.0.0.0")
    assert rig.prefix().gateway == "none"


def test_what_others_write_meanwhile_stays(rig: ContrailRig) -> None:
    """
    A subnet that somebody adds between our reading and our writing is not undone: the last writer would win.
    """
    rig.contrail.before["POST", "ref-update"] = lambda: rig.subnet("10.9.0.0/24")

    rig.prefix()

    assert {subnet["subnet"]["ip_prefix"] for subnet in rig.subnets()} == {"10.1.0.0", "10.9.0.0"}


def test_a_subnet_that_is_there_is_taken_over(rig: ContrailRig) -> None:
    """
    What the prefix leaves open comes from the subnet that is there, host bits and all; it outlives the prefix.
    """
    rig.subnet(
        "10.1.0.7/24", default_gateway="10.1.0.254", dns_nameservers=["9.9.9.9"],
        allocation_pools=[{"start": "10.1.0.100", "end": "10.1.0.200"}],
    )  # fmt: skip

    prefix = rig.prefix()

    assert [prefix.gateway, *prefix.dns_servers] == ["10.1.0.254", "9.9.9.9"]
    assert [(pool.start, pool.end) for pool in prefix.pools] == [("10.1.0.100", "10.1.0.200")]
    lease = rig.lease()
    assert lease.address == "10.1.0.100"
    rig.release(lease)
    rig.clock.advance(601)
    rig.settle()
    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name=prefix.name))
    assert len(rig.subnets()) == 1


def test_a_subnet_that_others_live_in_stays(rig: ContrailRig) -> None:
    """
    A prefix goes even if machines have addresses of its range; Contrail's subnet stays with them.
    """
    rig.prefix()
    rig.vm("10.1.0.50")

    rig.wire.ok("DeletePrefix", prefix_pb2.DeletePrefixRequest(name="projects/demo/prefixes/p1"))

    assert len(rig.subnets()) == 1


def test_another_gateway_is_refused(rig: ContrailRig) -> None:
    """
    A gateway that is not the subnet's is refused, and both are named.
    """
    rig.subnet("10.1.0.0/24", default_gateway="10.1.0.254")

    reply = rig.refused("CreatePrefix", creation(gateway="10.1.0.1"))

    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert facts(reply.status)["gateway"] == "10.1.0.254"
    assert rig.prefix(gateway="10.1.0.254").gateway == "10.1.0.254"


def test_a_refused_prefix_leaves_nothing(rig: ContrailRig) -> None:
    """
    What ipam refuses is not made in Contrail, what Contrail refuses is no prefix, and no IPAM is left of it.
    """
    rig.prefix()
    assert rig.refused("CreatePrefix", creation("10.1.0.128/25", "p2")).code is grpc.StatusCode.ALREADY_EXISTS
    rig.wire.ok("CreatePrefix", creation("10.2.0.0/24", "p3", validate_only=True))
    rig.contrail.refuses["POST", "ref-update"] = (412, "['d', 'p'] : quota limit (1) exceeded for resource subnet")

    reply = rig.refused("CreatePrefix", creation("10.2.0.0/24", "p3"))

    assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "quota" in remedy(reply.status)
    assert len(rig.subnets()) == 1
    assert len(rig.contrail.every("network-ipam")) == 2


def test_networks_that_cannot_be_served(rig: ContrailRig) -> None:
    """
    A network that Contrail does not know is refused, and one whose addresses belong to several networks at once.
    """
    unknown = rig.refused("CreatePrefix", creation(network="projects/demo/networks/red"))
    rig.contrail.objects.things[rig.network].body["address_allocation_mode"] = "flat-subnet-only"
    flat = rig.refused("CreatePrefix", creation())

    assert unknown.code is flat.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "Contrail has no network" in unknown.status.message
    assert "flat" in flat.status.message


def test_ipam_is_put_together_with_it(rig: ContrailRig) -> None:
    """
    Told of Contrail's API servers, ipam asks them over HTTP; of a cloud that there is not it says so when it is asked.
    """
    with served(rig.contrail) as url:
        given = {"BMS_IPAM_BACKEND": "contrail", "BMS_IPAM_CONTRAIL_URLS": url}
        plane = _plane(PlaneSettings.read(given))
        nobodys = _plane(PlaneSettings.read({**given, "BMS_IPAM_CONTRAIL_CLOUD": "nowhere"}))
        assert plane is not None
        assert nobodys is not None
        assert plane.survey(NETWORK, ip_network("10.1.0.0/24")) is None
        rig.prefix()

        realm = plane.survey(NETWORK, ip_network("10.1.0.0/24"))

        assert realm is not None
        assert [one.kind for one in plane.holders(realm.ref)] == [SERVICE]
        with pytest.raises(PeerUnavailable, match="no cloud"):
            nobodys.holders(realm.ref)


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_lease_is_an_instance_ip(rig: ContrailRig) -> None:
    """
    An address that is granted is an instance-ip without interface; it says whose it is, and the log names it.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    lease = rig.lease(mac_address=MAC, request_id="11111111-1111-4111-8111-111111111111")

    (made,) = rig.ours()
    assert (made["uuid"], made["fq_name"]) == (hold_uuid(lease.name), [hold_uuid(lease.name)])
    assert (made["instance_ip_address"], made["display_name"]) == (lease.address, lease.name)
    assert made["virtual_network_refs"][0]["uuid"] == rig.network
    assert "virtual_machine_interface_refs" not in made
    assert notes(rig) == {lease.name: MAC}
    (event,) = rig.of_addresses()
    assert event_pb2.EventBody.FromString(event.body).facts["held_as"] == made["uuid"]
    again = rig.lease(mac_address=MAC, request_id="11111111-1111-4111-8111-111111111111")
    assert again == lease == rig.lease(mac_address=MAC)
    assert [path for _, path in rig.contrail.told] == ["/network-ipams", "/ref-update", "/instance-ips"]


def test_the_address_is_kept_through_the_cool_down(rig: ContrailRig) -> None:
    """
    A released address keeps its instance-ip, for nobody's MAC address, until it has rested; then it is free.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.10"),), cool_down=COOL_DOWN)
    lease = rig.lease(mac_address=MAC)
    rig.release(lease)
    rig.settle()

    assert notes(rig) == {lease.name: parked_mac(lease.name)}
    rig.clock.advance(29)
    rig.settle()
    assert rig.refused("LeaseAddress", wish("vm-2")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    rig.clock.advance(2)
    rig.settle()
    assert not rig.ours()
    assert rig.lease("vm-2", mac_address=MAC).address == lease.address
    assert rig.types() == ["address.leased", "address.cooling", "address.freed", "address.leased"]


def test_a_mac_address_is_learnt(rig: ContrailRig) -> None:
    """
    A MAC address given later is noted too, and what others noted on the same instance-ip stays.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    lease = rig.lease()
    (made,) = rig.ours()
    update = {"field": "annotations", "operation": "set", "value": {"key": "theirs", "value": "1"}}
    rig.contrail.do("POST", "/prop-collection-update", {"uuid": made["uuid"], "updates": [update]})

    assert rig.lease(mac_address=MAC).owner.mac_address == MAC

    (made,) = rig.ours()
    assert pairs_of(made, "annotations") == {LEASE: lease.name, NOTED_MAC: MAC, "theirs": "1"}
    assert rig.types() == ["address.leased", "address.mac_changed"]


def test_both_ip_versions_of_one_interface(rig: ContrailRig) -> None:
    """
    Both addresses of an interface are noted for its MAC address.
    """
    rig.prefix()
    rig.prefix("2001:db8::/64", "p6")
    four, six = rig.lease(mac_address=MAC), rig.lease(mac_address=MAC, ip_version=6)

    rig.round()

    assert notes(rig) == {four.name: MAC, six.name: MAC}
    assert "address.held_again" not in rig.types()


def test_what_network_does_with_it_stays(rig: ContrailRig) -> None:
    """
    The reference to an interface is network's: no round undoes it, and the address can be given back with it.
    """
    rig.prefix(cool_down=COOL_DOWN)
    lease = rig.lease(mac_address=MAC)
    interface = rig.contrail.add("virtual-machine-interface", [*HOME, "port"], virtual_network_refs=[{"to": BLUE}])
    refer = {"type": "instance-ip", "uuid": hold_uuid(lease.name), "ref-type": "virtual-machine-interface"}
    rig.contrail.do("POST", "/ref-update", {**refer, "ref-uuid": interface, "operation": "ADD"})
    told = len(rig.contrail.told)
    rig.round()
    assert rig.contrail.told[told:] == []

    rig.release(lease)
    rig.clock.advance(31)
    rig.settle()

    assert not rig.ours()
    assert rig.contrail.read("virtual-machine-interface", interface)


def test_a_quota(rig: ContrailRig) -> None:
    """
    Where a quota is used up the caller is told what helps, and no address is lost.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.10"),))
    rig.contrail.refuses["POST", "instance-ips"] = (412, "['d', 'p'] : quota limit (1) exceeded for resource x")

    reply = rig.refused("LeaseAddress", wish())
    rig.settle()

    assert reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "quota" in remedy(reply.status)
    assert rig.lease().epoch == 1


def test_what_a_grant_costs(rig: ContrailRig) -> None:
    """
    A grant is two requests to Contrail: the instance-ip is made, and who has the address is read.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    rig.lease("first")
    asked, seen = len(rig.contrail.asked), Counter[str]()

    with observed(lambda label, when: seen.update([label] if when == "before" else [])):
        rig.lease("vm-1", mac_address=MAC)

    assert seen["plane.hold"] == 1
    assert [method for method, _ in rig.contrail.asked[asked:]] == ["POST", "GET"]


# -- what others have --------------------------------------------------------------------------------------------------


def test_an_address_of_a_virtual_machine(rig: ContrailRig) -> None:
    """
    It is refused when asked for by name, naming the machine to those who may know; it is passed over when any will do,
    and counts as an owner from then on.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    theirs = rig.vm("10.1.0.10", "vm-77")

    by_member = rig.refused("LeaseAddress", wish(address="10.1.0.10"))
    by_admin = rig.refused("LeaseAddress", wish(address="10.1.0.10"), caller=ADMIN)
    any_will_do = rig.lease()

    assert by_member.code is by_admin.code is grpc.StatusCode.ALREADY_EXISTS
    assert "holder" not in facts(by_member.status)
    named = facts(by_admin.status)
    assert (named["holder"], named["holder_kind"], named["holder_device"]) == (theirs["uuid"], "compute:nova", "vm-77")
    assert "vm-77" in by_admin.status.message
    assert any_will_do.address == "10.1.0.11"
    assert rig.types() == ["address.observed", "address.leased"]


def test_a_rehearsal_asks_and_keeps_nothing(rig: ContrailRig) -> None:
    """
    With validate_only Contrail is asked who has the address, and nothing is made there or here.
    """
    rig.prefix()
    rig.vm("10.1.0.50")
    told = len(rig.contrail.told)

    assert rig.wire.ok("LeaseAddress", wish(address="10.1.0.51", validate_only=True)).address == "10.1.0.51"
    for address in ("10.1.0.50", "10.1.0.2"):
        taken = rig.refused("LeaseAddress", wish(address=address, validate_only=True))
        assert taken.code is grpc.StatusCode.ALREADY_EXISTS

    assert len(rig.contrail.told) == told
    assert rig.stored_all() == []


def test_a_round_observes_and_unobserves(rig: ContrailRig) -> None:
    """
    Machines become owners here, the service address has one always, and machines that have gone are owners no more.
    """
    rig.prefix(cool_down=COOL_DOWN)
    theirs = rig.vm("10.1.0.3")
    rig.round()
    assert (rig.holder("10.1.0.3").device, rig.holder("10.1.0.2").kind) == ("vm-of-nova", SERVICE)

    rig.vm_goes(theirs["uuid"])
    rig.round()
    rig.round()

    assert rig.types() == ["address.observed", "address.unobserved"]
    assert rig.holder("10.1.0.3") is None
    assert rig.lease("vm-1").address == "10.1.0.4", "neighbours may still look for the old owner"


def test_a_machine_of_another_network(rig: ContrailRig) -> None:
    """
    An instance-ip may refer to an interface of another network: Contrail does not check, and it is named all the same.
    """
    rig.prefix()
    red = [*HOME, "red"]
    rig.contrail.add("virtual-network", red)
    rig.contrail.add("virtual-machine", ["vm-red"])
    there = rig.contrail.add(
        "virtual-machine-interface", [*HOME, "port"], virtual_network_refs=[{"to": red}],
        virtual_machine_refs=[{"to": ["vm-red"]}],
    )  # fmt: skip
    rig.contrail.add(
        "instance-ip", ["ip"], instance_ip_address="10.1.0.9", virtual_network_refs=[{"to": BLUE}],
        virtual_machine_interface_refs=[{"to": [*HOME, "port"], "uuid": there}],
    )  # fmt: skip

    rig.round()

    assert rig.holder("10.1.0.9").device == "vm-red"


def test_contrail_away_frees_nothing(rig: ContrailRig) -> None:
    """
    Without an answer nothing is concluded: who has addresses goes on having them, and nobody is granted one.
    """
    rig.prefix()
    rig.vm("10.1.0.3")
    rig.round()
    rig.contrail.away = True

    rig.round()

    assert rig.holder("10.1.0.3") is not None
    assert rig.refused("LeaseAddress", wish()).code is grpc.StatusCode.UNAVAILABLE
    rig.contrail.away = False
    assert rig.lease().address == "10.1.0.4"


def test_what_was_removed_or_changed_by_hand(rig: ContrailRig) -> None:
    """
    An instance-ip of ours that somebody removed is made again; one whose notes he took away gets them back.
    """
    rig.prefix()
    lease = rig.lease(mac_address=MAC)
    rig.contrail.do("DELETE", f"/instance-ip/{hold_uuid(lease.name)}")
    rig.round()
    assert notes(rig) == {lease.name: MAC}

    rig.contrail.objects.things[hold_uuid(lease.name)].body["annotations"] = {"key_value_pair": []}
    rig.round()

    assert notes(rig) == {lease.name: MAC}
    assert rig.types() == ["address.leased"], "it is called as before"


def test_a_subnet_that_went(rig: ContrailRig) -> None:
    """
    A subnet that somebody took away is made again, with the addresses that are leased.
    """
    rig.prefix()
    lease = rig.lease()
    rig.contrail.do("DELETE", f"/instance-ip/{hold_uuid(lease.name)}")
    rig.contrail.do("PUT", f"/virtual-network/{rig.network}", {"virtual-network": {"network_ipam_refs": []}})

    rig.round()

    assert len(rig.subnets()) == 1
    assert [one["instance_ip_address"] for one in rig.ours()] == [lease.address]


def test_a_prefix_that_another_controller_had(rig: ContrailRig) -> None:
    """
    A range that was Neutron's is found in Contrail, or made there, by the next round; until then nothing is granted.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    rig.database.transact(lambda tx: tx.execute("UPDATE prefixes SET realm = ?", ("net/subnet",)), label="test")
    assert rig.refused("LeaseAddress", wish()).code is grpc.StatusCode.NOT_FOUND

    rig.round()

    assert rig.lease().address == "10.1.0.10"
    assert len(rig.subnets()) == 1


def test_who_says_to_be_a_lease_is_not(rig: ContrailRig) -> None:
    """
    An instance-ip that bears our note and not the UUID that we choose is somebody else's.
    """
    rig.prefix(pools=(("10.1.0.10", "10.1.0.20"),))
    lease = rig.lease()
    note = {"key_value_pair": [{"key": LEASE, "value": lease.name}]}
    theirs = rig.contrail.add(
        "instance-ip", ["copy"], instance_ip_address="10.1.0.11", virtual_network_refs=[{"to": BLUE}], annotations=note
    )

    rig.round()

    assert rig.holder("10.1.0.11").ref == theirs
    assert rig.lease("vm-2").address == "10.1.0.12"


def test_the_project_of_keystones_that_a_machine_is_in(rig: ContrailRig) -> None:
    """
    Whose a machine is is told by its Keystone project, so that his own people see it named.
    """
    tenant = "a1" * 16
    rig.prefix()
    rig.contrail.add("project", ["default-domain", "tenant"], uuid=dashed(tenant))
    theirs = ["default-domain", "tenant", "port"]
    rig.contrail.add("virtual-machine-interface", theirs, virtual_network_refs=[{"to": BLUE}])
    rig.contrail.add(
        "instance-ip", ["ip"], instance_ip_address="10.1.0.9", virtual_network_refs=[{"to": BLUE}],
        virtual_machine_interface_refs=[{"to": theirs}],
    )  # fmt: skip

    rig.round()

    assert rig.holder("10.1.0.9").project == tenant
