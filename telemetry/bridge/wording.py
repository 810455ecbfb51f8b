# SPDX-License-Identifier: Apache-2.0
"""What a notification says of a node, as an entry in the node's history. Pure."""

from __future__ import annotations

from typing import Any

from services.runtime.times import to_micros
from telemetry.bridge.fields import text
from telemetry.bridge.notifications import Notification
from telemetry.bridge.register import Known
from telemetry.sandesh.schema import Level


def object_log(told: Notification, before: Known | None, after: Known | None) -> tuple[Level, dict[str, Any]]:
    """The urgency and the fields of a `BmsLifecycleEventLog`; *before* and *after* are what was known of the node."""
    was, now = (text(known.fields.get("provision_state")) if known else "" for known in (before, after))
    _, _, action, status = told.type.split(".")
    change = f", {was} to {now}" if was and now and was != now else ""
    values: dict[str, Any] = {
        "name": told.uuid,
        "event_id": text(told.id),
        "stream": f"nodes/{told.uuid}",
        "event_type": text(told.type),
        "state_before": was,
        "state_after": now,
        "time": to_micros(told.said) if told.said else 0,
        "actor": text(told.publisher),
        "text": f"Ironic: {action} {status}{change}",
    }
    return Level.ERR if status == "error" else Level.INFO, values
