# SPDX-License-Identifier: Apache-2.0
"""Telemetry in an actor: its followers, publisher, generator, collector and stores, as telemetry/app.py puts them
together, but for what answers people (watch, query, REST).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from services.kernel.effect import effect
from services.kernel.errors import NotFound, PeerUnavailable
from services.runtime.database import Database
from services.runtime.outbound import error_of
from services.runtime.times import to_micros
from telemetry.enricher import Enricher
from telemetry.events import Followed
from telemetry.follower import Follower
from telemetry.publisher import Publisher
from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.generator import Generator
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sink import StoreSink
from telemetry.store import Store
from telemetry.store import events as kept
from tests.simulation.engine import Process
from tests.simulation.site import SERVICES, Site
from tests.simulation.transport import Lost
from tests.simulation.virtual_loop import VirtualLoop

OWN = Identity("host-1", "bms-telemetry", "Config", "0")
_KEPT_SECONDS = 30 * 86400.0
_METADATA = (("authorization", "Bearer service"),)


class _Peer:
    """A service, as telemetry/peers.py calls it: its log, and inventory's servers."""

    def __init__(self, site: Site, service: str) -> None:
        self._site = site
        self._service = service

    async def list(self, after: int, *, limit: int, wait: int) -> Sequence[Followed]:
        """See `telemetry.peers.Log`."""
        fabric, until = self._site.fabric, self._site.sim.micros + wait * 1_000_000
        while True:
            news = asyncio.Event()
            fabric.listeners[self._service] = news.set
            request = event_pb2.ListEventsRequest(after=after, page_size=limit)
            answer = event_pb2.ListStoredEventsResponse.FromString(self._call("ListEvents", request))
            left = (until - self._site.sim.micros) / 1_000_000
            if answer.events or left <= 0:
                return [Followed.of(self._service, event) for event in answer.events]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await news.wait()
                    # What follows at once is told at once.
                    await asyncio.sleep(self._site.pace)

    async def get_server(self, uuid: str) -> server_pb2.Server | None:
        """See `telemetry.enricher.Inventory`."""
        try:
            data = self._call("GetServer", server_pb2.GetServerRequest(name=f"servers/{uuid}"))
        except NotFound:
            return None
        return server_pb2.Server.FromString(data)

    def _call(self, method: str, request: Any) -> bytes:
        service = self._service
        full = f"/bms.{service}.v1.{service.capitalize()}Service/{method}"
        with effect(f"peer.{service}.{method}"):
            try:
                return self._site.fabric.call("telemetry", service, full, request.SerializeToString(), _METADATA, 5.0)
            except Lost as failure:
                raise error_of(failure, service, method) from failure


class _News:
    """Passes on what followers find."""

    def __init__(self, publisher: Publisher, enricher: Enricher) -> None:
        self._publisher = publisher
        self._enricher = enricher

    def heard(self, service: str, after: int, events: Sequence[Followed], shift: int) -> bool:
        """Would be told to watchers."""
        return False

    def news(self, servers: frozenset[str]) -> None:
        self._publisher.wake(servers)
        if servers:
            self._enricher.wake()

    def health(self, service: str, reachable: bool, complaint: str) -> None:
        """Would be part of our node's status."""


def live(site: Site, process: Process) -> None:
    """One life of the telemetry process, in an actor of its own."""
    loop = VirtualLoop(site.sim)
    try:
        loop.run_until_complete(_live(site, process, loop))
    except BaseExceptionGroup:
        # A kill in one task ends the others too; anything else must be told.
        if process.alive and not site.sim.over:
            raise
    finally:
        site.fabric.listeners.clear()
        loop.leave()


async def _live(site: Site, process: Process, loop: VirtualLoop) -> None:
    store = Store(site.databases["telemetry"])

    def now() -> int:
        return to_micros(site.sim.now())

    while True:
        try:
            await store.write(lambda tx: kept.add_logs(tx, SERVICES, now()), "start")
            sink = StoreSink(store, f"{OWN.source}:{OWN.instance}", _KEPT_SECONDS, now)
            await sink.start()
            break
        except PeerUnavailable:
            # Its supervisor would start it again.
            await asyncio.sleep(1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sink.run())
        async with Collector(CollectorSettings(OWN, port=0), sink, now) as collector:
            settings = GeneratorSettings(
                identity=OWN, collectors=(Address("127.0.0.1", collector.port),), pid=1, http_port=0, start_time=now()
            )
            generator = Generator(settings, now, (IRONIC_NODE_INFO,), chance=lambda: 1.0)
            publisher = Publisher(generator, store, acknowledged=True)
            sink.committed = publisher.stored
            while True:
                try:
                    await publisher.load()
                    break
                except PeerUnavailable:
                    await asyncio.sleep(1)
            enricher = Enricher(_Peer(site, "inventory"), store, publisher.wake)
            news = _News(publisher, enricher)
            for run in (generator.run(), publisher.run(), enricher.run()):
                tasks.create_task(run)
            for service in SERVICES:
                tasks.create_task(Follower(service, _Peer(site, service), store, news, now).run())
            while True:
                await asyncio.sleep(site.weather.uniform(1, 300) if site.weather.has("collector") else 3600)
                if site.weather.has("collector"):
                    site.weather.count("collector")
                    loop.cut()


def identities(database: Database) -> Counter[tuple[str, int, bytes]]:
    """Service, position and body's digest of every event that telemetry keeps."""
    rows = database.read(lambda tx: tx.all("SELECT service, position, event FROM events"))
    return Counter(
        (row["service"], row["position"], event_pb2.StoredEvent.FromString(bytes(row["event"])).body_digest)
        for row in rows
    )


def messages(database: Database) -> Counter[str]:
    """Ids of the events whose object logs the analytics store has."""
    rows = database.read(lambda tx: tx.all("SELECT event_id FROM messages WHERE event_id IS NOT NULL"))
    return Counter(str(row["event_id"]) for row in rows)


def caught_up(database: Database, ends: dict[str, int]) -> bool:
    """Whether all events up to *ends* are kept, and all object logs on their way were taken."""

    def look(tx: Any) -> bool:
        waiting = tx.one("SELECT count(*) AS n FROM outbox")
        return kept.positions(tx) == ends and waiting["n"] == 0

    return database.read(look)
