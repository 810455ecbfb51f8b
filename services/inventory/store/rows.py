# SPDX-License-Identifier: Apache-2.0
"""A row of the table servers and the server it is, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from services.inventory.domain.placement import Candidate
from services.inventory.domain.server import (
    Bmc,
    Disk,
    Location,
    NodeType,
    PoolRow,
    Port,
    PortGroup,
    Properties,
    Server,
    ServerSpec,
)
from services.runtime.database import Row
from services.runtime.times import from_micros, to_micros

COLUMNS = (
    "uuid, display_name, body, ready, reason, reserved_by, held, state_version, pool_time, has_credentials,"
    " create_time, update_time, delete_time, sequence"
)
"""What a server is read from."""

CANDIDATE_COLUMNS = (
    "uuid, display_name, node_type, unmanaged, resource_class, manufacturer, cpu_arch, cpus, memory_mb, local_gb,"
    " disks, rack, capabilities, labels, available, ready, unavailable_reason, reserved_by, held, delete_time"
)
"""What a candidate is read from."""


def columns(server: Server) -> dict[str, object]:
    """Every column of the row of *server*."""
    spec, best = server.spec, server.properties
    return {
        "uuid": server.uuid,
        "display_name": spec.display_name,
        "node_type": spec.node_type.value,
        "unmanaged": int(spec.unmanaged),
        "takeable": int(spec.can_be_provided and server.delete_time is None),
        "resource_class": spec.resource_class,
        "site": spec.location.site,
        "rack": spec.location.rack,
        "bmc_address": spec.bmc.address,
        "manufacturer": best.manufacturer,
        "cpu_arch": best.cpu_arch,
        "cpus": best.cpus,
        "memory_mb": best.memory_mb,
        "local_gb": best.local_gb,
        "disks": len(server.disks),
        "capabilities": _json(dict(best.capabilities)),
        "labels": _json(dict(spec.labels)),
        "body": _json(_body(server)),
        "has_credentials": int(server.has_credentials),
        "create_time": to_micros(server.create_time),
        "update_time": to_micros(server.update_time),
        "delete_time": None if server.delete_time is None else to_micros(server.delete_time),
        **pool_columns(server),
    }


def pool_columns(server: Server) -> dict[str, object]:
    """The columns that a change of the pool row writes."""
    pool = server.pool
    return {
        "available": int(pool.available),
        "unavailable_reason": pool.unavailable_reason,
        "ready": int(pool.ready),
        "reason": pool.reason,
        "reserved_by": pool.reserved_by,
        "held": int(pool.held),
        "state_version": pool.state_version,
        "pool_time": to_micros(pool.update_time),
        "sequence": server.sequence,
    }


def server(row: Row) -> Server:
    """The server that *row* (`COLUMNS`) is."""
    body = orjson.loads(row["body"])
    location, inspected = body["location"], body["inspected"]
    spec = ServerSpec(
        display_name=row["display_name"],
        node_type=NodeType(body["node_type"]),
        unmanaged=body["unmanaged"],
        bmc=Bmc(*body["bmc"]),
        ports=tuple(Port(*port) for port in body["ports"]),
        port_groups=tuple(PortGroup(*group) for group in body["port_groups"]),
        properties=Properties(*body["properties"]),
        resource_class=body["resource_class"],
        location=Location(*location),
        labels=body["labels"],
        description=body["description"],
        root_device_hints=body.get("root_device_hints") or {},
    )
    return Server(
        uuid=row["uuid"],
        spec=spec,
        pool=PoolRow(
            update_time=from_micros(row["pool_time"]),
            ready=bool(row["ready"]),
            reason=row["reason"],
            reserved_by=row["reserved_by"],
            held=bool(row["held"]),
            state_version=row["state_version"],
        ),
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
        inspected=None if inspected is None else Properties(*inspected),
        disks=tuple(Disk(*disk) for disk in body["disks"]),
        has_credentials=bool(row["has_credentials"]),
        delete_time=None if row["delete_time"] is None else from_micros(row["delete_time"]),
        sequence=row["sequence"],
    )


def candidate(row: Row) -> Candidate:
    """The candidate that *row* (`CANDIDATE_COLUMNS`) is."""
    return Candidate(
        uuid=row["uuid"],
        display_name=row["display_name"],
        node_type=row["node_type"],
        unmanaged=bool(row["unmanaged"]),
        resource_class=row["resource_class"],
        manufacturer=row["manufacturer"],
        cpu_arch=row["cpu_arch"],
        cpus=row["cpus"],
        memory_mb=row["memory_mb"],
        local_gb=row["local_gb"],
        disks=row["disks"],
        rack=row["rack"],
        capabilities=_pairs(row["capabilities"]),
        labels=_pairs(row["labels"]),
        available=bool(row["available"]),
        ready=bool(row["ready"]),
        reason=row["unavailable_reason"],
        reserved_by=row["reserved_by"],
        held=bool(row["held"]),
        deleting=row["delete_time"] is not None,
    )


def _body(server: Server) -> dict[str, object]:
    """What is read as a whole. Lists hold fields in the order of their classes, at whose end new ones are added."""
    spec = server.spec
    return {
        "node_type": spec.node_type.value,
        "unmanaged": spec.unmanaged,
        "bmc": _values(spec.bmc),
        "ports": [_values(port) for port in spec.ports],
        "port_groups": [_values(group) for group in spec.port_groups],
        "properties": _values(spec.properties),
        "resource_class": spec.resource_class,
        "location": _values(spec.location),
        "labels": dict(spec.labels),
        "description": spec.description,
        "root_device_hints": dict(spec.root_device_hints),
        "inspected": None if server.inspected is None else _values(server.inspected),
        "disks": [_values(disk) for disk in server.disks],
    }


def _values(value: Any) -> list[object]:  # a frozen dataclass of texts, numbers, truths and maps of texts
    fields = (getattr(value, name) for name in value.__dataclass_fields__)
    return [dict(each) if isinstance(each, Mapping) else each for each in fields]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _pairs(text: str) -> Mapping[str, str]:
    if text == "{}":
        return {}
    found: dict[str, str] = orjson.loads(text)
    return found
