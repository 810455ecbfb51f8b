# SPDX-License-Identifier: Apache-2.0
"""Lifecycle over a world of fakes, whose audits ask what is genuine: a service over its wire, a controller of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from bms.lifecycle.v1 import audit_service_pb2, server_status_pb2
from services.kernel.clock import Clock
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.backends.ironic_held import IronicHolds
from services.lifecycle.domain.states import State
from services.lifecycle.peers import Registered
from services.lifecycle.ports import HoldSeen
from services.runtime.database import open_database
from services.runtime.migrations import migrate
from services.runtime.outbound import Peer
from tests.lifecycle.audited import Auditor
from tests.lifecycle.fake_inventory import plugged
from tests.lifecycle.rig import Rig
from tests.support import loopback
from tests.support.judging import findings, stored_events
from tests.support.wire import admin, reason, service

Leak = audit_service_pb2.Leak


@contextmanager
def lifecycle(folder: Path) -> Iterator[Rig]:
    """One over a file in *folder*; what it recorded passes the verifier in the end."""
    url = f"sqlite:///{folder / 'lifecycle.sqlite'}"
    migrate(url, "services.lifecycle")
    database = open_database(url)
    try:
        rig = Rig(database)
        yield rig
        assert findings("lifecycle", stored_events(database, rig.log)) == []
    finally:
        database.close()


def enrolled(rig: Rig, uuid: str) -> None:
    """Lifecycle hears of the server *uuid*."""
    rig.inventory.register(Registered(uuid, "genuine", plugged(uuid), providable=True, deleting=False))
    rig.hear()


def offered(rig: Rig, uuid: str) -> None:
    """The server *uuid* is available to lifecycle, by its fakes."""
    enrolled(rig, uuid)
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()
    assert rig.server(uuid).state is State.AVAILABLE


@contextmanager
def served(name: str, add: Callable[[Any, Any], None], servicer: object, clock: Clock) -> Iterator[Peer]:
    """*servicer* as lifecycle reaches it, over the loopback."""
    with loopback.running([(add, servicer)], service(), clock=clock) as running:
        peer = Peer(running.address, token="good", tls=None, service=name)
        try:
            yield peer
        finally:
            peer.close()


@dataclass
class Book:
    """One book of lifecycle's audits; *server* is known to lifecycle."""

    audit: Auditor
    name: str
    server: str = ""

    def leaks(self, page_size: int = 0) -> list[Leak]:
        """What it tells, of that server alone if there is one."""
        found = self.audit.book(self.name, page_size)
        return [leak for leak in found if not self.server or leak.server == f"servers/{self.server}"]

    def told(self, page_size: int = 0) -> list[tuple[str, str]]:
        """Kinds and the ids at the controller."""
        return sorted((_kind(leak), leak.resource.rpartition("/")[2]) for leak in self.leaks(page_size))

    def repair(self, leak: Leak) -> None:
        """Has it repaired."""
        self.audit.wire.ok("RepairLeak", self.audit.request(leak))

    def refused(self, leak: Leak) -> tuple[grpc.StatusCode, str]:
        """How a repair is refused."""
        reply = self.audit.wire.call("RepairLeak", self.audit.request(leak))
        assert reply.message is None, "it was repaired"
        return reply.code, reason(reply.status)

    def events(self) -> list[str]:
        """What lifecycle's log has of the server's repairs."""
        return [one for one in self.audit.rig.types(self.server) if one.startswith("audit.")]


def _kind(leak: Leak) -> str:
    return Leak.Kind.Name(leak.kind).removeprefix("KIND_").lower()


@dataclass
class Looks:
    """Ironic's holds, with what happens right *before* a look at one of them, by its number from 1 on."""

    api: IronicApi
    before: dict[int, Callable[[], None]] = field(default_factory=dict)
    number: int = 0

    def page(self, after: str, size: int) -> tuple[list[HoldSeen], bool]:
        """See `Holds.page`."""
        return IronicHolds(self.api).page(after, size)

    def hold(self, server: str) -> HoldSeen | None:
        """See `Holds.hold`."""
        self.number += 1
        self.before.get(self.number, lambda: None)()
        return IronicHolds(self.api).hold(server)
