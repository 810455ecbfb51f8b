# SPDX-License-Identifier: Apache-2.0
"""A node as Ironic answers it, with the fields that the backend needs and no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.runtime.openstack import shown

_FIELDS = (
    "uuid", "driver", "provision_state", "provision_updated_at", "power_state", "target_power_state", "reservation",
    "maintenance", "maintenance_reason", "fault", "last_error", "extra", "properties", "driver_internal_info",
    "inspection_finished_at", "protected", "protected_reason", "retired", "retired_reason", "owner", "lessee", "name",
    "resource_class", "instance_uuid", "traits", "network_interface",
)  # fmt: skip
FIELDS = ",".join(_FIELDS)
"""As Ironic is asked for them."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Ironic answered.

    Attributes:
        data: its fields.
        digest: SHA-256 over them as JSON, sorted by name, without blanks; of a listing, over the node's own part alone.
    """

    data: Mapping[str, Any]
    digest: bytes

    @property
    def state(self) -> str:
        """The provision state."""
        return self.text("provision_state")

    @property
    def moved(self) -> str:
        """When the provision state last changed, as Ironic writes it; empty if it never did."""
        return self.text("provision_updated_at")

    @property
    def busy(self) -> bool:
        """Whether a conductor holds it, or its power is on the way to another state."""
        return bool(self.text("reservation") or self.text("target_power_state"))

    @property
    def ours(self) -> dict[str, Any]:
        """What we keep with it: ``extra.bms``."""
        found = (self.data.get("extra") or {}).get("bms")
        return dict(found) if isinstance(found, dict) else {}

    @property
    def internal(self) -> Mapping[str, Any]:
        """``driver_internal_info``."""
        return self.data.get("driver_internal_info") or {}

    @property
    def error(self) -> str:
        """``last_error``, short and without secrets."""
        return shown(self.text("last_error"))

    def text(self, field: str) -> str:
        """One field; empty for null."""
        return str(self.data.get(field) or "")


def node_of(data: Mapping[str, Any]) -> Node:
    """The node that Ironic answered as *data*, alone or in a list: the same for the same fields."""
    read = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    return Node(data, hashlib.sha256(read).digest())
