# SPDX-License-Identifier: Apache-2.0
"""inventory, put together over whatever it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.longrunning import operations_pb2_grpc

from bms.inventory.v1 import inventory_service_pb2_grpc
from services.inventory.servicer import InventoryServicer
from services.runtime.compose import Ground, Served
from services.runtime.eventlog import EventLog
from services.runtime.operations import OperationsServicer, OperationStore


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was built.

    Attributes:
        drain: what ends the calls that wait.
    """

    log: EventLog
    servicers: tuple[Served, ...]
    drain: tuple[Callable[[], None], ...]


def compose(base: Ground) -> Inventory:
    """Builds it; nothing runs yet."""
    log = EventLog(base.database, base.ids, chained=False)
    operations = OperationStore()
    servicer = InventoryServicer(base.database, log, base.writer, base.page_tokens, base.ids, base.vault, operations)
    return Inventory(
        log,
        (
            (inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server, servicer),
            (
                operations_pb2_grpc.add_OperationsServicer_to_server,
                OperationsServicer(base.database, operations, base.page_tokens),
            ),
        ),
        (log.drain, operations.news.drain),
    )
