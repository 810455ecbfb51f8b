# SPDX-License-Identifier: Apache-2.0
"""Notifications as Ironic sends them, genuine and made up, and the UVE that a fleet makes of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from telemetry.bridge.fleet import Fleet
from telemetry.bridge.notifications import Notification, parse
from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.framing import FrameReader
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.publication import UveUpdate, uve_update

NODE = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
PORT = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
SECOND_PORT = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
SECRET = "hunter2-of-the-bmc"
GOLDEN = Path(__file__).parent / "golden" / "ironic-39.jsonl"
"""What a genuine Ironic 39 told of a node's life, and one of each other event it was brought to send."""


def golden() -> list[dict[str, Any]]:
    """The genuine notifications, in order."""
    return [json.loads(line) for line in GOLDEN.read_text().splitlines()]


def wrapped(message: object) -> bytes:
    """As oslo.messaging puts it on the wire."""
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


def body(event: str, data: Mapping[str, Any], said: str = "2026-11-22 09:00:00.500000") -> bytes:
    """A notification of *event* (``node.update.end``) whose object has *data*."""
    return wrapped(
        {
            "event_type": f"baremetal.{event}",
            "publisher_id": "ironic-api.host",
            "message_id": "m",
            "timestamp": said,
            "priority": "INFO",
            "payload": {"ironic_object.name": "Payload", "ironic_object.version": "1.0", "ironic_object.data": data},
        }
    )


def told(event: str, data: Mapping[str, Any], said: str = "2026-11-22 09:00:00.500000") -> Notification:
    """The same, read."""
    return parse(body(event, data, said))


def node(**more: Any) -> dict[str, Any]:
    """A node as Ironic tells and lists it."""
    return {
        "uuid": NODE,
        "name": "rack1-u1",
        "driver": "ipmi",
        "provision_state": "available",
        "power_state": "power off",
        "instance_uuid": None,
        "maintenance": False,
        "network_interface": "neutron",
        "created_at": "2026-11-22T08:00:00Z",
        "updated_at": "2026-11-22T09:00:00Z",
        "provision_updated_at": "2026-11-22T09:00:00Z",
        "properties": {"cpus": 4, "memory_mb": 8192, "local_gb": 100, "cpu_arch": "x86_64"},
        **more,
    }


def port(**more: Any) -> dict[str, Any]:
    """A port of it."""
    return {
        "uuid": PORT,
        "node_uuid": NODE,
        "address": "52:54:00:00:00:01",
        "pxe_enabled": True,
        "local_link_connection": {"switch_id": "00:11:22:33:44:55", "port_id": "Ethernet1/1", "switch_info": "leaf1"},
        "created_at": "2026-11-22T08:00:00Z",
        "updated_at": "2026-11-22T09:00:00Z",
        **more,
    }


class Site:
    """A fleet, and what it complained of."""

    def __init__(self) -> None:
        self.spoiled: Counter[str] = Counter()
        self.reasons: list[str] = []
        self.fleet = Fleet(self._spoil)

    def _spoil(self, field: str, reason: str) -> None:
        self.spoiled[field] += 1
        self.reasons.append(reason)

    def hear(self, event: str, data: Mapping[str, Any], said: str = "2026-11-22 09:00:00.500000") -> bool:
        """A notification comes; answers whether Ironic is to be asked."""
        return self.fleet.hear(told(event, data, said))

    def lists(self, nodes: list[dict[str, Any]], ports: list[dict[str, Any]], asked: int | None = None) -> list[str]:
        """Ironic lists everything; answers the nodes that are gone."""
        asked = self.fleet.ask() if asked is None else asked
        return self.fleet.close_listing(self.fleet.read_nodes(nodes, asked), self.fleet.read_ports(ports, asked), asked)

    def uve(self, uuid: str = NODE) -> dict[str, Any]:
        """The UVE of a node, which must be there."""
        found = self.fleet.uve(uuid)
        assert found is not None
        return found

    def ports(self, uuid: str = NODE) -> list[str]:
        """The UUIDs of its ports in the UVE."""
        return [each["port_uuid"] for each in self.uve(uuid)["port_info"]]


def on_the_wire(uve: Mapping[str, Any]) -> UveUpdate:
    """What a collector makes of *uve* once it was sent."""
    header = header_of(IRONIC_NODE_INFO, Identity("h", "ironic-notification-manager", "Config", "0"), 1, 1)
    (frame,) = FrameReader().feed(encode(header, IRONIC_NODE_INFO, {"data": uve}))
    update = uve_update(decode(frame))
    assert update is not None
    return update


def strings(value: object) -> Iterator[str]:
    """Every text in a value, keys too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value
