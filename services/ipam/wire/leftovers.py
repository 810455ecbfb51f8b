# SPDX-License-Identifier: Apache-2.0
"""What is left over at the controller, as messages."""

from __future__ import annotations

from bms.ipam.v1 import leftover_pb2
from services.ipam.clearing import Leftover


def leftover_message(leftover: Leftover) -> leftover_pb2.Leftover:
    """The contract's form of *leftover*."""
    holder = leftover.marked.holder
    return leftover_pb2.Leftover(
        name=leftover.name,
        lease=holder.lease,
        address=str(holder.address),
        why=leftover.why,
        removable=leftover.removable,
        etag=leftover.etag,
    )
