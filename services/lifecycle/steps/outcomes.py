# SPDX-License-Identifier: Apache-2.0
"""What one look at a step may lead to: a closed set. The worker turns it into a Change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.kernel.errors import BmsError
from services.kernel.events import Event
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.server import Intent, Server


@dataclass(frozen=True, slots=True)
class Context:
    """What a step is given: the claimed server, the instance that holds it, the time."""

    server: Server
    instance: Instance | None
    now: datetime

    @property
    def intent(self) -> Intent:
        """The intent whose step runs."""
        return self.server.task


@dataclass(frozen=True, slots=True)
class Done:
    """The step's end was observed."""

    server: Server
    events: tuple[Event, ...] = ()
    instance: Instance | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet; look again.

    Attributes:
        code: in domain/waits.py.
        at_once: look again without delay.
        least: look again not sooner than after this, or after the longest delay that is set.
    """

    server: Server
    code: str
    reason: str
    events: tuple[Event, ...] = ()
    instance: Instance | None = None
    at_once: bool = False
    least: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot be.

    Attributes:
        may_retry: beginning the step anew may help.
        cause: what the operation's caller is told.
    """

    server: Server
    reason: str
    message: str
    events: tuple[Event, ...] = ()
    instance: Instance | None = None
    may_retry: bool = False
    cause: BmsError | None = None


Outcome = Done | Waiting | Failed
