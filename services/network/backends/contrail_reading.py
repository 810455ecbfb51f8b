# SPDX-License-Identifier: Apache-2.0
"""What Contrail's objects say of a switch port: pure, from documents to facts.

A switch port (physical-interface) is in virtual port groups, those hold interfaces (virtual-machine-interface), and
each of these is in one network with one VLAN. The API takes changes that it carries out on one side alone: a PUT of
another network leaves the routing instance, one of another VLAN leaves the tag on the port group. So both sides of
every link are read, and where they differ the port is not certain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from services.network.domain.switch_ports import PortConfig, PortSetup
from services.runtime.contrail import Resource, pairs_of

BINDINGS = "virtual_machine_interface_bindings"

_GROUP = ("uuid", "fq_name", "physical_interface_refs", "virtual_machine_interface_refs")
_INTERFACE = (
    "uuid", "fq_name", "virtual_network_refs", "virtual_port_group_refs", "routing_instance_refs",
    "security_group_refs", BINDINGS, "virtual_machine_interface_properties", "virtual_machine_interface_mac_addresses",
    "virtual_machine_interface_dhcp_option_list",
)  # fmt: skip
_UNTAGGED = 0


def ids(thing: Resource, *fields: str) -> set[str]:
    """The uuids of what *thing* refers to, or is referred to by, in *fields*."""
    return {str(ref["uuid"]) for field in fields for ref in thing.get(field) or ()}


def members(group: Resource) -> set[str]:
    """The uuids of the interfaces in a virtual port group, by either side's word."""
    return ids(group, "virtual_machine_interface_refs", "virtual_machine_interface_back_refs")


def said_vlan(interface: Resource) -> tuple[int, int]:
    """The tag on the wire and the VLAN, as the interface itself says: the tag of untagged frames is 0."""
    native = pairs_of(interface, BINDINGS).get("tor_port_vlan_id", "")
    if native:
        return _UNTAGGED, _number(native)
    tag = _number((interface.get("virtual_machine_interface_properties") or {}).get("sub_interface_vlan_tag"))
    return tag, tag


def judged(
    groups: Iterable[Resource], interfaces: Mapping[str, Resource], homes: Mapping[str, str]
) -> tuple[PortConfig, str, str]:
    """What is configured at a switch port that is in *groups*, why that is not certain, and why isolation is at stake.

    Both texts are empty if they are not. Of an interface that was moved, both networks count.

    Args:
        interfaces: by uuid; those of the groups, as far as Contrail shows them.
        homes: the uuids of networks by full name; those that `left_behind` names, as far as they are there.
    """
    seen: set[tuple[int, str]] = set()
    doubts: list[str] = []
    breaches: list[str] = []
    for group in groups:
        for ident in sorted(members(group)):
            interface = interfaces.get(ident)
            if interface is None:
                doubts.append(f"interface {ident} of port group {name_of(group)} is in no list of Contrail's")
                continue
            there, strange = carried(group, interface)
            left = left_behind(interface)
            seen |= there | {(tag, homes[name]) for tag, _ in there for name in left if name in homes}
            doubts += strange
            breaches += [f"{name} is no network any more" for name in left if name not in homes]
            breaches += _another_vlan(group, interface)
    untagged = sorted(network for tag, network in seen if not tag)
    others = {(tag, network) for tag, network in seen if tag} | {(_UNTAGGED, network) for network in untagged[1:]}
    config = PortConfig(untagged[0] if untagged else "", frozenset(others))
    return config, "; ".join(dict.fromkeys(doubts)), "; ".join(dict.fromkeys(breaches))


def left_behind(interface: Resource) -> list[str]:
    """The full names of networks that *interface* was moved from, and whose routing instance it has still."""
    networks = [ref["to"] for ref in interface.get("virtual_network_refs") or ()]
    routing = [ref["to"][:-1] for ref in interface.get("routing_instance_refs") or ()]
    return [":".join(names) for names in routing if names not in networks]


def carried(group: Resource, interface: Resource) -> tuple[set[tuple[int, str]], list[str]]:
    """The tags and networks that *interface* puts on the switch ports of *group*, and why that is not certain."""
    tags, strange = _tags(group, interface)
    networks = ids(interface, "virtual_network_refs")
    return {(tag, network) for tag in tags for network in networks}, [*strange, *_strange(interface)]


def name_of(group: Resource) -> str:
    """What a virtual port group is called within its fabric."""
    return str(group["fq_name"][-1])


def setup_of(interfaces: Iterable[Resource]) -> PortSetup:
    """What else is set on the interfaces at a switch port."""
    groups: set[str] = set()
    options: set[str] = set()
    for interface in interfaces:
        groups |= ids(interface, "security_group_refs")
        listed = (interface.get("virtual_machine_interface_dhcp_option_list") or {}).get("dhcp_option") or ()
        options |= {f"4:{one['dhcp_option_name']}={one['dhcp_option_value']}" for one in listed}
    return PortSetup(tuple(sorted(groups)), tuple(sorted(options)))


def digest_of(port: Resource, groups: Sequence[Resource], interfaces: Iterable[Resource]) -> bytes:
    """SHA-256 over what Contrail answered of a switch port, its groups and the interfaces in them."""
    read = {
        "port": _shown(port, ("uuid", "fq_name", "virtual_port_group_back_refs")),
        "groups": [_shown(group, _GROUP) for group in sorted(groups, key=lambda one: str(one["uuid"]))],
        "interfaces": [
            _shown(interface, _INTERFACE) for interface in sorted(interfaces, key=lambda one: str(one["uuid"]))
        ],
    }
    return hashlib.sha256(json.dumps(read, sort_keys=True, separators=(",", ":")).encode()).digest()


def _tags(group: Resource, interface: Resource) -> tuple[set[int], list[str]]:
    """The tags that *interface* may have at the switch ports of *group*, and what is strange about them."""
    ident, where = str(interface["uuid"]), name_of(group)
    asked, _ = said_vlan(interface)
    told = _told_vlan(group, interface)
    if told is None or ident not in ids(group, "virtual_machine_interface_refs"):
        return {asked}, [f"only one of interface {ident} and port group {where} says that it is in there"]
    tag, vlan = told
    if not vlan:
        return {asked}, [f"interface {ident} is in port group {where} without a VLAN"]
    return {tag, asked}, _another_vlan(group, interface)


def _told_vlan(group: Resource, interface: Resource) -> tuple[int, int] | None:
    """As `said_vlan`, but what the switches of *group* are told; None if *interface* says nothing of being in it."""
    mine = next((ref for ref in interface.get("virtual_port_group_refs") or () if ref["uuid"] == group["uuid"]), None)
    if mine is None:
        return None
    attr = mine.get("attr") or {}
    native, tag = _number(attr.get("native_vlan_tag")), _number(attr.get("vlan_tag"))
    return (_UNTAGGED, native) if native else (tag, tag)


def _another_vlan(group: Resource, interface: Resource) -> list[str]:
    """What is said where *interface* and *group* name different VLANs for it; whose either is, nobody can tell."""
    said, (tag, there) = said_vlan(interface), _told_vlan(group, interface) or (_UNTAGGED, 0)
    if not there or (tag, there) == said:
        return []
    # The PUT of another VLAN is answered 200 and stays on the interface; the switches are told the group's.
    shown = f"VLAN {said[1] or 'none'}, and port group {name_of(group)} has {there} for it"
    return [f"interface {interface['uuid']} says {shown}"]


def _strange(interface: Resource) -> list[str]:
    """Why it is not certain which network *interface* is in, or whether it is attached."""
    ident = str(interface["uuid"])
    networks = [ref["to"] for ref in interface.get("virtual_network_refs") or ()]
    found = []
    if len(networks) != 1:
        found.append(f"interface {ident} is in {len(networks)} networks")
    if left := left_behind(interface):
        # The PUT of another network is answered 200 and moves nothing.
        found.append(f"interface {ident} was moved, and its routing instance is that of {left[0]} still")
    if (interface.get("id_perms") or {}).get("enable") is False:
        found.append(f"interface {ident} is switched off, and attached still")
    return found


def _shown(thing: Resource, fields: Sequence[str]) -> dict[str, object]:
    """What of *thing* is evidence, in one order: lists of references come as the server has them just now."""
    return {field: _sorted(thing[field]) for field in fields if field in thing}


def _sorted(value: object) -> object:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        bare = [{key: each for key, each in one.items() if key != "href"} for one in value]
        return sorted(bare, key=lambda one: json.dumps(one, sort_keys=True))
    return value


def _number(value: object) -> int:
    """Of a VLAN as the API has it: a number, or its digits; 0 for none and for what is no number."""
    text = str(value or "")
    return int(text) if text.isdigit() else 0
