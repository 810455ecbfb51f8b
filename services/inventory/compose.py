# SPDX-License-Identifier: Apache-2.0
"""inventory, put together over whatever it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from google.longrunning import operations_pb2_grpc

from bms.inventory.v1 import inventory_service_pb2_grpc
from services.inventory.backends.glance import Glance
from services.inventory.backends.nova import MICROVERSION, Nova
from services.inventory.mirror import Mirroring
from services.inventory.mirror_notes import Notes
from services.inventory.mirror_sides import Flavors, Images
from services.inventory.servicer import InventoryServicer
from services.inventory.settings import MirrorSettings
from services.runtime.compose import Ground, Served
from services.runtime.eventlog import EventLog
from services.runtime.loop import Loop
from services.runtime.openstack_sdk import Cloud
from services.runtime.operations import OperationsServicer, OperationStore

_SECONDS = 20.0
"""How long Nova and Glance may take for one request: a page of either's list takes them seconds."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was built.

    Attributes:
        drain: what ends the calls that wait.
        mirrors: the loops that hold the catalogue and OpenStack's equal; none has begun.
    """

    log: EventLog
    servicers: tuple[Served, ...]
    drain: tuple[Callable[[], None], ...]
    mirrors: tuple[Loop, ...] = ()


def compose(base: Ground, mirror: MirrorSettings | None = None) -> Inventory:
    """Builds it; nothing runs yet.

    Args:
        mirror: with whom the catalogue is mirrored; None for nobody.
    """
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
        tuple(_mirrors(base, log, mirror or MirrorSettings())),
    )


def _mirrors(base: Ground, log: EventLog, mirror: MirrorSettings) -> Iterator[Loop]:
    notes = Notes(base.database, log, base.ids)
    if mirror.nova:
        cloud = Cloud(mirror.nova, "BMS_INVENTORY_NOVA_CLOUD")
        nova = Nova(cloud.service("Nova", "compute", seconds=_SECONDS, microversion=MICROVERSION))
        flavors = Mirroring(Flavors(nova), notes, base.ids, period=mirror.period)
        yield Loop("nova", flavors.tick, base.clock, most=timedelta.max)
    if mirror.glance:
        cloud = Cloud(mirror.glance, "BMS_INVENTORY_GLANCE_CLOUD")
        glance = Glance(cloud.service("Glance", "image", seconds=_SECONDS))
        images = Mirroring(Images(glance), notes, base.ids, period=mirror.period)
        yield Loop("glance", images.tick, base.clock, most=timedelta.max)
