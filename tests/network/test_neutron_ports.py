# SPDX-License-Identifier: Apache-2.0
"""Ports by a Neutron: what is bound, what is cut, and what is read of it, over the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import network_pb2 as net
from services.kernel.effect import observed
from services.kernel.errors import Corrupt
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_leftovers import NeutronLeftovers
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.domain.networks import PortClass
from services.network.ports import DhcpOption
from services.runtime.database import Database
from services.runtime.neutron import LEASE, PORT, Neutron
from tests.network.conftest import OTHER, SERVER, Site, link, refusal, wish
from tests.support.neutron import OWN, FakeNeutron
from tests.support.wire import Reply

DEMO = "de" * 16
BLUE = f"projects/{DEMO}/networks/blue"
GREEN = f"projects/{DEMO}/networks/green"
PROVISIONING = "projects/site/networks/provisioning"
CLEANING = "projects/site/networks/cleaning"
GROUP = "00000000-0000-4000-8000-0000000000aa"


class Cloud(Site):
    """A network service over a Neutron, with the networks above."""

    def __init__(self, database: Database, folder: Path, fake: FakeNeutron) -> None:
        self.fake = fake
        self.api = Neutron(fake, OWN)
        groups, options = {PortClass.PROVISIONING: (GROUP,)}, [DhcpOption("67", "boot.img")]
        super().__init__(
            database,
            folder,
            lambda clock: NeutronFabric(self.api, clock, groups, options),
            NeutronNetworks(self.api),
            leftovers=NeutronLeftovers(self.api),
        )

    def by_name(self, name: str) -> dict[str, Any]:
        """The Neutron network that is ours of that name."""
        ident = name.rsplit("/", 1)[1]
        return next(one for one in self.fake.networks.values() if one["description"].endswith(ident))

    def lease(self, name: str, index: int = 0, **more: Any) -> dict[str, Any]:
        """A port that ipam made to hold an address."""
        mac = link(index).mac_address
        return self.fake.port(self.by_name(name)["id"], mac_address=mac, description=LEASE, project_id=DEMO, **more)

    def bound(self, index: int = 0) -> list[dict[str, Any]]:
        """The Neutron ports that say that they are plugged in where the server's port is."""
        plug = link(index)
        return [
            port
            for port in self.fake.ports.values()
            if {"switch_id": plug.switch_name, "port_id": plug.switch_port, "switch_info": plug.switch_name}
            in port["binding:profile"].get("local_link_information", [])
        ]

    def details(self) -> str:
        return "; ".join(reading.detail for reading in self.read(fence=0).message.readings)


@pytest.fixture
def fake() -> FakeNeutron:
    return FakeNeutron()


@pytest.fixture
def cloud(database: Database, tmp_path: Path, fake: FakeNeutron) -> Iterator[Cloud]:
    made = Cloud(database, tmp_path, fake)
    for name in (PROVISIONING, CLEANING):
        made.network(name, name.rsplit("/", 1)[1])
    for name in (BLUE, GREEN):
        made.network(name)
    for name, cidr in ((PROVISIONING, "10.1.0.0/24"), (BLUE, "10.2.0.0/24")):
        fake.subnet(made.by_name(name)["id"], cidr)
    ok(made.register(link(0), link(1)))
    ok(made.read())
    yield made
    made.close()


def ok(reply: Reply) -> Any:
    assert reply.code is grpc.StatusCode.OK, reply
    return reply.message


def test_a_port_that_neutron_knows_nothing_of_is_in_quarantine(cloud: Cloud) -> None:
    """
    Nothing bound at the switch port is quarantine, with a digest over what was answered.
    """
    readings = ok(cloud.read()).readings

    assert cloud.classes() == ["quarantine", "quarantine"]
    assert all(len(reading.reading_digest) == 32 for reading in readings)


def test_where_there_is_no_port_one_is_made_and_taken_away(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    On a private network the port has an address of Neutron's and the class's security groups; quarantine deletes it.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    (port,) = cloud.bound()
    assert cloud.classes() == ["provisioning", "quarantine"]
    assert (port["binding:vnic_type"], port["binding:host_id"], port["status"]) == ("baremetal", SERVER, "ACTIVE")
    assert (port["tags"], port["security_groups"], port["mac_address"]) == ([PORT], [GROUP], link(0).mac_address)
    assert port["fixed_ips"][0]["ip_address"] == "10.1.0.2"
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes() == ["quarantine", "quarantine"]
    assert fake.ports == {}


def test_on_a_tenants_network_neutron_gives_no_address_by_itself(cloud: Cloud) -> None:
    """
    Addresses of tenants are ipam's: a port that we make there has none.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    (port,) = cloud.bound()
    assert (port["fixed_ips"], port["security_groups"]) == ([], [])


def test_the_port_that_holds_the_address_is_bound_and_kept(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    ipam's port is the one that is bound; after quarantine it is unbound, there, and holds its address.
    """
    lease = cloud.lease(BLUE, fixed_ips=[{"ip_address": "10.2.0.7"}])
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))
    assert [port["id"] for port in cloud.bound()] == [lease["id"]]
    assert cloud.classes() == ["tenant", "quarantine"]
    ok(cloud.attach(wish(0, "quarantine")))

    assert cloud.classes() == ["quarantine", "quarantine"]
    kept = fake.ports[lease["id"]]
    assert (kept["binding:host_id"], kept["binding:profile"], kept["binding:vif_type"]) == ("", {}, "unbound")
    assert kept["fixed_ips"][0]["ip_address"] == "10.2.0.7"


def test_whatever_else_is_bound_there_is_unbound(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    A port that somebody else bound at the switch port is cut, not deleted: it is not ours.
    """
    plug = link(0)
    profile = {"local_link_information": [{"switch_id": "aa:bb", "port_id": plug.switch_port, "switch_info": "leaf1"}]}
    foreign = fake.port(
        cloud.by_name(GREEN)["id"],
        **{"binding:host_id": SERVER, "binding:profile": profile, "mac_address": "02:00:00:00:00:01"},
    )
    assert cloud.classes()[0] == "tenant"
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    ok(cloud.attach(wish(0, "quarantine")))

    assert fake.ports[foreign["id"]]["binding:vif_type"] == "unbound"
    assert cloud.classes()[0] == "quarantine"


def test_a_switch_is_named_as_drivers_know_it(cloud: Cloud) -> None:
    """
    Where inventory knows the switch's id, the plugin is told it beside the name, and either is read.
    """
    ok(cloud.register(link(0, switch_id="00:1b:21:00:00:07"), link(1)))
    assert cloud.attachments()[0].link.switch_id == "00:1b:21:00:00:07"
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    (port,) = cloud.fake.ports.values()
    (told,) = port["binding:profile"]["local_link_information"]
    assert told == {"switch_id": "00:1b:21:00:00:07", "port_id": link(0).switch_port, "switch_info": "leaf1"}
    assert cloud.classes()[0] == "provisioning"

    del told["switch_info"]
    assert cloud.classes()[0] == "provisioning"
    told["switch_id"] = "00:1b:21:00:00:08"
    assert cloud.classes() == ["unknown", "quarantine"]
    assert "no switch port of this server's that we know" in cloud.details()
    ok(cloud.attach(wish(0, "quarantine")))
    assert cloud.classes() == ["quarantine", "quarantine"]


def test_two_networks_untagged_on_one_port_are_unknown(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    A second port bound there by others makes it nothing that anybody asked for.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    (ours,) = cloud.bound()
    fake.port(
        cloud.by_name(GREEN)["id"],
        **{"binding:host_id": SERVER, "binding:profile": ours["binding:profile"], "mac_address": "02:00:00:00:00:01"},
    )

    reading = ok(cloud.read()).readings[0]
    assert reading.port_class == net.PORT_CLASS_UNKNOWN
    assert {tag.network for tag in reading.networks} == {PROVISIONING, GREEN}


@pytest.mark.parametrize(
    ("port", "detail"),
    [
        ({"status": "DOWN"}, "bound, and DOWN, not ACTIVE"),
        ({"status": "BUILD"}, "bound, and BUILD, not ACTIVE"),
        ({"binding:vif_type": "binding_failed"}, "could not bind"),
        ({"binding:vif_type": "unbound"}, "is being bound"),
        ({"admin_state_up": False}, "switched off, and bound still"),
        ({"binding:profile": {}}, "without saying where"),
    ],
)
def test_what_neutron_is_not_sure_of_is_unknown(cloud: Cloud, port: dict[str, Any], detail: str) -> None:
    """
    Bound and not ACTIVE, failed, or bound nobody knows where: never quarantine, and the words say which it is.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    cloud.bound()[0].update(port)

    assert cloud.classes() == ["unknown", "quarantine"]
    assert detail in cloud.details()


def test_a_binding_without_a_place_that_failed_is_nothing(cloud: Cloud) -> None:
    """
    Ironic binds ports early without saying where, which fails on purpose and tells no switch.
    """
    cloud.lease(BLUE)["binding:host_id"] = SERVER

    assert cloud.classes() == ["quarantine", "quarantine"]


def test_a_failed_binding_is_asked_for_again(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    The same wish binds what could not be bound before.
    """
    fake.binds = False
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    assert cloud.classes()[0] == "unknown"
    fake.binds = True
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    assert cloud.classes()[0] == "provisioning"
    assert len(fake.ports) == 1


def test_a_network_that_is_none_of_ours_is_unknown(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    A port bound on a network that nobody told us of is named and is nothing that anybody asked for.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    other = fake.network(DEMO)
    cloud.bound()[0]["network_id"] = other["id"]

    assert cloud.classes()[0] == "unknown"
    assert f"{other['id']} belongs to no network" in cloud.details()


def test_a_bond_is_one_port_with_two_links(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    The members of a port group share one Neutron port, which is ipam's whichever member it names.
    """
    ok(cloud.register(link(0, group="bond0"), link(1, group="bond0")))
    lease = cloud.lease(BLUE, index=1)
    ok(cloud.attach(wish(0, "tenant", BLUE), project=DEMO))

    assert [port["id"] for port in cloud.bound(0)] == [port["id"] for port in cloud.bound(1)] == [lease["id"]]
    assert cloud.bound()[0]["binding:profile"]["local_group_information"]["name"] == "bond0"
    assert cloud.classes() == ["tenant", "tenant"]
    ok(cloud.attach(wish(1, "quarantine")))
    assert cloud.classes() == ["quarantine", "quarantine"]


def test_tagged_networks_are_a_trunk(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    One untagged network is the parent, the others are subports; other tags change those alone, quarantine ends all.
    """
    lease = cloud.lease(GREEN)
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 7)), project=DEMO))
    (trunk,) = fake.trunks.values()
    assert trunk["sub_ports"] == [{"port_id": lease["id"], "segmentation_id": 7, "segmentation_type": "vlan"}]
    reading = ok(cloud.read()).readings[0]
    assert [(tag.network, tag.vlan_tag) for tag in reading.networks] == [(BLUE, 0), (GREEN, 7)]
    assert cloud.attachments()[0].settled

    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 8)), project=DEMO))
    assert [(tag.network, tag.vlan_tag) for tag in ok(cloud.read()).readings[0].networks] == [(BLUE, 0), (GREEN, 8)]
    trunk["status"] = "DEGRADED"
    assert cloud.classes()[0] == "unknown"

    ok(cloud.attach(wish(0, "quarantine")))
    assert fake.trunks == {}
    assert list(fake.ports) == [lease["id"]]
    assert cloud.classes()[0] == "quarantine"


def tags(cloud: Cloud) -> list[tuple[str, int]]:
    return [(tag.network, tag.vlan_tag) for tag in ok(cloud.read()).readings[0].networks]


def test_what_was_untagged_becomes_tagged_and_the_other_way(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    A port that was bound, or held by a trunk, is freed before it goes where it shall be; no port is left beside it.
    """
    lease = cloud.lease(GREEN)
    for asked in ([GREEN], [BLUE, (GREEN, 7)], [GREEN, (BLUE, 7)], [BLUE], [BLUE, (GREEN, 9)], [GREEN]):
        ok(cloud.attach(wish(0, "tenant", *asked), project=DEMO))
        wanted = [one if isinstance(one, tuple) else (one, 0) for one in asked]
        assert sorted(tags(cloud)) == sorted(wanted)
        assert cloud.attachments()[0].settled
        assert len(fake.trunks) == (len(asked) > 1)
        assert len(fake.ports) == len({lease["network_id"], *(cloud.by_name(name)["id"] for name, _ in wanted)})


@pytest.mark.parametrize("state", [{"status": "ERROR"}, {"admin_state_up": False}])
def test_a_trunk_that_neutron_will_not_change_is_made_anew(
    cloud: Cloud, fake: FakeNeutron, state: dict[str, Any]
) -> None:
    """
    One that failed, or that somebody switched off by hand, keeps nobody from other tags nor from quarantine.
    """
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 7)), project=DEMO))
    next(iter(fake.trunks.values())).update(state)
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 8)), project=DEMO))
    assert tags(cloud) == [(BLUE, 0), (GREEN, 8)]
    assert cloud.attachments()[0].settled

    next(iter(fake.trunks.values())).update(state)
    ok(cloud.attach(wish(0, "quarantine")))
    assert (fake.trunks, fake.ports) == ({}, {})
    assert cloud.classes()[0] == "quarantine"


def test_what_neutron_has_set_beside_the_network_is_shown(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Security groups and DHCP options are read with the port, of a trunk's members too, and kept; quarantine has none.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    (port,) = cloud.bound()
    assert port["extra_dhcp_opts"] == [{"opt_name": "67", "opt_value": "boot.img", "ip_version": 4}]
    first = ok(cloud.read()).readings[0]
    assert (list(first.security_groups), list(first.dhcp_options)) == ([GROUP], ["4:67=boot.img"])
    assert cloud.attachments()[0].observed == first

    ok(cloud.attach(wish(0, "quarantine")))
    first = ok(cloud.read()).readings[0]
    assert (list(first.security_groups), list(first.dhcp_options)) == ([], [])
    assert cloud.attachments()[0].observed == first
    cloud.lease(GREEN, security_groups=["of-green"])
    ok(cloud.attach(wish(0, "tenant", BLUE, (GREEN, 7)), project=DEMO))
    first = ok(cloud.read()).readings[0]
    assert (list(first.security_groups), list(first.dhcp_options)) == (["of-green"], [])
    assert [len(one.observed.security_groups) for one in cloud.attachments()] == [1, 0]


def test_tags_without_trunks_are_refused_before_they_are_recorded(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    A Neutron without trunks, and a trunk without an untagged network, are said at once.
    """
    alone = cloud.attach(wish(0, "tenant", (GREEN, 7)), project=DEMO)
    fake.aliases.discard("trunk")
    without = cloud.attach(wish(0, "tenant", BLUE, (GREEN, 7)), project=DEMO)

    for reply in (alone, without):
        assert refusal(reply)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert [one.requested.port_class for one in cloud.attachments()] == [net.PORT_CLASS_QUARANTINE] * 2


def test_a_neutron_that_is_away_is_no_quarantine(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Neither a wish nor a reading goes through, and the same wish does later.
    """
    fake.away = True
    assert cloud.read().code is grpc.StatusCode.UNAVAILABLE
    assert cloud.attach(wish(0, "provisioning", PROVISIONING)).code is grpc.StatusCode.UNAVAILABLE
    fake.away = False
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    assert cloud.classes()[0] == "provisioning"


def test_a_login_that_may_not_see_bindings_reads_nothing(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Without role admin Neutron leaves out how ports are bound: that is told, and is no quarantine.
    """
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))
    del cloud.bound()[0]["binding:vif_type"]

    assert cloud.read().code is grpc.StatusCode.UNAVAILABLE


def test_what_can_be_cut_is_cut_even_where_a_binding_fails(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    One port's refusal keeps no other from quarantine.
    """
    ok(cloud.attach(wish(1, "provisioning", PROVISIONING)))
    fake.refuses["POST", "ports"] = (409, "OverQuota")
    reply = cloud.attach(wish(0, "provisioning", PROVISIONING), wish(1, "quarantine"))

    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert "OverQuota" in reply.status.message
    assert cloud.classes() == ["quarantine", "quarantine"]


def test_many_servers_are_read_by_few_requests(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    The ports of another server are told apart in one listing.
    """
    ok(cloud.register(link(0, OTHER), server=OTHER))
    ok(cloud.attach(wish(0, "cleaning", CLEANING, server=OTHER), server=OTHER))
    ok(cloud.attach(wish(0, "provisioning", PROVISIONING)))

    assert cloud.classes() == ["provisioning", "quarantine"]
    assert cloud.classes(OTHER) == ["cleaning"]


@pytest.mark.parametrize("lost", [("POST", "ports"), ("PUT", "ports"), ("DELETE", "ports")])
def test_an_answer_that_is_lost_leaves_nothing_twice(cloud: Cloud, fake: FakeNeutron, lost: tuple[str, str]) -> None:
    """
    Whichever answer is lost, the same calls again end as if none had been.
    """
    for target in ("provisioning", "quarantine", "provisioning", "quarantine"):
        asked = wish(0, target, *([PROVISIONING] if target == "provisioning" else []))
        fake.loses = lost
        cloud.attach(asked)
        fake.loses = None
        ok(cloud.attach(asked))
        assert cloud.classes()[0] == target
        assert len(fake.ports) == (target == "provisioning")


class _Killed(Corrupt):
    """The process ends here: nothing of ours catches it, and nobody prints where it came from."""


def test_a_death_at_any_request_is_made_good_by_the_same_calls(cloud: Cloud, fake: FakeNeutron) -> None:
    """
    Killed before or after any request to Neutron, the one who comes next ends with one port bound, and then with none.
    """
    lease = cloud.lease(BLUE)
    points = 0
    for target in ("tenant", "quarantine"):
        asked = wish(0, "tenant", BLUE, (GREEN, 5)) if target == "tenant" else wish(0, "quarantine")
        at = 0
        while True:
            at += 1
            met = [0]

            def die(label: str, when: str, met: list[int] = met, at: int = at) -> None:
                met[0] += label.startswith("neutron.")
                if label.startswith("neutron.") and met[0] == at:
                    raise _Killed("killed")

            project = DEMO if target == "tenant" else ""
            with observed(die):
                reply = cloud.attach(asked, project=project)
            if reply.code is grpc.StatusCode.OK:
                break
            points += 1
            ok(cloud.attach(asked, project=project))
            assert cloud.classes()[0] == target
            assert len(cloud.bound()) == (target == "tenant")
            assert len(fake.ports) == (2 if target == "tenant" else 1)
            assert lease["id"] in fake.ports
            # Back to where it began, for the next point.
            other = wish(0, "quarantine") if target == "tenant" else wish(0, "tenant", BLUE, (GREEN, 5))
            ok(cloud.attach(other, project="" if target == "tenant" else DEMO))
            assert cloud.classes()[0] == ("quarantine" if target == "tenant" else "tenant")
        ok(cloud.attach(asked, project=project))
        assert cloud.classes()[0] == target
    assert points > 15
