# SPDX-License-Identifier: Apache-2.0
"""The brake: how many servers in use may be set aside by themselves, and when what is read is not to be believed.

A reading that takes a server from its tenant is right when one server went wrong, and a disaster when a controller did.
Pulled, the brake stays pulled until an administrator releases it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """How far lifecycle goes by itself.

    Attributes:
        most, share: so many servers in use, or this share of them, whichever is larger, in one window.
        window: how far back is looked.
        same: so many servers with one cause or one backend are explained by it, and not by themselves.
        common: for what is only recorded, the share of the servers in use that is no accident any more.
    """

    most: int = 3
    share: float = 0.05
    window: timedelta = timedelta(hours=1)
    same: int = 3
    common: float = 0.25

    def allowance(self, in_use: int) -> int:
        """How many of *in_use* servers may be set aside in one window."""
        return max(self.most, int(self.share * in_use))


@dataclass(frozen=True, slots=True)
class Sign:
    """Something found of a server in use.

    Attributes:
        server: its UUID.
        cause: the code of what was found.
        backend: who told so: a switch, a controller, a kind of BMC; "" if nobody in particular.
        time: when.
        cut: it calls for quarantine, or was followed by it; else it is only recorded.
    """

    server: str
    cause: str
    backend: str
    time: datetime
    cut: bool


@dataclass(frozen=True, slots=True)
class Allowed:
    """The server may be set aside."""


@dataclass(frozen=True, slots=True)
class Held:
    """The server must be left alone.

    Attributes:
        why: a sentence.
        pulls: the brake is pulled by this very sign.
    """

    why: str
    pulls: bool


Verdict = Allowed | Held


def objection(signs: Sequence[Sign], sign: Sign, in_use: int, policy: Policy) -> str:
    """Why the brake is pulled, *sign* being added to *signs* of the last window; "" if it is not."""
    others = [one for one in signs if one.time > sign.time - policy.window and one.server != sign.server]
    alike = {one.server for one in others if one.cause == sign.cause} | {sign.server}
    if not sign.cut:
        common = max(policy.same, -int(-policy.common * in_use // 1))
        if len(alike) >= common:
            return f"{len(alike)} of {in_use} servers in use show {sign.cause} within {_span(policy.window)}"
        return ""
    if len(alike) >= policy.same:
        return (
            f"one cause explains them all: {len(alike)} servers in use show {sign.cause} within {_span(policy.window)}"
        )
    wanted = [one for one in others if one.cut]
    if sign.backend and len({one.server for one in wanted}) + 1 >= policy.same:
        backends = {one.backend for one in wanted} | {sign.backend}
        if len(backends) == 1:
            return f"one backend explains them all: {sign.backend} told of {len(wanted) + 1} servers in use"
    taken = len({one.server for one in wanted})
    if taken >= policy.allowance(in_use):
        return f"{taken} of {in_use} servers in use were set aside within {_span(policy.window)}, and no more may be"
    return ""


def _span(window: timedelta) -> str:
    return f"{int(window.total_seconds()) // 60} minutes"
