# SPDX-License-Identifier: Apache-2.0
"""Forced actions: what may be done without its proof when two administrators answer for it, and when.

Pure. What is shown to the first administrator is what the second one's approval is held to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.kernel.errors import WrongState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.server import Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName

LIFETIME = timedelta(hours=24)
"""How long a forced action may be approved."""


class ForcedKind(StrEnum):
    """What is forced; the words of bms.lifecycle.v1.ForcedAction.Kind."""

    RELEASE = "release"
    AVAILABLE = "available"
    SKIP_CLEAN = "skip_clean"
    ATTEST_POWER_OFF = "attest_power_off"


class ForcedState(StrEnum):
    """How a forced action stands; EXPIRED is never stored, the time tells it."""

    PENDING = "pending"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ForcedAction:
    """One forced action.

    Attributes:
        name: ``servers/{uuid}/forcedActions/{uuid}``.
        server: the UUID.
        ender: who approved or withdrew it.
        shown: how the server stood when it was asked for, a line each.
        version: rises with each change; every write is a compare-and-set on it.
    """

    name: str
    server: str
    kind: ForcedKind
    reason: str
    requester: str
    create_time: datetime
    shown: tuple[str, ...]
    state: ForcedState = ForcedState.PENDING
    ender: str = ""
    end_time: datetime | None = None
    operation: str = ""
    version: int = 1

    @property
    def expire_time(self) -> datetime:
        """From when on nobody approves it any more."""
        return self.create_time + LIFETIME

    def state_at(self, now: datetime) -> ForcedState:
        """How it stands at *now*."""
        if self.state is ForcedState.PENDING and now >= self.expire_time:
            return ForcedState.EXPIRED
        return self.state


def portrait(server: Server) -> tuple[str, ...]:
    """How *server* stands, as far as a forced action is about it: what changes it makes an approval void."""
    intent = server.intent
    lines = [f"state {server.state.value} since {server.state_since.isoformat(timespec='seconds')}"]
    if server.fault:
        lines.append(f"fault {server.fault}")
    if server.instance:
        lines.append(f"held by {server.instance}")
    if intent is not None:
        lines.append(f"at work on {intent.kind.verb}, {intent.step.name.value}")
    lines.append(f"power {server.power.value or 'never read'}")
    for port in server.linked_ports:
        networks = "".join(f" {tag.network}" for tag in port.networks)
        asked = f", asked to be {port.requested.value}" if port.requested else ""
        lines.append(f"port {port.name.rpartition('/')[2]} read in {port.observed.value}{networks}{asked}")
    lines += [f"holds {lease.address} on {lease.network}" for lease in server.leases]
    return tuple(lines)


def check(server: Server, kind: ForcedKind) -> None:
    """Refuses *kind* where it is not the way out of *server*'s state.

    Raises:
        WrongState: with what leads on instead.
    """
    _CHECKS[kind](server)


def _release(server: Server) -> None:
    if server.state not in (State.RELEASING, State.DETACHING, State.QUARANTINED):
        raise _refused(
            server,
            f"is {server.state.value}, and only one that is being given back or in quarantine is released by force",
            "Let its project delete the instance, or set the server aside first: "
            f"bms server quarantine {server.uuid} --reason WHY.",
        )
    if not server.instance and not server.leases:
        raise _refused(
            server,
            "is held by nobody and holds no address",
            f"See bms server diagnose {server.uuid} for what it needs.",
        )


def _available(server: Server) -> None:
    if server.state is not State.QUARANTINED:
        raise _refused(
            server,
            f"is {server.state.value}, not quarantined",
            f"See bms server diagnose {server.uuid} for what it needs.",
        )
    if server.instance or server.leases:
        held = server.instance or ", ".join(lease.address for lease in server.leases)
        raise _refused(
            server,
            f"still holds, or is held by, {held}",
            f"End that first: bms force request {server.uuid} --kind release --reason WHY, or bms server recover.",
        )
    if server.unmanaged or server.maintenance or server.retired:
        raise _refused(
            server,
            "is unmanaged, retired or in maintenance",
            f"Change that first: bms server set {server.uuid} --managed; bms server unretire {server.uuid};"
            f" bms server maintenance unset {server.uuid}.",
        )


_CLEANED_ON_THE_WAY = (IntentKind.RELEASE, IntentKind.RELEASE_FOUND, IntentKind.RECOVER)


def _skip_clean(server: Server) -> None:
    intent = server.intent
    if server.state is not State.CLEANING or intent is None or intent.kind not in _CLEANED_ON_THE_WAY:
        what = "is having its first clean pass" if server.state is State.CLEANING else f"is {server.state.value}"
        raise _refused(
            server,
            f"{what}, and only the clean pass of a release or recovery is left out",
            "A server in quarantine is led to available by another kind: "
            f"bms force request {server.uuid} --kind available --reason WHY.",
        )


def _attest(server: Server) -> None:
    intent = server.intent
    waiting = intent is not None and intent.kind is IntentKind.RELEASE_SILENT and intent.step.name is StepName.POWER_OFF
    if not waiting:
        raise _refused(
            server,
            "does not wait for power off to give addresses back",
            f"See bms server diagnose {server.uuid} for what it waits for.",
        )
    if server.power is not Power.UNKNOWN:
        raise _refused(
            server,
            f"can be asked: its BMC reads power {server.power.value or 'off or on soon'}",
            "Wait for the BMC's own word; only a silent one is spoken for.",
        )


_CHECKS: dict[ForcedKind, Callable[[Server], None]] = {
    ForcedKind.RELEASE: _release,
    ForcedKind.AVAILABLE: _available,
    ForcedKind.SKIP_CLEAN: _skip_clean,
    ForcedKind.ATTEST_POWER_OFF: _attest,
}


def _refused(server: Server, what: str, remedy: str) -> WrongState:
    return WrongState(f"{server.name} {what}", remedy=remedy, subject=server.name, state=server.state.value)
