# SPDX-License-Identifier: Apache-2.0
"""Ironic's nodes as they are looked at: by pages, or one; with the fields that are needed and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, NoNode
from services.lifecycle.domain.nodes import NodeSeen
from services.runtime.openstack import Refused, shown

# Ironic sorts by updated_at, and gives it to nobody who names fields.
_FIELDS = (
    "uuid", "provision_state", "provision_updated_at", "power_state", "maintenance", "maintenance_reason", "fault",
    "last_error", "protected", "retired", "instance_uuid", "extra",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class IronicNodes:
    """`services.lifecycle.observing.nodes.Nodes` over Ironic; may be called from any thread."""

    api: IronicApi
    clock: Clock

    def node(self, uuid: str) -> NodeSeen:
        """See `Nodes.node`."""
        with effect("nodes.read"):
            now = self.clock.now()
            try:
                raw = self._get(f"/nodes/{uuid}?fields={','.join(_FIELDS)}")
            except NoNode:
                return NodeSeen(uuid, now, gone=True)
            return seen_of(_object(raw), now)

    def page(self, *, after: str, size: int, latest: bool) -> tuple[list[NodeSeen], bool]:
        """See `Nodes.page`."""
        order = "sort_key=updated_at&sort_dir=desc" if latest else "sort_key=uuid"
        marker = f"&marker={after}" if after else ""
        with effect("nodes.list"):
            now = self.clock.now()
            try:
                raw = self._get(f"/nodes?fields={','.join(_FIELDS)}&limit={size}&{order}{marker}")
            except NoNode:
                # The node after which to go on went meanwhile.
                msg = "the listing has to begin anew"
                raise PeerUnavailable(msg, peer="ironic") from None
            found = _object(raw)
            return [seen_of(one, now) for one in found.get("nodes") or ()], bool(found.get("next"))

    def _get(self, path: str) -> bytes:
        try:
            return self.api.call("GET", path, Deadline())
        except Refused as error:
            msg = f"Ironic refuses to show nodes ({error.status}): {error.text}".removesuffix(": ")
            raise PeerUnavailable(msg, remedy="Look at the role of our login in Ironic.", peer="ironic") from None


def seen_of(data: Mapping[str, Any], now: datetime) -> NodeSeen:
    """The node that Ironic answered as *data*, asked for at *now*."""
    bms = (data.get("extra") or {}).get("bms")
    bms = bms if isinstance(bms, dict) else {}
    job, hold = bms.get("job"), bms.get("hold")
    holder = str(data.get("instance_uuid") or "")
    return NodeSeen(
        uuid=str(data.get("uuid") or ""),
        read_time=now,
        state=str(data.get("provision_state") or ""),
        moved=str(data.get("provision_updated_at") or ""),
        power={"power on": "on", "power off": "off"}.get(str(data.get("power_state")), "unknown"),
        maintenance=bool(data.get("maintenance")),
        maintenance_reason=shown(str(data.get("maintenance_reason") or "")),
        fault=str(data.get("fault") or ""),
        last_error=shown(str(data.get("last_error") or "")),
        protected=bool(data.get("protected")),
        retired=bool(data.get("retired")),
        # What it is held for by us is nobody else's.
        holder="" if isinstance(hold, dict) and hold.get("id") == holder else holder,
        job=str(job.get("kind") or "") if isinstance(job, dict) else "",
        offered=str(bms.get("offered") or ""),
    )


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        msg = "what answers is not Ironic"
        raise PeerUnavailable(msg, peer="ironic")
    return found
