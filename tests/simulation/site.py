# SPDX-License-Identifier: Apache-2.0
"""The services as they run, put together over simulated ports: time, ids, the wire, the rack. All else is the product.

Each part is what services/<service>/__main__.py builds. A process that is killed is built anew from its database; its
database outlives it.
"""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2_grpc

from bms.event.v1 import event_log_service_pb2_grpc
from bms.inventory.v1 import inventory_service_pb2_grpc
from bms.ipam.v1 import ipam_service_pb2_grpc
from bms.lifecycle.v1 import audit_service_pb2_grpc, lifecycle_service_pb2_grpc
from bms.network.v1 import network_service_pb2_grpc
from services.access import RULES
from services.inventory.servicer import InventoryServicer
from services.ipam.__main__ import _sweep
from services.ipam.servicer import IpamServicer
from services.ipam.worker import Sweeper
from services.kernel.calls import Caller
from services.kernel.errors import PeerUnavailable
from services.lifecycle import loop as loop_module
from services.lifecycle.audit_servicer import AuditServicer
from services.lifecycle.audits.stores import StoreClients
from services.lifecycle.backends.simulated import SimulatedHardware
from services.lifecycle.brakes import Brakes
from services.lifecycle.clients import InventoryClient, IpamClient, NetworkClient
from services.lifecycle.config_drive import config_drive
from services.lifecycle.domain.instance import Instance
from services.lifecycle.follower import Follower
from services.lifecycle.loop import Loop
from services.lifecycle.operations.beginning import Beginnings
from services.lifecycle.operations.checks import Checks
from services.lifecycle.operations.instances import InstanceVerbs
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.patrol import Patrol
from services.lifecycle.placement import Placement
from services.lifecycle.servicer import LifecycleServicer
from services.lifecycle.steps.table import steps
from services.lifecycle.store import Store
from services.lifecycle.wire import operation_row
from services.lifecycle.worker import Pace, Worker
from services.network.backends.simulated import SimulatedFabric
from services.network.servicer import NetworkServicer
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import Database, open_database
from services.runtime.eventlog import EventLog
from services.runtime.interceptors import interceptors
from services.runtime.operations import OperationsServicer, OperationStore, operation_name
from services.runtime.outbound import Peer
from services.runtime.page_tokens import PageTokens
from services.runtime.secrets import Vault
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness
from services.runtime.writing import Replies, Writer
from services.simulated import control
from services.simulated.rack import Rack
from tests.simulation.engine import Crash, Process, Simulation
from tests.simulation.locks import Turn, Turns
from tests.simulation.pool import Walkers
from tests.simulation.transport import Fabric, Serve, Server, Tokens
from tests.simulation.weather import Weather
from tests.support.wire import admin, member, service

SERVICES = ("inventory", "ipam", "network", "lifecycle")
REPLICAS = 2
"""How many lifecycle processes there are; their database is one, as it would be with PostgreSQL."""
_WALKERS = 4
_KEY = b"k" * 32


class SeededIds:
    """Identities that the seed decides."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)

    def uuid(self) -> str:
        """A fresh UUID."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def salt(self) -> bytes:
        """Sixteen fresh bytes."""
        return self._chance.randbytes(16)


class Site:
    """All processes, their databases and the rack.

    Args:
        folder: for the databases; in memory if it is to be quick.
        templates: a migrated file for each service.

    Attributes:
        pace: seconds between two checkpoints, as between two looks of the loops.
    """

    def __init__(
        self, seed: str, folder: Path, templates: dict[str, Path], sim: Simulation, weather: Weather, projects: int
    ) -> None:
        self.seed = seed
        self.folder = folder
        self.pace = 1.0
        self.sim = sim
        self.weather = weather
        self.fabric = Fabric(sim, weather)
        self.callers: dict[str, Caller] = {"admin": admin(), "service": service("lifecycle")}
        self.callers |= {f"t{number}": member(f"t{number}", f"t{number}") for number in range(projects)}
        self.tokens = Tokens(self.callers)
        self.databases: dict[str, Database] = {}
        for name in (*SERVICES, "telemetry"):
            path = folder / f"{name}.sqlite"
            shutil.copyfile(templates[name], path)
            self.databases[name] = open_database(f"sqlite:///{path}")
        self.vault = Vault(folder / "key")
        self.rack = Rack(folder / "rack.sqlite")
        self.processes: dict[str, Process] = {}
        self.starts: dict[str, Callable[[Process, SeededIds], object]] = {
            "inventory": self._inventory,
            "ipam": self._ipam,
            "network": self._network,
            **{f"lifecycle-{number}": self._lifecycle for number in range(REPLICAS)},
        }
        self._lives = 0
        weather.on_kill = self.kill

    # -- processes

    def start(self, name: str) -> None:
        """Starts the process called *name*, from what is in its database."""
        self._lives += 1
        process = Process(name, name.partition("-")[0])
        self.processes[name] = process
        self.starts[name](process, SeededIds(f"{self.seed}/{name}/{self._lives}"))

    def kill(self, process: Process) -> None:
        """Ends *process* in the middle of whatever it does; a moment later another is started in its place."""
        self.fabric.down(process)
        self.sim.kill(process)
        delay = self.weather.uniform(0.05, 20)
        self.sim.spawn(f"restart {process}", lambda: self._restart(process.name, delay))

    def _restart(self, name: str, delay: float) -> None:
        self.sim.sleep(delay)
        self.start(name)

    def observe(self, label: str, when: str) -> None:
        """What happens at each effect point."""
        sim = self.sim
        frames = sim.current.frames
        if not frames:
            return
        process = frames[-1]
        if not process.alive:
            raise Crash(process)
        if not label.endswith(".statement"):
            if not label.endswith(".commit"):
                sim.point()
            elif when == "after":
                self.fabric.committed(process.service)
        self.weather.strikes(process, label, when)

    def close(self) -> None:
        """Closes all files."""
        for database in self.databases.values():
            database.close()
        self.rack.close()

    # -- what each is made of

    def _serve(self, process: Process, servicers: Sequence[Serve], ids: SeededIds) -> None:
        chain = interceptors(self.tokens, RULES, clock=self.sim, ids=ids)
        self.fabric.up(Server(process, servicers, chain))

    def _peer(self, process: Process, to: str) -> Peer:
        channel = self.fabric.channel(to, process.name)
        return Peer("", token="service", tls=None, service=to, channel=channel)

    def _writer(self, name: str) -> Writer:
        return Writer(self.databases[name], Replies(_KEY))

    def _notary(self, process: Process, ids: SeededIds) -> Serve:
        """What services/runtime/notary.py does: checkpoints again and again, and the servicer that shows them."""
        database, name = self.databases[process.service], process.service
        witness = Witness(self.folder / f"{process}.checkpoint")
        checkpointer = Checkpointer(name, database, ids, KeyFiles(self.folder / f"{name}.signing"), witness)
        checkpointer._lock = Turn(self.sim)  # type: ignore[assignment]
        self.sim.spawn(f"{process} notary", lambda: self._certify(checkpointer), process)
        servicer = EventLogServicer(name, database, checkpointer)
        return event_log_service_pb2_grpc.add_EventLogServiceServicer_to_server, servicer

    def _certify(self, checkpointer: Checkpointer) -> None:
        while True:
            try:
                more = checkpointer.tick(self.sim.now())
            except PeerUnavailable:
                more = False
            if not more:
                self.sim.sleep(self.pace)

    def _inventory(self, process: Process, ids: SeededIds) -> None:
        database = self.databases["inventory"]
        log, operations, pages = EventLog(database, ids, chained=False), OperationStore(), PageTokens(_KEY)
        servicer = InventoryServicer(database, log, self._writer("inventory"), pages, ids, self.vault, operations)
        self._serve(
            process,
            [
                (inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server, servicer),
                (
                    operations_pb2_grpc.add_OperationsServicer_to_server,
                    OperationsServicer(database, operations, pages),
                ),
                self._notary(process, ids),
            ],
            ids,
        )

    def _ipam(self, process: Process, ids: SeededIds) -> None:
        database = self.databases["ipam"]
        log = EventLog(database, ids, chained=True)
        servicer = IpamServicer(database, log, self._writer("ipam"), PageTokens(_KEY), ids)
        served = (ipam_service_pb2_grpc.add_IpamServiceServicer_to_server, servicer)
        self._serve(process, [served, self._notary(process, ids)], ids)
        stop: Any = self.sim.event()
        sweeper = Sweeper(database, servicer.store)
        self.sim.spawn("sweeper", lambda: _sweep(sweeper, self.sim, stop), process)

    def _network(self, process: Process, ids: SeededIds) -> None:
        database = self.databases["network"]
        log = EventLog(database, ids, chained=False)
        fabric = SimulatedFabric(self.rack, self.sim)
        servicer = NetworkServicer(database, log, self._writer("network"), PageTokens(_KEY), ids, fabric)
        # Whoever waits for one of these must let the others go on.
        servicer._switching._locks = Turns(self.sim)  # type: ignore[assignment]
        served = (network_service_pb2_grpc.add_NetworkServiceServicer_to_server, servicer)
        self._serve(process, [served, self._notary(process, ids)], ids)

    def _lifecycle(self, process: Process, ids: SeededIds) -> None:
        sim, database = self.sim, self.databases["lifecycle"]
        log, operations, pages = EventLog(database, ids, chained=True), OperationStore(), PageTokens(_KEY)
        wakes: list[Loop] = []

        def wake() -> None:
            for loop in wakes:
                loop.wake()

        store = Store(log, operations, operation_row, wake)
        inventory = InventoryClient(self._peer(process, "inventory"))
        networks, addresses = NetworkClient(self._peer(process, "network")), IpamClient(self._peer(process, "ipam"))
        hardware = SimulatedHardware(self.rack, inventory, sim)

        def drive(instance: Instance) -> bytes:
            sealed = database.read(lambda tx: store.user_data(tx, instance.name))
            return config_drive(instance, self.vault.open(sealed, f"{instance.name}/user_data") if sealed else b"")

        beginnings = Beginnings(ids, lambda uuid, project: operation_name("lifecycle", uuid, project))
        walkers, brakes, pace = Walkers(sim, process, _WALKERS), Brakes(), Pace()
        worker = Worker(
            database,
            store,
            steps(hardware, inventory, networks, addresses, drive),
            Placement(database, store, inventory, sim, ids),
            Patrol(hardware, networks, ids.uuid, brakes),
            sim,
            ids,
            pace,
            run=walkers.run,
            slots=_WALKERS,
            news=wake,
        )
        following = Follower(database, store, InventoryClient(self._peer(process, "inventory")), sim, ids)
        servicer = LifecycleServicer(
            database,
            self._writer("lifecycle"),
            store,
            ServerVerbs(beginnings),
            InstanceVerbs(beginnings, self.vault.seal),
            Checks(inventory, networks, addresses),
            log,
            pages,
            brakes,
            pace.budget,
        )
        auditor = AuditServicer.build(
            database,
            store,
            StoreClients(self._peer(process, "inventory"), self._peer(process, "ipam"), self._peer(process, "network")),
            networks,
            addresses,
            self._writer("lifecycle"),
            pages,
            sim,
            lambda length: sim.sleep(length.total_seconds()),
        )
        self._serve(
            process,
            [
                (lifecycle_service_pb2_grpc.add_LifecycleServiceServicer_to_server, servicer),
                (audit_service_pb2_grpc.add_AuditServiceServicer_to_server, auditor),
                (
                    operations_pb2_grpc.add_OperationsServicer_to_server,
                    OperationsServicer(database, operations, pages),
                ),
                self._notary(process, ids),
            ],
            ids,
        )
        wakes.append(self._loop(process, "worker", worker.tick))
        self._loop(process, "follower", following.tick)

    def _loop(self, process: Process, name: str, tick: Callable[..., Any]) -> Loop:
        """The product's loop, in an actor instead of a thread, on the simulation's time."""
        loop = Loop(name, tick, self.sim)
        loop._woken = self.sim.event()  # type: ignore[assignment]
        loop._stopping = self.sim.event()  # type: ignore[assignment]
        self.sim.spawn(f"{process} {name}", loop._run, process)
        return loop


@contextmanager
def polling(seconds: float) -> Iterator[None]:
    """Makes the product's loops look by themselves every *seconds*: a day of looking every second is long."""
    before, loop_module._POLL = loop_module._POLL, timedelta(seconds=seconds)
    try:
        yield
    finally:
        loop_module._POLL = before


def pace_of(weather: Weather, rack: Rack) -> timedelta:
    """Sets how long things take on the rack; answers how long a clean takes."""
    profile, speed = weather.one_of((("instant", 1.0), ("demo", 1.0), ("genuine", 60.0), ("genuine", 240.0)))
    control.set_settings(rack, profile=profile, speed=speed)
    return timedelta(seconds={"instant": 0.0, "demo": 1.2}.get(profile, 7200.0) / speed)
