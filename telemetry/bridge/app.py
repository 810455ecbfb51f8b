# SPDX-License-Identifier: Apache-2.0
"""The bridge as a whole: whose turn it is, its parts put together, and ended in order."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog
from aiohttp import web

from services.kernel.errors import InvalidField
from telemetry.bridge.bridge import PAUSE, Bridge
from telemetry.bridge.conf import BridgeSettings
from telemetry.bridge.ironic import Ironic
from telemetry.bridge.listening import Ear, Listening
from telemetry.sandesh.introspect_http import introspection
from telemetry.sandesh.sockets import server_context
from telemetry.sandesh.status import ConnectionStatus

PATIENCE: Final = 60.0
"""Seconds that a broker has to answer after the start, before we begin without it."""
_ANSWER: Final = 60.0
"""Seconds in which the loop has handled what listening brought."""
_STATUS: Final = {
    Ear.AWAY: ConnectionStatus.DOWN,
    Ear.STANDBY: ConnectionStatus.INIT,
    Ear.ACTIVE: ConnectionStatus.UP,
}

_log = structlog.get_logger("bms.bridge")


class _Duty:
    """Whether we are the bridge that is active, as far as listening knows."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self.changed = asyncio.Event()
        self._ours = False
        self.why = ""
        self._heard = False
        self._now: Ear | None = None
        self._bridge: Bridge | None = None
        self._ready = asyncio.Event()

    def serves(self) -> bool:
        """Whether we are."""
        return self._ours

    def told(self, now: Ear, reason: str) -> None:
        """Listening goes so now. Who is active stays so while the broker is away: nobody knows better than he."""
        if now is not self._now:
            self._now = now
            _log.info("bridge.listening", how=now.value)
        if now is not Ear.AWAY:
            self._heard, self._ours = True, now is Ear.ACTIVE
        self.why = reason
        if self._bridge is not None:
            self._bridge.connection("RabbitMQ", _STATUS[now], reason)
            if now is Ear.ACTIVE:
                # Only now: what changes from here on is told, and what changed before is listed.
                self._bridge.list_anew()
        self.changed.set()

    def lose_patience(self) -> None:
        """No broker has answered since the start: better a list now and then than nothing."""
        if not self._heard:
            _log.warning("bridge.without_broker")
            self._ours = True
            self.changed.set()

    def give(self, bridge: Bridge | None) -> None:
        """Notifications are for *bridge*."""
        self._bridge = bridge
        if bridge is None:
            self._ready.clear()
            return
        bridge.connection("RabbitMQ", _STATUS[Ear.ACTIVE if self._heard else Ear.AWAY], self.why)
        self._ready.set()

    async def take(self, bodies: list[bytes]) -> list[str]:
        """As `Bridge.take`, once there is one."""
        await _either(self.stop, self._ready)
        if self._bridge is None:
            # Not acknowledged: they come again, to whoever is next.
            raise ConnectionAbortedError
        return self._bridge.take(bodies)

    async def wait(self) -> None:
        """Waits until something changed."""
        await _either(self.stop, self.changed)
        self.changed.clear()


async def run(
    settings: BridgeSettings,
    stop: asyncio.Event,
    *,
    clock: Callable[[], int],
    least: float = PAUSE,
    patience: float = PATIENCE,
) -> None:
    """Runs until *stop*; where several do, all but one wait.

    Raises:
        InvalidField: the port of the introspection pages is taken.
    """
    loop, duty = asyncio.get_running_loop(), _Duty(stop)
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    def told(now: Ear, reason: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(duty.told, now, reason)

    def handle(bodies: list[bytes]) -> list[str]:
        return asyncio.run_coroutine_threadsafe(duty.take(bodies), loop).result(_ANSWER)

    listening = Listening(settings.rabbit, settings.queues, handle, told)
    listening.start()
    waiting = loop.call_later(patience, duty.lose_patience)
    try:
        while not stop.is_set():
            await duty.wait()
            if not duty.serves() or stop.is_set():
                continue
            async with active(settings, clock, failed, least) as bridge:
                _log.info("bridge.active", introspect=settings.introspect[1])
                duty.give(bridge)
                while duty.serves() and not stop.is_set():
                    await duty.wait()
                duty.give(None)
                _log.info("bridge.ended")
    finally:
        waiting.cancel()
        # In a thread: it may wait for an answer of ours.
        await asyncio.to_thread(listening.stop)
    if failures:
        raise failures[0]


@asynccontextmanager
async def active(
    settings: BridgeSettings, clock: Callable[[], int], failed: Callable[[BaseException], None], least: float = PAUSE
) -> AsyncIterator[Bridge]:
    """A bridge that lists and tells its collector, until the block ends.

    Args:
        failed: called with what ended a part that should not end.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("part.failed", part=task.get_name(), exc_info=error)
            failed(error)

    bridge = Bridge(settings, Ironic(settings.login), clock, least=least)
    async with AsyncExitStack() as ending:
        await _introspect(settings, bridge, ending)
        sending = asyncio.create_task(bridge.generator.run(), name="generator")
        listing = asyncio.create_task(bridge.list_for_ever(), name="lister")
        for task in (sending, listing):
            task.add_done_callback(ended)
        try:
            yield bridge
        finally:
            listing.cancel()
            bridge.generator.stop()
            await asyncio.wait({sending, listing}, timeout=5.0)
            sending.cancel()


async def _introspect(settings: BridgeSettings, bridge: Bridge, ending: AsyncExitStack) -> None:
    pages = introspection(bridge.generator.session, settings.identity.module)
    runner = web.AppRunner(pages, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    ending.push_async_callback(runner.cleanup)
    host, port = settings.introspect
    tls = server_context(settings.introspect_tls) if settings.introspect_tls else None
    if tls is not None:
        # Readers of these pages show no certificates.
        tls.verify_mode = ssl.CERT_NONE
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError:
        raise InvalidField(
            "DEFAULTS.introspect_port",
            f"{host}:{port} cannot be listened at",
            remedy="End who has it, or give another.",
        ) from None


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
