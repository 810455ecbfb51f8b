# SPDX-License-Identifier: Apache-2.0
"""A server's ports by a genuine Neutron: what a switch's plugin was told, and what we read, step by step."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import network_pb2 as net
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_leftovers import NeutronLeftovers
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.domain.networks import PortClass
from services.network.ports import DhcpOption
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.runtime.neutron import LEASE, PORT, open_neutron
from tests.network.conftest import CLASSES, Site, link, refusal, wish
from tests.openstack.cloud.fixture import Cloud
from tests.openstack.cloud.furnish import PROVIDER, TENANT
from tests.openstack.cloud.neutron import PHYSICAL_NETWORK
from tests.support.wire import Reply

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(300),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]


class Genuine(Site):
    """A network service over the genuine Neutron, for one server that nobody else has.

    Attributes:
        server: its UUID.
        project: of tenant a.
        there: what bears our mark.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        url = f"sqlite:///{folder / 'network.sqlite'}"
        migrate(url, "services.network")
        self.cloud, self.admin = cloud, cloud.connect()
        self.project = str(cloud.connect("tenant-a").current_project_id)
        self.api = open_neutron("site", setting="test")
        networks = NeutronNetworks(self.api, PHYSICAL_NETWORK, [self.admin.current_project_id])
        groups = {name: self.group(name) for name in ("helper-net-private", "helper-net-tenant")}
        self.groups = {
            PortClass.PROVISIONING: [groups["helper-net-private"]],
            PortClass.TENANT: [groups["helper-net-tenant"]],
        }
        options = [DhcpOption("67", "boot.img"), DhcpOption("tag:ipxe,67", "http://192.0.2.1/boot.ipxe")]
        self.there = NeutronLeftovers(self.api)
        super().__init__(
            open_database(url),
            folder,
            lambda clock: NeutronFabric(self.api, clock, self.groups, options),
            networks,
            leftovers=self.there,
        )
        # The last two digits are those of its MAC addresses too.
        self.server = f"{str(uuid.uuid4())[:-2]}{uuid.uuid4().hex[:2]}"
        self.began = cloud.place.journal.stat().st_size

    def own(self, name: str) -> str:
        """The name with us of a network of the cloud's."""
        found = self.admin.network.find_network(name)
        return f"projects/{self.project if name == 'net-a' else 'site'}/networks/{found.id}"

    def group(self, name: str) -> str:
        """The id of a security group of our login's project, which is made if there is none."""
        mine = self.api.own_project
        found = next(iter(self.admin.network.security_groups(name=name, project_id=mine)), None)
        return str((found or self.admin.network.create_security_group(name=name, project_id=mine)).id)

    def readings(self) -> list[Any]:
        return list(ok(self.read(self.server)).readings)

    def journal(self) -> list[dict[str, Any]]:
        """What the switch's plugin was told since the last question, of ports of this server."""
        with self.cloud.place.journal.open() as journal:
            journal.seek(self.began)
            lines = [json.loads(line) for line in journal]
            self.began = journal.tell()
        macs = {link(index, self.server).mac_address for index in (0, 1)}
        return [line for line in lines if line["port"]["mac_address"] in macs]

    def ports(self) -> list[Any]:
        macs = {link(index, self.server).mac_address for index in (0, 1)}
        return [port for port in self.admin.network.ports() if port.mac_address in macs]

    def want(self, port_class: str, *networks: str | tuple[str, int]) -> None:
        project = self.project if port_class == "tenant" else ""
        ok(self.attach(wish(0, port_class, *networks, server=self.server), server=self.server, project=project))

    def seen(self) -> list[str]:
        return self.classes(self.server)

    def clear(self) -> None:
        """Removes all that is of this server, and closes the service."""
        left = self.ports()
        for trunk in [one for one in self.admin.network.trunks() if one.port_id in {port.id for port in left}]:
            self.admin.network.update_port(trunk.port_id, binding_host_id="")
            self.admin.network.delete_trunk(trunk.id)
        for port in left:
            self.admin.network.delete_port(port.id)
        for network in self.admin.network.networks(description="bms-network=helper-net"):
            self.admin.network.delete_network(network.id)
        for ids in self.groups.values():
            self.admin.network.delete_security_group(ids[0])
        self.close()
        self.database.close()


def ok(reply: Reply) -> Any:
    assert reply.code is grpc.StatusCode.OK, reply
    return reply.message


@pytest.fixture
def site(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Genuine]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.place.home / "clouds.yaml"))
    made = Genuine(cloud, tmp_path)
    try:
        yield made
    finally:
        made.clear()


def test_a_port_goes_through_its_classes(site: Genuine) -> None:
    """
    Quarantine, provisioning, quarantine, the tenant's, quarantine: the plugin is told to bind on exactly that segment
    at exactly that switch port, and to unbind; what we read is what it was told, and nothing is left.
    """
    provisioning, tenant = site.own("provisioning"), site.own("net-a")
    site.network(provisioning, "provisioning")
    made = site.network(tenant)
    assert made.vlan_id == TENANT["tenant-a"]
    ok(site.register(link(0, site.server), link(1, site.server), server=site.server))
    assert site.seen() == ["quarantine", "quarantine"]
    assert site.journal() == []

    site.want("provisioning", provisioning)
    assert site.seen() == ["provisioning", "quarantine"]
    (bound,) = [line for line in site.journal() if line["what"] == "bind"]
    plug = link(0, site.server)
    profile = bound["port"]["binding:profile"]["local_link_information"]
    assert bound["segment"]["segmentation_id"] == PROVIDER["provisioning"]
    assert profile == [{"switch_id": plug.switch_name, "port_id": plug.switch_port, "switch_info": plug.switch_name}]
    (port,) = site.ports()
    assert (port.status, port.binding_vif_type, port.binding_host_id) == ("ACTIVE", "other", site.server)
    assert (port.tags, port.security_group_ids) == ([PORT], site.groups[PortClass.PROVISIONING])
    told = [(one["opt_name"], one["opt_value"], one["ip_version"]) for one in port.extra_dhcp_opts]
    assert sorted(told) == [("67", "boot.img", 4), ("tag:ipxe,67", "http://192.0.2.1/boot.ipxe", 4)]
    first = site.readings()[0]
    assert list(first.security_groups) == site.groups[PortClass.PROVISIONING]
    assert list(first.dhcp_options) == ["4:67=boot.img", "4:tag:ipxe,67=http://192.0.2.1/boot.ipxe"]
    assert port.fixed_ips, "the provisioning network has a subnet"

    site.want("quarantine")
    assert site.seen() == ["quarantine", "quarantine"]
    assert site.journal()[-1]["what"] == "delete"
    assert site.ports() == []

    lease = site.api.create(
        "ports",
        {
            "network_id": tenant.rsplit("/", 1)[1], "mac_address": plug.mac_address, "project_id": site.project,
            "description": LEASE, "name": "helper-net",
        },
    )  # fmt: skip
    site.want("tenant", tenant)
    assert site.seen() == ["tenant", "quarantine"]
    (bound,) = [line for line in site.journal() if line["what"] == "bind"]
    assert bound["segment"]["segmentation_id"] == TENANT["tenant-a"]
    (port,) = site.ports()
    assert (port.id, port.status, port.fixed_ips) == (lease["id"], "ACTIVE", lease["fixed_ips"])
    assert port.security_group_ids == site.groups[PortClass.TENANT] == list(site.readings()[0].security_groups)
    assert not port.extra_dhcp_opts, "a tenant boots from his disk"

    site.want("quarantine")
    assert site.seen() == ["quarantine", "quarantine"]
    last = site.journal()[-1]
    assert (last["what"], last["port"]["binding:vif_type"], last["before"]["binding:vif_type"]) == (
        "update", "unbound", "other",
    )  # fmt: skip
    (port,) = site.ports()
    assert (port.id, port.status, port.fixed_ips) == (lease["id"], "DOWN", lease["fixed_ips"])


def test_a_bond_is_told_to_the_plugin_as_one_port(site: Genuine) -> None:
    """
    Both members' switch ports stand in one binding; both are read from it.
    """
    provisioning = site.own("provisioning")
    site.network(provisioning, "provisioning")
    links = [link(index, site.server, group="bond0") for index in (0, 1)]
    ok(site.register(*links, server=site.server))
    site.want("provisioning", provisioning)

    (port,) = site.ports()
    assert [each["port_id"] for each in port.binding_profile["local_link_information"]] == sorted(
        one.switch_port for one in links
    )
    assert site.seen() == ["provisioning", "provisioning"]
    site.want("quarantine")
    assert site.seen() == ["quarantine", "quarantine"]


def test_a_binding_that_the_plugin_does_not_know_is_not_quarantine(site: Genuine) -> None:
    """
    A port that is bound without a place fails in Neutron, as Ironic's early one does; with a place that was given by
    hand, we read what is there.
    """
    tenant = site.own("net-a")
    site.network(tenant)
    ok(site.register(link(0, site.server), server=site.server))
    plug = link(0, site.server)
    body = {
        "network_id": tenant.rsplit("/", 1)[1], "mac_address": plug.mac_address, "description": LEASE,
        "binding:vnic_type": "baremetal", "binding:host_id": site.server,
    }  # fmt: skip
    lease = site.api.create("ports", body)
    assert lease["binding:vif_type"] == "binding_failed"
    assert site.seen() == ["quarantine"]

    link_there = {"switch_id": "aa:bb:cc:dd:ee:ff", "port_id": plug.switch_port, "switch_info": plug.switch_name}
    site.api.update("ports", lease["id"], {"binding:profile": {"local_link_information": [link_there]}})
    assert site.seen() == ["tenant"]
    site.want("quarantine")
    assert site.seen() == ["quarantine"]


def test_tagged_networks_are_a_trunk_of_neutrons(site: Genuine) -> None:
    """
    A second network on a tag, first beside one that is there already, then on another tag, then the two exchanged:
    each time the trunk and its subports are what was asked for, and read so; quarantine leaves no trunk, no binding and
    no port of ours, and the port that holds an address unbound.
    """
    first, second = site.own("net-a"), f"projects/{site.project}/networks/helper-net"
    site.network(first)
    site.network(second)
    ok(site.register(link(0, site.server), server=site.server))
    plug = link(0, site.server)
    lease = site.api.create(
        "ports",
        {"network_id": first.rsplit("/", 1)[1], "mac_address": plug.mac_address, "description": LEASE},
    )

    def networks() -> list[tuple[str, int]]:
        (reading,) = site.readings()
        assert reading.port_class == CLASSES["tenant"], reading
        return [(tag.network, tag.vlan_tag) for tag in reading.networks]

    def trunks() -> list[Any]:
        return [trunk for trunk in site.admin.network.trunks() if trunk.port_id in {port.id for port in site.ports()}]

    site.seen()
    site.want("tenant", first)
    assert networks() == [(first, 0)]
    site.want("tenant", first, (second, 7))
    assert networks() == [(first, 0), (second, 7)]
    (trunk,) = trunks()
    (sub,) = trunk.sub_ports
    assert (trunk.port_id, trunk.status, sub["segmentation_id"]) == (lease["id"], "ACTIVE", 7)
    assert list(site.readings()[0].security_groups) == site.groups[PortClass.TENANT]

    site.want("tenant", first, (second, 8))
    assert networks() == [(first, 0), (second, 8)]
    assert [trunk.id for trunk in trunks()] == [trunk.id], "the untagged network was not interrupted"

    site.want("tenant", second, (first, 9))
    assert networks() == [(first, 9), (second, 0)]
    (swapped,) = trunks()
    assert swapped.sub_ports[0]["port_id"] == lease["id"] != swapped.port_id

    site.want("tenant", second)
    assert networks() == [(second, 0)]
    assert trunks() == []
    site.want("tenant", first, (second, 7))
    (again,) = trunks()
    site.admin.network.update_trunk(again.id, is_admin_state_up=False)
    site.want("quarantine")
    assert site.seen() == ["quarantine"]
    assert list(site.admin.network.trunks()) == []
    (kept,) = site.ports()
    assert (kept.id, kept.binding_vif_type, kept.binding_host_id) == (lease["id"], "unbound", "")


def test_networks_are_made_and_refused_by_neutron(site: Genuine) -> None:
    """
    One is made as a VLAN that we name, found by its mark, and removed; tags alone, a tenant's network as a private one,
    and a flat network are refused, since a trunk has an untagged network and nobody is kept apart there.
    """
    name = f"projects/{site.project}/networks/helper-net"
    made = site.network(name, vlan=398)
    assert made.vlan_id == 398
    (there,) = site.admin.network.networks(description="bms-network=helper-net")
    assert (there.project_id, there.tags) == (site.project, ["bms-network=helper-net"])
    ok(site.register(link(0, site.server), server=site.server))
    site.seen()
    tagged = site.attach(wish(0, "tenant", (name, 7), server=site.server), server=site.server, project=site.project)
    assert refusal(tagged)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")

    private = net.CreateNetworkRequest(
        parent="projects/site", network_id=site.own("net-a").rsplit("/", 1)[1],
        network=net.Network(network_class=CLASSES["cleaning"]),
    )  # fmt: skip
    assert refusal(site.wire.call("CreateNetwork", private))[2] == ["network_id"]
    flat = site.admin.network.create_network(
        name="helper-net-flat", provider_network_type="flat", provider_physical_network="helper-net"
    )
    try:
        request = net.CreateNetworkRequest(parent="projects/site", network_id=flat.id)
        assert refusal(site.wire.call("CreateNetwork", request))[1] == "ISOLATION_IMPOSSIBLE"
    finally:
        site.admin.network.delete_network(flat.id)

    ok(site.wire.call("DeleteNetwork", net.DeleteNetworkRequest(name=name)))
    assert not list(site.admin.network.networks(description="bms-network=helper-net"))
