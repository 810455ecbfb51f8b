# SPDX-License-Identifier: Apache-2.0
"""The services as they run, put together over simulated ports: time, ids, the wire, the rack. All else is the product.

Each process is composed by its service's own compose.py, as `__main__` does it. One that is killed is built anew from
its database; its database outlives it.
"""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bms.event.v1 import event_log_service_pb2_grpc
from services.access import RULES
from services.inventory.compose import compose as compose_inventory
from services.ipam.compose import compose as compose_ipam
from services.kernel.calls import Caller
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.simulated import SimulatedHardware
from services.lifecycle.compose import Walks
from services.lifecycle.compose import compose as compose_lifecycle
from services.lifecycle.domain.brake import Policy
from services.lifecycle.judging import bench
from services.lifecycle.pace import Pace
from services.network.backends.simulated import SimulatedFabric
from services.network.compose import compose as compose_network
from services.runtime import loop as loop_module
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.compose import Served
from services.runtime.database import Database, open_database
from services.runtime.interceptors import interceptors
from services.runtime.loop import Loop
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
from tests.simulation.transport import Fabric, Server, Tokens
from tests.simulation.weather import Weather
from tests.support.wire import admin, member, service

SERVICES = ("inventory", "ipam", "network", "lifecycle")
REPLICAS = 2
"""How many lifecycle processes there are; their database is one, as it would be with PostgreSQL."""
_WALKERS = 4
_BENCH: Any = bench
"""Its pause is a name that it imports."""
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


@dataclass(frozen=True, slots=True)
class Base:
    """What a process stands on; see `services.runtime.compose.Ground`."""

    clock: Simulation
    ids: SeededIds
    database: Database
    vault: Vault
    writer: Writer
    page_tokens: PageTokens
    fabric: Fabric
    process: Process

    def peer(self, service: str) -> Peer:
        """A channel of the simulation."""
        channel = self.fabric.channel(service, self.process.name)
        return Peer("", token="service", tls=None, service=service, channel=channel)


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

    def _base(self, process: Process, ids: SeededIds) -> Base:
        database = self.databases[process.service]
        return Base(
            self.sim, ids, database, self.vault, Writer(database, Replies(_KEY)), PageTokens(_KEY), self.fabric, process
        )

    def _serve(self, base: Base, servicers: Sequence[Served]) -> None:
        chain = interceptors(self.tokens, RULES, clock=self.sim, ids=base.ids)
        self.fabric.up(Server(base.process, (*servicers, self._notary(base)), chain))

    def _notary(self, base: Base) -> Served:
        """What services/runtime/notary.py does: checkpoints again and again, and the servicer that shows them."""
        name, process = base.process.service, base.process
        witness = Witness(self.folder / f"{process}.checkpoint")
        checkpointer = Checkpointer(name, base.database, base.ids, KeyFiles(self.folder / f"{name}.signing"), witness)
        checkpointer._lock = Turn(self.sim)  # type: ignore[assignment]
        self.sim.spawn(f"{process} notary", lambda: self._certify(checkpointer), process)
        servicer = EventLogServicer(name, base.database, checkpointer)
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
        base = self._base(process, ids)
        self._serve(base, compose_inventory(base).servicers)

    def _ipam(self, process: Process, ids: SeededIds) -> None:
        base = self._base(process, ids)
        parts = compose_ipam(base)
        self._serve(base, parts.servicers)
        stop: Any = self.sim.event()
        self.sim.spawn("sweeper", lambda: parts.sweep(stop), process)

    def _network(self, process: Process, ids: SeededIds) -> None:
        base = self._base(process, ids)
        parts = compose_network(base, SimulatedFabric(self.rack, self.sim))
        # Whoever waits for one of these must let the others go on.
        parts.servicer._switching._locks = Turns(self.sim)  # type: ignore[assignment]
        self._serve(base, parts.servicers)

    def _lifecycle(self, process: Process, ids: SeededIds) -> None:
        base = self._base(process, ids)
        parts = compose_lifecycle(
            base,
            lambda credentials: SimulatedHardware(self.rack, credentials, self.sim),
            Walks(Walkers(self.sim, process, _WALKERS).run, _WALKERS, Pace()),
            Policy(),
            lambda length: self.sim.sleep(length.total_seconds()),
        )
        self._serve(base, parts.servicers)
        self._run(process, "worker", parts.working)
        self._run(process, "follower", parts.following)
        self._run(process, "judge", parts.judging)
        self._run(process, "listener", parts.listening)

    def _run(self, process: Process, name: str, loop: Loop) -> None:
        """The product's loop, in an actor instead of a thread, on the simulation's time."""
        loop._woken = self.sim.event()  # type: ignore[assignment]
        loop._stopping = self.sim.event()  # type: ignore[assignment]
        self.sim.spawn(f"{process} {name}", loop._run, process)


@contextmanager
def polling(seconds: float) -> Iterator[None]:
    """Makes the product's loops look by themselves every *seconds*: a day of looking every second is long."""
    poll, pause, pace = loop_module._POLL, _BENCH.PAUSE, timedelta(seconds=seconds)
    loop_module._POLL = _BENCH.PAUSE = pace
    try:
        yield
    finally:
        loop_module._POLL, _BENCH.PAUSE = poll, pause


def pace_of(weather: Weather, rack: Rack) -> timedelta:
    """Sets how long things take on the rack; answers how long a clean takes."""
    profile, speed = weather.one_of((("instant", 1.0), ("demo", 1.0), ("genuine", 60.0), ("genuine", 240.0)))
    control.set_settings(rack, profile=profile, speed=speed)
    return timedelta(seconds={"instant": 0.0, "demo": 1.2}.get(profile, 7200.0) / speed)
