# SPDX-License-Identifier: Apache-2.0
"""What is left over at the controller, on the wire."""

from __future__ import annotations

from bms.network.v1 import leftover_pb2
from services.kernel.names import SERVER
from services.network.operations.leftovers import Leftover
from services.runtime.times import to_timestamp


def leftover_message(leftover: Leftover) -> leftover_pb2.Leftover:
    """The contract's form of what is left over at the controller."""
    marked = leftover.marked
    return leftover_pb2.Leftover(
        name=leftover.name,
        kind=marked.kind,
        server=SERVER.format(marked.server),
        why=leftover.why,
        create_time=to_timestamp(marked.create_time) if marked.create_time else None,
        removable=leftover.removable,
        etag=leftover.etag,
    )
