# SPDX-License-Identifier: Apache-2.0
"""A server's verdict is what its events say, and a worse one stays until the next full clean pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.known import Known, learn
from telemetry.sandesh.encode import body_text
from telemetry.sandesh.verdict import BMS_SERVER_VERDICT, BMS_SERVER_VERDICT_INFO
from telemetry.standing import Cause, Standing, Verdict
from telemetry.translate import server_verdict
from tests.telemetry.builders import SERVER, T0, event_id, followed

FORCED: dict[str, Any] = {
    "type": "forced.approved",
    "message": "its BMC burnt",
    "facts": {"kind": "release", "action": f"servers/{SERVER}/forcedActions/1", "requested_by": "anna",
              "approved_by": "bert"},
}  # fmt: skip
VIOLATED: dict[str, Any] = {
    "type": "server.violated", "message": "I1: two networks", "facts": {"invariant": "I1"},
}  # fmt: skip
ORDINARY: dict[str, Any] = {"type": "power.observed"}
CLEAN: dict[str, Any] = {"type": "clean.passed"}


def told(*events: dict[str, Any], known: Known | None = None, first: int = 1) -> Known:
    """What is known after *events*, one after the other."""
    known = known or Known()
    for position, given_ in enumerate(events, first):
        known = learn(known, followed(position=position, **given_))
    return known


def test_a_server_begins_well() -> None:
    """
    Nothing speaks against a server whose whole stream was read; of one without events nothing is known.
    """
    standing = told({"type": "server.enrolled"}, ORDINARY).standing

    assert (standing.verdict, standing.since) == (Verdict.PASS, T0 + 1_000_000)
    assert standing.cause == Cause(event_id("lifecycle", 1), "server.enrolled")
    assert Known().standing.verdict is Verdict.UNKNOWN


def test_a_forced_action_taints_with_who_and_why() -> None:
    """
    The verdict names the event, its kind, and both administrators; what the action leads to does not hide it.
    """
    standing = told(ORDINARY, FORCED, {"type": "address.forced_free"}, {"type": "clean.skipped"}).standing

    assert (standing.verdict, standing.since) == (Verdict.TAINTED, T0 + 2_000_000)
    assert standing.cause == Cause(
        event_id("lifecycle", 2), "forced.approved", "release", "its BMC burnt",
        "anna", "bert", f"servers/{SERVER}/forcedActions/1",
    )  # fmt: skip


@pytest.mark.parametrize("type_", ["forced.requested", "forced.withdrawn"])
def test_what_nobody_approved_taints_nothing(type_: str) -> None:
    """
    Only the second administrator's word counts.
    """
    assert told(ORDINARY, {**FORCED, "type": type_}).standing.verdict is Verdict.PASS


@pytest.mark.parametrize("type_", ["power.attested", "clean.skipped", "address.forced_free"])
def test_what_only_force_leads_to_taints_by_itself(type_: str) -> None:
    """
    Also where the approval itself is not the event that was read.
    """
    assert told(ORDINARY, {"type": type_}).standing.verdict is Verdict.TAINTED


def test_a_second_forced_action_is_the_cause_since_the_first() -> None:
    """
    As lifecycle has it in a server's status: since the first, by the newest.
    """
    facts = {**FORCED["facts"], "kind": "available"}
    standing = told(ORDINARY, FORCED, {**FORCED, "facts": facts}).standing

    assert (standing.since, standing.cause.kind) == (T0 + 2_000_000, "available")


@pytest.mark.parametrize("events", [(FORCED, VIOLATED), (VIOLATED, FORCED)], ids=["after", "before"])
def test_a_broken_invariant_is_worse_than_taint(events: tuple[dict[str, Any], ...]) -> None:
    """
    FAIL stays, with the invariant, whatever is forced before or after.
    """
    standing = told(ORDINARY, *events).standing

    assert standing.verdict is Verdict.FAIL
    assert (standing.cause.kind, standing.cause.text) == ("I1", "I1: two networks")


@pytest.mark.parametrize("bad", [FORCED, VIOLATED], ids=["tainted", "fail"])
@pytest.mark.parametrize("sound", ["clean.passed", "server.adopted"])
def test_what_is_sound_again_clears_it_in_so_many_words(bad: dict[str, Any], sound: str) -> None:
    """
    A UVE's attribute cannot be unset: "pass" is said, with its own cause, and every text that has no value any more.
    """
    known = told(ORDINARY, bad, ORDINARY, {"type": sound})
    said = server_verdict(SERVER, known)

    assert (said["verdict"], said["cause_type"], said["cause_event"]) == ("pass", sound, event_id("lifecycle", 4))
    assert (said["requested_by"], said["approved_by"], said["cause_kind"], said["cause_text"]) == ("", "", "", "")
    assert set(said) == {field.name for field in BMS_SERVER_VERDICT.fields} - {"deleted"}


def test_a_clean_that_did_not_pass_clears_nothing() -> None:
    """
    Neither asking for one nor its failure ends a taint.
    """
    known = told(ORDINARY, FORCED, {"type": "clean.requested"}, {"type": "server.failed", "reason": "CLEAN_INCOMPLETE"})

    assert known.standing.verdict is Verdict.TAINTED


def test_missing_events_leave_nothing_known_until_the_next_clean() -> None:
    """
    A stream that goes on behind a hole, or on another event than was read, is UNKNOWN; taint says nothing more.
    """
    holed = told(ORDINARY, known=told(ORDINARY, ORDINARY), first=4)
    beginning = told(ORDINARY, first=3)
    forced = told(FORCED, known=holed, first=5)

    assert holed.standing.cause.kind == beginning.standing.cause.kind == "gap"
    assert holed.standing.cause.text == "event 4 of its stream came after event 2"
    assert forced.standing.verdict is Verdict.UNKNOWN
    assert told(VIOLATED, known=forced, first=6).standing.verdict is Verdict.FAIL
    assert told(CLEAN, known=forced, first=6).standing.verdict is Verdict.PASS


def test_an_event_on_another_one_is_noticed() -> None:
    """
    The chain's link must lead to the very event that was read.
    """
    known = told(ORDINARY)
    before = followed(**ORDINARY).digest
    right, wrong = followed(position=2, previous=before), followed(position=2, previous=b"x" * 32)

    assert learn(known, wrong).standing.verdict is Verdict.UNKNOWN
    assert learn(known, right).standing.verdict is Verdict.PASS


def test_a_server_that_left_and_comes_back_is_what_it_was() -> None:
    """
    Closing its stream erases no disk.
    """
    known = told(ORDINARY, FORCED, {"type": "server.closed"}, {"type": "server.enrolled"})

    assert known.standing.verdict is Verdict.TAINTED


def test_inventory_says_nothing_of_it() -> None:
    """
    Two logs tell of a server; its verdict is of lifecycle's.
    """
    known = told(ORDINARY, FORCED)

    assert learn(known, followed("inventory", 9, type="clean.passed")).standing == known.standing


_SCRIPT = st.lists(st.sampled_from([ORDINARY, FORCED, VIOLATED, CLEAN]), max_size=12)


@given(script=_SCRIPT)
def test_the_verdict_is_the_worst_since_the_last_clean(script: list[dict[str, Any]]) -> None:
    """
    Whatever comes in whatever order; and it is kept as text, and can be told, without loss.
    """
    known = told(ORDINARY, *script)
    last = max((index for index, event in enumerate(script) if event is CLEAN), default=-1)
    since = [event["type"] for event in script[last + 1 :]]
    wanted = (
        Verdict.FAIL if "server.violated" in since
        else Verdict.TAINTED if "forced.approved" in since
        else Verdict.PASS
    )  # fmt: skip

    assert known.standing.verdict is wanted
    assert Known.from_json(known.to_json()).standing == known.standing
    assert wanted.value in body_text(BMS_SERVER_VERDICT_INFO, {"data": server_verdict(SERVER, known)})


def test_administrators_are_named_by_their_role() -> None:
    """
    Who asked and who approved, and nothing else of them.
    """
    said = server_verdict(SERVER, told(ORDINARY, FORCED))

    assert (said["requested_by"], said["approved_by"]) == ("administrator anna", "administrator bert")
    assert said["since"] == "2026-01-01T12:00:02+00:00"
    assert said["forced_action"] == f"servers/{SERVER}/forcedActions/1"


def test_an_older_release_left_no_verdict() -> None:
    """
    What it put together is known to be of an older reading of the events.
    """
    old = Known.from_json('{"state":"active"}')

    assert (old.standing, old.fold) == (Standing(), 0)
