# SPDX-License-Identifier: Apache-2.0
"""What a server must be for its plan to go on, as far as a fresh look tells."""

from __future__ import annotations

from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName

_FREE = frozenset({State.AVAILABLE, State.RESERVED})
_PRIVATE = frozenset({State.CLEANING, State.SWITCHING, State.REBUILDING, State.RESCUING})
_GIVING_BACK = frozenset({IntentKind.RELEASE, IntentKind.RELEASE_FOUND})


def must_be_off(server: Server) -> bool:
    """Whether what comes next relies on power off having been read: a clean pass, or a move between two worlds.

    A server that is found on nevertheless was powered on by somebody else.
    """
    intent = server.intent
    if server.state in _FREE:
        return intent is None or intent.kind is not IntentKind.CLOSE
    if intent is None or server.state not in _PRIVATE or intent.step.name is not StepName.DETACH_ALL:
        return False
    return intent.index > 0 and plan_of(intent.kind)[intent.index - 1].name is StepName.POWER_OFF


def came_back(server: Server) -> bool:
    """Whether *server* was read off while being given back, and its addresses are not at rest yet.

    One that is found on nevertheless goes the way of a silent BMC: cut off first, its addresses held until it is off.
    """
    intent = server.intent
    return intent is not None and intent.kind in _GIVING_BACK and server.state is State.DETACHING
