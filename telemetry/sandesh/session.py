# SPDX-License-Identifier: Apache-2.0
"""A generator's session with its collectors, without a socket or a clock.

Events go in, actions come out; `telemetry.sandesh.generator` performs them. Every state owns at most
one timer, and every connection attempt has a number, so that late news of an old one is recognised.

A UVE is kept in the cache and sent again whole after every answer of a collector, so none is lost.
Other messages are lost unless a session is established and its queue has room: `ClientSession.log`
says what became of each.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from telemetry.sandesh.actions import Action, CancelTimer, Connect, Disconnect, Fate, SetTimer, Write
from telemetry.sandesh.decode import Decoded, decode
from telemetry.sandesh.encode import Values, body_text
from telemetry.sandesh.errors import DecodeError, FrameError
from telemetry.sandesh.framing import FrameReader, frame
from telemetry.sandesh.greeting import accepted, hello, is_answer
from telemetry.sandesh.header import header_of, header_text
from telemetry.sandesh.ledger import Ledger
from telemetry.sandesh.messages import (
    NODE_STATUS_UVE,
    SANDESH_CTRL_CLIENT_TO_SERVER,
    SANDESH_MODULE_CLIENT_TRACE,
)
from telemetry.sandesh.rotation import Rotation
from telemetry.sandesh.schema import Level, Message
from telemetry.sandesh.sending import Sending
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.states import Event, State, after
from telemetry.sandesh.status import Connection, ConnectionStatus, client_state, node_status
from telemetry.sandesh.uve import Outgoing, Ref, UveCache
from telemetry.sandesh.watermarks import KIB, Watermarks

RESYNC_BATCH: Final = 64
"""Most objects that are written at once during a resync; the next follow when the queue is short again."""
RESYNC_ROOM: Final = 512 * KIB
"""A queue is short below this many bytes, and a batch ends with the object that reaches it."""
_MICROSECONDS: Final = 1_000_000

Acknowledge: TypeAlias = Callable[[str, str, str, int], str]
"""Takes a person's word that he knows of an alarm (table, name, type, since when); answers what is wrong with it."""


class ClientSession:
    """One generator. All times are microseconds since 1970.

    Attributes:
        marks: what is dropped now, and when a session was given up.
        dscp: class of service of its connections, 0 for the system's.

    Args:
        chance: see `Rotation`.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        messages: tuple[Message, ...] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.cache = UveCache((SANDESH_MODULE_CLIENT_TRACE, NODE_STATUS_UVE, *messages))
        self.state = State.STOPPED
        self.attempt = 0
        self.established = 0
        self.ledger = Ledger()
        self.sending = Sending()
        self.acknowledge: Acknowledge = lambda _table, _name, _type, _since: "Could not process Alarm Ack request"
        self._settings = settings
        self._rotation = Rotation(settings, chance)
        self._collector_name = ""
        self._connects = 0
        self._since = 0
        self._timer = 0
        self._reader = FrameReader(settings.frame_limit)
        self.marks = Watermarks()
        self.dscp = 0
        self._backlog: deque[Ref] = deque()
        self._resync_due = False
        self._connections: dict[tuple[str, str], Connection] = {}
        self.longest = 0

    # --- what is asked of us ---------------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """Whether a resync has something to send: call `pump` when the queue is short."""
        return self.sending.open and (self._resync_due or bool(self._backlog))

    @property
    def waiting(self) -> int:
        """Objects that a resync has yet to send."""
        return len(self._backlog)

    @property
    def collector(self) -> Address | None:
        """The collector in use or being tried."""
        return self._rotation.address

    def start(self, now: int) -> list[Action]:
        """Begins to look for a collector."""
        return self._happen(Event.START, now)

    def stop(self, now: int) -> list[Action]:
        """Ends the session. What is queued is still sent."""
        return self._happen(Event.STOP, now)

    def move(self, collectors: Iterable[Address], now: int) -> list[Action]:
        """Takes another list of collectors. A session with one that is still on it goes on."""
        if self._rotation.move(tuple(collectors), using=self.state not in {State.IDLE, State.STOPPED}):
            return self._about_us(now)
        return self._happen(Event.MOVED, now)

    def uve(self, message: Message, changes: Values, now: int, queued: int, table: str | None = None) -> list[Action]:
        """Merges *changes* into an object and tells the collector. For the errors see `UveCache.update`."""
        return self._send((self.cache.update(message, changes, table),), now, queued)

    def replace(self, message: Message, whole: Values, now: int, queued: int, table: str | None = None) -> list[Action]:
        """Makes an object be exactly *whole* and tells what changed. For the errors see `UveCache.update`."""
        return self._send(self.cache.replace(message, whole, table), now, queued)

    def delete(self, message: Message, key: Values, now: int, queued: int, table: str | None = None) -> list[Action]:
        """Deletes an object. For the errors see `UveCache.delete`."""
        return self._send(self.cache.delete(message, key, table), now, queued)

    def log(self, message: Message, values: Values, now: int, queued: int) -> tuple[Fate, list[Action]]:
        """Sends a message that is no UVE, if it can be sent now.

        Raises:
            EncodeError: a value its field cannot hold; nothing is sent or counted.
        """
        body = body_text(message, values)
        self.marks.observe(queued)
        fate: Fate | None = Fate.NO_SESSION
        if self.state is State.ESTABLISHED:
            fate = self.sending.refuses(message, now) if self.marks.admits(message.level) else Fate.QUEUE_LEVEL
        if fate is not None:
            self._drop(Outgoing(message, body, 0), fate, now)
            return fate, []
        return Fate.QUEUED, [self._write(Outgoing(message, body, self.cache.next_number(message)), now)]

    def connection(self, connection: Connection, now: int, queued: int) -> list[Action]:
        """Tells of another connection of this process; it becomes part of our node's status."""
        connections = {**self._connections, (connection.type, connection.name): connection}
        outgoing = self._node_status(connections)
        self._connections = connections
        return self._send(outgoing, now, queued)

    def pump(self, now: int, queued: int) -> list[Action]:
        """Goes on with a resync, or begins one that is due since UVEs had to be dropped."""
        self.marks.observe(queued)
        if self.state is not State.ESTABLISHED or queued >= RESYNC_ROOM:
            return []
        if self._resync_due:
            self._resync({})
        return self._batch(now)

    # --- what happens to us ----------------------------------------------------------------------

    def connected(self, attempt: int, now: int) -> list[Action]:
        """The connection is open."""
        return self._happen(Event.CONNECTED, now) if attempt == self.attempt else []

    def connect_failed(self, attempt: int, now: int) -> list[Action]:
        """The connection could not be opened."""
        return self._happen(Event.CONNECT_FAILED, now) if attempt == self.attempt else []

    def closed(self, attempt: int, now: int) -> list[Action]:
        """The connection is gone."""
        return self._happen(Event.CLOSED, now) if attempt == self.attempt else []

    def expired(self, number: int, now: int) -> list[Action]:
        """A timer has run out."""
        return self._happen(Event.TIMER, now) if number == self._timer else []

    def received(self, attempt: int, data: bytes, now: int) -> list[Action]:
        """Bytes came in."""
        if attempt != self.attempt or self.state not in {State.CLIENT_INIT, State.ESTABLISHED}:
            return []
        actions: list[Action] = []
        try:
            for one in self._reader.feed(data):
                actions += self._take(decode(one), now)
                if attempt != self.attempt or self.state not in {State.CLIENT_INIT, State.ESTABLISHED}:
                    return actions
        except (FrameError, DecodeError):
            actions += self._happen(Event.BAD_DATA, now)
        return actions

    def _take(self, message: Decoded, now: int) -> list[Action]:
        if not is_answer(message):
            return []
        known = accepted(message)
        if known is None:
            return self._happen(Event.CTRL_REFUSED, now)
        self._collector_name = message.header.source
        return self._happen(Event.CTRL_ACCEPTED, now, known)

    # --- moving between states -------------------------------------------------------------------

    def _happen(self, event: Event, now: int, known: Mapping[str, int] | None = None) -> list[Action]:
        state = after(self.state, event)
        if state is None:
            return []
        before, self.state = self.state, state
        self.ledger.happened(event, before, state, now)
        match before, state:
            case State.ESTABLISHED, State.ESTABLISHED:
                actions = self._stay(event, now, known)
            case _, State.CONNECT:
                actions = self._leave(before) + self._connect()
            case _, State.CLIENT_INIT:
                actions = self._introduce(now)
            case _, State.ESTABLISHED:
                actions = self._establish(now, known or {})
            case _, State.IDLE:
                actions = self._leave(before) + self._hold(before, event, now)
            case _:
                actions = [*self._leave(before, flush=True), CancelTimer()]
        if self.state is not before and self.state is not State.ESTABLISHED:
            self._describe(f"{before} to {self.state} on {event.value}")
            self._about_us(now)
        return actions

    def _stay(self, event: Event, now: int, known: Mapping[str, int] | None) -> list[Action]:
        if event is Event.TIMER:
            return [self._set_timer(self._settings.tick), *self._about_us(now)]
        self._resync(known or {})
        return self._batch(now)

    def _connect(self) -> list[Action]:
        self.attempt += 1
        address = self._rotation.take()
        if address is None:
            # Nothing to try: wait for a list.
            self.state = State.IDLE
            return [CancelTimer()]
        return [Connect(self.attempt, address), self._set_timer(self._settings.connect_timeout)]

    def _introduce(self, now: int) -> list[Action]:
        self._connects += 1
        self._reader = FrameReader(self._settings.frame_limit)
        self.marks.reset()
        message = SANDESH_CTRL_CLIENT_TO_SERVER
        body = body_text(message, hello(self._settings, self._connects, self.cache.types))
        words = self._write(Outgoing(message, body, self.cache.next_number(message)), now)
        return [words, self._set_timer(self._settings.init_timeout)]

    def _establish(self, now: int, known: Mapping[str, int]) -> list[Action]:
        self._since = now
        self.established += 1
        self._describe("ClientInit to Established on EvSandeshCtrlMessageRecv")
        # Brought up to date before the resync, which then carries it.
        self._own_state()
        self._node_status(self._connections)
        self._resync(known)
        return [self._set_timer(self._settings.tick), *self._batch(now)]

    def _leave(self, before: State, *, flush: bool = False) -> list[Action]:
        self._backlog.clear()
        self._collector_name = ""
        if before in {State.STOPPED, State.IDLE}:
            return []
        # News of the old connection must not reach the next one.
        self.attempt += 1
        return [Disconnect(flush=flush)]

    def _hold(self, before: State, event: Event, now: int) -> list[Action]:
        settled = before is State.ESTABLISHED and now - self._since >= self._settings.settle * _MICROSECONDS
        return [self._set_timer(self._rotation.pause(settled=settled, refused=event is Event.CTRL_REFUSED))]

    def _set_timer(self, seconds: float) -> SetTimer:
        self._timer += 1
        return SetTimer(seconds, self._timer)

    # --- sending ---------------------------------------------------------------------------------

    def _send(self, outgoing: Iterable[Outgoing], now: int, queued: int | None) -> list[Action]:
        """UVEs: what cannot go out now is in the cache, and goes out with the next resync."""
        messages = tuple(outgoing)
        if queued is not None:
            self.marks.observe(queued)
        if self.state is not State.ESTABLISHED:
            return []
        full = not self.marks.admits(Level.SYS_UVE)
        if self.sending.open and not full:
            return [self._write(message, now) for message in messages]
        for message in messages:
            self._drop(message, Fate.QUEUE_LEVEL if full else Fate.SENDING_DISABLED, now)
        self._resync_due = True
        if not full:
            return []
        return self._happen(Event.OVERFLOW, now) if self.marks.may_close(now) else []

    def _framed(self, outgoing: Outgoing, now: int) -> bytes:
        header = header_of(outgoing.message, self._settings.identity, now, outgoing.sequence, sync=outgoing.sync)
        return frame((header_text(header) + outgoing.body).encode())

    def _drop(self, outgoing: Outgoing, fate: Fate, now: int) -> None:
        self.ledger.drop(outgoing.message, fate, len(self._framed(outgoing, now)), now)

    def _write(self, outgoing: Outgoing, now: int) -> Write:
        data = self._framed(outgoing, now)
        self.ledger.wrote(outgoing.message, outgoing.sequence, len(data), now)
        return Write(data)

    def _resync(self, known: Mapping[str, int]) -> None:
        self._resync_due = False
        self._backlog = deque(self.cache.stale(known))
        self.longest = max(self.longest, len(self._backlog))

    def _batch(self, now: int) -> list[Action]:
        batch: list[Action] = []
        size = 0
        while self.sending.open and self._backlog and len(batch) < RESYNC_BATCH and size < RESYNC_ROOM:
            outgoing = self.cache.again(self._backlog.popleft())
            if outgoing is not None:
                write = self._write(outgoing, now)
                size += len(write.data)
                batch.append(write)
        return batch

    # --- about ourselves -------------------------------------------------------------------------

    def _about_us(self, now: int) -> list[Action]:
        return self._send((*self._own_state(), *self._node_status(self._connections)), now, None)

    def _describe(self, change: str) -> None:
        if self.state is State.STOPPED:
            # It looks for no collector, so nothing is wrong with having none: a replica that waits is functional.
            self._connections.pop(("Collector", "Collector"), None)
            return
        match self.state:
            case State.ESTABLISHED:
                status = ConnectionStatus.UP
            case State.CLIENT_INIT:
                status = ConnectionStatus.INIT
            case _:
                status = ConnectionStatus.DOWN
        addresses = () if self.collector is None else (str(self.collector),)
        self._connections["Collector", "Collector"] = Connection("Collector", "Collector", status, addresses, change)

    def _node_status(self, connections: Mapping[tuple[str, str], Connection]) -> tuple[Outgoing, ...]:
        status = node_status(self._settings.identity, connections.values())
        return self.cache.replace(NODE_STATUS_UVE, status, self._settings.node_table)

    def _own_state(self) -> tuple[Outgoing, ...]:
        state = client_state(
            self._settings,
            state=self.state,
            connects=self._connects,
            collector_name=self._collector_name,
            collector=self.collector,
            collectors=self._rotation.collectors,
            queued=len(self._backlog),
            longest=self.longest,
            ledger=self.ledger,
        )
        return (self.cache.update(SANDESH_MODULE_CLIENT_TRACE, state),)
