# SPDX-License-Identifier: Apache-2.0
"""A node's ports and port groups, as inventory has them: made, corrected, and removed if they were ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from services.lifecycle.backends.ironic_gates import REWIRING
from services.lifecycle.ports import CardPort, ServerCard

_MAY_REWIRE = ("enroll", "manageable", "inspecting", "inspect wait")
_LOOSE = ("available", "clean failed", "inspect failed", "adopt failed")
_PORT_FIELDS = "uuid,address,pxe_enabled,local_link_connection,physical_network,portgroup_uuid,extra"
_GROUP_FIELDS = "uuid,name,mode,address,extra"
_MADE = {"bms": {"made": True}}

Row = Mapping[str, Any]


class _Request(NamedTuple):
    method: str
    path: str
    body: Mapping[str, object] | Sequence[object] | None = None


def rewire(api: IronicApi, node: Row, card: ServerCard, deadline: Deadline) -> None:
    """Brings ports and port groups of *node* to what *card* says.

    Ironic lets the wiring of a node change only while nobody may be given it, or in maintenance: one that is free is
    set into it for these requests. One in use is left until it is given back.
    """
    uuid, state = str(node["uuid"]), str(node.get("provision_state"))
    in_maintenance = bool(node.get("maintenance"))
    if not in_maintenance and state not in _MAY_REWIRE and (state not in _LOOSE or node.get("instance_uuid")):
        return
    groups = list(api.pages(f"/nodes/{uuid}/portgroups?fields={_GROUP_FIELDS}", "portgroups", deadline))
    ports = list(api.pages(f"/nodes/{uuid}/ports?fields={_PORT_FIELDS}", "ports", deadline))
    wanted = {label: _group(uuid, label, mode, card) for label, mode in card.port_groups}
    known = {_label(row, uuid): row for row in groups}
    stale = [str(row["uuid"]) for label, row in known.items() if label not in wanted and _is_ours(row)]
    left = in_maintenance and node.get("maintenance_reason") == REWIRING
    if _group_changes(known, wanted) or _port_changes(ports, card, uuid, _ids(known)) or stale:
        if not in_maintenance and state not in _MAY_REWIRE:
            api.call("PUT", f"/nodes/{uuid}/maintenance", deadline, {"reason": REWIRING})
            left = True
        for request in _group_changes(known, wanted):
            api.call(request.method, request.path, deadline, request.body)
        groups = list(api.pages(f"/nodes/{uuid}/portgroups?fields={_GROUP_FIELDS}", "portgroups", deadline))
        for request in _port_changes(ports, card, uuid, _ids({_label(row, uuid): row for row in groups})):
            api.call(request.method, request.path, deadline, request.body)
        for group in stale:
            api.call("DELETE", f"/portgroups/{group}", deadline)
    if left:
        api.call("DELETE", f"/nodes/{uuid}/maintenance", deadline)


def _ids(groups: Mapping[str, Row]) -> dict[str, str]:
    return {label: str(row["uuid"]) for label, row in groups.items()}


def _group(uuid: str, label: str, mode: str, card: ServerCard) -> dict[str, object]:
    """A port group as Ironic has it. Its names are unique in the whole of Ironic; ours is kept beside."""
    address = next((port.mac_address for port in card.ports if port.port_group == label), None)
    return {"name": f"{label}-{uuid}", "mode": mode or "active-backup", "address": address}


def _label(row: Row, uuid: str) -> str:
    return str(row.get("name") or row["uuid"]).removesuffix(f"-{uuid}")


def _is_ours(row: Row) -> bool:
    kept = (row.get("extra") or {}).get("bms")
    return isinstance(kept, dict) and bool(kept.get("made"))


def _group_changes(known: Mapping[str, Row], wanted: Mapping[str, Mapping[str, object]]) -> list[_Request]:
    requests = []
    for label, group in wanted.items():
        row = known.get(label)
        if row is None:
            uuid = str(group["name"]).removeprefix(f"{label}-")
            requests.append(_Request("POST", "/portgroups", {**group, "node_uuid": uuid, "extra": _MADE}))
        elif row.get("mode") != group["mode"]:
            change = [{"op": "add", "path": "/mode", "value": group["mode"]}]
            requests.append(_Request("PATCH", f"/portgroups/{row['uuid']}", change))
    return requests


def _port_changes(rows: Sequence[Row], card: ServerCard, node: str, groups: Mapping[str, str]) -> list[_Request]:
    """The requests that ports need; *groups* is label -> UUID of the port groups that are there."""
    boots = any(port.pxe_enabled for port in card.ports)
    known = {str(row["address"]).lower(): row for row in rows}
    requests = []
    for port in card.ports:
        row = known.get(port.mac_address.lower())
        wanted = _wiring(port, row or {}, boots=boots)
        if port.port_group:
            wanted["portgroup_uuid"] = groups.get(port.port_group)
        if row is None:
            body = {"address": port.mac_address, "node_uuid": node, "extra": _MADE}
            requests.append(_Request("POST", "/ports", {**body, **wanted}))
            continue
        change: list[object] = [
            {"op": "add", "path": f"/{key}", "value": value} for key, value in wanted.items() if row.get(key) != value
        ]
        if not port.port_group and row.get("portgroup_uuid") and _is_ours(row):
            change.append({"op": "remove", "path": "/portgroup_uuid"})
        if change:
            requests.append(_Request("PATCH", f"/ports/{row['uuid']}", change))
    ours = {port.mac_address.lower() for port in card.ports}
    requests += [
        _Request("DELETE", f"/ports/{row['uuid']}") for mac, row in known.items() if mac not in ours and _is_ours(row)
    ]
    return requests


def _wiring(port: CardPort, row: Row, *, boots: bool) -> dict[str, object]:
    """What the card says of a port; what it does not say stays what it is."""
    wanted: dict[str, object] = {}
    if boots:
        wanted["pxe_enabled"] = port.pxe_enabled
    if port.physical_network:
        wanted["physical_network"] = port.physical_network
    if port.switch_id and port.switch_port:
        # Without the switch's id Ironic takes no link at all.
        link = {"switch_id": port.switch_id, "port_id": port.switch_port, "switch_info": port.switch_name}
        wanted["local_link_connection"] = {**(row.get("local_link_connection") or {}), **link}
    return wanted
