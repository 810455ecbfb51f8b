# SPDX-License-Identifier: Apache-2.0
"""How a flavor or image stands in OpenStack: what is noted with its row, and what that forbids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.kernel.errors import WrongState

_ID_LIMIT = 63
_TAIL = 8
_MESSAGE_LIMIT = 300


class Origin(StrEnum):
    """Where it was made."""

    OURS = "ours"
    THEIRS = "theirs"


class MirrorState(StrEnum):
    """How far the two sides agree."""

    NONE = ""
    PENDING = "pending"
    MIRRORED = "mirrored"
    FAILED = "failed"
    UNUSABLE = "unusable"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Standing:
    """One judgement: the state, and why unless it is well."""

    state: MirrorState
    reason: str = ""
    message: str = ""


MIRRORED = Standing(MirrorState.MIRRORED)


class Unfit(Exception):
    """It cannot be said there.

    Attributes:
        standing: what is told instead.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.standing = Standing(MirrorState.FAILED, reason, message)


@dataclass(frozen=True, slots=True)
class Mirror:
    """What is noted with a row.

    Attributes:
        since: when state and reason became so; None before the first look.
        ref: its id there. Of what is ours we choose it, and note it before anything is made by it: only what bears a
            ref that stands here is ever changed or removed there.
        remote_name: of what is theirs, its name there.
        tried: the digest of what was last tried in vain; trying it again so soon would end the same.
    """

    origin: Origin = Origin.OURS
    state: MirrorState = MirrorState.NONE
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    ref: str = ""
    remote_name: str = ""
    tried: str = ""

    @property
    def theirs(self) -> bool:
        """Whether it was made there."""
        return self.origin is Origin.THEIRS

    def standing(self, now: datetime, found: Standing) -> Mirror:
        """This one with *found*; ``since`` stays while state and reason do."""
        same = self.state is found.state and self.reason == found.reason
        message = " ".join(found.message.split())[:_MESSAGE_LIMIT]
        since = self.since if same and self.since is not None else now
        return replace(self, state=found.state, reason=found.reason, message=message, since=since)


def refuse_change(mirror: Mirror, name: str, peer: str) -> None:
    """Refuses to change or delete what is changed elsewhere.

    Args:
        peer: the service it was made in, ``Nova`` or ``Glance``.

    Raises:
        WrongState: it was made there.
    """
    if mirror.theirs:
        msg = f"{name} was made in {peer} and follows it"
        remedy = f"Change or delete {mirror.remote_name or mirror.ref!r} ({mirror.ref}) in {peer}."
        raise WrongState(msg, remedy=remedy, subject=name, peer=peer)


def refuse_use(mirror: Mirror, name: str, peer: str) -> None:
    """Refuses to use what cannot be used.

    Raises:
        WrongState: it is gone, or was never usable.
    """
    if mirror.state is MirrorState.GONE:
        msg = f"{name} is gone from {peer}; only instances that were made by it keep it"
        raise WrongState(msg, remedy="Choose another.", subject=name, peer=peer)
    if mirror.state is MirrorState.UNUSABLE:
        msg = f"{name} cannot be used: {mirror.message}"
        raise WrongState(msg, remedy=f"Mend it in {peer}, or choose another.", subject=name, peer=peer)


def id_for(remote_name: str, ref: str, taken: Container[str]) -> str:
    """The id with us for what is called *remote_name* there: its letters, with a part of *ref*'s digest if taken.

    Args:
        ref: its id there.
        taken: ids that others have.
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", remote_name.lower()).strip("-._")[:_ID_LIMIT].strip("-._")
    if plain and plain not in taken:
        return plain
    tail = hashlib.sha256(ref.encode()).hexdigest()[:_TAIL]
    head = plain[: _ID_LIMIT - _TAIL - 1].strip("-._")
    return f"{head}-{tail}" if head else f"os-{tail}"
