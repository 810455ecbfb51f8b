# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.event.v1 import event_pb2
from bms.network.v1 import attachment_pb2 as at
from bms.network.v1 import network_pb2 as net
from services.kernel.calls import Caller
from services.network.backends.simulated import SimulatedFabric
from services.network.ports import Controller, Fabric, Leftovers, Mirror
from services.network.servicer import NetworkServicer
from services.runtime.database import Database
from services.runtime.eventlog import EventLog
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from services.simulated import control
from services.simulated.rack import Rack
from services.simulated.state import Vlans
from tests.support.clocks import FakeClock, SequentialIds
from tests.support.stores import MakeDatabase
from tests.support.wire import Reply, Wire, admin, fields, reason, service

SERVER = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
CLASSES = {name.removeprefix("PORT_CLASS_").lower(): number for name, number in net.PortClass.items()}


def port(index: int = 0, server: str = SERVER) -> str:
    return f"servers/{server}/ports/0cc47a0000{index:02x}"


def link(index: int = 0, server: str = SERVER, group: str = "", plug: str = "", switch_id: str = "") -> at.PortLink:
    leaf = f"leaf{index % 2 + 1}"
    last = int(server[-2:], 16)
    return at.PortLink(
        port=port(index, server),
        mac_address=f"0c:c4:7a:00:{last:02x}:{index:02x}",
        switch_name=leaf,
        switch_port=plug or f"xe-0/0/{10 * last + index}",
        port_group=group,
        switch_id=switch_id,
    )


def wish(index: int, port_class: str, *networks: str | tuple[str, int], server: str = SERVER) -> at.PortWish:
    tags = [one if isinstance(one, tuple) else (one, 0) for one in networks]
    return at.PortWish(
        port=port(index, server),
        port_class=CLASSES[port_class],
        networks=[at.NetworkTag(network=name, vlan_tag=tag) for name, tag in tags],
    )


def refusal(reply: Reply) -> tuple[grpc.StatusCode, str, list[str]]:
    """The code, reason and fields of a refusal."""
    return reply.code, reason(reply.status), fields(reply.status)


class Site:
    """A network service over a rack without delays, or over a fabric that is given."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        fabric: Callable[[FakeClock], Fabric] | None = None,
        controller: Controller | None = None,
        mirror: Mirror | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self.database = database
        self.clock = FakeClock()
        self.rack = Rack(folder / "rack.sqlite")
        control.set_settings(self.rack, profile="instant")
        self.fabric = SimulatedFabric(self.rack, self.clock)
        self.log = EventLog(database, SequentialIds("log"), chained=False)
        self.servicer = NetworkServicer(
            database,
            self.log,
            Writer(database, Replies(bytes(32))),
            PageTokens(bytes(32)),
            SequentialIds(),
            fabric(self.clock) if fabric else self.fabric,
            controller,
            mirror,
            leftovers,
        )
        self.wire = Wire(self.servicer, caller=admin(), clock=self.clock)

    def told(self, number: int) -> list[event_pb2.Event]:
        """The first *number* events of the server's stream as the service tells them, once they are sealed."""
        self.log.start_sealer()
        deadline = time.monotonic() + 30
        while True:
            request = event_pb2.ListEventsRequest(stream=f"servers/{SERVER}", wait_seconds=1)
            events = list(self.wire.ok("ListEvents", request).events)
            if len(events) >= number:
                return events
            assert time.monotonic() < deadline

    def close(self) -> None:
        self.log.drain()
        self.rack.close()

    def network(self, name: str, port_class: str = "tenant", vlan: int = 0) -> net.Network:
        _, project, _, network_id = name.split("/")
        request = net.CreateNetworkRequest(
            parent=f"projects/{project}",
            network_id=network_id,
            network=net.Network(network_class=CLASSES[port_class], vlan_id=vlan),
        )
        made: net.Network = self.wire.ok("CreateNetwork", request)
        return made

    def private(self) -> None:
        """The three private networks: VLAN 11, 12 and 13."""
        for vlan, name in enumerate(("provisioning", "cleaning", "rescue"), start=11):
            self.network(f"projects/site/networks/{name}", name, vlan)

    def register(self, *links: at.PortLink, server: str = SERVER, fence: int = 1, **more: Any) -> Reply:
        request = at.RegisterServerPortsRequest(server=f"servers/{server}", links=links, fence=fence, **more)
        return self.wire.call("RegisterServerPorts", request, caller=service())

    def attach(
        self, *wishes: at.PortWish, project: str = "", fence: int = 1, server: str = SERVER, **more: Any
    ) -> Reply:
        self.clock.advance(1)
        request = at.AttachPortsRequest(server=f"servers/{server}", wishes=wishes, fence=fence, project=project, **more)
        return self.wire.call("AttachPorts", request, caller=service())

    def read(self, server: str = SERVER, fence: int = 1, caller: Caller | None = None) -> Reply:
        self.clock.advance(1)
        request = at.ReadServerPortsRequest(server=f"servers/{server}", fence=fence)
        return self.wire.call("ReadServerPorts", request, caller=caller or service())

    def classes(self, server: str = SERVER) -> list[str]:
        """The classes that a fresh reading shows, by port."""
        reply = self.read(server, fence=0)
        assert reply.code is grpc.StatusCode.OK, reply
        return [
            net.PortClass.Name(one.port_class).removeprefix("PORT_CLASS_").lower() for one in reply.message.readings
        ]

    def attachments(self, filter: str = "") -> list[at.PortAttachment]:  # noqa: A002 -- the contract's name
        request = at.ListPortAttachmentsRequest(filter=filter)
        return list(self.wire.ok("ListPortAttachments", request).attachments)

    def actual(self, index: int = 0, server: str = SERVER) -> Vlans:
        """What is in force at the switch."""
        plug = link(index, server)
        return next(
            (
                one.actual
                for one in control.switch_ports(self.rack, self.clock.now())
                if (one.switch, one.port) == (plug.switch_name, plug.switch_port)
            ),
            Vlans(),
        )

    def by_hand(self, vlans: Vlans, index: int = 0) -> None:
        plug = link(index)
        control.configure_port(self.rack, plug.switch_name, plug.switch_port, vlans, self.clock.now())

    def fault(self, kind: str, *, count: int | None = None, seconds: float | None = None) -> None:
        control.inject(self.rack, kind, self.clock.now(), switch="leaf1", count=count, seconds=seconds)

    def events(self, stream: str = f"servers/{SERVER}") -> list[tuple[str, int]]:
        """Type and sequence of the events of a stream, in order."""
        rows = self.database.read(
            lambda tx: tx.all("SELECT header FROM events WHERE stream = ? ORDER BY sequence", (stream,))
        )
        headers = [event_pb2.EventHeader.FromString(bytes(row["header"])) for row in rows]
        return [(header.type, header.sequence) for header in headers]


def new_request() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database("services.network")


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Iterator[Site]:
    made = Site(database, tmp_path)
    yield made
    made.close()
