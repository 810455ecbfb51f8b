# SPDX-License-Identifier: Apache-2.0
"""Our own collector: takes the messages of any Sandesh generator and hands them to a sink.

It behaves as the reference collector does where generators can tell: the handshake, data before it
dropped, a second introduction ignored, both sessions closed when two have one identity, a session closed on
the first broken frame. Where the reference crashes, this closes the session.

Memory is bounded: a session holds one unfinished frame and one message, for a while, and all sessions together so many
bytes. It reads on when the sink has taken that message, so a slow sink slows the generators down.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from telemetry.sandesh.errors import SandeshError
from telemetry.sandesh.framing import DEFAULT_LIMIT, FrameReader
from telemetry.sandesh.header import Identity
from telemetry.sandesh.reception import Announcement, Outcome, Received, Reception, answer
from telemetry.sandesh.settings import DEFAULT_PORT
from telemetry.sandesh.sockets import keep_alive

_READ: Final = 64 * 1024
_log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where messages go. Calls for one generator never overlap; an exception ends that generator's session."""

    async def admit(self, announcement: Announcement) -> None:
        """A generator has connected. Its UVEs follow, all of them."""

    async def store(self, message: Received) -> None:
        """A message of an admitted generator, in the order sent. Returns when it is safe."""

    async def forget(self, generator: Identity) -> None:
        """The generator's session is over: its UVEs are gone, its history stays."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """How the collector listens. Times are seconds.

    Attributes:
        identity: how it calls itself in its answers.
        host: address to listen on.
        port: 0 for any that is free.
        frame_limit: largest message taken, bytes.
        sessions: most sessions at a time; further ones are closed at once.
        introduction_timeout: for a session that has not introduced itself.
        frame_timeout: for a frame, from its first byte to its last.
        held: bytes of unfinished frames in all sessions together; above, the session that holds most is closed.
        grace: for the sink, at the end, to finish what it has begun.
        repair: see `telemetry.sandesh.decode.decode`.
    """

    identity: Identity
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    frame_limit: int = DEFAULT_LIMIT
    sessions: int = 1000
    introduction_timeout: float = 60.0
    frame_timeout: float = 120.0
    held: int = 256 * 1024 * 1024
    grace: float = 5.0
    repair: bool = True


@dataclass(frozen=True, slots=True)
class GeneratorState:
    """A connected generator, for people who look.

    Attributes:
        announcement: what it said when it connected.
        peer: its address.
        since: of the connection, microseconds since 1970.
        messages: taken so far.
        size: bytes taken so far, envelopes included.
        reads: in how many pieces they came.
        sent: bytes that it was answered.
        repaired: messages with characters that had to be replaced.
    """

    announcement: Announcement
    peer: str
    since: int
    messages: int
    size: int
    reads: int
    sent: int
    repaired: int


class _Session:
    """One connection."""

    def __init__(self, settings: CollectorSettings, writer: asyncio.StreamWriter, since: int) -> None:
        self.reception = Reception(repair=settings.repair)
        self.frames = FrameReader(settings.frame_limit)
        self.writer = writer
        self.since = since
        self.size = 0
        self.reads = 0
        self.sent = 0
        self.held = 0
        host, port = (writer.get_extra_info("peername") or ("", 0))[:2]
        self.peer = f"{host}:{port}"

    def abort(self) -> None:
        self.writer.transport.abort()


class Collector:
    """Listens while it is entered (``async with``).

    Args:
        settings: see there.
        sink: where messages go.
        clock: gives microseconds since 1970, UTC.
        tls: from `telemetry.sandesh.sockets.server_context`; plain TCP without.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        sink: Sink,
        clock: Callable[[], int],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._generators: dict[Identity, _Session] = {}
        self._answers = 0
        self._held = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._settings.host, self._settings.port, ssl=self._tls, limit=_READ
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for session in tuple(self._sessions):
            session.abort()
        if self._tasks:
            # They end by themselves, their connections being gone; unless the sink keeps them.
            _, kept = await asyncio.wait(self._tasks, timeout=self._settings.grace)
            for task in kept:
                task.cancel()
            await asyncio.gather(*kept, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens; useful when any free port was asked for."""
        if self._server is None:
            msg = "the collector does not listen yet"
            raise RuntimeError(msg)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def generators(self) -> tuple[GeneratorState, ...]:
        """The generators that are connected and have introduced themselves."""
        return tuple(
            GeneratorState(
                announcement=session.reception.announcement,
                peer=session.peer,
                since=session.since,
                messages=session.reception.outcomes[Outcome.MESSAGE],
                size=session.size,
                reads=session.reads,
                sent=session.sent,
                repaired=session.reception.repaired,
            )
            for session in self._generators.values()
            if session.reception.announcement is not None
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        session = _Session(self._settings, writer, self._clock())
        log = _log.bind(peer=session.peer)
        if len(self._sessions) >= self._settings.sessions:
            log.warning("collector.full", sessions=len(self._sessions))
            session.abort()
            return
        self._sessions.add(session)
        try:
            keep_alive(writer.get_extra_info("socket").fileno())
            await self._serve(session, reader, log)
        except SandeshError as error:
            log.warning("collector.bad_frame", error=str(error))
        except (OSError, TimeoutError) as error:
            log.info("collector.connection_lost", error=type(error).__name__)
        except Exception:
            # The sink failed. One generator's trouble is not the others'; it will connect and resync.
            log.exception("collector.session_failed")
        finally:
            self._sessions.discard(session)
            self._held -= session.held
            writer.close()
            await self._part(session, log)

    async def _serve(self, session: _Session, reader: asyncio.StreamReader, log: structlog.stdlib.BoundLogger) -> None:
        loop = asyncio.get_running_loop()
        begun: float | None = None
        async with asyncio.timeout(self._settings.introduction_timeout) as patience:
            while data := await reader.read(_READ):
                session.reads += 1
                if session.reception.announcement is not None:
                    patience.reschedule(None)  # a slow sink is not the generator's fault
                for frame in session.frames.feed(data):
                    begun = None
                    session.size += len(frame)
                    outcome, message = session.reception.take(frame)
                    generator = session.reception.announcement
                    if generator is None:
                        continue
                    if outcome is Outcome.INTRODUCED:
                        patience.reschedule(None)
                        if not await self._introduce(session, generator, log):
                            return
                    elif outcome is Outcome.MESSAGE:
                        await self._sink.store(Received(generator.identity, message, frame, self._clock()))
                self._hold(session)
                if session.reception.announcement is not None and session.held:
                    begun = loop.time() if begun is None else begun
                    patience.reschedule(begun + self._settings.frame_timeout)

    def _hold(self, session: _Session) -> None:
        """Counts what *session* holds; closes the session that holds most, should all together hold too much."""
        self._held += session.frames.buffered - session.held
        session.held = session.frames.buffered
        if self._held > self._settings.held:
            most = max(self._sessions, key=lambda each: each.held)
            _log.warning("collector.too_much_held", peer=most.peer, size=most.held, sessions=len(self._sessions))
            most.abort()

    async def _introduce(self, session: _Session, generator: Announcement, log: structlog.stdlib.BoundLogger) -> bool:
        """Admits a generator, unless another session has its name: then neither may stay."""
        other = self._generators.get(generator.identity)
        if other is not None:
            log.warning("collector.duplicate", generator=str(generator.identity), other=other.peer)
            other.abort()
            return False
        self._generators[generator.identity] = session
        await self._sink.admit(generator)
        self._answers += 1
        said = answer(self._settings.identity, self._clock(), self._answers)
        session.sent += len(said)
        session.writer.write(said)
        await session.writer.drain()
        log.info("collector.admitted", generator=str(generator.identity))
        return True

    async def _part(self, session: _Session, log: structlog.stdlib.BoundLogger) -> None:
        generator = session.reception.announcement
        if generator is None or self._generators.get(generator.identity) is not session:
            return
        try:
            await self._sink.forget(generator.identity)
        except Exception:
            log.exception("collector.forget_failed", generator=str(generator.identity))
        finally:
            # Only now may the name be used again, or the new session's UVEs would be forgotten.
            del self._generators[generator.identity]
        log.info("collector.parted", generator=str(generator.identity))
