# SPDX-License-Identifier: Apache-2.0
"""The states of a generator's session, and what leads from one to the next.

The state's value is its name in ``ModuleClientState``: "Established" is what readers look for.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final


class State(StrEnum):
    """Where a session stands."""

    STOPPED = "Stopped"
    """Not started, or told to stop. Nothing happens by itself."""
    IDLE = "Idle"
    """Between two attempts; a timer runs unless there is no collector to try."""
    CONNECT = "Connect"
    """A connection is being opened."""
    CLIENT_INIT = "ClientInit"
    """Connected; our control message is out, the collector's is awaited."""
    ESTABLISHED = "Established"
    """The collector has answered; messages flow."""


class Event(Enum):
    """What can happen to a session. The value is its name in state descriptions, after the reference."""

    START = "EvStart"
    STOP = "EvStop"
    CONNECTED = "EvTcpConnected"
    CONNECT_FAILED = "EvTcpConnectFail"
    CLOSED = "EvTcpClose"
    CTRL_ACCEPTED = "EvSandeshCtrlMessageRecv"
    CTRL_REFUSED = "EvSandeshCtrlMessageFail"
    BAD_DATA = "EvSandeshMessageInvalid"
    TIMER = "EvTimerExpired"
    MOVED = "EvCollectorChange"
    """The list of collectors changed, and the one in use is not on it (or none was in use)."""
    OVERFLOW = "EvQueueOverflow"
    """The collector is so slow that the session is given up, for a resync to mend."""


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.STOPPED: {Event.START: State.CONNECT},
    State.IDLE: {
        Event.TIMER: State.CONNECT,
        Event.MOVED: State.CONNECT,
        Event.STOP: State.STOPPED,
    },
    State.CONNECT: {
        Event.CONNECTED: State.CLIENT_INIT,
        Event.CONNECT_FAILED: State.IDLE,
        Event.CLOSED: State.IDLE,
        Event.TIMER: State.IDLE,
        Event.MOVED: State.CONNECT,
        Event.STOP: State.STOPPED,
    },
    State.CLIENT_INIT: {
        Event.CTRL_ACCEPTED: State.ESTABLISHED,
        Event.CTRL_REFUSED: State.IDLE,
        Event.BAD_DATA: State.IDLE,
        Event.CLOSED: State.IDLE,
        Event.TIMER: State.IDLE,
        Event.MOVED: State.CONNECT,
        Event.STOP: State.STOPPED,
    },
    State.ESTABLISHED: {
        # A later control message tells what to send again.
        Event.CTRL_ACCEPTED: State.ESTABLISHED,
        Event.CTRL_REFUSED: State.IDLE,
        Event.BAD_DATA: State.IDLE,
        Event.CLOSED: State.IDLE,
        Event.OVERFLOW: State.IDLE,
        Event.TIMER: State.ESTABLISHED,
        Event.MOVED: State.CONNECT,
        Event.STOP: State.STOPPED,
    },
}
"""What each event leads to. An event that is not in the row of a state is late news of something
already over, and changes nothing."""


def after(state: State, event: Event) -> State | None:
    """The state that *event* leads to, or None if it means nothing in *state*."""
    return TRANSITIONS[state].get(event)
