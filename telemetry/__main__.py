# SPDX-License-Identifier: Apache-2.0
"""``python -m telemetry``: reads the settings, puts telemetry together and serves until told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import structlog
import uvloop

from services.access import RULES
from services.kernel.clock import RandomIds, SystemClock
from services.kernel.errors import BmsError
from services.runtime.callers import open_callers
from services.runtime.database import open_database
from services.runtime.logs import configure, register_secret
from services.runtime.memory import settle
from services.runtime.metrics import Metrics, serve_metrics
from services.runtime.migrations import require_current
from services.runtime.page_tokens import PageTokens
from services.runtime.secrets import Vault, private_file
from services.runtime.settings import Settings
from telemetry.app import Given, running
from telemetry.events import SERVICES
from telemetry.peers import AioPeer, InventoryPeer
from telemetry.settings import TelemetrySettings

_log = structlog.get_logger("bms.telemetry")


async def serve(settings: Settings, own: TelemetrySettings) -> None:
    """Serves until SIGTERM or SIGINT, or until a part fails.

    Raises:
        BmsError: something is missing, unsafe or taken.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(settings.server.threads, thread_name_prefix="store"))
    stop, failures = asyncio.Event(), list[BaseException]()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def failed(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    vault = Vault(settings.data.key_file)
    callers = open_callers(settings)
    token = private_file(settings.peers.token_file).decode().strip()
    register_secret(token)
    ids, metrics = RandomIds(), Metrics()
    peers: dict[str, AioPeer] = {
        service: (InventoryPeer if service == "inventory" else AioPeer)(
            service, settings.peers.addresses[service], token=token, tls=settings.peers.tls, ids=ids
        )
        for service in SERVICES
    }
    inventory = peers["inventory"]
    assert isinstance(inventory, InventoryPeer)
    database = open_database(settings.database.url)
    scrape = serve_metrics(metrics, settings.server.metrics_port) if settings.server.metrics_port else None
    try:
        require_current(database, "telemetry")
        given = Given(
            own=own,
            server=settings.server,
            database=database,
            logs={service: (peer, peer.address) for service, peer in peers.items()},
            signed=peers,
            inventory=inventory,
            callers=callers,
            rules=RULES,
            page_tokens=PageTokens(vault.derive("telemetry/page-tokens")),
            clock=SystemClock(),
            ids=ids,
            metrics=metrics,
        )
        async with running(given, failed) as ports:
            settle()
            _log.info(
                "serving", port=ports.grpc, rest=ports.rest, collector=ports.collector, introspect=ports.introspect
            )
            await _until(stop, die_with_parent=settings.server.die_with_parent)
            _log.info("draining", grace=settings.server.grace)
    finally:
        for peer in peers.values():
            await peer.close()
        if scrape is not None:
            scrape.shutdown()
            scrape.server_close()
        database.close()
    _log.info("stopped")
    if failures:
        raise failures[0]


async def _until(stop: asyncio.Event, *, die_with_parent: bool) -> None:
    parent = os.getppid()
    while not stop.is_set():
        try:
            async with asyncio.timeout(0.5 if die_with_parent else None):
                await stop.wait()
        except TimeoutError:
            if os.getppid() != parent:
                _log.warning("parent.gone")
                return


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        settings = Settings.read("telemetry", os.environ)
        configure(settings.log, "telemetry")
        uvloop.run(serve(settings, TelemetrySettings.read(os.environ)))
    except BmsError as error:
        _log.critical("telemetry.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
