# SPDX-License-Identifier: Apache-2.0
"""Over what lifecycle genuinely records, telemetry's verdict is lifecycle's own and the verifier's, event by event."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bms.lifecycle.v1 import server_status_pb2
from services.lifecycle.guests.watching import Guests
from telemetry.events import Followed
from telemetry.known import Known, learn
from telemetry.standing import Verdict
from tests.lifecycle.observing.fake_nodes import watched
from tests.lifecycle.rig import BLUE, Rig
from tests.lifecycle.test_forcing import (
    ATTEST,
    AVAILABLE,
    RELEASE,
    SKIP,
    cleaning,
    delete,
    force,
    quarantined,
    silent,
    status,
    unreadable,
)
from tests.lifecycle.test_guests import NOVA, Hosts, guest_on
from tests.lifecycle.test_judging import expose, hear
from tests.support.judging import judged, stored_events
from tests.support.stores import MakeDatabase
from tests.support.wire import admin


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    return Rig(make_database("services.lifecycle"))


def read(rig: Rig, uuid: str) -> list[tuple[int, Known]]:
    """What telemetry knows after each event of a server: by the event's sequence."""
    known, after = Known(), []
    for stored in stored_events(rig.database, rig.log):
        event = Followed.of("lifecycle", stored)
        if event.header.stream == f"servers/{uuid}":
            known = learn(known, event)
            after.append((event.header.sequence, known))
    return after


def agrees(rig: Rig, uuid: str) -> Known:
    """Holds each verdict against the verifier's; answers what is known in the end."""
    after = read(rig, uuid)
    report = judged("lifecycle", stored_events(rig.database, rig.log))[f"servers/{uuid}"]
    theirs = [
        next(one.verdict.value.lower() for one in reversed(report.intervals) if one.first <= sequence <= one.last)
        for sequence, _ in after
    ]
    assert [known.standing.verdict.value for _, known in after] == theirs
    return after[-1][1]


@pytest.mark.parametrize(
    ("story", "kind"),
    [(unreadable, RELEASE), (quarantined, AVAILABLE), (cleaning, SKIP), (silent, ATTEST)],
    ids=["release", "available", "skip_clean", "attest_power_off"],
)
def test_every_kind_of_force_taints(rig: Rig, story: Callable[[Rig], object], kind: int) -> None:
    """
    From the approval on, with lifecycle's own words for since when and by what.
    """
    found = story(rig)
    uuid = found[0] if isinstance(found, tuple) else str(found)
    force(rig, uuid, kind)  # type: ignore[arg-type]  # an enumeration's number

    standing, shown = agrees(rig, uuid).standing, status(rig, uuid)
    assert standing.verdict is Verdict.TAINTED
    assert (standing.cause.action, standing.since) == (shown.tainted_by, shown.tainted_since.ToMicroseconds())
    assert (standing.cause.requester, standing.cause.approver) == ("ann", "bob")
    assert standing.cause.text == "the rack burnt down"


def test_the_next_full_clean_ends_it(rig: Rig) -> None:
    """
    For telemetry as for lifecycle and the verifier, at the same event.
    """
    uuid = quarantined(rig)
    force(rig, uuid, AVAILABLE)
    rig.hardware.machine(uuid).fail_jobs.clear()
    rig.create(BLUE)
    rig.settle()
    delete(rig)
    rig.settle()

    standing = agrees(rig, uuid).standing
    assert (standing.verdict, standing.cause.type) == (Verdict.PASS, "clean.passed")
    assert not status(rig, uuid).tainted_by


def test_what_the_verifier_finds_is_a_fail(rig: Rig) -> None:
    """
    With the invariant, from lifecycle's event on.
    """
    uuid = rig.active(BLUE)
    hear(rig)
    expose(rig, uuid)
    hear(rig)
    rig.settle()

    standing = read(rig, uuid)[-1][1].standing
    assert (standing.verdict, standing.cause.kind) == (Verdict.FAIL, "I1")


def test_what_others_ran_on_it_is_unknown_until_it_is_cleaned_again(rig: Rig) -> None:
    """
    Held alone says nothing; once it ran nobody knows, also after it went; recovered, which erases it, it is as good as
    new.
    """
    uuid = rig.available()
    site, hosts = watched(rig), Hosts()
    guests = Guests(rig.database, rig.store, hosts, rig.clock)

    def look(state: str, nova: str) -> Known:
        site.nodes.lead(uuid, state, holder=NOVA if nova else "", power="off")
        hosts.guests = {NOVA: guest_on(uuid, nova)} if nova else {}
        site.see()
        rig.clock.advance(61)
        guests.tick(rig.clock.now())
        site.see()
        return agrees(rig, uuid)

    assert look("available", "").standing.verdict is Verdict.PASS
    building = look("deploying", "BUILD")
    assert (building.standing.verdict, building.holder) == (Verdict.PASS, guest_on(uuid, "BUILD").name)
    running = look("active", "ACTIVE")
    assert (running.standing.verdict, running.standing.cause.kind) == (Verdict.UNKNOWN, "guest")
    assert running.standing.cause.text.startswith("made in Nova as his")
    gone = look("available", "")
    assert (gone.standing.verdict, gone.holder, gone.state) == (Verdict.UNKNOWN, "", "quarantined")

    rig.ok("RecoverServer", server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}"), admin())
    rig.settle()
    assert agrees(rig, uuid).standing.verdict is Verdict.PASS
