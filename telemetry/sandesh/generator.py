# SPDX-License-Identifier: Apache-2.0
"""The socket and the clock of a generator's session."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import structlog

from telemetry.sandesh.actions import Action, CancelTimer, Connect, Disconnect, Fate, SetTimer, Write
from telemetry.sandesh.encode import Values
from telemetry.sandesh.errors import EncodeError
from telemetry.sandesh.fit import exposes, fit
from telemetry.sandesh.messages import NODE_STATUS_UVE, SANDESH_MODULE_CLIENT_TRACE
from telemetry.sandesh.schema import Message
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.sockets import keep_alive
from telemetry.sandesh.states import State
from telemetry.sandesh.status import Connection

_READ: Final = 64 * 1024
_FLUSH: Final = 5.0
"""Seconds that a last flush may take."""
_SAID: Final = 1000
"""How many complaints about values are remembered, to be made once."""
T = TypeVar("T")
_AGAIN: Final = 0.1
"""Seconds until a message that could not be sent is tried again."""
_log = structlog.get_logger(__name__)


class Generator:
    """Keeps one session with one of several collectors, for as long as `run` runs.

    Everything else may be called at any time from the event loop's thread, before `run` too: UVEs are
    kept and sent when there is a session.

    Args:
        settings: see there.
        clock: gives microseconds since 1970, UTC.
        messages: the UVE types we shall send, to be named in the handshake.
        tls: from `telemetry.sandesh.sockets.client_context`; plain TCP without.
        dscp: class of service of the connection, 0 to 63.
        chance: see `ClientSession`.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        clock: Callable[[], int],
        messages: tuple[Message, ...] = (),
        *,
        tls: ssl.SSLContext | None = None,
        dscp: int | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._session = ClientSession(settings, messages, chance)
        self._session.ledger.echo = lambda name, sequence: _log.info("sandesh.sent", message=name, sequence=sequence)
        self._session.dscp = dscp or 0
        self._clock = clock
        self._tls = tls
        self._dscp = dscp
        self._writer: asyncio.StreamWriter | None = None
        self._connection: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._pumping = False
        self._said: set[tuple[str, str, tuple[str, ...]]] = set()

    # --- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the session until `stop`, then sends what is queued and returns. May be run again then."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._perform(self._session.start(self._clock()))
            try:
                await self._stopping.wait()
            finally:
                self._perform(self._session.stop(self._clock()))
        self._tasks = None
        self._stopping.clear()

    def forget(self) -> None:
        """Forgets all that was told but of itself: somebody else tells it now. Not while it runs."""
        self._session.cache.clear(keep=(SANDESH_MODULE_CLIENT_TRACE, NODE_STATUS_UVE))

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    # --- what others may know --------------------------------------------------------------------

    @property
    def session(self) -> ClientSession:
        """The session itself, for its cache, its state and its counts. To be read, not driven."""
        return self._session

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""
        return 0 if self._writer is None else self._writer.transport.get_write_buffer_size()

    async def established(self) -> int:
        """Waits for a session and gives its number, counted from 1.

        A new number means that what was sent shortly before the old session ended may be lost.
        """
        while self._session.state is not State.ESTABLISHED:
            await self._changed.wait()
        return self._session.established

    # --- sending ---------------------------------------------------------------------------------

    def update(self, message: Message, changes: Values, table: str | None = None) -> None:
        """Merges *changes* into a UVE.

        Here and below: values that do not fit their fields are made to (`telemetry.sandesh.fit`), and that is logged.

        Raises:
            EncodeError: no key.
        """
        self._perform(
            self._fitted(
                message, changes, lambda fit: self._session.uve(message, fit, self._clock(), self.queued, table)
            )
        )

    def replace(self, message: Message, whole: Values, table: str | None = None) -> None:
        """Makes a UVE be exactly *whole*; sends what changed. For the errors see `update`."""
        self._perform(
            self._fitted(
                message, whole, lambda fit: self._session.replace(message, fit, self._clock(), self.queued, table)
            )
        )

    def delete(self, message: Message, key: Values, table: str | None = None) -> None:
        """Deletes a UVE. For the errors see `UveCache.delete`."""
        self._perform(self._session.delete(message, key, self._clock(), self.queued, table))

    def log(self, message: Message, values: Values) -> Fate:
        """Sends a message that is no UVE, now or never."""
        fate, actions = self._fitted(
            message, values, lambda fit: self._session.log(message, fit, self._clock(), self.queued)
        )
        self._perform(actions)
        return fate

    async def deliver(self, message: Message, values: Values) -> int:
        """Sends a message that is no UVE, however long it takes to get a session with room.

        The protocol has no acknowledgement: when this returns, the bytes are with the operating
        system, or a step before it while the queue is short.

        Returns:
            the number of the session that took it; see `established`.
        """
        while True:
            number = await self.established()
            if self.log(message, values) is Fate.QUEUED:
                await self._drained()
                if self._session.established == number and self._session.state is State.ESTABLISHED:
                    return number
            else:
                await self._drained()
                # Switched off, or the queue is long: nobody says when that ends.
                await asyncio.sleep(_AGAIN)

    def connection(self, connection: Connection) -> None:
        """Tells how another connection of this process is; it becomes part of our node's status."""
        self._perform(self._session.connection(connection, self._clock(), self.queued))

    def move(self, collectors: Iterable[Address]) -> None:
        """Takes another list of collectors."""
        self._perform(self._session.move(collectors, self._clock()))

    def _fitted(self, message: Message, values: Values, send: Callable[[Values], T]) -> T:
        """Does *send* with values that fit; they nearly always do as they are."""
        if not exposes(message, values):
            try:
                return send(values)
            except EncodeError as error:
                _log.debug("sandesh.unfit", message=message.name, field=error.field)
        fitted, notes = fit(message, values)
        said = (message.name, str(values.get("name", ""))[:100], notes)
        if notes and said not in self._said:
            if len(self._said) >= _SAID:
                self._said.clear()
            self._said.add(said)
            _log.warning("sandesh.fitted", message=message.name, object=said[1], fields=list(notes[:20]))
        return send(fitted)

    # --- performing ------------------------------------------------------------------------------

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Write(data):
                    if self._writer is not None:
                        self._writer.write(data)
                case Connect(attempt, address):
                    self._connect(attempt, address)
                case Disconnect(flush):
                    self._disconnect(flush=flush)
                case SetTimer(seconds, number):
                    self._cancel_timer()
                    self._timer = asyncio.get_running_loop().call_later(seconds, self._expired, number)
                case CancelTimer():
                    self._cancel_timer()
        if self._session.unsent and self._session.state is State.ESTABLISHED:
            self._begin_to_pump()
        self._changed.set()
        self._changed = asyncio.Event()

    def _expired(self, number: int) -> None:
        self._perform(self._session.expired(number, self._clock()))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _connect(self, attempt: int, address: Address) -> None:
        if self._tasks is not None:
            self._connection = self._tasks.create_task(self._converse(attempt, address), name=f"sandesh {address}")

    def _disconnect(self, *, flush: bool) -> None:
        connection, self._connection = self._connection, None
        writer, self._writer = self._writer, None
        if writer is not None and flush:
            # The conversation ends by itself when the transport has sent all and closed, or is out of time.
            writer.close()
            asyncio.get_running_loop().call_later(_FLUSH, writer.transport.abort)
        elif connection is not None:
            if writer is not None:
                writer.transport.abort()
            connection.cancel()

    async def _converse(self, attempt: int, address: Address) -> None:
        log = _log.bind(collector=str(address), attempt=attempt)
        session = self._session
        try:
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=self._tls)
        except (OSError, UnicodeError) as error:  # the latter from host names that are none
            log.warning("sandesh.connect_failed", error=type(error).__name__)
            self._perform(session.connect_failed(attempt, self._clock()))
            return
        try:
            if attempt != session.attempt:
                return
            keep_alive(writer.get_extra_info("socket").fileno(), self._dscp)
            self._writer = writer
            log.info("sandesh.connected")
            self._perform(session.connected(attempt, self._clock()))
            while data := await reader.read(_READ):
                self._perform(session.received(attempt, data, self._clock()))
        except OSError as error:
            log.warning("sandesh.connection_lost", error=type(error).__name__)
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()
            log.info("sandesh.closed")
        self._perform(session.closed(attempt, self._clock()))

    # --- the queue -------------------------------------------------------------------------------

    def _begin_to_pump(self) -> None:
        if not self._pumping and self._tasks is not None:
            self._pumping = True
            self._tasks.create_task(self._pump(), name="sandesh resync")

    async def _pump(self) -> None:
        """Sends a resync batch by batch, as fast as the collector reads."""
        try:
            while self._session.unsent and self._session.state is State.ESTABLISHED:
                await self._drained()
                self._perform(self._session.pump(self._clock(), self.queued))
                await asyncio.sleep(0)
        finally:
            self._pumping = False

    async def _drained(self) -> None:
        """Waits until the queue is short or the connection gone."""
        if self._writer is None:
            return
        try:
            await self._writer.drain()
        except OSError:
            # The reader sees the same end of the connection and reports it.
            return
