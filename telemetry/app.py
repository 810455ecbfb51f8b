# SPDX-License-Identifier: Apache-2.0
"""Telemetry as a whole: its parts put together, run, and ended in order."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import structlog
from aiohttp import web

from services.kernel.clock import Clock, Ids
from services.runtime.auth import Callers, Rule
from services.runtime.database import Database
from services.runtime.interceptors import Guard
from services.runtime.metrics import Metrics
from services.runtime.page_tokens import PageTokens
from services.runtime.settings import ServerSettings
from services.runtime.times import to_micros
from telemetry import server, systemlog
from telemetry.alarms import server_alarms
from telemetry.anchors import Anchors, Signed
from telemetry.audit import Audit
from telemetry.callers import AioCallers
from telemetry.census import Census
from telemetry.desk import Desk
from telemetry.enricher import Enricher, Inventory
from telemetry.events import Followed
from telemetry.follower import Follower
from telemetry.gauges import Gauges
from telemetry.lag import Lag
from telemetry.lease import Lease
from telemetry.parts import Parts, parts
from telemetry.peers import Log
from telemetry.publisher import GRACE_SECONDS, UNREAD_SECONDS, Publisher
from telemetry.refold import catch_up
from telemetry.rest import AnalyticsApi
from telemetry.sandesh.alarms import ALARM_TRACE
from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.generator import Generator
from telemetry.sandesh.introspect_http import introspection
from telemetry.sandesh.messages import IRONIC_NODE_INFO, OBJECT_SERVER_TABLE
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.sockets import client_context, server_context
from telemetry.sandesh.states import State
from telemetry.sandesh.status import Connection, ConnectionStatus
from telemetry.sandesh.verdict import BMS_SERVER_VERDICT_INFO
from telemetry.servicer import SessionView, TelemetryServicer
from telemetry.settings import Listen, TelemetrySettings
from telemetry.sink import StoreSink
from telemetry.store import Store, server_states
from telemetry.store import events as kept
from telemetry.uve_watch import UveHub
from telemetry.watch import Hub

GENERATING: Final = "generating"
"""The lease of the one replica that tells analytics."""

_log = structlog.get_logger("bms.telemetry")


@dataclass(frozen=True, slots=True)
class Given:
    """What telemetry is made of.

    Attributes:
        logs: the log of each service, with its address.
        signed: the checkpoints of each.
        inventory: also says what servers are made of.
        pace: how much faster than in life leases change hands, for tests.
    """

    own: TelemetrySettings
    server: ServerSettings
    database: Database
    logs: Mapping[str, tuple[Log, str]]
    signed: Mapping[str, Signed]
    inventory: Inventory
    callers: Callers
    rules: Mapping[str, Rule]
    page_tokens: PageTokens
    clock: Clock
    ids: Ids
    metrics: Metrics | None = None
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where it listens; 0 for what is off."""

    grpc: int
    rest: int
    collector: int
    introspect: int


class _News:
    """Passes on what followers find."""

    def __init__(self, hub: Hub, publisher: Publisher, generator: Generator, addresses: Mapping[str, str]) -> None:
        self._hub = hub
        self._publisher = publisher
        self._generator = generator
        self._addresses = addresses
        self._health: dict[str, tuple[bool, str]] = {}
        self._doubts: dict[str, str] = {}
        self.wake_enricher: Callable[[], None] = lambda: None
        for service in addresses:
            self._tell(service, ConnectionStatus.INIT, "")

    def heard(self, service: str, after: int, events: Sequence[Followed], shift: int) -> bool:
        return self._hub.heard(service, after, events, shift)

    def news(self, servers: frozenset[str]) -> None:
        self._hub.kept()
        self._publisher.wake(servers)
        if servers:
            self.wake_enricher()

    def health(self, service: str, reachable: bool, complaint: str) -> None:
        if self._health.get(service) == (reachable, complaint):
            return
        self._health[service] = (reachable, complaint)
        self._tell_health(service)

    def doubt(self, service: str, what: str) -> None:
        """Something is wrong with what *service* signed; said until this process ends."""
        self._doubts[service] = what
        self._tell_health(service)

    def other(self, type_: str, name: str, complaint: str) -> None:
        """How a connection is that is no service's log."""
        status = ConnectionStatus.DOWN if complaint else ConnectionStatus.UP
        self._generator.connection(Connection(type_, name, status, (), complaint))

    def _tell_health(self, service: str) -> None:
        reachable, complaint = self._health.get(service, (False, ""))
        said = "; ".join(filter(None, (complaint, self._doubts.get(service, ""))))
        # A hole in a log makes us non-functional too: analytics is then incomplete, and somebody must look.
        self._tell(service, ConnectionStatus.DOWN if said or not reachable else ConnectionStatus.UP, said)

    def _tell(self, service: str, status: ConnectionStatus, complaint: str) -> None:
        address = self._addresses[service]
        self._generator.connection(Connection("Generic Connection", service, status, (address,), complaint))


@asynccontextmanager
async def running(given: Given, failed: Callable[[BaseException], None]) -> AsyncIterator[Ports]:
    """Everything, from the moment calls are answered until the block ends.

    When the block ends, watchers are sent away with their tokens, running calls get the grace of the settings, what
    the generator and the collector hold is written, and the sockets are closed.

    Args:
        failed: called with what ended a part that should not end.

    Raises:
        PeerUnavailable: a port is taken.
    """
    own, store = given.own, Store(given.database)

    def now() -> int:
        return to_micros(given.clock.now())

    await store.write(lambda tx: kept.add_logs(tx, given.logs, now()), "start")
    async with AsyncExitStack() as ending:
        listening = await ending.enter_async_context(parts(failed))
        hub, uve_hub = Hub(store), UveHub(store)
        sink = StoreSink(store, f"{own.identity.source}:{own.identity.instance}", own.message_seconds, now)
        collector = await _collect(own, sink, now, listening, ending)
        collectors = own.collectors or (_own_collector(own, collector),)
        generator = _generator(own, collectors, now)
        desk = Desk(generator, store, *_reached_at(own), str(own.identity))
        generator.session.acknowledge = lambda *alarm: desk.acknowledge(*alarm).value
        grace = UNREAD_SECONDS if own.analytics else GRACE_SECONDS
        publisher = Publisher(
            generator,
            store,
            acknowledged=not own.collectors,
            grace_seconds=grace / given.pace,
            told=lambda uuid, known: desk.tell(OBJECT_SERVER_TABLE, uuid, server_alarms(known)),
            clock=now,
        )
        lag = Lag(publisher, desk, own.identity.source, now, lambda said: news.other("Database", "store", said))
        lease = Lease(store, GENERATING, str(own.identity), pace=given.pace)
        gauges = Gauges(generator.session, publisher.underway, lag, desk, lease)
        if given.metrics is not None:
            given.metrics.add(gauges.lines)

        def committed() -> None:
            publisher.stored()
            uve_hub.wake()

        sink.committed = committed
        news = _News(hub, publisher, generator, {service: address for service, (_, address) in given.logs.items()})
        enricher = Enricher(given.inventory, store, publisher.wake)
        news.wake_enricher = enricher.wake
        callers = AioCallers(given.callers)
        ending.callback(callers.close)
        rest = await _listen(
            AnalyticsApi(store, uve_hub, callers, given.ids, now).application(),
            own.rest,
            "BMS_TELEMETRY_REST_ADDRESS",
            ending,
        )
        introspect = await _listen(
            introspection(generator.session, own.identity.module),
            own.introspect,
            "BMS_TELEMETRY_INTROSPECT_ADDRESS",
            ending,
        )
        servicer = TelemetryServicer(store, hub, uve_hub, given.page_tokens, lambda: _session(generator))
        guard = Guard(given.callers, given.rules, clock=given.clock, ids=given.ids, metrics=given.metrics)
        bound = server.build(given.server, servicer, guard, callers)

        async def tell() -> None:
            """What one replica alone does: a generator's session, and all that feeds it."""
            anchors = Anchors(given.signed, store, generator.deliver, now, news.doubt)
            await desk.load()
            await publisher.load()
            async with _sending(generator, failed):
                try:
                    async with parts(failed) as telling:
                        telling.start(publisher.run(), "publisher")
                        telling.start(enricher.run(), "enricher")
                        telling.start(anchors.run(), "anchors")
                        telling.start(desk.run(), "alarms")
                        telling.start(lag.run(), "lag")
                        if own.analytics is not None:
                            audit = Audit(
                                publisher,
                                own.analytics,
                                store,
                                now,
                                lambda said: news.other("ApiServer", "analytics", said),
                                pace=given.pace,
                            )
                            gauges.audit = audit
                            telling.start(audit.run(), "audit")
                        telling.start(catch_up(store, publisher.wake), "refold")
                        await asyncio.get_running_loop().create_future()
                finally:
                    await anchors.flush()

        ending.enter_context(systemlog.told(generator, str(own.identity)))
        workers = await ending.enter_async_context(parts(failed))
        workers.start(hub.run(), "watch")
        workers.start(uve_hub.run(), "uves")
        workers.start(lease.keep(tell), "generating")
        for service, (log, _) in given.logs.items():
            workers.start(Follower(service, log, store, news, now).run(), f"follower {service}")
        await bound.start()
        try:
            yield Ports(bound.port, rest, collector, introspect)
        finally:
            hub.drain()
            uve_hub.drain()
            await bound.stop(given.server.grace)


async def _collect(
    own: TelemetrySettings, sink: StoreSink, now: Callable[[], int], within: Parts, ending: AsyncExitStack
) -> int:
    """Lets our own collector listen, if it shall; answers its port."""
    if own.collector is None:
        return 0
    await sink.start()
    within.start(sink.run(), "sink")
    settings = CollectorSettings(own.identity, own.collector.host, own.collector.port)
    tls = server_context(own.tls) if own.tls else None
    teller = replace(own.identity, node_type=server_states.NODE_TYPE, module=server_states.MODULE)
    census = Census(sink, teller, now)
    try:
        collector = await ending.enter_async_context(Collector(settings, census, now, tls=tls))
    except OSError:
        address = f"{own.collector.host}:{own.collector.port}"
        raise server.taken(address, "BMS_TELEMETRY_COLLECTOR_ADDRESS") from None
    census.sessions = lambda: collector.generators
    within.start(census.run(), "census")
    return collector.port


def _own_collector(own: TelemetrySettings, port: int) -> Address:
    host = own.collector.host if own.collector else ""
    return Address({"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host), port)


def _generator(own: TelemetrySettings, collectors: tuple[Address, ...], now: Callable[[], int]) -> Generator:
    settings = GeneratorSettings(
        identity=own.identity,
        # In another order in every process, so that no collector has all the sessions of a site.
        collectors=tuple(random.sample(collectors, len(collectors))),
        pid=os.getpid(),
        http_port=own.introspect.port if own.introspect else 0,
        start_time=time.time_ns() // 1000,
    )
    told = (IRONIC_NODE_INFO, BMS_SERVER_VERDICT_INFO, ALARM_TRACE)
    return Generator(settings, now, told, tls=client_context(own.tls) if own.tls else None, dscp=own.dscp)


def _reached_at(own: TelemetrySettings) -> tuple[str, int]:
    """Where analytics finds our introspection; port 0 if it cannot."""
    if own.introspect is None:
        return "", 0
    host = own.introspect.host
    return (own.identity.source if host in {"0.0.0.0", "::", ""} else host), own.introspect.port


@asynccontextmanager
async def _sending(generator: Generator, failed: Callable[[BaseException], None]) -> AsyncIterator[None]:
    """Keeps *generator*'s session; at the end the last news still go out."""
    async with parts(failed) as within:
        sending = within.start(generator.run(), "generator")
        try:
            yield
        finally:
            generator.stop()
            await asyncio.wait({sending}, timeout=5.0)
    generator.forget()


async def _listen(app: web.Application, where: Listen | None, variable: str, ending: AsyncExitStack) -> int:
    """Serves *app*, if it shall be; answers its port."""
    if where is None:
        return 0
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    ending.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, where.host, where.port)
    try:
        await site.start()
    except OSError:
        address = f"{where.host}:{where.port}"
        raise server.taken(address, variable) from None
    return int(runner.addresses[0][1])


def _session(generator: Generator) -> SessionView:
    session = generator.session
    established = session.state is State.ESTABLISHED
    return SessionView(str(session.collector) if established and session.collector else "", session.state.value)
