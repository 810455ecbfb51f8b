# SPDX-License-Identifier: Apache-2.0
"""What Neutron's ports say of a switch port: pure, from documents to facts.

A port counts at a switch port if its binding's `local_link_information` names it. What Neutron is not sure of is never
taken for quarantine: bound and not ACTIVE, or a binding that failed, may have reached the switch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from services.network.domain.switch_ports import PortConfig, PortSetup, SwitchPort
from services.network.ports import Plug
from services.runtime.neutron import Resource

_FIELDS = (
    "id", "network_id", "mac_address", "status", "admin_state_up", "device_id", "device_owner", "revision_number",
    "security_groups", "extra_dhcp_opts", "binding:host_id", "binding:vnic_type", "binding:vif_type", "binding:profile",
    "trunk_details",
)  # fmt: skip
_NOT_BOUND = ("unbound", "")


def links_of(port: Resource) -> Sequence[Mapping[str, object]]:
    """The switch ports that a port's binding names."""
    found = (port.get("binding:profile") or {}).get("local_link_information")
    return [link for link in found if isinstance(link, dict)] if isinstance(found, list) else []


def is_at(port: Resource, where: SwitchPort, switch_id: str = "") -> bool:
    """Whether *port* is plugged in at *where*. Either way of naming a switch counts: drivers go by one or the other."""
    known = {where.switch, switch_id} - {""}
    return any(
        link.get("port_id") == where.port and known & {str(link.get("switch_info")), str(link.get("switch_id"))}
        for link in links_of(port)
    )


def is_bound(port: Resource) -> bool:
    """Whether anything of a binding is there, or was asked for."""
    return bool(port["binding:host_id"] or links_of(port)) or port["binding:vif_type"] not in _NOT_BOUND


def judged(
    plug: Plug,
    plugs: Sequence[Plug],
    ports: Iterable[Resource],
    subports: Mapping[str, Resource],
    trunks: Mapping[str, Resource],
) -> tuple[PortConfig, str]:
    """What is configured at *plug*, and why that is not certain; empty if it is.

    Args:
        plugs: all of the server.
        ports: those that are bound for the server or have one of its MAC addresses.
        subports: what the trunks of those consist of, by id.
        trunks: their trunks, by id.
    """
    untagged: list[str] = []
    tagged: set[tuple[int, str]] = set()
    doubts: list[str] = []
    for port in ports:
        if is_at(port, plug.port, plug.switch_id):
            doubt = _doubt(port)
            if port["binding:vif_type"] in _NOT_BOUND and not doubt:
                continue
        else:
            doubt = _lost(port, plug, plugs)
            if not doubt:
                continue
        untagged.append(str(port["network_id"]))
        doubts += [doubt] if doubt else []
        for tag, network, strange in _tagged(port, subports, trunks):
            tagged |= {(tag, network)} if network else set()
            doubts += [strange] if strange else []
    first, *others = sorted(set(untagged)) or [""]
    return PortConfig(first, frozenset(tagged | {(0, other) for other in others})), "; ".join(doubts)


def setup_at(plug: Plug, ports: Iterable[Resource], subports: Mapping[str, Resource]) -> PortSetup:
    """What else Neutron has set on what is bound at *plug*, and on what its trunk consists of."""
    bound = [one for one in ports if is_at(one, plug.port, plug.switch_id) and is_bound(one)]
    subs = (sub["port_id"] for one in bound for sub in (one.get("trunk_details") or {}).get("sub_ports", ()))
    there = [*bound, *(subports[ident] for ident in subs if ident in subports)]
    groups = {str(group) for one in there for group in one.get("security_groups") or ()}
    options = {
        f"{option.get('ip_version') or 4}:{option['opt_name']}={option['opt_value']}"
        for one in there
        for option in one.get("extra_dhcp_opts") or ()
    }
    return PortSetup(tuple(sorted(groups)), tuple(sorted(options)))


def digest_of(plug: Plug, ports: Iterable[Resource], trunks: Iterable[Resource]) -> bytes:
    """SHA-256 over what Neutron answered of the server that *plug* is of."""
    read = {
        "switch": plug.port.switch,
        "port": plug.port.port,
        "ports": [{key: port.get(key) for key in _FIELDS} for port in sorted(ports, key=lambda one: str(one["id"]))],
        "trunks": sorted(([trunk["id"], trunk["status"]] for trunk in trunks), key=str),
    }
    return hashlib.sha256(json.dumps(read, sort_keys=True, separators=(",", ":")).encode()).digest()


def _lost(port: Resource, plug: Plug, plugs: Sequence[Plug]) -> str:
    """Why a port that does not say *plug* may be there all the same; empty if it is not."""
    # Ironic binds a port before it knows where, on purpose; that fails, and no switch is named.
    if port["binding:vif_type"] in (*_NOT_BOUND, "binding_failed"):
        return ""
    if port["mac_address"] != plug.mac_address and any(port["mac_address"] == other.mac_address for other in plugs):
        return ""
    if not links_of(port):
        return f"port {port['id']} is bound ({port['binding:vif_type']}) without saying where"
    if any(is_at(port, other.port, other.switch_id) for other in plugs):
        return ""
    # It may be the very switch by a name that we do not know.
    names = (f"{link.get('switch_info') or link.get('switch_id')} {link.get('port_id')}" for link in links_of(port))
    where = ", ".join(names)
    return f"port {port['id']} is bound at {where}, which is no switch port of this server's that we know"


def _doubt(port: Resource) -> str:
    vif, name = port["binding:vif_type"], f"port {port['id']} on network {port['network_id']}"
    if vif == "binding_failed":
        return f"Neutron could not bind {name}; whether a switch was told is not known"
    if vif in _NOT_BOUND:
        return f"{name} is being bound" if port["binding:host_id"] else ""
    if not port["admin_state_up"]:
        return f"{name} is switched off, and bound still"
    return "" if port["status"] == "ACTIVE" else f"{name} is bound, and {port['status']}, not ACTIVE"


def _tagged(
    port: Resource, subports: Mapping[str, Resource], trunks: Mapping[str, Resource]
) -> Iterable[tuple[int, str, str]]:
    """Tag, network and what is strange about it, for each subport of *port*'s trunk."""
    details = port.get("trunk_details")
    if not details:
        return
    trunk = trunks.get(str(details["trunk_id"]))
    status = trunk["status"] if trunk else "gone"
    if status != "ACTIVE":
        yield 0, "", f"trunk {details['trunk_id']} is {status}, not ACTIVE"
    for sub in details["sub_ports"]:
        found = subports.get(str(sub["port_id"]))
        if found is None:
            yield 0, "", f"subport {sub['port_id']} is in no list of Neutron's"
        else:
            yield int(sub["segmentation_id"]), str(found["network_id"]), ""
