# SPDX-License-Identifier: Apache-2.0
"""What a session asks its socket and its clock to do, and what it says became of a message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from telemetry.sandesh.settings import Address


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; report `Event.CONNECTED` or `Event.CONNECT_FAILED` with its *attempt*."""

    attempt: int
    address: Address


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection, after what is queued is sent if *flush*. No report is awaited."""

    flush: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """Queue bytes on the connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Replace the running timer: in *seconds*, report `Event.TIMER` with *number*."""

    seconds: float
    number: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Stop the running timer."""


Action: TypeAlias = Connect | Disconnect | Write | SetTimer | CancelTimer


class Fate(Enum):
    """What became of a message; the value is the end of the reference's counter."""

    QUEUED = "queued"
    NO_SESSION = "no_session"
    QUEUE_LEVEL = "queue_level"
    RATE_LIMITED = "rate_limited"
    SENDING_DISABLED = "sending_disabled"
