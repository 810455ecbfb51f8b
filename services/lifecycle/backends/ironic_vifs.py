# SPDX-License-Identifier: Apache-2.0
"""What Ironic knows of the tenant's ports on a node whose ports it moves: its VIFs, and no others.

Ironic binds and unbinds them by itself when a server leaves its rescue system or is undeployed, so one that was left of
somebody before would bring the server onto his network. Nothing is bound by any of this: the node is not deployed yet,
or off.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from services.lifecycle.backends.neutron_ports import LeasePort


def keep_vifs(api: IronicApi, server: str, ports: Sequence[LeasePort], deadline: Deadline) -> None:
    """Makes the node's VIFs *ports*, each on the port of the node that has its MAC address. May be called again."""
    there = {str(vif["id"]) for vif in api.get(f"/nodes/{server}/vifs", deadline)["vifs"]}
    for stale in sorted(there - {port.id for port in ports}):
        api.call("DELETE", f"/nodes/{server}/vifs/{stale}", deadline)
    missing = [port for port in ports if port.id not in there]
    if not missing:
        return
    rows = api.pages(f"/nodes/{server}/ports?fields=uuid,address,portgroup_uuid", "ports", deadline)
    # A member of a group carries nothing of its own: Ironic then takes the group.
    place = {str(row["address"]).lower(): str(row["uuid"]) for row in rows if not row.get("portgroup_uuid")}
    for port in missing:
        where = place.get(port.mac_address.lower())
        body = {"id": port.id, **({"port_uuid": where} if where else {})}
        api.call("POST", f"/nodes/{server}/vifs", deadline, body)
