# SPDX-License-Identifier: Apache-2.0
"""What is sent at all: switches that operators turn by introspection, and a limit for system logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from telemetry.sandesh.actions import Fate
from telemetry.sandesh.schema import Kind, Message

SYSTEM_LOGS_PER_SECOND: Final = 10
"""Of each type. (The reference's default is 0: none at all.)"""
_SECOND: Final = 1_000_000


@dataclass(slots=True)
class Sending:
    """The switches. They are not kept: a process begins with everything on.

    What is switched off is not lost where it is kept elsewhere: UVEs are sent again when all is on again, and object
    logs wait for it.

    Attributes:
        system_logs: of one type in one second.
        object_logs: whether they are sent.
        everything: whether anything is.
        queue: whether what is to be sent goes on the way.
    """

    system_logs: int = SYSTEM_LOGS_PER_SECOND
    object_logs: bool = True
    everything: bool = True
    queue: bool = True
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether UVEs are sent."""
        return self.everything and self.queue

    def refuses(self, message: Message, now: int) -> Fate | None:
        """Why a message that is no UVE is not sent now; None if it is, and counted."""
        if not self.open or (message.kind is Kind.OBJECT and not self.object_logs):
            return Fate.SENDING_DISABLED
        if message.kind is not Kind.SYSTEM:
            return None
        if self.system_logs == 0:
            return Fate.SENDING_DISABLED
        second, count = self._counts.get(message.name, (0, 0))
        if second != now // _SECOND:
            second, count = now // _SECOND, 0
        if count >= self.system_logs:
            return Fate.RATE_LIMITED
        self._counts[message.name] = (second, count + 1)
        return None
