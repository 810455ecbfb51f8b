# SPDX-License-Identifier: Apache-2.0
"""A collector on the loopback, and generators without manners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from telemetry.sandesh.collector import Collector, CollectorSettings
from telemetry.sandesh.encode import encode
from telemetry.sandesh.framing import FrameReader
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import SANDESH_CTRL_CLIENT_TO_SERVER
from tests.telemetry.sandesh.fakes import Clock, FakeSink
from tests.telemetry.sandesh.vectors import BY_NAME, FULL, VECTORS

THEM = Identity("analytics-1", "contrail-collector", "Analytics", "0")
HELLO = BY_NAME["22-ctrl-c2s-no-uves"].frame
DATA = [vector.frame for vector in VECTORS if vector.told["header"]["Context"] != "ctrl"]
HEADER = FULL.frame[29 : FULL.frame.find(b"</SandeshHeader>") + len(b"</SandeshHeader>")]
G = "cfg-node-1.example.net:Config:ironic-notification-manager:0"


def run(scenario: Callable[[], Coroutine[Any, Any, None]], *, loop: Callable[[], Any] | None = None) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            try:
                await scenario()
            finally:
                while PEERS:
                    await PEERS.pop().leave()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


@asynccontextmanager
async def collector(sink: FakeSink, **changes: Any) -> AsyncIterator[Collector]:
    async with Collector(CollectorSettings(identity=THEM, port=0, **changes), sink, Clock()) as found:
        yield found


class Peer:
    """A generator without manners: sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()

    @classmethod
    async def of(cls, found: Collector) -> Peer:
        peer = cls(*await asyncio.open_connection("127.0.0.1", found.port))
        PEERS.append(peer)
        return peer

    async def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self._writer.write(chunk)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> bytes:
        while True:
            for one in self._frames.feed(await self._reader.read(1024)):
                return one

    async def introduce(self, words: bytes = HELLO) -> bytes:
        """Says who it is; answers what the collector says to that."""
        await self.send(words)
        return await self.answer()

    async def ended(self) -> bool:
        """Waits for the collector to close."""
        try:
            return await self._reader.read() == b""
        except ConnectionError:
            return True

    async def leave(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


PEERS: list[Peer] = []
"""Those that a scenario has made; closed when it ends."""


def hello(**changes: Any) -> bytes:
    values = {**BY_NAME["22-ctrl-c2s-no-uves"].values, **changes}
    return encode(BY_NAME["22-ctrl-c2s-no-uves"].header, SANDESH_CTRL_CLIENT_TO_SERVER, values)
