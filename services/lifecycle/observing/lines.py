# SPDX-License-Identifier: Apache-2.0
"""Ironic's provision states held against our states: which of them are in line with what we have the server do. Pure.

A state that is not in the line of a server's own is somebody else's doing.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.lifecycle.domain.states import State

UNVERIFIED = frozenset({"enroll", "verifying"})
LOOSE = frozenset({"manageable", "inspect failed", "adopt failed"})
INSPECTING = frozenset({"inspecting", "inspect wait"})
DEPLOYING = frozenset({"deploying", "wait call-back", "deploy hold", "deploy failed"})
DEPLOYED = frozenset({"active"})
RESCUE = frozenset({"rescuing", "rescue wait", "rescue", "rescue failed", "unrescuing", "unrescue failed"})
SERVICE = frozenset({"servicing", "service wait", "service hold", "service failed"})
CLEANING = frozenset({"cleaning", "clean wait", "clean hold", "clean failed"})
UNDEPLOYING = frozenset({"deleting", "error"})
FREE = frozenset({"available"})
ADOPTING = frozenset({"adopting"})

NODE_STATES = (
    UNVERIFIED | LOOSE | INSPECTING | DEPLOYING | DEPLOYED | RESCUE | SERVICE | CLEANING | UNDEPLOYING | FREE | ADOPTING
)
"""All that Ironic has. One that is not here, of a later Ironic, is in nobody's line."""

UNDEPLOYED = UNDEPLOYING | CLEANING | FREE | UNVERIFIED | LOOSE | INSPECTING | ADOPTING
"""Where a node that was deployed is only found if somebody undeployed it."""
IN_USE = DEPLOYED | RESCUE | SERVICE | frozenset({"deploy failed"})
"""Where somebody has a node."""
USED = DEPLOYING | DEPLOYED | RESCUE | SERVICE | UNDEPLOYING | ADOPTING | INSPECTING | (CLEANING - {"clean failed"})
"""Where somebody has a node, or had it run something."""

TRANSIENT = frozenset(
    {
        "verifying", "inspecting", "inspect wait", "deploying", "wait call-back", "deploy hold", "rescuing",
        "rescue wait", "unrescuing", "servicing", "service wait", "service hold", "cleaning", "clean wait",
        "clean hold", "deleting", "adopting",
    }
)  # fmt: skip
"""Ironic is at work, or waits for a ramdisk: it leaves these by itself."""

AT_REST: Mapping[State, frozenset[str]] = {
    State.ENROLLED: NODE_STATES,
    State.UNEXPECTED: NODE_STATES,
    State.AVAILABLE: FREE,
    State.ACTIVE: DEPLOYED,
    State.RESCUED: frozenset({"rescue"}),
    State.QUARANTINED: NODE_STATES,
}
"""Of a server at which nobody works. One that was never touched, or is set aside, may be anything there."""

# A plan that takes over where another one failed finds the node wherever that one left it.
_LEFT = LOOSE | FREE | IN_USE | frozenset({"clean failed", "error"})

AT_WORK: Mapping[State, frozenset[str]] = {
    State.ENROLLED: NODE_STATES,
    State.UNEXPECTED: NODE_STATES,
    State.VERIFYING: UNVERIFIED | _LEFT | CLEANING | INSPECTING,
    State.INSPECTING: INSPECTING | UNDEPLOYING | CLEANING | _LEFT,
    State.ADOPTING: UNVERIFIED | ADOPTING | LOOSE | FREE | IN_USE,
    State.CLEANING: CLEANING | UNDEPLOYING | _LEFT,
    State.AVAILABLE: FREE,
    State.RESERVED: FREE,
    State.PROVISIONING: FREE | DEPLOYING | DEPLOYED,
    State.REBUILDING: DEPLOYING | DEPLOYED | RESCUE | frozenset({"error"}),
    State.SWITCHING: DEPLOYED | RESCUE,
    State.ACTIVE: DEPLOYED | RESCUE,
    State.RESCUING: DEPLOYED | RESCUE,
    State.RESCUED: DEPLOYED | RESCUE,
    State.RELEASING: IN_USE | DEPLOYING,
    State.DETACHING: IN_USE | DEPLOYING,
    State.QUARANTINED: NODE_STATES,
}
"""Of a server with work under way."""


def in_line(state: State, node: str, *, at_work: bool, adopted: bool = False) -> bool:
    """Whether a node in *node* is where a server in *state* has it.

    Args:
        at_work: whether something is being done to the server here.
        adopted: an instance runs on it that we did not deploy.
    """
    if adopted and node in DEPLOYED | LOOSE | UNVERIFIED | ADOPTING:
        return True
    return node in (AT_WORK if at_work else AT_REST).get(state, NODE_STATES)
