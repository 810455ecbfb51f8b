# SPDX-License-Identifier: Apache-2.0
"""The states of a server's life, what leads from one to the next, and how long each may last.

Ironic's words where the meaning matches. The table is the whole truth: the worker, the verbs, the drawing in
docs/states.md and the tests read it; nothing else sets a state.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from services.kernel.errors import WrongState


class State(StrEnum):
    """Where a server is in its life."""

    ENROLLED = "enrolled"
    """Registered and untouched."""
    VERIFYING = "verifying"
    """The BMC's answer and login are being proved, and its ports brought into quarantine."""
    INSPECTING = "inspecting"
    """The hardware is being inspected."""
    ADOPTING = "adopting"
    """A server in use is being taken over."""
    UNEXPECTED = "unexpected"
    """Something answers that nobody registered."""
    CLEANING = "cleaning"
    """On the private cleaning network: every inspected disk is being erased, or steps are being run by hand."""
    AVAILABLE = "available"
    """Clean, isolated, off: may be taken."""
    RESERVED = "reserved"
    """An instance holds it; nothing was done to it yet."""
    PROVISIONING = "provisioning"
    """An image is being written on the private provisioning network."""
    SWITCHING = "switching"
    """Its ports are moving to the tenant's networks."""
    ACTIVE = "active"
    """The tenant's, on or off."""
    RESCUING = "rescuing"
    """A rescue system is being started."""
    RESCUED = "rescued"
    """The rescue system runs."""
    REBUILDING = "rebuilding"
    """An image is being written anew for the same instance."""
    RELEASING = "releasing"
    """Being given back: power off is asked for and read back."""
    DETACHING = "detaching"
    """Being given back: every port is being taken off the tenant's networks."""
    QUARANTINED = "quarantined"
    """Set aside after a failure or by an administrator."""


class Trigger(StrEnum):
    """What moves a server from one state to another."""

    PROVIDE = "provide"
    VERIFIED = "verified"
    INSPECTED = "inspected"
    CLEAN = "clean"
    CLEANED = "cleaned"
    KEPT = "kept"
    RESERVE = "reserve"
    UNRESERVE = "unreserve"
    PROVISION = "provision"
    IMAGED = "imaged"
    SWITCHED = "switched"
    REBUILD = "rebuild"
    RESCUE = "rescue"
    BOOTED = "booted"
    UNRESCUE = "unrescue"
    RELEASE = "release"
    POWERED_OFF = "powered_off"
    DETACHED = "detached"
    ADOPT = "adopt"
    ADOPTED = "adopted"
    LEAVE = "leave"
    INSPECT = "inspect"
    FORCE = "force"
    ENROLL = "enroll"
    RECOVER = "recover"
    QUARANTINE = "quarantine"


_S, _T = State, Trigger

_MOVES: tuple[tuple[Trigger, tuple[State, ...], State], ...] = (
    # Onboarding: registered is not available; a first clean pass comes before.
    (_T.PROVIDE, (_S.ENROLLED,), _S.VERIFYING),
    (_T.VERIFIED, (_S.VERIFYING,), _S.INSPECTING),
    (_T.INSPECTED, (_S.INSPECTING,), _S.CLEANING),
    (_T.CLEANED, (_S.CLEANING,), _S.AVAILABLE),
    # Steps run by hand: on what nobody holds, and back to where it was.
    (_T.CLEAN, (_S.ENROLLED, _S.AVAILABLE, _S.QUARANTINED), _S.CLEANING),
    # What is retired does not come, or come back, into the pool.
    (_T.KEPT, (_S.CLEANING, _S.AVAILABLE, _S.RESERVED, _S.QUARANTINED), _S.ENROLLED),
    # Brownfield: what is found or taken over.
    (_T.ENROLL, (_S.UNEXPECTED,), _S.ENROLLED),
    (_T.ADOPT, (_S.ENROLLED,), _S.ADOPTING),
    (_T.ADOPTED, (_S.ADOPTING,), _S.ACTIVE),
    # Nothing was touched, so it is what it was.
    (_T.LEAVE, (_S.ADOPTING,), _S.ENROLLED),
    # Deploying: the compare-and-set available -> reserved is the last gate of a reservation.
    (_T.RESERVE, (_S.AVAILABLE,), _S.RESERVED),
    (_T.UNRESERVE, (_S.RESERVED,), _S.AVAILABLE),
    (_T.PROVISION, (_S.RESERVED,), _S.PROVISIONING),
    (_T.IMAGED, (_S.PROVISIONING, _S.REBUILDING), _S.SWITCHING),
    (_T.SWITCHED, (_S.SWITCHING,), _S.ACTIVE),
    # The tenant's verbs.
    (_T.REBUILD, (_S.ACTIVE, _S.RESCUED), _S.REBUILDING),
    (_T.RESCUE, (_S.ACTIVE,), _S.RESCUING),
    (_T.BOOTED, (_S.RESCUING,), _S.RESCUED),
    (_T.UNRESCUE, (_S.RESCUED,), _S.SWITCHING),
    # Giving back only goes forward.
    (
        _T.RELEASE,
        (_S.PROVISIONING, _S.SWITCHING, _S.ACTIVE, _S.RESCUING, _S.RESCUED, _S.REBUILDING),
        _S.RELEASING,
    ),
    (_T.POWERED_OFF, (_S.RELEASING,), _S.DETACHING),
    (_T.DETACHED, (_S.DETACHING,), _S.CLEANING),
    # What was adopted was never inspected, and steps run by hand may change disks: nobody knows which to erase.
    (_T.INSPECT, (_S.DETACHING, _S.CLEANING), _S.INSPECTING),
    # Every failure and every abort ends in quarantine; an administrator leads out.
    (_T.QUARANTINE, tuple(State), _S.QUARANTINED),
    (_T.RECOVER, (_S.QUARANTINED,), _S.VERIFYING),
    # Without a clean pass, because two administrators answer for it.
    (_T.FORCE, (_S.QUARANTINED,), _S.AVAILABLE),
)

TRANSITIONS: dict[State, dict[Trigger, State]] = {
    state: {trigger: target for trigger, sources, target in _MOVES if state in sources} for state in State
}
"""state -> trigger -> next state; a trigger outside its state's row is refused."""

LIMITS: dict[State, timedelta] = {
    State.VERIFYING: timedelta(minutes=15),
    State.INSPECTING: timedelta(minutes=30),
    State.ADOPTING: timedelta(minutes=30),
    State.CLEANING: timedelta(hours=6),
    State.RESERVED: timedelta(minutes=10),
    State.PROVISIONING: timedelta(minutes=90),
    State.SWITCHING: timedelta(minutes=15),
    State.RESCUING: timedelta(minutes=30),
    State.REBUILDING: timedelta(minutes=90),
    State.RELEASING: timedelta(minutes=15),
    State.DETACHING: timedelta(minutes=15),
}
"""How long a server may stay in a state, counted from entering it. States not named here may last."""

IN_MOTION = frozenset(LIMITS)
"""States that pass by themselves."""


def after(state: State, trigger: Trigger) -> State:
    """The state that *trigger* leads to from *state*.

    Raises:
        WrongState: *trigger* cannot happen in *state*.
    """
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        possible = ", ".join(sorted(TRANSITIONS[state]))
        msg = f"cannot {trigger.value} a server that is {state.value}"
        raise WrongState(
            msg, remedy=f"From {state.value} these are possible: {possible}.", state=state.value, trigger=trigger.value
        ) from None
