# SPDX-License-Identifier: Apache-2.0
"""What Neutron has of servers' ports, found by server and MAC address, and what ties it to what is ordered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.kernel.errors import PeerUnavailable
from services.network.backends.neutron_reading import is_at
from services.network.ports import PortOrder
from services.runtime.neutron import LEASE, PORT, Neutron, Resource, is_ours
from services.runtime.openstack import Refused

_AT_ONCE = 40
"""Values of a filter in one request: addresses of requests are short."""


def found_of(api: Neutron, server: str, unit: Sequence[PortOrder]) -> list[Resource]:
    """Every port that has a MAC address of *unit*'s, or is bound for *server* at one of its switch ports.

    See `services.runtime.neutron.Neutron` for what is raised.
    """
    macs = {order.mac_address for order in unit}
    return [
        port
        for port in ports_of(api, {server}, macs)
        if port["mac_address"] in macs or any(is_at(port, order.port, order.switch_id) for order in unit)
    ]


def ports_of(api: Neutron, servers: Iterable[str], macs: Iterable[str]) -> list[Resource]:
    """Every port that is bound for one of *servers*, or has one of *macs*."""
    found = {str(port["id"]): port for chunk in _chunks(servers) for port in _some(api, binding__host_id=chunk)}
    found |= {str(port["id"]): port for chunk in _chunks(macs) for port in _some(api, mac_address=chunk)}
    return [found[ident] for ident in sorted(found)]


def by_id(api: Neutron, collection: str, idents: Iterable[str]) -> list[Resource]:
    """Those of *collection* that are there."""
    return [one for chunk in _chunks(idents) for one in api.every(collection, id=chunk)]


def keeper_of(ports: Sequence[Resource], network: str, macs: set[str]) -> Resource | None:
    """The port that is bound for *network*: ipam's, then one of others, then ours; always the same one."""
    mine = [port for port in ports if port["network_id"] == network and port["mac_address"] in macs]
    return min(
        mine, key=lambda one: (not is_ours(one, LEASE), is_ours(one, PORT), one["mac_address"], one["id"]), default=None
    )


def profile_of(unit: Sequence[PortOrder]) -> dict[str, object]:
    """The binding profile that says where *unit* is plugged in."""
    links = [
        {
            "switch_id": order.switch_id or order.port.switch,
            "port_id": order.port.port,
            "switch_info": order.port.switch,
        }
        for order in sorted(unit, key=lambda one: one.port)
    ]
    profile: dict[str, object] = {"local_link_information": links}
    if group := unit[0].port_group:
        profile["local_group_information"] = {"id": group, "name": group}
    return profile


def told(error: Refused | PeerUnavailable) -> PeerUnavailable:
    """A refusal in words of the field: whatever it is, it may be gone when somebody has seen to it."""
    if isinstance(error, PeerUnavailable):
        return error
    msg = f"Neutron refuses ({error.kind or error.status}): {error.text}"
    return PeerUnavailable(msg, remedy="Mend that in Neutron; it is tried again.", peer="neutron")


def _some(api: Neutron, **where: str | list[str]) -> list[Resource]:
    ports = api.every("ports", **where)
    if any("binding:vif_type" not in port for port in ports):
        msg = "Neutron does not show our login how ports are bound"
        raise PeerUnavailable(msg, remedy="Give the login role admin.", peer="neutron")
    return ports


def _chunks(values: Iterable[str]) -> list[list[str]]:
    every = sorted(values)
    return [every[at : at + _AT_ONCE] for at in range(0, len(every), _AT_ONCE)]
