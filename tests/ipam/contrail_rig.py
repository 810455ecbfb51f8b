# SPDX-License-Identifier: Apache-2.0
"""ipam over one database and a Contrail in memory."""

from __future__ import annotations

from typing import Any

from bms.event.v1 import event_pb2
from services.ipam.backends.contrail import ContrailPlane
from services.ipam.backends.contrail_words import SERVICE
from services.kernel.clock import Ids
from services.runtime.contrail import LEASE, Contrail, network_uuid, pairs_of
from services.runtime.database import Database
from tests.ipam.controller_rig import ControllerRig
from tests.ipam.rig import NETWORK
from tests.support.contrail import FakeContrail

HOME = ["default-domain", "default-project"]
"""The project of what is no Keystone project's."""
BLUE = [*HOME, "demo.blue"]


class ContrailRig(ControllerRig):
    """ipam that tells *contrail*, in which there is the network ``projects/demo/networks/blue``.

    Attributes:
        network: the UUID of that network in Contrail.
    """

    def __init__(self, database: Database, contrail: FakeContrail | None = None, *, ids: Ids | None = None) -> None:
        self.contrail = contrail or FakeContrail()
        self.network = network_uuid(NETWORK)
        if self.contrail.named("virtual-network", *BLUE) is None:
            self.contrail.add("virtual-network", BLUE, uuid=self.network)
        super().__init__(database, ContrailPlane(lambda: Contrail(self.contrail)), ids=ids)

    def subnet(self, cidr: str, **more: Any) -> dict[str, Any]:
        """A subnet that somebody made in the network, beside those that are there."""
        prefix, _, length = cidr.partition("/")
        given = {"subnet": {"ip_prefix": prefix, "ip_prefix_len": int(length)}, "addr_from_start": True, **more}
        there = self.contrail.read("virtual-network", self.network).get("network_ipam_refs") or []
        ipam = {"to": [*HOME, "default-network-ipam"], "attr": {"ipam_subnets": [given]}}
        changed = {"network_ipam_refs": [*there, ipam]}
        self.contrail.do("PUT", f"/virtual-network/{self.network}", {"virtual-network": changed})
        return next(one for one in self.subnets() if one["subnet"]["ip_prefix"] == prefix)

    def subnets(self) -> list[dict[str, Any]]:
        """The subnets of the network."""
        refs = self.contrail.read("virtual-network", self.network).get("network_ipam_refs") or []
        return [subnet for ref in refs for subnet in ref["attr"]["ipam_subnets"]]

    def ours(self) -> list[dict[str, Any]]:
        """The instance-ips that we made."""
        return [one for one in self.contrail.every("instance-ip") if LEASE in pairs_of(one, "annotations")]

    def at(self, address: str) -> list[dict[str, Any]]:
        """The instance-ips that have *address*."""
        return [one for one in self.contrail.every("instance-ip") if one.get("instance_ip_address") == address]

    def vm(self, address: str, name: str = "vm-of-nova", owner: str = "compute:nova") -> dict[str, Any]:
        """The instance-ip of a virtual machine of somebody's, with its interface."""
        fake = self.contrail
        if fake.named("virtual-machine", name) is None:
            fake.add("virtual-machine", [name])
        interface = f"port-{address.replace(':', '-')}"
        fake.add(
            "virtual-machine-interface",
            [*HOME, interface],
            virtual_network_refs=[{"to": BLUE}],
            virtual_machine_refs=[{"to": [name]}],
            virtual_machine_interface_device_owner=owner,
        )
        made = fake.add(
            "instance-ip",
            [f"ip-of-{interface}"],
            instance_ip_address=address,
            virtual_network_refs=[{"to": BLUE}],
            virtual_machine_interface_refs=[{"to": [*HOME, interface]}],
        )
        return fake.read("instance-ip", made)

    def types(self) -> list[str]:
        """Types of events of addresses, in commit order; without the service address, which has its owner always."""
        facts = [event_pb2.EventBody.FromString(event.body).facts for event in self.of_addresses()]
        every = super().types()
        return [name for name, said in zip(every, facts, strict=True) if said["holder_kind"] != SERVICE]

    def vm_goes(self, instance_ip: str) -> None:
        """Its address and interface are given back."""
        (ref,) = self.contrail.read("instance-ip", instance_ip)["virtual_machine_interface_refs"]
        self.contrail.do("DELETE", f"/instance-ip/{instance_ip}")
        self.contrail.do("DELETE", f"/virtual-machine-interface/{ref['uuid']}")
