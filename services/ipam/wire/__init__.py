# SPDX-License-Identifier: Apache-2.0
"""The contract's messages to values, and back."""

from __future__ import annotations

from services.ipam.wire.filters import lease_conditions, lease_name, prefix_conditions, prefix_name, project_of
from services.ipam.wire.leases import detached, fence, lease_message, leases_message, wanted, wanted_of_each_version
from services.ipam.wire.leftovers import leftover_message
from services.ipam.wire.prefixes import changed_tuning, new_prefix, part_of, prefix_message, version_of

__all__ = [
    "changed_tuning",
    "detached",
    "fence",
    "lease_conditions",
    "lease_message",
    "lease_name",
    "leases_message",
    "leftover_message",
    "new_prefix",
    "part_of",
    "prefix_conditions",
    "prefix_message",
    "prefix_name",
    "project_of",
    "version_of",
    "wanted",
    "wanted_of_each_version",
]
