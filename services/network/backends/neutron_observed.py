# SPDX-License-Identifier: Apache-2.0
"""Switch ports by a Neutron whose ports Ironic moves, by its interface ``neutron``: read, and all but left alone.

What Ironic binds and unbinds for a deploy, a clean or a rescue is read as in any other mode. We act in one case: an
instance's server is cut off, and brought back. The port that Ironic bound is then unbound by taking its host away and
nothing else: it stays Ironic's VIF with the MAC address and the place that Ironic gave it, for Ironic to unbind in its
own time, and for us to bind again. Detaching the VIF would have Ironic forget it, and give it another MAC address.

Where Neutron does not unbind it, the port is switched off; what a plugin does then is its own affair, so that is read
as UNKNOWN, and the reading says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.kernel.errors import PeerUnavailable
from services.network.backends.neutron_found import found_of, keeper_of, profile_of, told
from services.network.backends.neutron_reading import is_at, links_of
from services.network.backends.units import carry_out
from services.network.ports import Fabric, Plug, PortFact, PortOrder
from services.runtime.neutron import Neutron, Resource
from services.runtime.openstack import Refused


class ObservedNeutron:
    """`services.network.ports.Fabric` over one Neutron; may be called from any thread.

    Args:
        reader: reads it.
    """

    def __init__(self, api: Neutron, reader: Fabric) -> None:
        self._api = api
        self._reader = reader

    def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        """See `Fabric.read`."""
        return self._reader.read(plugs)

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        """See `Fabric.write`. What Ironic does by itself is not asked for: only orders that act are carried out."""
        carry_out((order for order in orders if order.acts), lambda unit: self._carry_out(server, unit), told)

    def _carry_out(self, server: str, unit: Sequence[PortOrder]) -> None:
        found = found_of(self._api, server, unit)
        if not unit[0].config.networks:
            held = {sub["port_id"] for port in found for sub in (port.get("trunk_details") or {}).get("sub_ports", ())}
            for port in found:
                if port["id"] not in held:
                    self._cut(port)
            return
        keeper = keeper_of(found, unit[0].config.untagged, {order.mac_address for order in unit})
        if keeper is None:
            network = unit[0].config.untagged or "an untagged network"
            msg = f"there is no port of servers/{server} left on Neutron's network {network} to bind again"
            raise PeerUnavailable(
                msg, remedy="Attach it by Ironic: openstack baremetal node vif attach.", peer="neutron"
            )
        for other in found:
            there = any(is_at(other, order.port, order.switch_id) for order in unit)
            if other is not keeper and there and other["binding:host_id"]:
                msg = f"Neutron's port {other['id']} is bound where servers/{server} is to be brought back"
                raise PeerUnavailable(msg, remedy="Wait until Ironic is through with the node.", peer="neutron")
        wanted = _binding(server, unit, keeper)
        if wanted.items() <= keeper.items() and keeper["binding:vif_type"] not in ("unbound", "binding_failed"):
            return
        self._api.update("ports", str(keeper["id"]), wanted)

    def _cut(self, port: Resource) -> None:
        """Unbinds what is bound; what is to be removed is Ironic's to remove, or its owner's."""
        if not port["binding:host_id"] and port["binding:vif_type"] == "unbound":
            return
        try:
            self._api.update("ports", str(port["id"]), {"binding:host_id": ""})
        except Refused as error:
            if error.status == 404:
                return
            self._api.update("ports", str(port["id"]), {"admin_state_up": False})


def _binding(server: str, unit: Sequence[PortOrder], keeper: Resource) -> Mapping[str, object]:
    """What binds *keeper* as it was; where that is lost, as inventory knows the links."""
    wanted: dict[str, object] = {
        "admin_state_up": True, "binding:vnic_type": "baremetal", "binding:host_id": server,
    }  # fmt: skip
    # Ironic's own words for the place stay where they name it; a server that was moved is brought back where it is now.
    if not links_of(keeper) or not all(is_at(keeper, order.port, order.switch_id) for order in unit):
        wanted["binding:profile"] = profile_of(unit)
    return wanted
