# SPDX-License-Identifier: Apache-2.0
"""Telemetry as a whole on loopback, over services that are in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc.aio
from aiohttp import ClientSession

from bms.telemetry.v1 import telemetry_service_pb2_grpc
from services.access import RULES
from services.kernel.calls import Caller
from services.kernel.clock import RandomIds, SystemClock
from services.kernel.errors import Unauthenticated
from services.runtime.auth import Callers
from services.runtime.database import Database
from services.runtime.metrics import Metrics
from services.runtime.page_tokens import PageTokens
from services.runtime.settings import ServerSettings
from telemetry.app import Given, Ports, running
from telemetry.events import SERVICES
from telemetry.sandesh.header import Identity
from telemetry.sandesh.settings import Address
from telemetry.sandesh.sockets import TlsFiles
from telemetry.settings import Listen, TelemetrySettings
from tests.support.wire import admin, auditor, member
from tests.telemetry.fakes import FakeInventory, FakeLog

OWN = Identity("host-1", "bms-telemetry", "Config", "0")


class KnownCallers:
    """Tokens by the subject's name."""

    def __init__(self) -> None:
        known = (admin(), auditor(), member("demo"), member("other"))
        self.callers = {caller.subject: caller for caller in known}

    def caller_of(self, bearer: str) -> Caller:
        if bearer in self.callers:
            return self.callers[bearer]
        msg = "the token is not known"
        raise Unauthenticated(msg)


@dataclass
class Rig:
    """Telemetry, and what it is connected to."""

    ports: Ports
    logs: dict[str, FakeLog]
    inventory: FakeInventory
    channel: grpc.aio.Channel
    http: ClientSession
    failures: list[BaseException] = field(default_factory=list)

    @property
    def stub(self) -> Any:
        """The service; its stubs know only the synchronous form of metadata."""
        return telemetry_service_pb2_grpc.TelemetryServiceStub(self.channel)

    async def get(self, path: str, *, token: str = "admin") -> Any:
        async with self.http.get(
            f"http://127.0.0.1:{self.ports.rest}{path}", headers={"X-Auth-Token": token}
        ) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def eventually(self, ask: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
        """What *ask* answers once *wanted* is true of it."""
        async with asyncio.timeout(15):
            while True:
                answer = await ask()
                if wanted(answer):
                    return answer
                await asyncio.sleep(0.02)


def bearer(subject: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a caller."""
    return (("authorization", f"Bearer {subject}"),)


@asynccontextmanager
async def rig(
    database: Database,
    logs: dict[str, FakeLog] | None = None,
    inventory: FakeInventory | None = None,
    collectors: tuple[Address, ...] = (),
    grace: float = 1.0,
    tls: TlsFiles | None = None,
    callers: Callers | None = None,
    instance: str = "0",
    metrics: Metrics | None = None,
) -> AsyncIterator[Rig]:
    """Telemetry on free ports; *instance* tells replicas apart."""
    logs = {service: (logs or {}).get(service) or FakeLog(service) for service in SERVICES}
    inventory = inventory or FakeInventory()
    anywhere = Listen("127.0.0.1", 0)
    given = Given(
        own=TelemetrySettings(replace(OWN, instance=instance), anywhere, collectors, anywhere, anywhere, 3600.0, tls),
        server=ServerSettings("127.0.0.1:0", grace=grace),
        database=database,
        logs={service: (log, f"{service}:1") for service, log in logs.items()},
        signed=logs,
        inventory=inventory,
        callers=callers or KnownCallers(),
        rules=RULES,
        page_tokens=PageTokens(b"key"),
        clock=SystemClock(),
        ids=RandomIds(),
        metrics=metrics,
        pace=10.0,
    )
    failures: list[BaseException] = []
    async with AsyncExitStack() as later:
        # Clients outlive telemetry here, so that they see how it ends.
        http = await later.enter_async_context(ClientSession())
        async with running(given, failures.append) as ports:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}")
            later.push_async_callback(channel.close)
            yield Rig(ports, logs, inventory, channel, http, failures)
    assert failures == []
