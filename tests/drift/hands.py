# SPDX-License-Identifier: Apache-2.0
"""What people do by hand at a fabric behind our backs, the same for every kind of fabric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_networks import NeutronNetworks
from services.runtime.contrail import listed, network_uuid
from services.runtime.database import Database
from services.runtime.neutron import Neutron
from services.simulated import control
from services.simulated.state import Vlans
from tests.drift.rig import BLUE
from tests.ipam.contrail_rig import ContrailRig
from tests.ipam.neutron_rig import NeutronRig
from tests.ipam.rig import Rig as Ipam
from tests.network.conftest import Site, link
from tests.network.contrail_rig import CONFIG, Cloud, furnished
from tests.support.neutron import OWN, FakeNeutron

FABRICS = ("simulated", "neutron", "contrail")


class Hands(Protocol):
    """Somebody at a fabric."""

    @property
    def site(self) -> Site:
        """Network over it."""

    @property
    def ipam(self) -> Ipam:
        """ipam over the same."""

    def move(self, server: str, index: int, network: str) -> None:
        """Puts a port of a server onto *network*, and off whatever it was on."""

    def add(self, server: str, index: int, network: str) -> None:
        """Puts it onto *network* beside what it is on; "": onto one of the fabric's that is none of ours."""

    def cut(self, server: str, index: int) -> None:
        """Takes it off whatever it is on."""


OPENINGS = {
    "neutron": ("shared", "external", "policy", "router"),
    "contrail": ("shared", "given", "policy", "target", "exported", "router"),
}
"""The ways in which a network of a controller's can be opened to others."""


class Simulated:
    """Somebody on the console of the simulated switches."""

    def __init__(self, network: Database, ipam: Database, folder: Path) -> None:
        self.site = Site(network, folder)
        self.ipam = Ipam(ipam)

    def move(self, server: str, index: int, network: str) -> None:
        """See `Hands`."""
        self._set(server, index, Vlans(self._vlan(network)))

    def add(self, server: str, index: int, network: str) -> None:
        """See `Hands`."""
        now = self.site.actual(index, server)
        vlan = self._vlan(network) if network else 4000
        self._set(server, index, Vlans(now.untagged, now.tagged | {(vlan, vlan)}))

    def cut(self, server: str, index: int) -> None:
        """See `Hands`."""
        self._set(server, index, Vlans())

    def _set(self, server: str, index: int, vlans: Vlans) -> None:
        plug = link(index, server)
        control.configure_port(self.site.rack, plug.switch_name, plug.switch_port, vlans, self.site.clock.now())

    def _vlan(self, name: str) -> int:
        found = self.site.database.read(lambda tx: self.site.servicer.store(tx).network(name))
        assert found is not None
        return found[0].segment.vlan


class AtNeutron:
    """An administrator of a Neutron."""

    def __init__(self, network: Database, ipam: Database, folder: Path) -> None:
        self.fake = FakeNeutron()
        api = Neutron(self.fake, OWN)
        self.site = Site(network, folder, lambda clock: NeutronFabric(api, clock), NeutronNetworks(api))
        blue = self.fake.network(description="bms-network=demo/blue")
        self.ipam = NeutronRig(ipam, self.fake)
        assert self.ipam.network == blue["id"]

    def open(self, name: str, how: str) -> None:
        """Opens one of our networks to others."""
        network = self.fake.networks[self.network(name)]
        if how == "shared":
            network["shared"] = True
        elif how == "external":
            network["router:external"] = True
        elif how == "policy":
            self.fake.policies.append({
                "id": "r1", "object_type": "network", "object_id": network["id"], "target_tenant": "ee" * 16,
            })  # fmt: skip
        else:
            self.fake.port(network["id"], device_owner="network:router_interface", device_id="router-1")

    def close(self, name: str) -> None:
        """Takes all of that back."""
        network = self.fake.networks[self.network(name)]
        network |= {"shared": False, "router:external": False}
        self.fake.policies.clear()
        for port in [one for one in self.fake.ports.values() if one["device_id"] == "router-1"]:
            self.fake.do("DELETE", f"/ports/{port['id']}")

    def take(self, address: str) -> str:
        """A machine is given an address of ours, which somebody took off our port. What has it is answered."""
        ours = next(one for one in self.ipam.ports() if {"ip_address": address}.items() <= one["fixed_ips"][0].items())
        self.fake.do("PUT", f"/ports/{ours['id']}", {"port": {"fixed_ips": []}})
        return str(self.ipam.vm(address)["id"])

    def give_back(self, holder: str) -> None:
        """The machine is deleted."""
        self.fake.do("DELETE", f"/ports/{holder}")

    def network(self, name: str) -> str:
        """What Neutron calls one of ours."""
        return _fabric_id(self.site, name)

    def move(self, server: str, index: int, network: str) -> None:
        """See `Hands`."""
        self.cut(server, index)
        self.add(server, index, network)

    def add(self, server: str, index: int, network: str) -> None:
        """See `Hands`."""
        plug = link(index, server)
        where = self.network(network) if network else self.fake.network(name="somebody's")["id"]
        there = {"switch_id": plug.switch_name, "port_id": plug.switch_port, "switch_info": plug.switch_name}
        self.fake.port(where, **{
            "binding:host_id": server, "binding:vnic_type": "baremetal",
            "binding:profile": {"local_link_information": [there]},
        })  # fmt: skip

    def cut(self, server: str, index: int) -> None:
        """See `Hands`."""
        for port in self.bound(server, index):
            unbound = {"binding:host_id": "", "binding:profile": {}}
            self.fake.do("PUT", f"/ports/{port['id']}", {"port": unbound})

    def bound(self, server: str, index: int) -> list[dict[str, Any]]:
        """The Neutron ports at a server's port."""
        where = link(index, server).switch_port
        return [
            port
            for port in self.fake.ports.values()
            if port["binding:host_id"] == server
            and any(one["port_id"] == where for one in port["binding:profile"].get("local_link_information", ()))
        ]


class AtContrail:
    """An administrator of a Contrail."""

    def __init__(self, network: Database, ipam: Database, folder: Path) -> None:
        self.fake = furnished()
        for switch in ("leaf1", "leaf2"):
            for number in range(30, 90):
                self.fake.add("physical-interface", [CONFIG, switch, f"xe-0/0/{number}"])
        self.site: Cloud = Cloud(network, folder, self.fake)
        self.ipam = ContrailRig(ipam, self.fake)
        assert self.ipam.network == network_uuid(BLUE)

    def move(self, server: str, index: int, network: str) -> None:
        """See `Hands`: a PUT of the interface's network, as people do it."""
        interface = self.at(server, index)[0]
        self.put(interface["uuid"], virtual_network_refs=[{"to": self.names(network)}])

    def add(self, server: str, index: int, network: str) -> None:
        """See `Hands`: one more interface in the port group, or a group of its own."""
        names = self.names(network) if network else self._strange()
        there = self.at(server, index)
        plug = link(index, server)
        tags = {"virtual_machine_interface_properties": {"sub_interface_vlan_tag": 77}} if there else {}
        keys = {} if there else {"tor_port_vlan_id": "78"}
        group = self.groups(server, index)[0]["fq_name"][-1] if there else ""
        self.interface(names, plug.switch_name, plug.switch_port, group, keys, **tags)

    def cut(self, server: str, index: int) -> None:
        """See `Hands`: the interfaces are deleted."""
        for interface in self.at(server, index):
            for ref in interface.get("instance_ip_back_refs", ()):
                self.site.api.remove_ref("instance-ip", ref["uuid"], "virtual-machine-interface", interface["uuid"])
            self.fake.do("DELETE", f"/virtual-machine-interface/{interface['uuid']}")

    def open(self, name: str, how: str) -> None:
        """Opens one of our networks to others."""
        thing = self.fake.objects.things[network_uuid(name)]
        body = thing.body
        targets = {"route_target": ["target:64512:1"]}
        if how == "shared":
            body["is_shared"] = True
        elif how == "given":
            thing.shares.append({"tenant": "ee" * 16, "tenant_access": 5})
        elif how == "policy":
            policy = self.fake.add("network-policy", ["default-domain", "default-project", "all"])
            self.site.api.add_ref("virtual-network", network_uuid(name), "network-policy", policy, {"sequence": None})
        elif how == "target":
            body["import_route_target_list"] = targets
        elif how == "exported":
            body["export_route_target_list"] = targets
        else:
            refs = [{"to": self.names(name)}]
            self.fake.add("logical-router", ["default-domain", "default-project", "lr"], virtual_network_refs=refs)

    def close(self, name: str) -> None:
        """Takes all of that back; an emptied list of route targets stays, as Contrail leaves it."""
        thing = self.fake.objects.things[network_uuid(name)]
        thing.shares.clear()
        body = thing.body
        body |= {"is_shared": False, "network_policy_refs": []}
        for field in ("import_route_target_list", "export_route_target_list"):
            if field in body:
                body[field] = {"route_target": []}
        if router := self.fake.named("logical-router", "default-domain", "default-project", "lr"):
            self.fake.do("DELETE", f"/logical-router/{router['uuid']}")

    def take(self, address: str) -> str:
        """A machine is given an address of ours, whose lock somebody freed. What has it is answered."""
        network = network_uuid(BLUE)
        self.fake.do("POST", f"/virtual-network/{network}/ip-free", {"ip_addr": [address]})
        return str(self.ipam.vm(address)["uuid"])

    def give_back(self, holder: str) -> None:
        """The machine is deleted."""
        self.ipam.vm_goes(holder)

    def at(self, server: str, index: int = 0) -> list[dict[str, Any]]:
        """The interfaces at a server's port."""
        return self.site.at(index, server)

    def groups(self, server: str, index: int = 0) -> list[dict[str, Any]]:
        """The port groups that a server's port is in."""
        plug = link(index, server)
        port = self.fake.named("physical-interface", CONFIG, plug.switch_name, plug.switch_port)
        assert port is not None
        refs = port.get("virtual_port_group_back_refs", ())
        return [self.fake.read("virtual-port-group", ref["uuid"]) for ref in refs]

    def put(self, interface: str, **changes: Any) -> None:
        """A PUT of an interface."""
        body = {"virtual-machine-interface": changes}
        self.fake.do("PUT", f"/virtual-machine-interface/{interface}", body)

    def names(self, network: str) -> list[str]:
        """The full name of one of our networks."""
        found: list[str] = self.fake.read("virtual-network", network_uuid(network))["fq_name"]
        return found

    def interface(
        self, network: list[str], switch: str, port: str, group: str, keys: dict[str, str], **more: Any
    ) -> str:
        """Somebody's interface at a switch port."""
        profile = {"local_link_information": [{"switch_info": switch, "port_id": port, "fabric": "fab1"}]}
        pairs = {"vnic_type": "baremetal", "profile": json.dumps(profile), **keys, **({"vpg": group} if group else {})}
        return self.fake.add(
            "virtual-machine-interface",
            [*network[:-1], f"by-hand-{len(self.fake.every('virtual-machine-interface'))}"],
            virtual_network_refs=[{"to": network}],
            virtual_machine_interface_bindings=listed(pairs),
            **more,
        )

    def _strange(self) -> list[str]:
        names = ["default-domain", "default-project", "somebodys"]
        if self.fake.named("virtual-network", *names) is None:
            self.fake.add("virtual-network", names)
        return names


def _fabric_id(site: Site, name: str) -> str:
    found = site.database.read(lambda tx: site.servicer.store(tx).network(name))
    assert found is not None
    return found[0].segment.fabric_id


KINDS: dict[str, type[Simulated | AtNeutron | AtContrail]] = {
    "simulated": Simulated, "neutron": AtNeutron, "contrail": AtContrail,
}  # fmt: skip
