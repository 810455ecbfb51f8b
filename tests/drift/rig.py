# SPDX-License-Identifier: Apache-2.0
"""Lifecycle, network and ipam as they are, over each other's contracts, on one clock that the test moves.

Hardware and inventory are lifecycle's fakes; the fabric is the simulated switches, a Neutron or a Contrail in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from bms.lifecycle.v1 import instance_pb2
from bms.lifecycle.v1 import server_status_pb2 as srv
from services.lifecycle.brakes import Brakes
from services.lifecycle.clients.ipam import IpamClient
from services.lifecycle.clients.network import NetworkClient
from services.lifecycle.domain.server import Port
from services.lifecycle.domain.states import State
from services.lifecycle.judging.hearing import Hearing
from services.lifecycle.judging.sentence import Sentence
from services.lifecycle.judging.sources import own
from services.lifecycle.peers import Registered
from services.runtime import status as statuses
from services.runtime.database import Database
from services.runtime.outbound import Peer
from tests.ipam.rig import Rig as Ipam
from tests.lifecycle.fake_hardware import FakeHardware
from tests.lifecycle.fake_inventory import FakeInventory
from tests.lifecycle.rig import Rig
from tests.network.conftest import Site, link
from tests.simulation.transport import Lost
from tests.support.clocks import FakeClock
from tests.support.wire import Wire, admin, member, service

BLUE, GREEN = "projects/demo/networks/blue", "projects/demo/networks/green"
RED = "projects/other/networks/red"
PRIVATE = {kind: f"projects/site/networks/{kind}" for kind in ("provisioning", "cleaning", "rescue")}
PATROL = 1000
"""Seconds within which every server at rest is looked at: lifecycle's fifteen minutes, and a little."""


class Channel:
    """A channel to a servicer behind its interceptors."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def unary_unary(self, path: str, *, response_deserializer: Callable[[bytes], Any], **_: object) -> Any:
        """A method, as stubs ask for it."""
        return partial(self._call, path.rpartition("/")[2], response_deserializer)

    def _call(self, method: str, read: Callable[[bytes], Any], request: Message, **_: object) -> Any:
        message, code, status = self._wire.call(method, request, caller=service("lifecycle"))
        if code is not grpc.StatusCode.OK:
            raise Lost(code, status.message, statuses.trailers(status))
        return read(message.SerializeToString())


class Clock(FakeClock):
    """Moves others with it."""

    def __init__(self, *others: FakeClock) -> None:
        super().__init__()
        self._others = others

    def advance(self, seconds: float) -> Any:
        """Goes on by *seconds*."""
        for other in self._others:
            other.advance(seconds)
        return super().advance(seconds)


class World:
    """What is around lifecycle: see `tests.lifecycle.rig.World`."""

    def __init__(self, site: Site, ipam: Ipam) -> None:
        self.clock = Clock(site.clock, ipam.clock)
        self.hardware = FakeHardware(self.clock)
        self.inventory = FakeInventory()
        self.networks = NetworkClient(_peer("network", site.wire))
        self.addresses = IpamClient(_peer("ipam", ipam.wire))


def _peer(name: str, wire: Wire) -> Peer:
    channel: Any = Channel(wire)
    return Peer("", token="t", tls=None, service=name, channel=channel)


class Fleet(Rig):
    """Lifecycle over a genuine network and a genuine ipam."""

    world: Any

    def __init__(self, database: Database, site: Site, ipam: Ipam) -> None:
        self.site = site
        self.ipam = ipam
        super().__init__(database, member("demo"), World(site, ipam))  # type: ignore[arg-type]  # the same to look at
        self.judge = (
            Hearing("lifecycle", partial(own, self.log), database),
            Hearing("ipam", partial(own, ipam.log), database),
        )
        self.sentence = Sentence(database, self.store, self.ids, Brakes())

    def furnish(self) -> None:
        """Private networks, tenants' networks, and addresses on one of them."""
        for kind, name in PRIVATE.items():
            self.site.network(name, kind)
        for name in (BLUE, GREEN, RED):
            self.site.network(name)
        self.ipam.prefix()

    def server_at(self, number: int) -> str:
        """A server whose two ports are plugged in where `link` says; registered, and provided."""
        uuid = uuid_of(number)
        ports = tuple(
            Port(one.port, one.mac_address, one.switch_name, one.switch_port, pxe_enabled=index == 0)
            for index, one in enumerate(link(index, uuid) for index in range(2))
        )
        self.inventory.register(Registered(uuid, f"r1-{number:02d}", ports, providable=True, deleting=False))
        self.hear()
        self.ok("ProvideServer", srv.ProvideServerRequest(name=f"servers/{uuid}"), admin())
        self.settle()
        assert self.server(uuid).state is State.AVAILABLE, self.server(uuid)
        return uuid

    def in_use(self, count: int = 1) -> list[str]:
        """Servers that an instance on blue runs on, one after the other."""
        uuids = [self.server_at(number) for number in range(1, count + 1)]
        for number in range(1, count + 1):
            self.create(BLUE, name=f"web{number}")
            self.settle()
        assert {self.server(uuid).state for uuid in uuids} == {State.ACTIVE}
        return sorted(uuids, key=lambda uuid: self.server(uuid).instance)

    def patrol(self, times: int = 1) -> None:
        """Time for one look at every server at rest, and for what follows from it."""
        for _ in range(times):
            self.clock.advance(PATROL)
            self.settle()
            self.judged()

    def judged(self) -> None:
        """The verifier at work hears both logs, and acts."""
        for _ in range(3):
            while sum(hearing.hear() for hearing in self.judge):
                pass
            self.sentence.pass_on(self.clock.now())
            self.settle()

    def delete(self, name: str) -> None:
        """Gives an instance back."""
        self.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=name))
        self.settle()

    def diagnosed(self, uuid: str) -> srv.DiagnoseServerResponse:
        """What an administrator is told of a server."""
        request = srv.DiagnoseServerRequest(name=f"servers/{uuid}")
        answer: srv.DiagnoseServerResponse = self.wire.ok("DiagnoseServer", request, caller=admin())
        return answer

    def told(self, uuid: str, *types: str) -> Sequence[Any]:
        """The server's events of these types."""
        return [event for event in self.events(f"servers/{uuid}") if event.header.type in types]


def uuid_of(number: int) -> str:
    """That of the *number*th server."""
    return f"00000000-0000-4000-8000-0000000000{number:02x}"
