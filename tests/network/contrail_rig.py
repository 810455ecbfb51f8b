# SPDX-License-Identifier: Apache-2.0
"""A network service over a Contrail with a fabric of two switches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from bms.network.v1 import network_pb2 as net
from services.kernel.clock import Clock
from services.network.backends.contrail import ContrailFabric
from services.network.backends.contrail_leftovers import ContrailLeftovers
from services.network.backends.contrail_mirror import ContrailMirror
from services.network.backends.contrail_networks import ContrailNetworks
from services.network.domain.networks import PortClass
from services.network.ports import DhcpOption
from services.runtime.contrail import MAC, Contrail, dashed, listed, network_uuid
from services.runtime.database import Database
from tests.network.conftest import CLASSES, SERVER, Site, link
from tests.support.contrail import FakeContrail
from tests.support.wire import Reply

CONFIG = "default-global-system-config"
DEMO = "de" * 16
SITES = "c3" * 16
BLUE = f"projects/{DEMO}/networks/blue"
GREEN = f"projects/{DEMO}/networks/green"
PROVISIONING = "projects/site/networks/provisioning"
CLEANING = "projects/site/networks/cleaning"


def furnished(*, enterprise: bool = False, made: FakeContrail | None = None) -> FakeContrail:
    """A Contrail with the switch ports of two servers, and two projects of Keystone's."""
    fake = made or FakeContrail()
    fake.add("fabric", [CONFIG, "fab1"], fabric_enterprise_style=enterprise)
    for switch in ("leaf1", "leaf2"):
        fake.add("physical-router", [CONFIG, switch], fabric_refs=[{"to": [CONFIG, "fab1"]}])
        for number in range(10, 30):
            fake.add("physical-interface", [CONFIG, switch, f"xe-0/0/{number}"])
    for project, name in ((DEMO, "demo"), (SITES, "sites")):
        fake.add("project", ["default-domain", name], uuid=dashed(project))
    return fake


class Cloud(Site):
    """A network service over a Contrail."""

    def __init__(self, database: Database, folder: Path, fake: FakeContrail) -> None:
        self.fake = fake
        self.api = Contrail(fake)
        ours = ["default-domain", "default-project", "ours"]
        there = fake.named("security-group", *ours)
        self.group = there["uuid"] if there else fake.add("security-group", ours)
        networks = ContrailNetworks(self.api, private_projects=[SITES])
        mirror, leftovers = ContrailMirror(self.api), ContrailLeftovers(self.api)
        super().__init__(database, folder, self.make_fabric, networks, mirror, leftovers)

    def make_fabric(self, clock: Clock) -> ContrailFabric:
        groups = {PortClass.PROVISIONING: (self.group,)}
        return ContrailFabric(self.api, clock, groups=groups, dhcp_options=[DhcpOption("67", "boot.img")])

    def create(self, name: str, port_class: str = "tenant", vlan: int = 0, **more: Any) -> Reply:
        _, project, _, network_id = name.split("/")
        request = net.CreateNetworkRequest(
            parent=f"projects/{project}",
            network_id=network_id,
            network=net.Network(network_class=CLASSES[port_class], vlan_id=vlan),
            **more,
        )
        return self.wire.call("CreateNetwork", request)

    def delete(self, name: str, **more: Any) -> Reply:
        return self.wire.call("DeleteNetwork", net.DeleteNetworkRequest(name=name, **more))

    def interfaces(self) -> list[dict[str, Any]]:
        return self.fake.every("virtual-machine-interface")

    def groups(self) -> list[dict[str, Any]]:
        return self.fake.every("virtual-port-group")

    def at(self, index: int = 0, server: str = SERVER) -> list[dict[str, Any]]:
        """The interfaces in the port group of the switch port that a server's port is plugged into."""
        plug = link(index, server)
        port = self.fake.named("physical-interface", CONFIG, plug.switch_name, plug.switch_port)
        assert port is not None
        groups = [self.fake.read("virtual-port-group", one["uuid"]) for one in port.get(f"{GROUP}_back_refs", ())]
        refs = [ref for group in groups for ref in group.get("virtual_machine_interface_refs", ())]
        return [self.fake.read("virtual-machine-interface", ref["uuid"]) for ref in refs]

    def subnet(self, name: str, prefix: str) -> None:
        """Gives a network a range of addresses."""
        ipam = {
            "to": ["default-domain", "default-project", "default-network-ipam"],
            "attr": {"ipam_subnets": [{"subnet": {"ip_prefix": prefix, "ip_prefix_len": 24}}]},
        }
        body = {"virtual-network": {"network_ipam_refs": [ipam]}}
        self.fake.do("PUT", f"/virtual-network/{network_uuid(name)}", body)

    def lease(self, name: str, index: int = 0, **more: Any) -> str:
        """An address that ipam keeps for a server's port."""
        network = self.fake.read("virtual-network", network_uuid(name))
        return self.fake.add(
            "instance-ip",
            [f"lease-{index}-{network['uuid']}"],
            virtual_network_refs=[{"to": network["fq_name"]}],
            annotations=listed({MAC: link(index).mac_address}),
            **more,
        )

    def foreign(self, name: str, *indices: int, vpg: str = "", **more: Any) -> str:
        """An interface that somebody else attached at switch ports of the server's."""
        network = self.fake.read("virtual-network", network_uuid(name))
        links = [
            {"switch_info": link(index).switch_name, "port_id": link(index).switch_port, "fabric": "fab1"}
            for index in indices
        ]
        keys = {"vnic_type": "baremetal", "host_id": "another", **more}
        keys |= {"profile": json.dumps({"local_link_information": links})} if links else {}
        keys |= {"vpg": vpg} if vpg else {}
        # Without a switch port its bindings do not say in which fabric the group is.
        group: dict[str, Any] = {}
        if vpg and not links and (there := self.fake.named("virtual-port-group", CONFIG, "fab1", vpg)):
            group[f"{GROUP}_refs"] = [{"to": there["fq_name"], "uuid": there["uuid"], "attr": None}]
        return self.fake.add(
            "virtual-machine-interface",
            [*network["fq_name"][:-1], f"foreign-{len(self.interfaces())}"],
            virtual_network_refs=[{"to": network["fq_name"]}],
            virtual_machine_interface_bindings=listed(keys),
            **group,
        )

    def user_group(self, name: str, *indices: int) -> str:
        """A port group that somebody made, with switch ports of the server's in it."""
        made = self.fake.add("virtual-port-group", [CONFIG, "fab1", name], virtual_port_group_user_created=True)
        for index in indices:
            plug = link(index)
            port = self.fake.named("physical-interface", CONFIG, plug.switch_name, plug.switch_port)
            assert port is not None
            self.api.add_ref("virtual-port-group", made, "physical-interface", port["uuid"])
        return made

    def details(self) -> str:
        return "; ".join(reading.detail for reading in self.read(fence=0).message.readings)

    def tags(self, index: int = 0) -> list[tuple[str, int]]:
        """The networks and tags that a fresh reading of a port shows."""
        reading = ok(self.read(fence=0)).readings[index]
        return [(tag.network, tag.vlan_tag) for tag in reading.networks]


GROUP = "virtual_port_group"


def ok(reply: Reply) -> Any:
    assert reply.code is grpc.StatusCode.OK, reply
    return reply.message


def ids_of(interfaces: Sequence[dict[str, Any]]) -> list[str]:
    return [one["uuid"] for one in interfaces]
