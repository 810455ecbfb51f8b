# SPDX-License-Identifier: Apache-2.0
"""inventory over one database, called as a caller calls it; and builders of valid things: tests say what differs."""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, pool_pb2, server_pb2
from services.inventory.servicer import InventoryServicer
from services.kernel.calls import Caller, Role
from services.runtime.database import Database
from services.runtime.eventlog import EventLog
from services.runtime.operations import OperationsServicer, OperationStore
from services.runtime.page_tokens import PageTokens
from services.runtime.secrets import Vault
from services.runtime.writing import Replies, Writer
from tests.support.clocks import FakeClock, SequentialIds
from tests.support.wire import Reply, Wire, admin, member, service

ADMIN, LIFECYCLE, DEMO, OTHER = admin(), service(), member("demo"), member("other")
AUDITOR = Caller("auditor", frozenset({Role.READER}))
HOLDER = "projects/demo/instances/web-1"
USERNAME, PASSWORD = "bmc-admin-login", "s3cret-passw0rd"
CHECKSUM = "sha256:" + "ab" * 32


class Rig:
    """inventory, a clock that stands still, and callers; by default the administrator."""

    def __init__(self, database: Database, vault: Vault, *, private: bool = True, process: str = "") -> None:
        self.database = database
        self.vault = vault
        self.clock = FakeClock()
        self.log = EventLog(database, SequentialIds(f"log{process}"), chained=False)
        self.operations = OperationStore()
        tokens = PageTokens(b"p" * 32)
        self.servicer = InventoryServicer(
            database,
            self.log,
            Writer(database, Replies(b"k" * 32)),
            tokens,
            SequentialIds(f"inventory{process}"),
            vault,
            self.operations,
            private=lambda context: private,
        )
        self.wire = Wire(self.servicer, ADMIN, clock=self.clock)
        self._operations = Wire(OperationsServicer(database, self.operations, tokens), ADMIN, clock=self.clock)

    def ok(self, method: str, request: Any, caller: Caller | None = None) -> Any:
        """Calls *method*, which must succeed."""
        return self.wire.ok(method, request, caller=caller)

    def refused(self, method: str, request: Any, caller: Caller | None = None) -> Reply:
        """Calls *method*, which must be refused."""
        reply = self.wire.call(method, request, caller=caller)
        assert reply.message is None, f"{method} was not refused"
        return reply

    def create(self, number: int = 1, *, server_id: str = "", **fields: Any) -> server_pb2.Server:
        """Registers server *number*."""
        request = server_pb2.CreateServerRequest(server=server(number, **fields), server_id=server_id)
        message: server_pb2.Server = self.ok("CreateServer", request)
        return message

    def get(self, name: str) -> server_pb2.Server:
        """Reads a server."""
        message: server_pb2.Server = self.ok("GetServer", server_pb2.GetServerRequest(name=name))
        return message

    def report(self, name: str, version: int, **fields: Any) -> pool_pb2.ReportServerResponse:
        """Reports a server as lifecycle does."""
        request = pool_pb2.ReportServerRequest(server=name, state_version=version, **fields)
        message: pool_pb2.ReportServerResponse = self.ok("ReportServer", request, LIFECYCLE)
        return message

    def available(self, number: int = 1, **fields: Any) -> server_pb2.Server:
        """Registers server *number* and reports it available."""
        made = self.create(number, **fields)
        self.report(made.name, 1, available=True)
        return self.get(made.name)

    def flavor(self, flavor_id: str = "any", **fields: Any) -> catalogue_pb2.Flavor:
        """Makes a flavor."""
        request = catalogue_pb2.CreateFlavorRequest(flavor_id=flavor_id, flavor=catalogue_pb2.Flavor(**fields))
        message: catalogue_pb2.Flavor = self.ok("CreateFlavor", request)
        return message

    def image(self, image_id: str = "debian-12", caller: Caller | None = None, **fields: Any) -> catalogue_pb2.Image:
        """Registers an image."""
        request = catalogue_pb2.CreateImageRequest(image_id=image_id, image=image(**fields))
        message: catalogue_pb2.Image = self.ok("CreateImage", request, caller)
        return message

    def reserve(self, holder: str = HOLDER, flavor: str = "flavors/any", **fields: Any) -> list[str]:
        """Takes servers; answers their names."""
        request = pool_pb2.ReserveServersRequest(holder=holder, flavor=flavor, **fields)
        return [each.name for each in self.ok("ReserveServers", request, LIFECYCLE).servers]

    def release(self, holder: str = HOLDER, *servers: str) -> None:
        """Gives servers back."""
        self.ok("ReleaseReservation", pool_pb2.ReleaseReservationRequest(holder=holder, servers=servers), LIFECYCLE)

    def load(self, content: bytes | str, **fields: Any) -> server_pb2.ImportServersResponse:
        """Imports a file."""
        data = content.encode() if isinstance(content, str) else content
        message: server_pb2.ImportServersResponse = self.ok(
            "ImportServers", server_pb2.ImportServersRequest(content=data, **fields)
        )
        return message

    def operation(self, name: str) -> operations_pb2.Operation:
        """Reads an operation."""
        message: operations_pb2.Operation = self._operations.ok(
            "GetOperation", operations_pb2.GetOperationRequest(name=name)
        )
        return message

    def events(self, stream: str = "") -> list[event_pb2.Event]:
        """Every event there is, or those of a stream, in commit order."""
        if self.database.dialect == "postgresql":
            self.log.seal()
        found: list[event_pb2.Event] = []
        after = 0
        while True:
            answer = self.ok("ListEvents", event_pb2.ListEventsRequest(after=after, page_size=1000, stream=stream))
            found += answer.events
            if answer.next_after == after:
                return found
            after = answer.next_after

    def types(self, stream: str = "") -> list[str]:
        """The types of `events`."""
        return [event.header.type for event in self.events(stream)]


def server(number: int = 1, **fields: Any) -> server_pb2.Server:
    """A server with two ports, unlike every other *number*."""
    said: dict[str, Any] = {
        "display_name": f"rack1-node{number}",
        "bmc": server_pb2.Bmc(
            address=f"10.0.{number // 250}.{number % 250 + 1}", username=USERNAME, password=PASSWORD, driver="redfish"
        ),
        "ports": [port(number, 0, pxe_enabled=True), port(number, 1)],
        "properties": server_pb2.HardwareProperties(
            cpu_arch="x86_64", cpus=32, memory_mb=131072, local_gb=960, capabilities={"boot_mode": "uefi"}
        ),
        "resource_class": "compute",
        "location": server_pb2.Location(site="s1", rack="R1", unit=number % 40 + 1),
        "labels": {"env": "test"},
        **fields,
    }
    return server_pb2.Server(**said)


def port(number: int = 1, at: int = 0, **fields: Any) -> server_pb2.Port:
    """Port *at* of server *number*."""
    said: dict[str, Any] = {
        "mac_address": f"52:54:00:{number >> 8:02x}:{number & 255:02x}:{at:02x}",
        "switch_name": f"leaf-{at + 1}",
        "switch_port": f"xe-0/0/{number}",
        **fields,
    }
    return server_pb2.Port(**said)


def image(**fields: Any) -> catalogue_pb2.Image:
    """A whole-disk image of the site, for everybody."""
    return catalogue_pb2.Image(**{"source_uri": "http://images/debian-12.qcow2", "checksum": CHECKSUM, **fields})
