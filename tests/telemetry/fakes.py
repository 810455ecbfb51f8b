# SPDX-License-Identifier: Apache-2.0
"""Services and sessions with state, for tests to disturb."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from services.kernel.errors import PeerUnavailable
from services.runtime.database import Transaction
from telemetry.events import Followed
from telemetry.sandesh.encode import Values, body_text
from telemetry.sandesh.schema import Message
from telemetry.sandesh.uve import UveCache
from telemetry.store import Store

T = TypeVar("T")


class CrashError(BaseException):
    """The process is gone; nothing catches this."""


async def until(holds: Callable[[], bool]) -> None:
    """Waits, for what happens on threads and sockets."""
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


class Turns:
    """Counts how often the loop does something else, from now on."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1

    def end(self) -> None:
        """Counts no more."""
        self._task.cancel()


class FakeLog:
    """A service's event log."""

    def __init__(self, service: str, events: Iterable[event_pb2.StoredEvent] = ()) -> None:
        self.service = service
        self.events = list(events)
        self.down = False
        self.lost_answers = 0
        self.repeats = False
        self.holes: dict[int, int] = {}
        self.news = asyncio.Event()
        self.asked: list[int] = []
        self.signed: list[event_pb2.SignedCheckpoint] = []

    def append(self, *events: event_pb2.StoredEvent) -> None:
        self.events += events
        self.news.set()
        self.news = asyncio.Event()

    def restore(self, position: int) -> None:
        """The database of a backup that was made when *position* was the last."""
        self.events = [event for event in self.events if event.position <= position]

    async def list(self, after: int, *, limit: int, wait: int) -> Sequence[Followed]:
        """As services.runtime.eventlog serves it, disturbed as told."""
        self.asked.append(after)
        if self.down or self.lost_answers:
            self.lost_answers = max(0, self.lost_answers - 1)
            msg = f"{self.service} is away"
            raise PeerUnavailable(msg, peer=self.service)
        if not any(event.position > after for event in self.events) and wait:
            try:
                async with asyncio.timeout(min(wait, 0.05)):
                    await self.news.wait()
            except TimeoutError:
                return []
        begin = max(0, after - 2) if self.repeats and limit > 1 else after
        found = [event for event in self.events if event.position > begin and not self._hidden(event.position)]
        return [Followed.of(self.service, event) for event in found[:limit]]

    async def checkpoints(self, after: int = 0, log: str = "") -> Sequence[event_pb2.SignedCheckpoint]:
        """As services.runtime.checkpoint_servicer serves them."""
        if self.down:
            msg = f"{self.service} is away"
            raise PeerUnavailable(msg, peer=self.service)
        if not log:
            return self.signed[-1:]
        read = [(each, event_pb2.Checkpoint.FromString(each.checkpoint)) for each in self.signed]
        return [each for each, checkpoint in read if checkpoint.log == log and checkpoint.number > after][:1]

    def _hidden(self, position: int) -> bool:
        looks = self.holes.get(position, 0)
        if looks:
            self.holes[position] = looks - 1
        return looks > 0


class FakeInventory:
    """Inventory, asked for servers."""

    def __init__(self, *servers: server_pb2.Server) -> None:
        self.servers = {server.name.removeprefix("servers/"): server for server in servers}
        self.down = False
        self.asked: list[str] = []

    async def get_server(self, uuid: str) -> server_pb2.Server | None:
        """As GetServer answers."""
        self.asked.append(uuid)
        if self.down:
            msg = "inventory is away"
            raise PeerUnavailable(msg, peer="inventory")
        return self.servers.get(uuid)


class FakeListener:
    """Notes what a follower found."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.awaits = True
        self.servers: list[frozenset[str]] = []
        self.states: list[tuple[str, bool, str]] = []

    def heard(self, service: str, after: int, events: Sequence[Followed], shift: int) -> bool:
        self.told = sorted({*self.told, *(event.position + shift for event in events)})
        return self.awaits

    def news(self, servers: frozenset[str]) -> None:
        self.servers.append(servers)

    def health(self, service: str, reachable: bool, complaint: str) -> None:
        if not self.states or self.states[-1] != (service, reachable, complaint):
            self.states.append((service, reachable, complaint))


class FakeSender:
    """A generator whose collector is in the test's hands."""

    def __init__(self) -> None:
        self.session = 1
        self.logs: list[Mapping[str, Any]] = []
        self.levels: list[int] = []
        self.cache = UveCache()
        self.uves: list[tuple[str, dict[str, Any]]] = []
        self.breaks_after: int | None = None

    async def established(self) -> int:
        return self.session

    async def deliver(self, message: Message, values: Values) -> int:
        body_text(message, values)
        if self.breaks_after is not None:
            self.breaks_after -= 1
            if self.breaks_after < 0:
                self.breaks_after = None
                self.session += 1
        self.logs.append(dict(values))
        self.levels.append(message.level)
        return self.session

    def replace(self, message: Message, whole: Values, table: str | None = None) -> None:
        if self.cache.replace(message, whole, table):
            self.uves.append(("replace", dict(whole)))

    def delete(self, message: Message, key: Values, table: str | None = None) -> None:
        if self.cache.delete(message, key, table):
            self.uves.append(("delete", dict(key)))


class CrashingStore(Store):
    """A store during whose calls the process dies: before the n-th, or after it has committed."""

    def __init__(self, inner: Store, crash_at: int) -> None:
        super().__init__(inner._database)
        self.left = crash_at

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise CrashError

    async def write(self, fn: Callable[[Transaction], T], label: str) -> T:
        self._step()
        answer = await super().write(fn, label)
        self._step()
        return answer

    async def read(self, fn: Callable[[Transaction], T]) -> T:
        self._step()
        return await super().read(fn)
