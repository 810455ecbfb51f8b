# SPDX-License-Identifier: Apache-2.0
"""Servers that are moved to other switch ports in a wrong order, or by what is believed: each is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.kernel.events import Event, Evidence, PortSeen
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.server import Power
from services.lifecycle.domain.step import StepName
from services.lifecycle.steps.outcomes import Context, Done, Outcome
from tests.lifecycle.rig import BLUE
from tests.lifecycle.test_moving import FIRST, UUID, move
from tests.verifier.mutants.mutant import Act, Found, Mutant, Order

N = StepName
BACK: Order = (N.POWER_OFF, N.ATTACH_TENANT, N.POWER_ON, N.REPORT)


def blind(ctx: Context, honest: Act) -> Outcome:
    """Takes the server to be off without looking."""
    off = honest(replace(ctx, server=replace(ctx.server, power=Power.OFF)))
    return replace(off, server=replace(off.server, power=ctx.server.power))


def forgetful(ctx: Context, honest: Act) -> Outcome:
    """Does not look at what was left."""
    outcome = honest(ctx)
    events = tuple(event for event in outcome.events if event.type != "port.left_observed")
    return replace(outcome, events=events) if isinstance(outcome, Done) else outcome


def indifferent(ctx: Context, honest: Act) -> Outcome:
    """Looks, sees the tenant's network, and goes on."""
    outcome = honest(ctx)
    return replace(outcome, events=tuple(map(_on, outcome.events))) if isinstance(outcome, Done) else outcome


def credulous(ctx: Context, honest: Act) -> Outcome:
    """Believes that it is empty."""
    outcome = honest(ctx)
    return replace(outcome, events=tuple(map(_unread, outcome.events))) if isinstance(outcome, Done) else outcome


def _on(event: Event) -> Event:
    return _left(event, lambda seen: replace(seen, port_class="tenant", networks=(BLUE,)))


def _unread(event: Event) -> Event:
    return _left(event, lambda seen: PortSeen(seen.port, seen.port_class))


def _left(event: Event, made: Callable[[PortSeen], PortSeen]) -> Event:
    if event.type != "port.left_observed" or event.evidence is None:
        return event
    return replace(event, evidence=Evidence(ports=tuple(map(made, event.evidence.ports))))


def test_an_honest_move_passes(mutant: Mutant) -> None:
    """
    In the promised order nothing is found.
    """
    mutant.rig.active(BLUE)
    move(mutant.rig)
    mutant.rig.settle()

    assert mutant.findings(UUID) == ()


ORDERS: dict[str, tuple[Order, Found]] = {
    "moved while it runs": (
        (N.DETACH_ALL, N.CHANGE_LINKS, N.SETTLE_LINKS, N.RECABLE, *BACK),
        ("I3", "power.requested", "port.moved"),
    ),
    "moved before it was cut": (
        (N.POWER_OFF, N.CHANGE_LINKS, N.SETTLE_LINKS, N.RECABLE, *BACK),
        ("I1", "port.attach_observed", "port.moved"),
    ),
    "back before the new link was read": (
        (N.POWER_OFF, N.DETACH_ALL, N.CHANGE_LINKS, *BACK),
        ("I1", "port.moved", "port.attach_requested"),
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_server_moved_in_a_wrong_order(mutant: Mutant, name: str) -> None:
    """
    The first finding names the two events that show it.
    """
    order, found = ORDERS[name]
    mutant.rig.active(BLUE)
    mutant.plan(IntentKind.MOVE, order)
    mutant.act(N.CHANGE_LINKS, blind)
    move(mutant.rig)
    mutant.rig.settle()

    assert mutant.found(UUID) == found


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (forgetful, ("I1", "port.moved", "port.attach_requested")),
        (indifferent, ("I1", "port.moved", "port.left_observed")),
        (credulous, ("I5", "port.left_observed", "port.left_observed")),
    ],
)
def test_what_was_left_is_not_looked_at(mutant: Mutant, made: Callable[[Context, Act], Outcome], found: Found) -> None:
    """
    Nobody looks, or what is seen is no matter, or it is told without a reading.
    """
    mutant.rig.active(BLUE)
    mutant.act(N.SETTLE_LINKS, made)
    move(mutant.rig)
    mutant.rig.settle()

    assert mutant.found(UUID) == found


def test_links_do_not_change_under_a_server_that_is_on(mutant: Mutant) -> None:
    """
    The honest step refuses what the order above had to be blinded for: it is set aside, where it was.
    """
    mutant.rig.active(BLUE)
    mutant.plan(IntentKind.MOVE, ORDERS["moved while it runs"][0])
    move(mutant.rig)
    mutant.rig.settle()
    server = mutant.rig.server(UUID)

    assert (server.fault, mutant.rig.networks.ports[FIRST].plug[0]) == ("POWER_ON_UNPLANNED", "leaf1")
    assert mutant.findings(UUID) == ()
