# SPDX-License-Identifier: Apache-2.0
"""Switch ports by Neutron: a port is in the network whose Neutron port is bound there, and in quarantine without one.

We move the ports, around Ironic's deploy: its nodes have network interface ``noop``. Neutron's plugin for the switches
does what a binding says. Neutron's own ports are of two kinds, told apart by marks (services/runtime/neutron.py):

- The network has a port with the server's MAC address, made by ipam to hold the address, or by others: it is bound, and
  unbound again. It is never deleted here.
- It has none: one is made, bound from the start, and deleted when it is to be cut. It takes no address on a tenant's
  network, where ipam gives them, and one of Neutron's on a private network, for its DHCP.

Whatever else is bound at the server's switch ports is unbound: in this mode they are ours alone. DHCP options for
booting are set if the settings name some: else Ironic boots by virtual media, or by the DHCP server that it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.kernel.clock import Clock
from services.network.backends.neutron_found import (
    by_id,
    found_of,
    keeper_of,
    ports_of,
    profile_of,
    told,
)
from services.network.backends.neutron_reading import digest_of, is_bound, judged, setup_at
from services.network.backends.neutron_trunks import UNBOUND, fit_for_trunk, keep_trunk, without_trunk
from services.network.backends.units import carry_out
from services.network.domain.networks import PortClass
from services.network.ports import DhcpOption, Plug, PortFact, PortOrder
from services.runtime.neutron import LEASE, PORT, Neutron, Resource, is_ours
from services.runtime.openstack import Refused

_TURNS = 3


class NeutronFabric:
    """`services.network.ports.Fabric` over one Neutron; may be called from any thread.

    Args:
        groups: the security groups of ports that are on a network of a class; a class that is missing has none on the
            ports that we make, and what others gave theirs.
        dhcp_options: of the ports that we make on private networks, for booting.
    """

    def __init__(
        self,
        api: Neutron,
        clock: Clock,
        groups: Mapping[PortClass, Sequence[str]] | None = None,
        dhcp_options: Sequence[DhcpOption] = (),
    ) -> None:
        self._api = api
        self._clock = clock
        self._groups = dict(groups or {})
        self._dhcp_options = tuple(dhcp_options)

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        """See `Fabric.write`. All that there is to cut is cut before anything is bound."""
        carry_out(orders, lambda unit: self._carry_out(server, unit), told)

    def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        """See `Fabric.read`. Ports are looked for by the server they are bound for and by its MAC addresses.

        A port that somebody bound to one of our switch ports for another server, with another MAC address, is not
        seen: Neutron cannot be asked who is plugged in where.
        """
        # Before the first request: what is answered is not older.
        now = self._clock.now()
        try:
            found = ports_of(self._api, {plug.server for plug in plugs}, {plug.mac_address for plug in plugs})
            trunked = [port["trunk_details"] for port in found if port.get("trunk_details")]
            trunks = {str(one["id"]): one for one in by_id(self._api, "trunks", {one["trunk_id"] for one in trunked})}
            subs = {sub["port_id"] for one in trunked for sub in one["sub_ports"]}
            subports = {str(one["id"]): one for one in by_id(self._api, "ports", subs)}
        except Refused as error:
            raise told(error) from None
        siblings: dict[str, list[Plug]] = {}
        for plug in plugs:
            siblings.setdefault(plug.server, []).append(plug)
        facts = []
        for plug in plugs:
            own = [
                port
                for port in found
                if port["binding:host_id"] == plug.server
                or any(port["mac_address"] == one.mac_address for one in siblings[plug.server])
            ]
            config, doubt = judged(plug, siblings[plug.server], own, subports, trunks)
            mine = [trunk for trunk in trunks.values() if any(trunk["port_id"] == port["id"] for port in own)]
            setup = setup_at(plug, own, subports)
            facts.append(PortFact(plug.port, config, now, digest_of(plug, own, mine), doubt=doubt, setup=setup))
        return tuple(facts)

    # ------------------------------------------------------------------------------------------------------------------

    def _carry_out(self, server: str, unit: Sequence[PortOrder]) -> None:
        """Makes the ports of a group, or one port, what is ordered: what is not wanted first, then what is.

        Raises:
            Refused: Neutron will not.
            PeerUnavailable: it does not answer.
        """
        for turn in range(_TURNS):
            try:
                self._turn(server, unit)
            except Refused as error:
                # What was listed has changed meanwhile: another replica, ipam, or somebody by hand.
                if turn == _TURNS - 1 or not (error.status == 404 or error.kind == "MacAddressInUse"):
                    raise
            else:
                return

    def _turn(self, server: str, unit: Sequence[PortOrder]) -> None:
        macs = {order.mac_address for order in unit}
        found = found_of(self._api, server, unit)
        config, port_class = unit[0].config, unit[0].port_class
        parent = keeper_of(found, config.untagged, macs) if config.tagged else None
        # What a trunk holds can be neither removed nor bound, nor go into another trunk.
        ports = [port if port is parent else without_trunk(self._api, port) for port in found]
        keeper = keeper_of(ports, config.untagged, macs) if config.untagged else None
        kept = {tag: keeper_of(ports, network, macs) for tag, network in sorted(config.tagged)}
        staying = {str(one["id"]) for one in (keeper, *kept.values()) if one is not None}
        held = {str(sub["port_id"]) for sub in ((parent or {}).get("trunk_details") or {}).get("sub_ports", ())}
        for port in ports:
            if port["id"] not in staying | held:
                self._cut(port)
        if not config.untagged:
            return
        wanted = self._binding(server, unit)
        if config.tagged:
            keeper = keeper or self._made(config.untagged, min(macs), server, port_class, {"device_id": server})
            subs = {}
            for tag, network in sorted(config.tagged):
                # Neutron takes no port into a trunk that says whose it is.
                sub = kept[tag] or self._made(network, min(macs), server, port_class, {})
                subs[tag] = fit_for_trunk(self._api, sub, keeper)
            keep_trunk(self._api, keeper, subs)
            for port in ports:
                if port["id"] in held - staying:
                    self._cut(port)
            keeper = self._api.get("ports", str(keeper["id"])) or keeper
        elif keeper is None:
            self._made(config.untagged, min(macs), server, port_class, {"device_id": server, **wanted})
            return
        self._bind(keeper, wanted)

    def _binding(self, server: str, unit: Sequence[PortOrder]) -> dict[str, object]:
        groups = self._groups.get(unit[0].port_class)
        return {
            "admin_state_up": True,
            "binding:vnic_type": "baremetal",
            "binding:host_id": server,
            "binding:profile": profile_of(unit),
            **({} if groups is None else {"security_groups": sorted(groups)}),
        }

    def _bind(self, port: Resource, wanted: Mapping[str, object]) -> None:
        there = {**port, "security_groups": sorted(port.get("security_groups") or ())}
        if port["binding:vif_type"] not in ("unbound", "binding_failed") and wanted.items() <= there.items():
            return
        # Bound elsewhere: Neutron does not move a binding's profile to another host in every plugin; it is taken off.
        if port["binding:host_id"] and port["binding:host_id"] != wanted["binding:host_id"]:
            self._unbind(port)
        self._api.update("ports", str(port["id"]), wanted)

    def _made(
        self, network: str, mac: str, server: str, port_class: PortClass, wanted: Mapping[str, object]
    ) -> Resource:
        body: dict[str, object] = {
            "network_id": network, "mac_address": mac, "name": f"bms-{server}", "description": PORT,
            "device_owner": "baremetal:none", "security_groups": [], **wanted,
        }  # fmt: skip
        if port_class is PortClass.TENANT:
            body["fixed_ips"] = []
        elif self._dhcp_options:
            body["extra_dhcp_opts"] = [
                {"opt_name": one.name, "opt_value": one.value, "ip_version": one.ip_version}
                for one in self._dhcp_options
            ]
        made = self._api.create("ports", body)
        self._api.mark("ports", str(made["id"]), PORT)
        return made

    def _cut(self, port: Resource) -> None:
        if is_ours(port, PORT) and not is_ours(port, LEASE):
            self._api.delete("ports", str(port["id"]))
        elif is_bound(port):
            self._unbind(port)

    def _unbind(self, port: Resource) -> None:
        self._api.update("ports", str(port["id"]), UNBOUND)
