# SPDX-License-Identifier: Apache-2.0
"""Inventory as lifecycle sees it, with state. Each call is an effect point.

Faults are set as plain attributes. What the world looks like is asked of the fakes, never of lifecycle.
"""

from __future__ import annotations

from dataclasses import replace

from services.kernel.effect import effect
from services.kernel.errors import BmsError, Exhausted, NotFound, PeerUnavailable, Stale, WrongState
from services.kernel.events import DiskSeen
from services.lifecycle.bmc import Bmc
from services.lifecycle.domain.server import Move, Port, Report
from services.lifecycle.peers import FlavorCard, Heard, Registered
from services.lifecycle.ports import HardwareFacts, ImageOrder

SHA = "sha256:" + "ab" * 32
HELD = "CUSTOM_BMS_HELD"
FLAVORS = {
    "flavors/any": FlavorCard("flavors/any"),
    "flavors/nova": FlavorCard("flavors/nova", frozenset({HELD}), "f-1"),
}


class FakeInventory:
    """Inventory: servers, the pool row, reservations keyed by holder, a log of its own."""

    def __init__(self) -> None:
        self.servers: dict[str, Registered] = {}
        self.pool: dict[str, Report] = {}
        self.versions: dict[str, int] = {}
        self.reserved: dict[str, str] = {}
        self.facts: dict[str, HardwareFacts] = {}
        self.closed: set[str] = set()
        self.log: list[Heard] = []
        self.images = {"images/debian": SHA, "images/other": SHA}
        self.in_glance = "g-1"
        self.refuses_links: BmsError | None = None
        self.silent = False

    def register(self, registered: Registered) -> None:
        self.servers[registered.uuid] = registered
        self.pool[registered.uuid] = Report(available=False, reason="ENROLLED", held_by="")
        self.tell(registered.uuid, "server.created")

    def tell(self, uuid: str, type_: str) -> None:
        self.log.append(Heard(len(self.log) + 1, f"servers/{uuid}", type_))

    def server(self, uuid: str) -> Registered:
        with effect("inventory.get"):
            self._answer()
            if uuid not in self.servers:
                msg = f"servers/{uuid} does not exist"
                raise NotFound(msg)
            return self.servers[uuid]

    def of(self, server: str) -> Bmc:
        return Bmc("10.9.0.1", 0, "redfish", "u", "p")

    def credentials(self, uuid: str) -> Bmc:
        return self.of(uuid)

    def flavor_exists(self, flavor: str) -> None:
        self.flavor(flavor)

    def flavor(self, flavor: str) -> FlavorCard:
        with effect("inventory.flavor"):
            self._answer()
            if flavor not in FLAVORS:
                msg = f"{flavor} does not exist"
                raise NotFound(msg)
            return FLAVORS[flavor]

    def image(self, image: str, project: str) -> ImageOrder:
        with effect("inventory.image"):
            self._answer()
            if image not in self.images:
                msg = f"{image} does not exist"
                raise NotFound(msg)
            return ImageOrder(image, "https://images.example.org/x", self.images[image], glance_id=self.in_glance)

    def reserve(self, holder: str, flavor: str, image: str, excluded: tuple[str, ...]) -> str:
        with effect("inventory.reserve"):
            self._answer()
            if holder in self.reserved and f"servers/{self.reserved[holder]}" not in excluded:
                return self.reserved[holder]
            self.reserved.pop(holder, None)
            for uuid, row in sorted(self.pool.items()):
                if row.available and uuid not in self.reserved.values() and f"servers/{uuid}" not in excluded:
                    self.reserved[holder] = uuid
                    return uuid
            msg = "no server would do"
            raise Exhausted(msg)

    def release_reservation(self, holder: str) -> None:
        with effect("inventory.release"):
            self._answer()
            self.reserved.pop(holder, None)

    def report(
        self,
        server: str,
        version: int,
        report: Report,
        facts: HardwareFacts | None,
        disks: tuple[DiskSeen, ...],
        *,
        closed: bool,
    ) -> None:
        with effect("inventory.report"):
            self._answer()
            if server not in self.servers:
                msg = f"servers/{server} does not exist"
                raise NotFound(msg)
            if version <= self.versions.get(server, 0):
                return
            self.versions[server] = version
            self.pool[server] = report
            if facts is not None:
                self.facts[server] = facts
            if report.available:
                self.reserved = {holder: uuid for holder, uuid in self.reserved.items() if uuid != server}
            if closed:
                self.closed.add(server)
                self.servers.pop(server)
                self.pool.pop(server)

    def relink(self, server: str, moves: tuple[Move, ...], etag: str, request_id: str, *, check: bool = False) -> None:
        with effect("inventory.relink"):
            self._answer()
            if self.refuses_links is not None and not check:
                raise self.refuses_links
            known = self.servers[server]
            if etag and etag != known.etag:
                msg = "another etag"
                raise Stale(msg)
            wanted = {move.port: move for move in moves}
            others = [port for uuid, one in self.servers.items() if uuid != server for port in one.ports]
            for port in others:
                if any((port.switch_name, port.switch_port) == (one.switch_name, one.switch_port) for one in moves):
                    msg = f"{port.switch_name} {port.switch_port} is where {port.name} is plugged in"
                    raise WrongState(msg, remedy="Name another switch port.", subject=port.name)
            ports = tuple(
                replace(
                    port,
                    switch_name=wanted[port.name].switch_name,
                    switch_port=wanted[port.name].switch_port,
                    switch_id=wanted[port.name].switch_id,
                )
                if port.name in wanted
                else port
                for port in known.ports
            )
            if check or ports == known.ports:
                return
            self.servers[server] = replace(known, ports=ports, etag=f"{known.etag}+")
            self.tell(server, "server.updated")

    def events(self, after: int, wait: int) -> tuple[tuple[Heard, ...], int]:
        self._answer()
        found = tuple(event for event in self.log if event.position > after)
        return found, found[-1].position if found else after

    def _answer(self) -> None:
        if self.silent:
            msg = "inventory does not answer"
            raise PeerUnavailable(msg)


def plugged(uuid: str, count: int = 2) -> tuple[Port, ...]:
    """Ports of a server that are plugged in; the first boots."""
    return tuple(
        replace(
            Port(
                f"servers/{uuid}/ports/0cc47a0000{index:02x}",
                f"0c:c4:7a:00:00:{index:02x}",
                "leaf1",
                f"xe-0/0/{uuid[:4]}{index}",
            ),
            pxe_enabled=index == 0,
        )
        for index in range(count)
    )
