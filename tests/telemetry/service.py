# SPDX-License-Identifier: Apache-2.0
"""A genuine service's log behind the genuine runtime, on a port: what a follower meets in production."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from bms.event.v1 import event_pb2
from bms.inventory.v1 import inventory_service_pb2_grpc, server_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc
from services.access import RULES
from services.kernel.clock import RandomIds, SystemClock
from services.kernel.errors import NotFound
from services.kernel.events import Event, Head
from services.runtime.auth import Callers
from services.runtime.database import Database, Transaction, open_database
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.interceptors import current_call, interceptors
from services.runtime.server import build_server, serve
from services.runtime.settings import ServerSettings
from tests.support.stores import _sqlite_copy
from tests.telemetry.builders import SERVER


class Service(ipam_service_pb2_grpc.IpamServiceServicer):
    """ipam, as far as its log goes."""

    def __init__(self, path: Path) -> None:
        self.database: Database = open_database(_sqlite_copy("tests.runtime.sample", path))
        self.log = EventLog(self.database, RandomIds(), chained=True)
        self.head = Head()
        self.port = 0

    def append(self, count: int, project: str = "demo") -> None:
        """*count* more events."""
        for _ in range(count):
            event = Event("vrfs/r/addresses/10.0.0.1", "address.leased", SystemClock().now(), "anna", project=project)

            def write(tx: Transaction, event: Event = event) -> Head:
                return self.log.append(tx, event, self.head)

            self.head = self.database.transact(write, label="test")

    def ListEvents(  # noqa: N802 -- the contract's name
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        return serve_list_events(self.log, request, current_call().caller)


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """inventory, as far as one server goes."""

    def GetServer(  # noqa: N802 -- the contract's name
        self, request: server_pb2.GetServerRequest, context: grpc.ServicerContext
    ) -> server_pb2.Server:
        if request.name != f"servers/{SERVER}":
            msg = "no such server"
            raise NotFound(msg)
        return server_pb2.Server(name=request.name, display_name="r1u7")


@contextmanager
def serving(service: Service, callers: Callers, address: str = "127.0.0.1:0") -> Iterator[int]:
    """Serves *service*; gives its port."""
    bound = build_server(
        ServerSettings(address, grace=0.2),
        [
            (ipam_service_pb2_grpc.add_IpamServiceServicer_to_server, service),
            (inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server, Inventory()),  # type: ignore[abstract]
        ],
        interceptors(callers, RULES),
    )
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(bound,), kwargs={"stop": stop, "drain": (service.log.drain,)})
    thread.start()
    try:
        yield bound.port
    finally:
        stop.set()
        thread.join()
