# SPDX-License-Identifier: Apache-2.0
"""Lifecycle as it runs, over a real database and a world of fakes, in one thread that the test drives."""

from __future__ import annotations

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import instance_pb2, operation_pb2
from services.kernel.calls import Caller
from services.kernel.effect import Observer, observed
from services.lifecycle.claims import next_due
from services.lifecycle.config_drive import config_drive
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.follower import Follower
from services.lifecycle.operations.beginning import Beginnings
from services.lifecycle.operations.checks import Checks
from services.lifecycle.operations.instances import InstanceVerbs
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.pace import Pace
from services.lifecycle.patrol import Patrol
from services.lifecycle.peers import Registered
from services.lifecycle.placement import Placement
from services.lifecycle.servicer import LifecycleServicer
from services.lifecycle.steps.table import steps
from services.lifecycle.store import Store
from services.lifecycle.wire import operation_row
from services.lifecycle.worker import Worker
from services.runtime.database import Database
from services.runtime.eventlog import EventLog
from services.runtime.operations import OperationStore, operation_name, to_operation
from services.runtime.page_tokens import PageTokens
from services.runtime.writing import Replies, Writer
from tests.lifecycle.fake_addresses import FakeAddresses
from tests.lifecycle.fake_hardware import FakeHardware
from tests.lifecycle.fake_inventory import HELD, FakeInventory, plugged
from tests.lifecycle.fake_networks import FakeNetworks
from tests.support.clocks import FakeClock, SequentialIds
from tests.support.wire import Wire, member

KEY = b"k" * 32
BLUE, GREEN = "projects/demo/networks/blue", "projects/demo/networks/green"
WEB = "projects/demo/instances/web"


class Crash(BaseException):
    """The process is killed here; nothing catches it."""


class World:
    """What is around lifecycle; a deep copy of it is another world in the same state.

    Args:
        observed: the controller moves ports for its jobs, and network acts only for what is cut and given back.
    """

    def __init__(self, *, observed: bool = False) -> None:
        self.clock = FakeClock()
        self.hardware = FakeHardware(self.clock)
        self.networks = FakeNetworks(self.clock)
        self.addresses = FakeAddresses(self.clock, self.networks)
        self.inventory = FakeInventory()
        self.networks.tenant_networks = {BLUE, GREEN}
        self.networks.observes = observed
        self.hardware.fabric = self.networks if observed else None


class Rig:
    """One lifecycle process, and the world around it, which outlives it."""

    def __init__(self, database: Database, caller: Caller | None = None, world: World | None = None) -> None:
        self.database = database
        self.world = world or World()
        self.clock = self.world.clock
        self.hardware = self.world.hardware
        self.networks = self.world.networks
        self.addresses = self.world.addresses
        self.inventory = self.world.inventory
        self.ids = SequentialIds(f"lifecycle {self.clock.now()}")
        self.caller = caller or member("demo")
        self.start()

    def start(self) -> None:
        """A fresh process over the same database: what a restart is."""
        self.log = EventLog(self.database, self.ids, chained=True)
        self.operations = OperationStore()
        self.store = Store(self.log, self.operations, operation_row, lambda: None)
        beginnings = Beginnings(self.ids, lambda uuid, project: operation_name("lifecycle", uuid, project))
        self.worker = Worker(
            self.database,
            self.store,
            steps(self.hardware, self.inventory, self.networks, self.addresses, self._drive),
            Placement(self.database, self.store, self.inventory, self.clock, self.ids, nova_trait=HELD),
            Patrol(self.hardware, self.networks, self.ids.uuid),
            self.clock,
            self.ids,
            Pace(),
            run=lambda walk: walk(),
            slots=4,
            news=lambda: None,
        )
        self.follower = Follower(self.database, self.store, self.inventory, self.clock, self.ids)
        servicer = LifecycleServicer(
            self.database,
            Writer(self.database, Replies(KEY)),
            self.store,
            ServerVerbs(beginnings),
            InstanceVerbs(beginnings, lambda plain, _context: bytes(reversed(plain))),
            Checks(self.inventory, self.networks, self.addresses),
            self.log,
            PageTokens(KEY),
            consoles=self.hardware,
            moves_ports=self.hardware.moves_ports,
        )
        self.wire = Wire(servicer, self.caller, clock=self.clock)

    def _drive(self, instance: Instance) -> bytes:
        return config_drive(instance, b"")

    # -- the world

    def register(self, number: int = 1, ports: int = 2) -> str:
        """A server that inventory registers and lifecycle hears of."""
        uuid = f"{number:08d}-0000-4000-8000-000000000000"
        self.inventory.register(
            Registered(uuid, f"r1-{number:02d}", plugged(uuid, ports), providable=True, deleting=False)
        )
        self.hear()
        return uuid

    def hear(self) -> None:
        """Inventory's log is followed to its end."""
        self.follower.tick(self.clock.now())

    def settle(self, rounds: int = 400, seconds: float = 0.2) -> None:
        """Ticks, with time going on, until nothing is due within a minute."""
        for _ in range(rounds):
            due = self.worker.tick(self.clock.now())
            if due is not None and (due - self.clock.now()).total_seconds() > 300:
                return
            rest = self.database.read(next_due)
            if rest is None:
                return
            self.clock.advance(seconds)

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        """Ticks through *seconds*."""
        for _ in range(int(seconds / step)):
            self.worker.tick(self.clock.now())
            self.clock.advance(step)
        self.worker.tick(self.clock.now())

    def killed_at(self, observer: Observer, rounds: int = 400) -> bool:
        """Runs until *observer* kills the process; answers whether it did. The process is then started anew."""
        try:
            with observed(observer):
                self.settle(rounds)
        except Crash:
            self.start()
            # The dead worker's claims run out.
            self.clock.advance(61)
            return True
        return False

    # -- what lifecycle holds

    def server(self, uuid: str) -> Server:
        """The server as stored."""
        found = self.database.read(lambda tx: self.store.find_server(tx, uuid))
        assert found is not None
        return found

    def instance(self, name: str = WEB) -> Instance | None:
        """The instance as stored."""
        return self.database.read(lambda tx: self.store.find_instance(tx, name))

    def operation(self, name: str) -> tuple[operations_pb2.Operation, operation_pb2.OperationMetadata]:
        """An operation and its metadata."""
        operation = to_operation(self.database.read(lambda tx: self.operations.get(tx, name)))
        metadata = operation_pb2.OperationMetadata()
        operation.metadata.Unpack(metadata)
        return operation, metadata

    def events(self, stream: str = "") -> list[event_pb2.Event]:
        """The log, parsed."""
        if self.database.dialect == "postgresql":
            while self.log.seal():
                pass
        found, after = [], 0
        while True:
            listed = self.log.list(after=after, limit=1000, wait=0, stream=stream)
            for row in listed.events:
                event = event_pb2.Event(
                    body_digest=row.body_digest, previous=row.previous, digest=row.digest, position=row.position
                )
                event.header.ParseFromString(row.header)
                event.body.ParseFromString(row.body)
                found.append(event)
            if not listed.events:
                return found
            after = listed.next_after

    def types(self, uuid: str) -> list[str]:
        """The types of a server's events, in order."""
        return [event.header.type for event in self.events(f"servers/{uuid}")]

    # -- verbs

    def ok(self, method: str, request: Message, caller: Caller | None = None) -> str:
        """Calls a verb; answers its operation's name."""
        return str(self.wire.ok(method, request, caller=caller).name)

    def available(self, number: int = 1, ports: int = 2) -> str:
        """A server that was provided."""
        from bms.lifecycle.v1 import server_status_pb2
        from tests.support.wire import admin

        uuid = self.register(number, ports)
        self.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
        self.settle()
        assert self.server(uuid).state is State.AVAILABLE
        return uuid

    def create(
        self, *networks: str, name: str = "web", image: str = "images/debian", flavor: str = "flavors/any"
    ) -> str:
        """Asks for an instance; answers its operation's name."""
        return self.ok("CreateInstance", create_request(*networks, name=name, image=image, flavor=flavor))

    def active(self, *networks: str, number: int = 1) -> str:
        """A server that an instance called web runs on."""
        uuid = self.available(number)
        self.create(*networks)
        self.settle()
        assert self.server(uuid).state is State.ACTIVE
        return uuid


def create_request(
    *networks: str, name: str = "web", image: str = "images/debian", flavor: str = "flavors/any"
) -> instance_pb2.CreateInstanceRequest:
    """A request for an instance on *networks* (blue if none is named)."""
    return instance_pb2.CreateInstanceRequest(
        parent="projects/demo",
        instance_id=name,
        instance=instance_pb2.Instance(
            flavor=flavor,
            image=image,
            networks=[instance_pb2.InstanceNetwork(network=network) for network in networks or (BLUE,)],
        ),
    )
