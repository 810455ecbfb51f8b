# SPDX-License-Identifier: Apache-2.0
"""Asks Ironic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.cli.doctor.facts import (
    STEPS,
    WANTED,
    Allocation,
    Conductor,
    Driver,
    Endpoint,
    Ironic,
    Node,
    NodePort,
    Template,
)
from services.cli.doctor.probes.http import Answer, Api, ahead, endpoint, pages

_NODE = (
    "uuid", "name", "driver", "provision_state", "power_state", "network_interface", "resource_class",
    "automated_clean", "maintenance", "fault", "owner", "instance_uuid", "rescue_interface", "driver_info",
)  # fmt: skip


def version(most: str) -> str:
    """What is spoken with an Ironic that speaks *most*: ours, or its newest if that is older."""
    ours = [int(part) for part in WANTED["ironic"].split(".")]
    return most if most and [int(part) for part in most.split(".")] < ours else WANTED["ironic"]


def look(api: Api | Endpoint) -> Ironic:
    """What is seen of Ironic."""
    if isinstance(api, Endpoint):
        return Ironic(api)
    found = endpoint(api, "/", _versions)
    if not found.answers:
        return Ironic(found)
    now = time.time()
    api = replace(api, headers={"X-OpenStack-Ironic-API-Version": version(found.most)})
    return Ironic(
        found,
        nodes=pages(api.rows(f"/v1/nodes?fields={','.join(_NODE)}&limit=1000", "nodes"), _node),
        ports=pages(api.rows("/v1/ports?fields=uuid,node_uuid,local_link_connection&limit=1000", "ports"), _port),
        conductors=pages(
            api.rows("/v1/conductors?detail=true", "conductors"),
            lambda row: Conductor(
                row["hostname"], bool(row["alive"]), tuple(row.get("drivers") or ()), ahead(row.get("updated_at"), now)
            ),
        ),
        drivers=pages(api.rows("/v1/drivers?detail=true", "drivers"), _driver),
        allocations=pages(
            api.rows("/v1/allocations", "allocations"),
            lambda row: Allocation(row["uuid"], str(row["state"]), row.get("node_uuid") or ""),
        ),
        templates=pages(api.rows("/v1/deploy_templates?detail=true", "deploy_templates"), _template),
    )


def _versions(answer: Answer) -> tuple[str, str]:
    told = answer.body.get("default_version") or {}
    prefix = "x-openstack-ironic-api"
    if not told:
        raise KeyError("default_version")
    return (
        str(told.get("min_version") or answer.headers.get(f"{prefix}-minimum-version") or ""),
        str(told.get("version") or answer.headers.get(f"{prefix}-maximum-version") or ""),
    )


def _node(row: Mapping[str, Any]) -> Node:
    info = row.get("driver_info") or {}
    return Node(
        uuid=row["uuid"],
        name=row.get("name") or "",
        driver=row.get("driver") or "",
        state=row.get("provision_state") or "",
        power=row.get("power_state") or "",
        network=row.get("network_interface") or "",
        resource_class=row.get("resource_class") or "",
        automated_clean=row.get("automated_clean"),
        maintenance=bool(row.get("maintenance")),
        fault=row.get("fault") or "",
        owner=row.get("owner") or "",
        instance=row.get("instance_uuid") or "",
        rescue=row.get("rescue_interface") or "",
        networks={step: str(info[f"{step}_network"]) for step in STEPS if info.get(f"{step}_network")},
    )


def _port(row: Mapping[str, Any]) -> NodePort:
    link = row.get("local_link_connection") or {}
    return NodePort(row["uuid"], row.get("node_uuid") or "", bool(link.get("switch_id") and link.get("port_id")))


def _template(row: Mapping[str, Any]) -> Template:
    steps = [step for step in row.get("steps") or () if step.get("interface") == "deploy" and step.get("priority") == 0]
    return Template(row["name"], tuple(str(step.get("step")) for step in steps))


def _driver(row: Mapping[str, Any]) -> Driver:
    enabled = {
        key.removeprefix("enabled_").removesuffix("_interfaces"): tuple(value or ())
        for key, value in row.items()
        if key.startswith("enabled_")
    }
    default = {
        key.removeprefix("default_").removesuffix("_interface"): str(value or "")
        for key, value in row.items()
        if key.startswith("default_")
    }
    return Driver(row["name"], enabled, default)
