# SPDX-License-Identifier: Apache-2.0
"""One reason to stand still: the form of every entry of waits.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    """How a server stands still."""

    WAIT = "wait"
    """The worker looks again by itself, or patrol found it so; whose time is up is overdue."""
    FAULT = "fault"
    """It is in quarantine until an administrator leads it out."""
    REST = "rest"
    """It was left so, and may stay."""


class Cure(StrEnum):
    """A safe remedy that may run by itself: what it does changes nothing if it was not needed."""

    ASK_POWER = "ask_power"
    """Asks the BMC for the same power once more: it may have lost the command."""
    REGISTER_PORTS = "register_ports"
    """Tells network of the server's ports anew, and asks for the same once more: it may have lost either."""
    RESET_BMC = "reset_bmc"
    """Restarts the BMC, which leaves the server's power and its disks alone: it may have hung."""
    BEGIN_ANEW = "begin_anew"
    """Begins the step anew: what it writes or erases may be written and erased twice."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """One wait, fault or rest.

    Attributes:
        code: UPPER_SNAKE.
        kind: how the server stands still for it.
        meaning: what it means, a sentence.
        who: nobody, administrator, tenant or network administrator.
        remedy: what to do, a sentence.
        commands: the exact commands; ``{server}`` stands for the server's id, ``{instance}`` and ``{project}`` for
            those of its instance.
        sla: how long it may last before it is overdue and raises the alarm; None: as long as it likes.
        cure: what may run by itself, within a budget; None: nothing.
    """

    code: str
    kind: Kind
    meaning: str
    who: str
    remedy: str
    commands: tuple[str, ...] = ()
    sla: timedelta | None = None
    cure: Cure | None = None
