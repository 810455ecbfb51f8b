# SPDX-License-Identifier: Apache-2.0
"""Network and the fabric behind it, with state. Each call is an effect point.

Faults are set as plain attributes. What the world looks like is asked of the fakes, never of lifecycle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import BmsError, NotFound, PeerUnavailable, Stale, WrongState
from services.lifecycle.domain.server import Port, PortClass, Tag
from services.lifecycle.peers import PlaceReading, PortWish, Purpose, Reading
from services.lifecycle.ports import JobKind

RUNS_ON = {
    JobKind.CLEAN: PortClass.CLEANING,
    JobKind.MANUAL_CLEAN: PortClass.CLEANING,
    JobKind.DEPLOY: PortClass.PROVISIONING,
    JobKind.RESCUE: PortClass.RESCUE,
}
"""Where a controller that moves ports has a server for its jobs."""


@dataclass
class _FabricPort:
    server: str
    port_class: PortClass = PortClass.QUARANTINE
    networks: tuple[Tag, ...] = ()
    plug: tuple[str, str] = ("", "")
    asked: int = 1
    wish: tuple[PortClass, tuple[Tag, ...]] = (PortClass.QUARANTINE, ())
    seen: PortClass | None = None

    @property
    def may_go(self) -> bool:
        """Whether network lets it be forgotten, or be plugged in elsewhere."""
        return not self.asked or self.seen is PortClass.QUARANTINE or (self.asked == 1 and self.seen is None)


class FakeNetworks:
    """Network and the fabric behind it: a wish takes effect at once unless told otherwise; fences are checked."""

    def __init__(self, clock: Clock) -> None:
        self.ports: dict[str, _FabricPort] = {}
        self.fences: dict[str, int] = {}
        self.private_networks = {
            PortClass.PROVISIONING: "projects/site/networks/provisioning",
            PortClass.CLEANING: "projects/site/networks/cleaning",
            PortClass.RESCUE: "projects/site/networks/rescue",
        }
        self.tenant_networks: set[str] = set()
        self.found: dict[str, tuple[PortClass, tuple[Tag, ...]]] = {}
        self.silent = False
        self.refuses_writes: BmsError | None = None
        self.deaf: set[str] = set()
        self.unreadable: set[str] = set()
        self.dead_switches: set[str] = set()
        self.left: dict[tuple[str, str], PortClass] = {}
        self.shows: dict[tuple[str, str], PortClass] = {}
        self.history: list[tuple[str, PortClass]] = []
        self.observes = False
        self._clock = clock

    def moved(self, server: str, to: PortClass) -> None:
        """The controller moves the server's boot port by itself."""
        boot = min(name for name, port in self.ports.items() if port.server == server)
        port, network = self.ports[boot], self.private_networks.get(to)
        if (port.port_class in RUNS_ON.values()) or to is not PortClass.QUARANTINE:
            port.port_class, port.networks = to, (Tag(network),) if network else ()
            self.history.append((boot, to))

    def usable(self, network: str, project: str) -> None:
        with effect("network.get"):
            self._answer()
            if network not in self.tenant_networks or not network.startswith(f"projects/{project}/"):
                msg = f"{network} does not exist"
                raise NotFound(msg)

    def private(self, port_class: PortClass) -> str:
        self._answer()
        return self.private_networks.get(port_class, "")

    def register(
        self, server: str, ports: tuple[Port, ...], fence: int, request_id: str, *, as_found: bool = False
    ) -> None:
        with effect("network.register"):
            self._fenced(server, fence)
            after = {port.name: (port.switch_name, port.switch_port) for port in ports}
            gone = {
                name: port
                for name, port in self.ports.items()
                if port.server == server and after.get(name) != port.plug
            }
            for name, known in gone.items():
                if not known.may_go:
                    msg = f"{name} was not seen in quarantine at {' '.join(known.plug)}, where it was plugged in"
                    raise WrongState(msg)
            self.left |= {known.plug: known.port_class for known in gone.values()}
            self.found |= {name: (port.port_class, port.networks) for name, port in gone.items() if not ports}
            self.ports = {name: port for name, port in self.ports.items() if name not in gone}
            for port in ports:
                here = self.found.get(port.name, (PortClass.QUARANTINE, ())) if as_found else (PortClass.QUARANTINE, ())
                fresh = _FabricPort(server, *here, plug=after[port.name], asked=0 if as_found else 1)
                self.ports.setdefault(port.name, fresh)

    def attach(self, server: str, wishes: tuple[PortWish, ...], project: str, fence: int, request_id: str) -> None:
        with effect("network.attach"):
            self._fenced(server, fence)
            if self.refuses_writes is not None:
                raise self.refuses_writes
            for wish in wishes:
                if wish.port not in self.ports:
                    msg = f"{wish.port} is not registered"
                    raise NotFound(msg)
                port = self.ports[wish.port]
                if not port.asked or port.wish != (wish.port_class, wish.networks):
                    port.asked, port.seen = max(port.asked, 1) + 1, None
                    port.wish = wish.port_class, wish.networks
                if wish.port in self.deaf or (self.observes and wish.purpose is Purpose.STEP):
                    continue
                if (port.port_class, port.networks) != (wish.port_class, wish.networks):
                    self.history.append((wish.port, wish.port_class))
                port.port_class, port.networks = wish.port_class, wish.networks

    def read(self, server: str, fence: int) -> tuple[Reading, ...]:
        with effect("network.read"):
            self._fenced(server, fence)
            return self._read(server)

    def _read(self, server: str) -> tuple[Reading, ...]:
        now = self._clock.now()
        for name, port in self.ports.items():
            if port.server == server and not self._is_silent(name):
                port.seen = port.port_class
        return tuple(
            Reading(name, PortClass.UNKNOWN, (), now, b"", "the switch does not answer")
            if self._is_silent(name)
            else Reading(
                name, port.port_class, port.networks, now, hashlib.sha256(f"{now}{name}{port}".encode()).digest()
            )
            for name, port in sorted(self.ports.items())
            if port.server == server
        )

    def look(self, servers: Mapping[str, int]) -> dict[str, tuple[Reading, ...]]:
        with effect("network.look"):
            self._answer()
            return {
                server: self._read(server)
                for server, fence in servers.items()
                if not fence or fence >= self.fences.get(server, 0)
            }

    def look_at(self, server: str, places: tuple[Port, ...]) -> tuple[PlaceReading, ...]:
        with effect("network.look_at"):
            self._answer()
            return tuple(self._at(place) for place in places)

    def _at(self, place: Port) -> PlaceReading:
        now, where = self._clock.now(), (place.switch_name, place.switch_port)
        holder = next((name for name, port in self.ports.items() if port.plug == where), "")
        there = self.ports[holder].port_class if holder else self.left.get(where, PortClass.QUARANTINE)
        seen = self.shows.get(where, there)
        if place.switch_name in self.dead_switches:
            return PlaceReading(
                holder, Reading(place.name, PortClass.UNKNOWN, (), now, b"", "the switch does not answer")
            )
        digest = hashlib.sha256(f"{now}{where}{seen}".encode()).digest()
        return PlaceReading(holder, Reading(place.name, seen, (), now, digest))

    def _is_silent(self, name: str) -> bool:
        return name in self.unreadable or self.ports[name].plug[0] in self.dead_switches

    def _answer(self) -> None:
        if self.silent:
            msg = "network does not answer"
            raise PeerUnavailable(msg)

    def _fenced(self, server: str, fence: int) -> None:
        self._answer()
        if not fence:
            return  # a mere look
        if fence < self.fences.get(server, 0):
            msg = "an older fence"
            raise Stale(msg)
        self.fences[server] = fence
