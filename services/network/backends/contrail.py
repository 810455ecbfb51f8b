# SPDX-License-Identifier: Apache-2.0
"""Switch ports by Contrail: a port is in the networks of the interfaces in its port group, and in quarantine without.

For every network on a port, or on a bond, there is one interface (virtual-machine-interface) whose bindings name all
its switch ports; Contrail puts them into a virtual port group. Nothing is ever moved by a change: a PUT of another
network or VLAN is answered 200 and carried out by half. What is not as it shall be is deleted and made anew.

An interface's uuid follows from what it is for, so that a repetition meets the one that the first attempt made. It
bears our mark. What others made is unbound, never deleted; where that does not help, and where their port group reaches
further than ours, our switch port is taken out of the group. The address is ipam's instance-ip: it gets a reference to
the interface while that is there, and loses it before, since an interface that is referred to cannot be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from services.kernel.clock import Clock
from services.kernel.errors import PeerUnavailable
from services.network.backends.contrail_found import Found, fabric_of, found_at, some, told
from services.network.backends.contrail_reading import (
    BINDINGS,
    carried,
    digest_of,
    ids,
    judged,
    left_behind,
    members,
    name_of,
    said_vlan,
    setup_of,
)
from services.network.backends.contrail_words import (
    MARK,
    UNIT,
    Attachment,
    machine,
    machine_uuid,
    unbound,
    unit_of,
)
from services.network.backends.units import carry_out
from services.network.domain.networks import PortClass
from services.network.ports import DhcpOption, Plug, PortFact, PortOrder
from services.runtime.contrail import MAC, Contrail, Resource, interface_name, pairs_of
from services.runtime.contrail_networks import BACK_REFS, NATIVE_VLAN, open_to_others, vlan_of
from services.runtime.openstack import Refused

_log = structlog.get_logger("bms.network")
_TURNS = 8
_INTERFACE = "virtual-machine-interface"
_INTERFACE_REFS = "virtual_machine_interface_refs"
_INTERFACE_BACK_REFS = "virtual_machine_interface_back_refs"
_MACHINE = "virtual-machine"
_GROUP = "virtual-port-group"
_SECURITY = "security-group"


class ContrailFabric:
    """`services.network.ports.Fabric` over one Contrail; may be called from any thread.

    Args:
        native_vlan: of untagged frames, where a network has no VLAN of its own.
        groups: the security groups of interfaces on networks of a class; a class that is missing has none.
        dhcp_options: of interfaces on private networks, for booting.
    """

    def __init__(
        self,
        api: Contrail,
        clock: Clock,
        native_vlan: int = NATIVE_VLAN,
        groups: Mapping[PortClass, Sequence[str]] | None = None,
        dhcp_options: Sequence[DhcpOption] = (),
    ) -> None:
        self._api = api
        self._clock = clock
        self._native = native_vlan
        self._groups = dict(groups or {})
        self._dhcp_options = tuple(dhcp_options)

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        """See `Fabric.write`. All that there is to cut is cut before anything is attached."""
        carry_out(orders, lambda unit: self._carry_out(server, unit), told)

    def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        """See `Fabric.read`. A switch port that Contrail does not have is not in quarantine: nothing is known of it."""
        # Before the first request: what is answered is not older.
        now = self._clock.now()
        try:
            found = found_at(self._api, (plug.port for plug in plugs))
            left = {name for one in found.interfaces.values() for name in left_behind(one)}
            there = self._api.every_named("virtual-network", left)
            homes = {name: str(network["uuid"]) for name, network in there.items()}
        except Refused as error:
            raise told(error) from None
        facts = []
        for plug in plugs:
            port = found.ports.get(plug.port)
            if port is None:
                facts.append(PortFact(plug.port, None, now, detail=_absent(plug)))
                continue
            groups, interfaces = found.groups_at(plug.port), found.interfaces_at(plug.port)
            config, doubt, breach = judged(groups, found.interfaces, homes)
            lost = (f"port group {ident} is in no list of Contrail's" for ident in found.lost_at(plug.port))
            doubts = "; ".join(part for part in (doubt, *lost) if part)
            digest = digest_of(port, groups, interfaces)
            setup = setup_of(interfaces)
            facts.append(PortFact(plug.port, config, now, digest, doubt=doubts, setup=setup, breach=breach))
        return tuple(facts)

    # ------------------------------------------------------------------------------------------------------------------

    def _carry_out(self, server: str, unit: Sequence[PortOrder]) -> None:
        """Makes the ports of a group, or one port, what is ordered: look, act on it, look again, until nothing is left.

        Raises:
            Refused: Contrail will not.
            PeerUnavailable: it does not answer, or others keep changing what is there.
        """
        wanted, gone = self._wanted(server, unit)
        made: set[str] = set()
        for turn in range(_TURNS):
            try:
                found = found_at(self._api, (order.port for order in unit))
                if self._cleared(server, unit, wanted, found):
                    continue
                if unit[0].port_class.private:
                    for one in wanted.values():
                        _require_alone(one)
                if gone:
                    msg = f"Contrail has no network {' and '.join(gone)} any more"
                    raise PeerUnavailable(msg, remedy="Remove the network here, and make it again.", peer="contrail")
                there = set().union(*(members(group) for group in _groups(unit, found)))
                missing = next((one for ident, one in wanted.items() if ident not in there), None)
                if missing is None:
                    for one in wanted.values():
                        self._address(one)
                    self._sweep(server, unit, there)
                    return
                self._attach(missing, found, lost=missing.ident in made)
                made.add(missing.ident)
            except Refused as error:
                # What was listed has changed meanwhile: another replica, ipam, or somebody by hand.
                if turn == _TURNS - 1 or error.status not in (404, 409):
                    raise
        msg = f"others keep changing what is at the switch ports of servers/{server}"
        raise PeerUnavailable(msg, remedy="It is tried again; if it lasts, look at its port group.", peer="contrail")

    def _wanted(self, server: str, unit: Sequence[PortOrder]) -> tuple[dict[str, Attachment], list[str]]:
        """The interfaces that there shall be, by uuid, the untagged one first; and the networks that are gone."""
        config = unit[0].config
        tags = dict(config.tagged) | ({0: config.untagged} if config.untagged else {})
        found = some(self._api, "virtual-network", tags.values(), *BACK_REFS)
        orders = tuple(sorted(unit, key=lambda one: one.port))
        wanted = [
            Attachment(server, orders, tag, found[ident], tag or vlan_of(found[ident]) or self._native)
            for tag, ident in sorted(tags.items())
            if ident in found
        ]
        return {one.ident: one for one in wanted}, sorted(set(tags.values()) - set(found))

    def _cleared(self, server: str, unit: Sequence[PortOrder], wanted: Mapping[str, Attachment], found: Found) -> bool:
        """Takes off what is not as it shall be; whether there was anything."""
        ports = _uuids(unit, found)
        groups = _groups(unit, found)
        fit = {ident for ident, one in wanted.items() if _fits(one, ports, groups, found)}
        acted = stuck = False
        for ident in sorted(set().union(*(members(group) for group in groups)) - fit):
            interface = found.interfaces.get(ident)
            if interface is None:
                continue
            try:
                if _ours(interface, server):
                    self._remove(interface)
                    acted = True
                elif _is_bound(interface) and all(_within(group, ports) for group in groups if ident in members(group)):
                    self._api.update(_INTERFACE, ident, unbound(interface))
                    acted = True
            except Refused:
                # Something refers to it, or it cannot be changed: the switch port is cut all the same, below.
                stuck = True
        if acted and not stuck:
            return True
        for group in groups:
            if members(group) - fit or (wanted and not _within(group, ports)):
                for port in sorted(ids(group, "physical_interface_refs") & ports):
                    self._api.remove_ref(_GROUP, str(group["uuid"]), "physical-interface", port)
                    acted = True
        return acted

    def _attach(self, one: Attachment, found: Found, *, lost: bool) -> None:
        """Makes the interface of *one*; if it was *lost*, what is there under its uuid is at no switch port of it."""
        groups = _groups(one.orders, found)
        for order in one.orders:
            if order.port not in found.ports:
                remedy = "Onboard the switch in Contrail, or correct the link in inventory."
                raise PeerUnavailable(_absent(order), remedy=remedy, peer="contrail")
        if len(groups) > 1:
            which = " and ".join(name_of(group) for group in groups)
            msg = f"the switch ports of {one.orders[0].port_group} are in port groups {which}"
            raise PeerUnavailable(msg, remedy="Take them out of those in Contrail.", peer="contrail")
        if lost and (stray := self._api.get(_INTERFACE, one.ident)):
            # Whoever changed its port group took it off its switch ports; by a PUT it would not come back.
            self._require_ours(stray, one)
            self._remove(stray)
        fabric = str(groups[0]["fq_name"][-2]) if groups else fabric_of(self._api, one.orders, found)
        if self._api.get(_MACHINE, machine_uuid(one.server), "display_name") is None:
            self._api.create(_MACHINE, machine(one.server))
        body = one.body(fabric, name_of(groups[0]) if groups else "") | self._extras(one.orders[0].port_class)
        made = self._api.create(_INTERFACE, body)
        self._require_ours(made, one)

    def _extras(self, port_class: PortClass) -> Resource:
        """What else an interface on a network of this class has."""
        extras: Resource = {}
        if wanted := self._groups.get(port_class):
            found = some(self._api, _SECURITY, wanted)
            if missing := sorted(set(wanted) - set(found)):
                msg = f"Contrail has no security group {missing[0]}"
                raise PeerUnavailable(msg, remedy="Make it, or correct the settings.", peer="contrail")
            extras["security_group_refs"] = [{"to": one["fq_name"], "uuid": one["uuid"]} for one in found.values()]
        if port_class.private and self._dhcp_options:
            options = [{"dhcp_option_name": one.name, "dhcp_option_value": one.value} for one in self._dhcp_options]
            extras["virtual_machine_interface_dhcp_option_list"] = {"dhcp_option": options}
        return extras

    def _address(self, one: Attachment) -> None:
        """Has the addresses that ipam keeps for the server's port point to its interface; they are never made here."""
        macs = {order.mac_address for order in one.orders}
        for address in self._api.every("instance-ip", back_ref_id=[str(one.network["uuid"])]):
            if pairs_of(address, "annotations").get(MAC) in macs and one.ident not in ids(address, _INTERFACE_REFS):
                self._api.add_ref("instance-ip", str(address["uuid"]), _INTERFACE, one.ident)

    def _sweep(self, server: str, unit: Sequence[PortOrder], there: set[str]) -> None:
        """Removes our interfaces of *unit* that are at no switch port any more: somebody took it from under them."""
        known = self._api.get(_MACHINE, machine_uuid(server), _INTERFACE_BACK_REFS)
        lost = ids(known or {}, _INTERFACE_BACK_REFS) - there
        for interface in some(self._api, _INTERFACE, lost, "instance_ip_back_refs").values():
            if _ours(interface, server) and pairs_of(interface, "annotations").get(UNIT) == unit_of(unit):
                try:
                    self._remove(interface)
                except Refused as error:
                    # It is at no switch port, so that nothing waits for it; the next order tries again.
                    _log.warning("interface.left", server=server, interface=interface["uuid"], text=error.text)

    def _require_ours(self, interface: Resource, one: Attachment) -> None:
        if not _ours(interface, one.server):
            msg = f"Contrail has another interface under the uuid {one.ident}"
            raise PeerUnavailable(msg, remedy="Look at who made it, and delete it.", peer="contrail")

    def _remove(self, interface: Resource) -> None:
        """Deletes an interface of ours. It cannot go while an address refers to it, and the address stays ipam's."""
        ident = str(interface["uuid"])
        for address in sorted(ids(interface, "instance_ip_back_refs")):
            self._api.remove_ref("instance-ip", address, _INTERFACE, ident)
        self._api.delete(_INTERFACE, ident)


def _fits(one: Attachment, ports: set[str], groups: Sequence[Resource], found: Found) -> bool:
    """Whether the interface of *one* is there, at all its switch ports and no others, as it shall be by either side."""
    interface = found.interfaces.get(one.ident)
    within = [group for group in groups if one.ident in members(group)]
    if interface is None or len(within) != 1 or ids(within[0], "physical_interface_refs") != ports:
        return False
    macs = (interface.get("virtual_machine_interface_mac_addresses") or {}).get("mac_address")
    return (
        carried(within[0], interface) == ({(one.tag, str(one.network["uuid"]))}, [])
        and said_vlan(interface) == (one.tag, one.vlan)
        and macs == [one.mac_address]
    )


def _require_alone(one: Attachment) -> None:
    """Attaches nothing to a private network that tenants may see, join or reach by now."""
    if why := open_to_others(one.network):
        msg = f"Contrail's network {':'.join(one.network['fq_name'])} is the site's alone, and {why}"
        raise PeerUnavailable(msg, remedy="Mend that in Contrail; it is tried again.", peer="contrail")


def _uuids(unit: Sequence[PortOrder], found: Found) -> set[str]:
    return {str(found.ports[order.port]["uuid"]) for order in unit if order.port in found.ports}


def _groups(unit: Sequence[PortOrder], found: Found) -> list[Resource]:
    """The port groups at the switch ports of *unit*, each once."""
    groups = {str(group["uuid"]): group for order in unit for group in found.groups_at(order.port)}
    return [groups[ident] for ident in sorted(groups)]


def _within(group: Resource, ports: set[str]) -> bool:
    return ids(group, "physical_interface_refs") <= ports


def _ours(interface: Resource, server: str) -> bool:
    return pairs_of(interface, "annotations").get(MARK) == server


def _is_bound(interface: Resource) -> bool:
    return "local_link_information" in pairs_of(interface, BINDINGS).get("profile", "")


def _absent(at: Plug | PortOrder) -> str:
    return f"Contrail has no physical interface {interface_name(at.port.port)} on router {at.port.switch}"
