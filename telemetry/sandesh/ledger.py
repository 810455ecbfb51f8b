# SPDX-License-Identifier: Apache-2.0
"""What became of messages: counts by type, and the last of them in words."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from telemetry.sandesh.actions import Fate
from telemetry.sandesh.schema import Level, Message
from telemetry.sandesh.states import Event, State

HELD: Final = 1000
"""Lines that a trace holds."""
MESSAGES: Final = "Messages"
STATES: Final = "States"


@dataclass(slots=True)
class Trace:
    """The last lines of one kind."""

    enabled: bool = True
    lines: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=HELD))

    def last(self, count: int = 0) -> Iterator[str]:
        """The newest *count*, or all, the oldest first."""
        skip = max(0, len(self.lines) - count) if count > 0 else 0
        for time, text in list(self.lines)[skip:]:
            yield f"{datetime.fromtimestamp(time / 1_000_000, UTC).isoformat()} {text}"


@dataclass(slots=True)
class Logging:
    """Which messages are logged here as they are sent. An empty category is every one."""

    enabled: bool = False
    category: str = ""
    level: int = Level.INFO

    def wants(self, message: Message) -> bool:
        """Whether *message* is logged."""
        return self.enabled and message.level <= self.level and self.category in {"", message.category}


class Ledger:
    """Counts and traces of one generator.

    Attributes:
        sent, sent_bytes: messages written and their bytes, by type.
        dropped, dropped_bytes: messages that were not sent when they were asked to be, by type and why.
        events: how often each event happened to the session.
        last_event, last_event_at: the last of them, and when; microseconds, 0 for never.
        last_state, state_since: the state before the present one, and since when it is the present.
        tracing: whether anything is traced.
        echo: called with the type and number of each message that `logging` wants.
    """

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()
        self.dropped: Counter[tuple[str, Fate]] = Counter()
        self.dropped_bytes: Counter[tuple[str, Fate]] = Counter()
        self.events: Counter[str] = Counter()
        self.last_event = self.last_state = ""
        self.last_event_at = self.state_since = 0
        self.traces = {MESSAGES: Trace(), STATES: Trace()}
        self.tracing = True
        self.logging = Logging()
        self.echo: Callable[[str, int], None] = lambda _name, _sequence: None

    def wrote(self, message: Message, sequence: int, size: int, now: int) -> None:
        """A message was written."""
        self.sent[message.name] += 1
        self.sent_bytes[message.name] += size
        self._trace(MESSAGES, now, message.name, sequence)
        if self.logging.wants(message):
            self.echo(message.name, sequence)

    def drop(self, message: Message, fate: Fate, size: int, now: int) -> None:
        """A message was not sent, which would have had *size* bytes."""
        self.dropped[message.name, fate] += 1
        self.dropped_bytes[message.name, fate] += size
        self._trace(MESSAGES, now, f"{message.name} dropped", fate.value)

    def happened(self, event: Event, before: State, state: State, now: int) -> None:
        """An event led from one state to another, or to the same."""
        self.events[event.value] += 1
        self.last_event, self.last_event_at = event.value, now
        if before is not state:
            self.last_state, self.state_since = before.value, now
            self._trace(STATES, now, f"{before} to {state} on {event.value}")

    def _trace(self, name: str, now: int, *words: object) -> None:
        trace = self.traces[name]
        if self.tracing and trace.enabled:
            trace.lines.append((now, " ".join(map(str, words)).rstrip()))
