# SPDX-License-Identifier: Apache-2.0
"""The nodes of a running Ironic as rows of an import: all it knows of them but the logins, which it shows nobody."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from services.cli.failures import CliError

Row = Mapping[str, Any]

FREE = frozenset(
    {
        "enroll", "verifying", "manageable", "available", "inspecting", "inspect wait", "inspect failed", "cleaning",
        "clean wait", "clean hold", "clean failed", "adopt failed",
    }
)  # fmt: skip
"""Provision states of nodes that nobody's system is on."""

_SECONDS = 20.0
_NODES = (
    "/v1/nodes?limit=1000&fields=uuid,name,driver,driver_info,provision_state,instance_uuid,resource_class,traits,"
    "properties,description,extra"
)
_PORTS = "/v1/ports/detail?limit=1000"
_GROUPS = "/v1/portgroups/detail?limit=1000"


@dataclass(frozen=True, slots=True)
class Nodes:
    """What was read.

    Attributes:
        ports, groups: of all nodes; each names its node as ``node_uuid``.
    """

    nodes: Sequence[Row]
    ports: Sequence[Row]
    groups: Sequence[Row]


@dataclass(slots=True)
class Found:
    """What an import is made of.

    Attributes:
        rows: an entry of the import file for each node.
        in_use: names of those that somebody's system is on: they are only put on record.
        skipped: name -> why it is left out.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def read(cloud: str) -> Nodes:
    """Every node of the Ironic of *cloud*: a name in clouds.yaml, or the URL of one that asks for no login.

    Raises:
        CliError: it cannot be asked, or refuses.
    """
    from services.cli.doctor.facts import Endpoint
    from services.cli.doctor.probes import cloud as clouds
    from services.cli.doctor.probes.http import Silent
    from services.cli.doctor.probes.ironic import version
    from services.runtime.keystone.clouds import NoCloud, open_login

    try:
        there = (
            clouds.alone(cloud, _SECONDS)
            if cloud.startswith(("http://", "https://"))
            else clouds.log_in(open_login(cloud, _SECONDS, at_keystone=False), cloud, _SECONDS, os.environ)
        )
    except NoCloud as error:
        remedy = "Name a cloud of clouds.yaml, or envvars for the OS_* variables, or give the URL of an Ironic."
        raise CliError(str(error), reason="NO_CLOUD", remedy=remedy) from None
    api = there.api("ironic")
    if isinstance(api, Endpoint):
        raise _away(api.why)
    try:
        root = api.ask("/")
    except Silent as error:
        raise _away(str(error)) from None
    most = str((root.body.get("default_version") or {}).get("version") or "")
    api = replace(api, headers={"X-OpenStack-Ironic-API-Version": version(most)})
    lists = []
    for path, name in ((_NODES, "nodes"), (_PORTS, "ports"), (_GROUPS, "portgroups")):
        rows = api.rows(path, name)
        if rows.value is None:
            raise _away(rows.why)
        lists.append(rows.value)
    return Nodes(*lists)


def rows_of(there: Nodes) -> Found:
    """The import of *there*. Nodes that lifecycle keeps notes with are left out: they are on record already."""
    found = Found()
    addresses = {str(node["uuid"]): _address(node) for node in there.nodes}
    times = Counter(address for address in addresses.values() if address)
    for node in there.nodes:
        uuid = str(node["uuid"])
        name = str(node.get("name") or f"node-{uuid[:8]}")
        if (node.get("extra") or {}).get("bms"):
            found.skipped[name] = "lifecycle works with it already"
            continue
        row = _row(node, name)
        # Several nodes behind one address (blades) are told apart by Ironic alone.
        if (address := addresses[uuid]) and times[address] == 1:
            row["driver_info"] = {"address": address[0], **({"port": address[1]} if address[1] else {})}
        groups = {str(one["uuid"]): one for one in there.groups if one.get("node_uuid") == uuid}
        labels = {key: str(one.get("name") or key).removesuffix(f"-{uuid}") for key, one in groups.items()}
        row["port_groups"] = [
            {"label": labels[key], "mode": str(one.get("mode") or "")} for key, one in sorted(groups.items())
        ]
        row["ports"] = [_port(one, labels) for one in there.ports if one.get("node_uuid") == uuid]
        if node.get("provision_state") not in FREE or node.get("instance_uuid"):
            found.in_use.append(name)
            row["unmanaged"] = "true"
            row["labels"] = {"adopt": "yes"}
        found.rows.append(row)
    return found


def _row(node: Row, name: str) -> dict[str, Any]:
    properties = node.get("properties") or {}
    known = {"cpu_arch": "cpu_arch", "cpus": "cpus", "memory_mb": "memory_mb", "local_gb": "local_gb"}
    said = {ours: str(properties[key]) for key, ours in known.items() if properties.get(key)}
    if properties.get("vendor"):
        said["manufacturer"] = str(properties["vendor"])
    capabilities = dict(_pairs(str(properties.get("capabilities") or "")))
    capabilities |= dict.fromkeys((str(trait) for trait in node.get("traits") or ()), "true")
    row: dict[str, Any] = {
        "name": name,
        "uuid": str(node["uuid"]),
        "driver": str(node.get("driver") or ""),
        "bmc_kept_by_controller": "true",
        "properties": {**said, "capabilities": capabilities},
    }
    if isinstance(hints := properties.get("root_device"), dict):
        row["properties"]["root_device"] = {str(key): str(value) for key, value in hints.items()}
    for key in ("resource_class", "description"):
        if node.get(key):
            row[key] = str(node[key])
    return row


def _port(port: Row, labels: Mapping[str, str]) -> dict[str, str]:
    link = port.get("local_link_connection") or {}
    switch_id, port_id = str(link.get("switch_id") or ""), str(link.get("port_id") or "")
    said = {
        "mac_address": str(port["address"]),
        "name": str(port.get("name") or ""),
        "pxe_enabled": "true" if port.get("pxe_enabled") else "false",
        "physical_network": str(port.get("physical_network") or ""),
        "port_group": labels.get(str(port.get("portgroup_uuid") or ""), ""),
    }
    if switch := str(link.get("switch_info") or "") or switch_id:
        said |= {"switch_name": switch, "switch_port": port_id, "switch_id": switch_id} if port_id else {}
    return {key: value for key, value in said.items() if value}


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for part in text.split(","):
        key, colon, value = part.partition(":")
        if colon and key.strip():
            yield key.strip(), value.strip()


def _address(node: Row) -> tuple[str, str] | None:
    """Host and port of the BMC, where they can be told apart."""
    info = node.get("driver_info") or {}
    if host := str(info.get("ipmi_address") or ""):
        return host, str(info.get("ipmi_port") or "")
    url = str(info.get("redfish_address") or "")
    if not url:
        return None
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    return (host, str(port or (80 if parts.scheme == "http" else ""))) if host else None


def _away(why: str) -> CliError:
    return CliError(
        f"Ironic cannot be asked: {why}",
        reason="PEER_UNAVAILABLE",
        remedy="Look at the cloud, and at its login's role.",
    )
