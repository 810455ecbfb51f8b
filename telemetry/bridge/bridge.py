# SPDX-License-Identifier: Apache-2.0
"""One bridge at work: what it hears and lists becomes what its generator tells."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog

from services.kernel.errors import PeerUnavailable
from services.runtime.rabbitmq import backoff
from telemetry.bridge.conf import BridgeSettings
from telemetry.bridge.fleet import Fleet
from telemetry.bridge.ironic import Ironic
from telemetry.bridge.notifications import Notification, PoisonError, parse
from telemetry.bridge.wording import object_log
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.generator import Generator
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.sandesh.schema import at_level
from telemetry.sandesh.settings import GeneratorSettings
from telemetry.sandesh.sockets import client_context
from telemetry.sandesh.status import Connection, ConnectionStatus

PAUSE: Final = 5.0
"""Least seconds between two listings, however often one is asked for."""
_OTHER: Final = "Generic Connection"

_log = structlog.get_logger("bms.bridge")


class Bridge:
    """One active bridge, with a generator of its own.

    Args:
        clock: microseconds since 1970, UTC.
        least: see `PAUSE`.
    """

    def __init__(
        self, settings: BridgeSettings, ironic: Ironic, clock: Callable[[], int], *, least: float = PAUSE
    ) -> None:
        self._settings = settings
        self._ironic = ironic
        self._least = least
        self._spoiled: Counter[str] = Counter()
        self._poison = 0
        self._asked = asyncio.Event()
        self.fleet = Fleet(self._spoil)
        own = GeneratorSettings(
            identity=settings.identity,
            collectors=settings.collectors,
            pid=os.getpid(),
            http_port=settings.introspect[1],
            start_time=time.time_ns() // 1000,
        )
        tls = client_context(settings.sandesh_tls) if settings.sandesh_tls else None
        self.generator = Generator(own, clock, (IRONIC_NODE_INFO,), tls=tls, dscp=settings.dscp)
        self.connection("RabbitMQ", ConnectionStatus.INIT, "")
        self.connection("Ironic API", ConnectionStatus.INIT, "")

    # --- notifications ---------------------------------------------------------------------------

    def take(self, bodies: list[bytes]) -> list[str]:
        """Handles what a broker brought; answers for each why it is to be parked, "" if it is not."""
        reasons = []
        for body in bodies:
            try:
                self._hear(parse(body))
            except PoisonError as error:
                reasons.append(str(error))
            except Exception as error:  # noqa: BLE001 -- whatever it is: the next message must be read
                # Not the traceback, whose last line may quote the body.
                _log.error("notification.failed", error=type(error).__name__)
                reasons.append(f"it could not be handled: {type(error).__name__}")
            else:
                reasons.append("")
        self._poison += sum(map(bool, reasons))
        self._tell()
        return reasons

    def _hear(self, told: Notification) -> None:
        before = self.fleet.nodes.get(told.node)
        if self.fleet.hear(told):
            self.list_anew()
        after = self.fleet.nodes.get(told.node)
        if self._settings.object_logs and told.node == told.uuid and after is not before:
            level, values = object_log(told, before, after)
            self.generator.log(at_level(BMS_LIFECYCLE_EVENT_LOG, level), values)

    # --- listings --------------------------------------------------------------------------------

    def list_anew(self) -> None:
        """Something may have been missed: everything is listed soon."""
        self._asked.set()

    async def list_for_ever(self) -> None:
        """Lists whenever it is asked for, and now and then."""
        failures = 0
        while True:
            self._asked.clear()
            try:
                await self._list()
            except PeerUnavailable as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001 -- whatever Ironic answered: notifications go on, and the next listing
                _log.exception("listing.failed")
                why = type(error).__name__
            else:
                why = ""
            if why:
                failures += 1
                pause = backoff(failures, random.random()).total_seconds()  # noqa: S311 -- protects nothing
                _log.warning("ironic.away", error=why, failures=failures, again=round(pause, 1))
                self.connection("Ironic API", ConnectionStatus.DOWN, why)
                await asyncio.sleep(pause)
                continue
            failures = 0
            self.connection("Ironic API", ConnectionStatus.UP, "")
            await asyncio.sleep(self._least)
            try:
                async with asyncio.timeout(max(0.0, self._settings.every - self._least)):
                    await self._asked.wait()
            except TimeoutError:
                continue  # nobody asked: it is time again

    async def _list(self) -> None:
        fleet, began = self.fleet, time.monotonic()
        first = fleet.ask()
        nodes = await self._read("nodes", fleet.read_nodes)
        ports = await self._read("ports", fleet.read_ports)
        gone = fleet.close_listing(nodes, ports, first)
        self._tell()
        _log.info(
            "ironic.listed", nodes=len(nodes), ports=len(ports), gone=len(gone),
            seconds=round(time.monotonic() - began, 2), left_out=self._spoiled.total(), poison=self._poison,
            late=fleet.nodes.late + fleet.ports.late,
        )  # fmt: skip

    async def _read(self, what: str, take: Callable[[list[Any], int], set[str]]) -> set[str]:
        pages, seen = self._ironic.pages(what), set[str]()
        while True:
            asked = self.fleet.ask()
            rows = await asyncio.to_thread(next, pages, None)
            if rows is None:
                return seen
            seen |= take(rows, asked)
            self._tell()

    # --- telling ---------------------------------------------------------------------------------

    def connection(self, name: str, status: ConnectionStatus, what: str) -> None:
        """Tells how a connection is, in our NodeStatus."""
        hosts = [f"{host.name}:{host.port}" for host in self._settings.rabbit.hosts]
        addresses = tuple(hosts) if name == "RabbitMQ" else ()
        self.generator.connection(Connection(_OTHER, name, status, addresses, what))

    def _tell(self) -> None:
        for uuid in self.fleet.take_changed():
            uve = self.fleet.uve(uuid)
            try:
                if uve is None:
                    self.generator.delete(IRONIC_NODE_INFO, {"name": uuid})
                else:
                    self.generator.replace(IRONIC_NODE_INFO, uve)
            except EncodeError as error:
                _log.exception("uve.not_encoded", node=uuid, field=error.field, reason=error.reason)

    def _spoil(self, field: str, reason: str) -> None:
        self._spoiled[field] += 1
        if self._spoiled[field] == 1:
            # Once for each field; how many there were stands in every ironic.listed.
            _log.warning("value.left_out", field=field, reason=reason)
