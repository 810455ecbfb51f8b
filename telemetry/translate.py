# SPDX-License-Identifier: Apache-2.0
"""From events to Sandesh messages. Pure.

Every event becomes one `BmsLifecycleEventLog` in ``ObjectServerTable``, keyed by the server's UUID where it is of a
server or of a part of one, and by the stream's resource name where it is of something else (an address, a flavor).
Every server has one `IronicNode`, with the fields and words of Ironic (see `telemetry.known.IRONIC_STATES`), and one
`BmsServerVerdict`, which is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from google.protobuf import json_format

from telemetry.events import Followed
from telemetry.known import Facts, Known
from telemetry.sandesh.messages import IronicNode, PortInfo
from telemetry.sandesh.text import ILLEGAL
from telemetry.sandesh.verdict import BmsServerVerdict
from telemetry.wording import sentence

MAX_DETAIL: Final = 60_000
"""Characters of ``detail``: the analytics API drops attributes of 100,000 and more."""
MAX_TEXT: Final = 4_000
"""Characters of any other text."""
HIDDEN: Final = "******"

_U32: Final = 2**32 - 1
_U64: Final = 2**64 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The services promise that no fact is a secret. If one ever breaks that promise, it ends here.
_SECRET: Final = re.compile(
    r"passw(or)?d|secret|token|user_?data|config_?drive|authorization|private_?key|credential", re.IGNORECASE
)


def object_log(event: Followed) -> dict[str, Any]:
    """The fields of the `BmsLifecycleEventLog` of *event*."""
    header, body = event.header, event.body
    fields: dict[str, Any] = {
        "name": _text(event.server or header.stream) or "unknown",
        "event_id": _text(header.id),
        "stream": _text(header.stream),
        "sequence": header.sequence,
        "event_type": _text(header.type),
        "state_before": _text(header.state_before),
        "state_after": _text(header.state_after),
        "time": event.time,
        "actor": _text(body.actor),
        "project": _text(body.project),
        "operation": _text(body.cause.operation),
        "reason": _text(body.reason),
        "digest": event.digest.hex(),
        "position": event.position,
        "detail": _detail(event),
        "text": _text(sentence(event)),
    }
    return fields


def server_verdict(uuid: str, known: Known) -> BmsServerVerdict:
    """The whole `BmsServerVerdict` of the server *uuid*: every field, since what is left out would stay as it was."""
    standing = known.standing
    cause = standing.cause
    return {
        "name": uuid,
        "verdict": standing.verdict.value,
        "since": _moment(standing.since),
        "cause_event": _text(cause.event),
        "cause_type": _text(cause.type),
        "cause_kind": _text(cause.kind),
        "cause_text": _text(cause.text),
        "requested_by": _administrator(cause.requester),
        "approved_by": _administrator(cause.approver),
        "forced_action": _text(cause.action),
    }


def ironic_node(uuid: str, known: Known) -> IronicNode:
    """The whole `IronicNode` of the server *uuid*.

    What is absent in one and present in another is cleared by whoever sends it (`UveCache.replace`).
    """
    facts = known.facts or Facts()
    node: IronicNode = {
        "name": uuid,
        "provision_state": _text(known.provision_state or "enroll"),
        "power_state": _text(known.power),
        "driver": _text(facts.driver),
        "instance_uuid": _text(known.holder.rpartition("/")[2]),
        "maintenance": known.maintenance,
        "provision_update_timestamp": _moment(known.state_time),
        "update_timestamp": _moment(known.event_time),
        "create_timestamp": _moment(facts.create_time),
        "host_name": _text(facts.display_name),
        "publisher_id": "bms-telemetry",
        "event_type": _text(known.event_type),
        "network_interface": "neutron",
        "instance_info": {
            "display_name": _text(known.holder.rpartition("/")[2]),
            "image_source": _text(known.image),
            "image_checksum": _text(known.checksum),
        },
        "port_info": _ports(known, facts),
    }
    if known.facts is not None:
        node["driver_info"] = {"ipmi_address": _text(facts.bmc_address)}
        node["node_properties"] = {
            "cpu_arch": _text(facts.cpu_arch),
            "cpus": _between(facts.cpus, _U32),
            "local_gb": _between(facts.local_gb, _U32),
            "memory_mb": _between(facts.memory_mb, _U64),
            "capabilities": _text(facts.capabilities),
        }
    return node


def _ports(known: Known, facts: Facts) -> list[PortInfo]:
    ports: list[PortInfo] = []
    for port in facts.ports:
        name = _text(port.name.rpartition("/")[2])
        seen = known.ports.get(port.name)
        networks = _text(",".join(seen.networks)) if seen else ""
        ports.append(
            {
                "name": name,
                "pxe_enabled": port.pxe_enabled,
                "mac_address": _text(port.mac_address),
                "port_uuid": name,
                "local_link_connection": {
                    "switch_info": _text(port.switch_name),
                    "port_id": _text(port.switch_port),
                    "switch_id": _text(port.switch_id),
                },
                # Readers take a name here for "attached"; ours are the networks, since ports on them have no UUIDs.
                "internal_info": {
                    "tenant_vif_port_id": networks if seen and seen.port_class == "tenant" else "",
                    "provisioning_vif_port_id": networks if seen and seen.port_class == "provisioning" else "",
                },
            }
        )
    return ports


def _detail(event: Followed) -> str:
    body = event.body
    detail: dict[str, Any] = {
        "service": event.service,
        "message": body.message,
        "instance": body.instance,
        "step": body.cause.step,
        "fence": body.cause.fence,
        "request_id": body.cause.request_id,
        "facts": _safe(dict(body.facts)),
    }
    if body.HasField("evidence"):
        detail["evidence"] = json_format.MessageToDict(body.evidence, preserving_proto_field_name=True)
    kept = {name: value for name, value in detail.items() if value not in ("", 0, {})}
    text = _dumps(kept)
    for bulky in ("evidence", "facts"):
        if len(text) > MAX_DETAIL and bulky in kept:
            # The event itself is kept whole; analytics learns that there is more.
            kept[bulky] = "too large for analytics; read the event"
            text = _dumps(kept)
    return text if len(text) <= MAX_DETAIL else _dumps({"service": event.service, "message": _text(body.message)})


def _dumps(values: Mapping[str, Any]) -> str:
    return ILLEGAL.sub("\ufffd", orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode())


def _safe(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: HIDDEN if _SECRET.search(name) else value for name, value in facts.items()}


def _text(text: str) -> str:
    text = ILLEGAL.sub("\ufffd", text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _administrator(login: str) -> str:
    return _text(f"administrator {login}") if login else ""


def _moment(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat() if micros else ""


def _between(number: int, most: int) -> int:
    return min(max(number, 0), most)
