# SPDX-License-Identifier: Apache-2.0
"""What we say to Contrail of one attachment: a port of a server or a bond of several, in one network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from services.network.backends.contrail_reading import BINDINGS
from services.network.ports import PortOrder
from services.runtime.contrail import Resource, chosen, interface_name, listed, pairs_of

MARK = "bms-server"
"""The annotation that says whose port an interface of ours is."""
UNIT = "bms-port"
"""The annotation that says which port or group of the server's an interface of ours is for."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface as it shall be.

    Attributes:
        server: its UUID.
        orders: of the switch ports that it is at, sorted; all of a bond.
        tag: on the wire; 0 for untagged.
        network: the virtual network, as Contrail shows it.
        vlan: on the switches.
    """

    server: str
    orders: tuple[PortOrder, ...]
    tag: int
    network: Resource
    vlan: int

    @property
    def ident(self) -> str:
        """The uuid of its interface: the same whenever the same is asked for."""
        what = (self.server, unit_of(self.orders), str(self.tag), str(self.network["uuid"]))
        return chosen("virtual-machine-interface", " ".join(what))

    @property
    def mac_address(self) -> str:
        """That of the first member: Contrail's DHCP goes by one."""
        return min(order.mac_address for order in self.orders)

    def body(self, fabric: str, group: str) -> Resource:
        """The interface as it is asked for.

        Args:
            group: the virtual port group that its switch ports are in; empty if they are in none.
        """
        keys = {
            "vnic_type": "baremetal", "host_id": self.server, "profile": profile(self.orders, fabric),
            **({} if self.tag else {"tor_port_vlan_id": str(self.vlan)}), **({"vpg": group} if group else {}),
        }  # fmt: skip
        names = self.network["fq_name"]
        return {
            "uuid": self.ident,
            "fq_name": [*names[:-1], f"bms-{self.ident}"],
            "parent_type": "project",
            "display_name": f"{self.server} {unit_of(self.orders)}",
            "virtual_network_refs": [{"to": names, "uuid": self.network["uuid"]}],
            "virtual_machine_refs": [{"to": [self.server], "uuid": machine_uuid(self.server)}],
            "virtual_machine_interface_mac_addresses": {"mac_address": [self.mac_address]},
            "virtual_machine_interface_device_owner": "baremetal:none",
            **({"virtual_machine_interface_properties": {"sub_interface_vlan_tag": self.tag}} if self.tag else {}),
            BINDINGS: listed(keys),
            "annotations": listed({MARK: self.server, UNIT: unit_of(self.orders)}),
        }


def unit_of(orders: Sequence[PortOrder]) -> str:
    """What of a server *orders* are one attachment of: the name of a group, or a port's MAC address."""
    return orders[0].port_group or orders[0].mac_address


def machine(server: str) -> Resource:
    """The virtual machine that stands for a server, as Contrail has one for each of its instances."""
    return {
        "uuid": machine_uuid(server),
        "fq_name": [server],
        "server_type": "baremetal-server",
        "annotations": listed({MARK: server}),
    }


def machine_uuid(server: str) -> str:
    """Its uuid: no two objects have one, and the server's own is the node's."""
    return chosen("virtual-machine", server)


def profile(orders: Sequence[PortOrder], fabric: str) -> str:
    """The binding profile that names the switch ports; empty for none. The fabric is said: else it is the default."""
    links = [
        {
            "switch_info": order.port.switch,
            "port_id": interface_name(order.port.port),
            "switch_id": order.switch_id or order.port.switch,
            "fabric": fabric,
        }
        for order in orders
    ]
    return json.dumps({"local_link_information": links} if links else {})


def unbound(interface: Resource) -> Resource:
    """What an interface of others is told that is to be at no switch port; whatever else its bindings say stays."""
    keys = pairs_of(interface, BINDINGS)
    keys.pop("tor_port_vlan_id", None)
    keys.pop("vpg", None)
    return {BINDINGS: listed({**keys, "profile": profile((), "")})}
