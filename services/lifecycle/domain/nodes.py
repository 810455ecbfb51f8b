# SPDX-License-Identifier: Apache-2.0
"""A server as its controller (Ironic) shows it to whoever asks, and what is to be said of that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node as it was read.

    Attributes:
        uuid: the server's.
        read_time: when it was asked for.
        state: its provision state, in Ironic's word; "" if it is gone.
        moved: when that last changed, as the controller writes it.
        power: ``on``, ``off`` or ``unknown``.
        maintenance, maintenance_reason: whether and why nothing is done to it.
        fault: ``power failure``, ``clean failure`` ... where the controller itself set it into maintenance.
        last_error: what went wrong last; short, without secrets.
        protected, retired: marks that people set.
        holder: the id of whatever holds it there, such as a server of Nova's; "" if nothing does.
        job: the kind of the last job that we gave it: ``deploy``, ``clean`` ...; "" if we never did.
        offered: where it stood (`moved`) when we offered it last, as our note there says; "" if there is none.
        gone: the controller has no such node any more.
    """

    uuid: str
    read_time: datetime
    state: str = ""
    moved: str = ""
    power: str = "unknown"
    maintenance: bool = False
    maintenance_reason: str = ""
    fault: str = ""
    last_error: str = ""
    protected: bool = False
    retired: bool = False
    holder: str = ""
    job: str = ""
    offered: str = ""
    gone: bool = False


class Policy(StrEnum):
    """What becomes of a server for what its controller shows."""

    NOTE = "note"
    """It is told and shown."""
    WITHHOLD = "withhold"
    """It is not offered as long as that lasts."""
    LEAVE = "leave"
    """It is not offered, and nothing of ours touches it: somebody else uses it."""
    SET_ASIDE = "set_aside"
    """It goes into quarantine, as far as the brake allows."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a server's controller shows though nobody here asked for it.

    Attributes:
        code: registered in domain/waits.py.
        policy: what becomes of the server.
        message: a sentence, with what the controller says.
        since: when it was first told.
        commands: what repairs exactly this, before what its code says.
    """

    code: str
    policy: Policy
    message: str
    since: datetime
    commands: tuple[str, ...] = ()

    @property
    def withholds(self) -> bool:
        """Whether the server must not be offered."""
        return self.policy is not Policy.NOTE
