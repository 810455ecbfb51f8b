# SPDX-License-Identifier: Apache-2.0
"""Two services' genuine logs behind the genuine runtime, written to all the while, and a wire to them to cut."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from bms.event.v1 import event_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc
from bms.lifecycle.v1 import lifecycle_service_pb2_grpc
from services.access import RULES
from services.kernel.clock import RandomIds, SystemClock
from services.kernel.events import Event, Head
from services.runtime.auth import Callers
from services.runtime.database import Database, Transaction, open_database
from services.runtime.eventlog import EventLog, serve_list_events
from services.runtime.interceptors import current_call, interceptors
from services.runtime.server import build_server, serve
from services.runtime.settings import ServerSettings
from tests.support.stores import _sqlite_copy
from tests.telemetry.builders import OTHER, SERVER

STREAMS = {
    "lifecycle": (f"servers/{SERVER}", f"servers/{OTHER}"),
    "ipam": tuple(f"vrfs/r/addresses/10.0.0.{number}" for number in range(1, 6)),
}
STATES = ("enrolled", "verifying", "inspecting", "cleaning", "available", "active")


class Source:
    """One service's log.

    Attributes:
        told: (stream, sequence) of every event, in the order of the log.
    """

    def __init__(self, service: str, folder: Path) -> None:
        self.service = service
        self.told: list[tuple[str, int]] = []
        self._database: Database = open_database(_sqlite_copy("tests.runtime.sample", folder / f"{service}.sqlite"))
        self.log = EventLog(self._database, RandomIds(), chained=True)
        self._heads = dict.fromkeys(STREAMS[service], Head())

    def append(self, chance: random.Random, count: int = 1) -> None:
        """*count* more events, of any streams, in one transaction."""
        streams = [chance.choice(STREAMS[self.service]) for _ in range(count)]
        events = [self._event(stream, chance) for stream in streams]

        def write(tx: Transaction) -> dict[str, Head]:
            heads = dict(self._heads)
            for event in events:
                heads[event.stream] = self.log.append(tx, event, heads[event.stream])
            return heads

        before, self._heads = self._heads, self._database.transact(write, label="test")
        for stream in streams:
            before[stream] = Head(before[stream].sequence + 1)
            self.told.append((stream, before[stream].sequence))

    def _event(self, stream: str, chance: random.Random) -> Event:
        of_server = self.service == "lifecycle"
        return Event(
            stream,
            "server.state_changed" if of_server else "address.leased",
            SystemClock().now(),
            "anna",
            state_before=chance.choice(STATES) if of_server else "",
            state_after=chance.choice(STATES) if of_server else "",
            project="" if of_server else "demo",
        )

    def close(self) -> None:
        """Closes its database."""
        self._database.close()


class _Ipam(ipam_service_pb2_grpc.IpamServiceServicer):
    def __init__(self, log: EventLog) -> None:
        self._log = log

    def ListEvents(  # noqa: N802 -- the contract's name
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        return serve_list_events(self._log, request, current_call().caller)


class _Lifecycle(lifecycle_service_pb2_grpc.LifecycleServiceServicer):
    def __init__(self, log: EventLog) -> None:
        self._log = log

    def ListEvents(  # noqa: N802 -- the contract's name
        self, request: event_pb2.ListEventsRequest, context: grpc.ServicerContext
    ) -> event_pb2.ListEventsResponse:
        return serve_list_events(self._log, request, current_call().caller)


@contextmanager
def serving(sources: dict[str, Source], callers: Callers) -> Iterator[int]:
    """Serves both; gives their port."""
    ipam, lifecycle = _Ipam(sources["ipam"].log), _Lifecycle(sources["lifecycle"].log)  # type: ignore[abstract]  # their logs alone are served
    bound = build_server(
        ServerSettings("127.0.0.1:0", grace=0.2),
        [
            (ipam_service_pb2_grpc.add_IpamServiceServicer_to_server, ipam),
            (lifecycle_service_pb2_grpc.add_LifecycleServiceServicer_to_server, lifecycle),
        ],
        interceptors(callers, RULES),
    )
    stop = threading.Event()
    drain = tuple(source.log.drain for source in sources.values())
    thread = threading.Thread(target=serve, args=(bound,), kwargs={"stop": stop, "drain": drain})
    thread.start()
    try:
        yield bound.port
    finally:
        stop.set()
        thread.join()


class Wire:
    """Passes bytes on to the port *to* of the loopback until it is cut, on a thread of its own."""

    def __init__(self, port: int) -> None:
        self.to = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._pass, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Breaks every connection, in the midst of whatever is said."""
        self._loop.call_soon_threadsafe(self._abort)

    def close(self) -> None:
        """Passes nothing on any more."""

        async def end() -> None:
            self._server.close()
            self._abort()
            # They end by themselves, their connections being gone.
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _abort(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, other_writer}
        self._writers |= ends
        try:
            await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # cut, as it shall be
    finally:
        writer.transport.abort()
