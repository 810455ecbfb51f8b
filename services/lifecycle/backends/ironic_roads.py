# SPDX-License-Identifier: Apache-2.0
"""What Ironic's states mean for a job: where it may start, how to get there, and how it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.lifecycle.ports import JobKind, JobPhase

_BUSY = frozenset(
    {
        "verifying", "inspecting", "cleaning", "deploying", "deleting", "rescuing", "unrescuing", "adopting",
        "servicing", "service wait",
    }
)  # fmt: skip
"""Ironic is at work and cannot be stopped."""

_ENDABLE = frozenset(
    {"inspect wait", "clean wait", "clean hold", "wait call-back", "deploy hold", "rescue wait", "service hold"}
)
"""Ironic waits for a ramdisk: ``abort`` ends it."""

_HELD = ("active", "deploy failed", "error", "rescue", "rescue failed", "unrescue failed", "service failed")
_LOOSE = ("available", "clean failed", "inspect failed", "adopt failed")

_STARTS: Mapping[JobKind, Mapping[str, str]] = {
    JobKind.INSPECT: {"manageable": "inspect"},
    JobKind.CLEAN: {"manageable": "provide", **dict.fromkeys(_HELD, "deleted")},
    JobKind.MANUAL_CLEAN: {"manageable": "clean"},
    JobKind.DEPLOY: {"available": "active", "deploy failed": "active", "active": "rebuild", "error": "rebuild"},
    JobKind.RESCUE: {"active": "rescue", "rescue failed": "rescue"},
}
_LEADS: Mapping[JobKind, Mapping[str, str]] = {
    JobKind.INSPECT: {**dict.fromkeys(_LOOSE, "manage"), **dict.fromkeys(_HELD, "deleted")},
    JobKind.CLEAN: dict.fromkeys(_LOOSE, "manage"),
    JobKind.MANUAL_CLEAN: {**dict.fromkeys(_LOOSE, "manage"), **dict.fromkeys(_HELD, "deleted")},
    JobKind.DEPLOY: {},
    JobKind.RESCUE: {},
}
_PASSED = {
    JobKind.INSPECT: "manageable", JobKind.CLEAN: "available", JobKind.MANUAL_CLEAN: "manageable",
    JobKind.DEPLOY: "active", JobKind.RESCUE: "rescue",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Road:
    """How a job comes to its start.

    Attributes:
        verb: what to ask Ironic for now; empty: nothing can be done but wait.
        starts: whether *verb* starts the job itself.
        blocked: why the job can never start from here; empty if it can.
    """

    verb: str = ""
    starts: bool = False
    blocked: str = ""


def road(kind: JobKind, state: str) -> Road:
    """What to do with a node in *state* so that a job of *kind* starts."""
    if verb := _STARTS[kind].get(state):
        return Road(verb, starts=True)
    if verb := _LEADS[kind].get(state):
        return Road(verb)
    if state in _ENDABLE:
        return Road("abort")
    # A node that was not verified yet will be, by the plan's own step.
    if state in _BUSY or state == "enroll":
        return Road()
    return Road(blocked=f"Ironic shows the node {state}, from where it offers no {kind.value}")


def phase(kind: JobKind, state: str) -> JobPhase:
    """How a job of *kind* stands that was started and whose node is in *state*."""
    if state == _PASSED[kind]:
        return JobPhase.PASSED
    return JobPhase.RUNNING if state in _BUSY or state in _ENDABLE else JobPhase.FAILED
