# SPDX-License-Identifier: Apache-2.0
"""Switch ports in the VNC API: bindings of interfaces, virtual port groups, and ports of servers.

Its lies: a PUT of another network changes the reference alone; one of another VLAN leaves the old tag on the port
group; a physical interface goes from under its port group; a server's port cannot be deleted while its switch port
points to it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

from tests.support.contrail_objects import Fault, Objects, Thing, pairs_of

_DIRECTION = {
    "direction": "both", "vlan_tag": None, "src_mac": None, "dst_mac": None, "mpls_label": None,
    "service_chain_address": None, "ipv6_service_chain_address": None, "protocol": None,
}  # fmt: skip
_CONFIG = "default-global-system-config"


@dataclass(frozen=True)
class Guard:
    """What keeps others off: where an interface is attached, with which network it was when that was done."""

    group: str
    fabric: str
    network: str
    vlan: int
    untagged: bool


class Ports:
    """All attachments of one server."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._guards: dict[str, Guard] = {}

    def attach(self, thing: Thing) -> None:
        """Fills what a new interface says, and attaches it where its bindings say."""
        body = thing.body
        if not body.get("virtual_network_refs"):
            raise Fault(500, "KeyError: 'virtual_network_refs'")
        pairs = pairs_of(body.get("virtual_machine_interface_bindings"))
        links = _links(pairs)
        vlan, untagged = _vlan(pairs, body.get("virtual_machine_interface_properties"))
        if "virtual_machine_interface_mac_addresses" not in body:
            own = "02" + thing.uuid.replace("-", "")[:10]
            zero = pairs.get("vnic_type") == "baremetal" and not links
            made = "00:00:00:00:00:00" if zero else ":".join(own[at : at + 2] for at in range(0, 12, 2))
            body["virtual_machine_interface_mac_addresses"] = {"mac_address": [made]}
        if "virtual_machine_interface_bindings" in body:
            pairs = {"vif_type": "vrouter", "vnic_type": "normal", **pairs}
            body["virtual_machine_interface_bindings"] = _listed(pairs)
        network = self._objects.things[body["virtual_network_refs"][0]["uuid"]]
        routing = self._objects.by_name("routing-instance", [*network.fq_name, network.fq_name[-1]])
        if routing is not None:
            body["routing_instance_refs"] = [{"uuid": routing.uuid, "attr": dict(_DIRECTION)}]
        if pairs.get("vnic_type") == "baremetal" and (pairs.get("profile") or pairs.get("vpg")):
            self._associate(thing, body, pairs, links, pairs.get("vpg", ""), vlan, untagged=untagged)

    def attached(self, thing: Thing) -> None:
        """The other half of an attachment, for which the interface has to be there."""
        for ref in thing.body.get("virtual_port_group_refs") or ():
            refs = self._objects.things[ref["uuid"]].body.setdefault("virtual_machine_interface_refs", [])
            if all(other["uuid"] != thing.uuid for other in refs):
                refs.append({"uuid": thing.uuid, "attr": None})

    def rebind(self, thing: Thing, changes: dict[str, Any]) -> None:
        """Attaches or detaches an interface as its new bindings say; a change of network alone does nothing here."""
        _vlan({}, changes.get("virtual_machine_interface_properties"))
        if "virtual_machine_interface_bindings" not in changes:
            return
        pairs = pairs_of(changes["virtual_machine_interface_bindings"])
        if pairs.get("vnic_type") != "baremetal":
            return
        links = _links(pairs)
        vlan, untagged = _vlan(pairs, changes.get("virtual_machine_interface_properties"))
        own = [self._objects.things[ref["uuid"]] for ref in thing.body.get("virtual_port_group_refs") or ()]
        group = pairs.get("vpg") or (own[0].fq_name[-1] if own else "")
        if not group and links:
            there = self._group_at(self._interface(links[0], ""))
            group = there.fq_name[-1] if there else ""
        self._associate(thing, changes, pairs, links, group, vlan, untagged=untagged)
        if own:
            changes.pop("virtual_port_group_refs", None)
        thing.body |= changes
        self.attached(thing)

    def detached(self, thing: Thing) -> None:
        """Removes the port group of a deleted interface, if the server made it and nobody else is in it."""
        self._guards.pop(thing.uuid, None)
        for ref in thing.body.get("virtual_port_group_refs") or ():
            group = self._objects.things.get(ref["uuid"])
            if group is None:
                continue
            if not group.body["virtual_machine_interface_refs"] and not group.body["virtual_port_group_user_created"]:
                self._objects.remove(group)

    def numbered(self, group: Thing) -> None:
        """What a port group that a client makes has by itself."""
        group.body.setdefault("virtual_port_group_user_created", True)
        group.body.setdefault("virtual_port_group_lacp_enabled", True)
        group.body.setdefault("virtual_port_group_type", "access")

    def link(self, port: Thing) -> None:
        """Has the switch port that a server's port names point to it; one named before does no more."""
        link = (port.body.get("bms_port_info") or {}).get("local_link_connection") or {}
        if not link.get("switch_info") or not link.get("port_id"):
            return
        interface = self._objects.by_name("physical-interface", _names(link))
        for other in self._objects.of("physical-interface"):
            refs = [ref for ref in other.body.get("port_refs") or () if ref["uuid"] != port.uuid]
            if other is interface:
                refs.append({"uuid": port.uuid, "attr": None})
            other.body["port_refs"] = refs

    def _associate(
        self, thing: Thing, body: dict[str, Any], pairs: dict[str, str], links: list[dict[str, str]], named: str,
        vlan: int, *, untagged: bool,
    ) -> None:  # fmt: skip
        own = [self._objects.things[ref["uuid"]] for ref in thing.body.get("virtual_port_group_refs") or ()]
        fabrics = {link.get("fabric") or (own[0].fq_name[-2] if own else "default-fabric") for link in links}
        if len(fabrics) > 1:
            raise Fault(400, "Physical interfaces in the same vpg should belong to the same fabric")
        interfaces = [self._interface(link, named or "vpg-internal-missing") for link in links]
        if not links and not own:
            # The name of a port group alone does not say in which fabric it is.
            raise Fault(400, "Unable to retrieve fabric name. No physical interfaces and no vpg refs")
        fabric_name = min(fabrics) if fabrics else own[0].fq_name[-2]
        for interface in interfaces:
            there = self._group_at(interface)
            if there is not None and there.fq_name[-1] != named:
                msg = f"Physical interface {interface.fq_name} already belong to the vpg {there.fq_name[-1]}"
                raise Fault(400, msg)
        fabric = self._objects.by_name("fabric", [_CONFIG, fabric_name])
        if named:
            group = self._objects.by_name("virtual-port-group", [_CONFIG, fabric_name, named])
            if group is None:
                raise Fault(404, f"Vpg object {named} is not found")
            if not interfaces and group.body["virtual_port_group_user_created"]:
                interfaces = [self._objects.things[ref["uuid"]] for ref in group.body["physical_interface_refs"]]
        elif fabric is None:
            what = f"Parent {[_CONFIG, fabric_name]} type fabric does not exist"
            raise Fault(500, f"vnc_api.exceptions.HttpError: HTTP Status: 400 Content: {what}")
        else:
            group = self._new_group(fabric_name)
        assert fabric is not None
        network = (body if "virtual_network_refs" in body else thing.body)["virtual_network_refs"][0]["uuid"]
        guard = Guard(group.uuid, fabric.uuid, network, vlan, untagged)
        if vlan:
            self._check(thing.uuid, guard, enterprise=bool(fabric.body.get("fabric_enterprise_style")))
            self._guards[thing.uuid] = guard
        if group.uuid not in self._objects.things:
            self._objects.keep(group)
        bundle = {"ae_num": 0} if len(interfaces) > 1 else None
        group.body["physical_interface_refs"] = [{"uuid": one.uuid, "attr": bundle} for one in interfaces]
        tag: dict[str, Any] = {"native_vlan_tag": pairs["tor_port_vlan_id"]} if untagged else {"vlan_tag": vlan}
        body["virtual_port_group_refs"] = [{"uuid": group.uuid, "attr": tag}]

    def _new_group(self, fabric: str) -> Thing:
        used = {group.fq_name[-1] for group in self._objects.of("virtual-port-group")}
        name = next(name for number in itertools.count() if (name := f"vpg-internal-{number}") not in used)
        made = self._objects.shaped("virtual-port-group", {"fq_name": [_CONFIG, fabric, name]})
        made.body["virtual_port_group_user_created"] = False
        made.body["virtual_machine_interface_refs"] = []
        self.numbered(made)
        return made

    def _check(self, ident: str, new: Guard, *, enterprise: bool) -> None:
        others = {vmi: one for vmi, one in self._guards.items() if vmi != ident and vmi in self._objects.things}
        here = {vmi: one for vmi, one in others.items() if one.group == new.group}
        if new.untagged:
            if there := next((vmi for vmi, one in here.items() if one.untagged), ""):
                what = f"already exists for virtual port group:({new.group})"
                raise Fault(400, f"Virtual machine interface:({there}) {what}")
            return
        in_network = f"already exists in virtual network:({new.network}) with vlan({new.vlan})"
        tagged = {vmi: one for vmi, one in here.items() if not one.untagged}
        if not enterprise:
            for vmi, one in tagged.items():
                if (one.network, one.vlan) == (new.network, new.vlan):
                    raise Fault(400, f"Virtual machine interface:({vmi}) {in_network}")
            return
        for one in tagged.values():
            if one.network == new.network and one.vlan != new.vlan:
                where = f"virtual port group:({new.group}) with virtual network:({new.network})"
                raise Fault(400, f"vlan:({one.vlan}) already exists in {where}")
        for vmi, one in tagged.items():
            if one.vlan == new.vlan:
                raise Fault(400, f"Virtual machine interface:({vmi}) {in_network}")
        for one in others.values():
            if one.fabric == new.fabric and not one.untagged and (one.network == new.network) != (one.vlan == new.vlan):
                what = f"with other vlan({new.vlan}) already exists in fabric:({new.fabric})"
                raise Fault(400, f"Virtual network:({new.network}) {what}")

    def _interface(self, link: dict[str, str], group: str) -> Thing:
        found = self._objects.by_name("physical-interface", _names(link))
        if found is None:
            gone = f"No such Physical Interface object ({link['port_id']}) exists"
            raise Fault(404, f"Unable to attach Physical interface to Virtual Port Group ({group}). {gone}")
        return found

    def _group_at(self, interface: Thing) -> Thing | None:
        found = (one for one, _ in self._objects.referring(interface) if one.kind == "virtual-port-group")
        return next(found, None)


def _names(link: dict[str, str]) -> list[str]:
    if "switch_info" not in link:
        raise Fault(500, "KeyError: 'switch_info'")
    # Names have no colons, so that a channel of a port is stored with an underscore.
    return [_CONFIG, link["switch_info"], link["port_id"]]


def _links(pairs: dict[str, str]) -> list[dict[str, str]]:
    text = pairs.get("profile")
    if not text:
        return []
    try:
        profile = json.loads(text)
    except ValueError:
        raise Fault(500, "simplejson.errors.JSONDecodeError: Expecting value: line 1 column 1 (char 0)") from None
    links: list[dict[str, str]] = (profile or {}).get("local_link_information") or []
    return links


def _vlan(pairs: dict[str, str], properties: dict[str, Any] | None) -> tuple[int, bool]:
    """The VLAN of a request, and whether it is untagged."""
    tag = int((properties or {}).get("sub_interface_vlan_tag") or 0)
    if tag > 4094:
        raise Fault(400, f"Invalid sub-interface VLAN tag ID: {tag}")
    native = pairs.get("tor_port_vlan_id")
    return (int(native), True) if native else (tag, False)


def _listed(pairs: dict[str, str]) -> dict[str, Any]:
    return {"key_value_pair": [{"key": key, "value": value} for key, value in pairs.items()]}
