# SPDX-License-Identifier: Apache-2.0
"""What Contrail has at switch ports, found by their names: three listings, however many ports there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.kernel.errors import PeerUnavailable
from services.network.backends.contrail_reading import ids, members
from services.network.domain.switch_ports import SwitchPort
from services.network.ports import PortOrder
from services.runtime.contrail import Contrail, Resource, listed_name
from services.runtime.openstack import Refused


@dataclass(frozen=True, slots=True)
class Found:
    """What was there in one look.

    Attributes:
        ports: physical interfaces; a switch port that Contrail does not have is absent.
        groups: virtual port groups, by uuid.
        interfaces: virtual machine interfaces, by uuid.
    """

    ports: Mapping[SwitchPort, Resource]
    groups: Mapping[str, Resource]
    interfaces: Mapping[str, Resource]

    def groups_at(self, port: SwitchPort) -> list[Resource]:
        """The groups that *port* is in."""
        return [self.groups[ident] for ident in self._group_ids(port) if ident in self.groups]

    def lost_at(self, port: SwitchPort) -> list[str]:
        """The groups that *port* says it is in, and that Contrail did not show."""
        return [ident for ident in self._group_ids(port) if ident not in self.groups]

    def interfaces_at(self, port: SwitchPort) -> list[Resource]:
        """The interfaces in those groups."""
        there = sorted(set().union(*(members(group) for group in self.groups_at(port))))
        return [self.interfaces[ident] for ident in there if ident in self.interfaces]

    def _group_ids(self, port: SwitchPort) -> list[str]:
        return sorted(ids(self.ports.get(port) or {}, "virtual_port_group_back_refs"))


def found_at(api: Contrail, ports: Iterable[SwitchPort]) -> Found:
    """What is at *ports*, and in the groups they are in.

    Raises:
        PeerUnavailable: Contrail does not answer.
        Refused: it will not.
    """
    names = {name: port for port in sorted(set(ports)) if (name := listed_name(port.switch, port.port))}
    named = api.every_named("physical-interface", names, fields=("virtual_port_group_back_refs",))
    switch_ports = {names[name]: one for name, one in named.items()}
    within = set().union(*(ids(one, "virtual_port_group_back_refs") for one in switch_ports.values()))
    groups = some(api, "virtual-port-group", within, "virtual_machine_interface_back_refs")
    inside = set().union(*(members(group) for group in groups.values()))
    interfaces = some(api, "virtual-machine-interface", inside, "instance_ip_back_refs")
    return Found(switch_ports, groups, interfaces)


def some(api: Contrail, kind: str, idents: Iterable[str], *fields: str) -> dict[str, Resource]:
    """Those of *kind* that are there, by uuid; *fields*: back references to be shown too.

    See `found_at` for what is raised.
    """
    wanted = sorted(set(idents))
    found = api.every(kind, fields=fields, obj_uuids=wanted) if wanted else []
    return {str(one["uuid"]): one for one in found}


def told(error: Refused | PeerUnavailable) -> PeerUnavailable:
    """A refusal in words of the field: whatever it is, it may be gone when somebody has seen to it."""
    if isinstance(error, PeerUnavailable):
        return error
    msg = f"Contrail refuses ({error.status}): {error.text}"
    return PeerUnavailable(msg, remedy="Mend that in Contrail; it is tried again.", peer="contrail")


def fabric_of(api: Contrail, orders: Sequence[PortOrder], found: Found) -> str:
    """The name of the fabric that the switches of *orders* are in; Contrail's default if they are in none.

    See `found_at` for what is raised.
    """
    routers = {str(found.ports[order.port]["parent_uuid"]) for order in orders}
    listed = some(api, "physical-router", routers).values()
    fabrics = sorted({str(ref["to"][-1]) for one in listed for ref in one.get("fabric_refs") or ()})
    if len(fabrics) > 1:
        msg = f"the switches of {orders[0].port_group or orders[0].port.switch} are in fabrics {' and '.join(fabrics)}"
        raise PeerUnavailable(msg, remedy="A port group lies in one fabric: correct the links.", peer="contrail")
    return fabrics[0] if fabrics else "default-fabric"
