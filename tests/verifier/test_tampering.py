# SPDX-License-Identifier: Apache-2.0
"""Nothing can be taken from a log, added to it, moved or altered in it, and still pass: tried on every event of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from bms.event.v1 import event_pb2
from services.verifier import chain
from services.verifier.judge import Judge
from services.verifier.seen import micros
from services.verifier.verdict import Verdict
from tests.verifier.evidence import Evidence

T = TypeVar("T")


def removed(all_: Sequence[T], index: int) -> list[T]:
    return [*all_[:index], *all_[index + 1 :]]


def doubled(all_: Sequence[T], index: int) -> list[T]:
    return [*all_[: index + 1], all_[index], *all_[index + 1 :]]


def swapped(all_: Sequence[T], index: int) -> list[T]:
    other = (index + 1) % len(all_)
    changed = list(all_)
    changed[index], changed[other] = changed[other], changed[index]
    return changed


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def altered(field: str) -> Callable[[Sequence[event_pb2.StoredEvent], int], list[event_pb2.StoredEvent]]:
    """One bit of *field* of one event is flipped."""

    def alter(all_: Sequence[event_pb2.StoredEvent], index: int) -> list[event_pb2.StoredEvent]:
        event = event_pb2.StoredEvent()
        event.CopyFrom(all_[index])
        old = getattr(event, field)
        if not old:
            setattr(event, field, b"x")
        else:
            setattr(event, field, flip(old) if isinstance(old, bytes) else old + 1)
        return [*all_[:index], event, *all_[index + 1 :]]

    return alter


EVENTS: dict[str, Callable[[Sequence[event_pb2.StoredEvent], int], list[event_pb2.StoredEvent]]] = {
    "removed": removed,
    "doubled": doubled,
    "swapped": swapped,
    **{f"other {name}": altered(name) for name in ("body", "body_digest", "previous", "digest", "position")},
}


def test_a_life_passes(life: Evidence) -> None:
    """
    As it is, every server passes; all of it is covered by seven checkpoints of two keys.
    """
    report = life.judge()

    assert report.problems == ()
    assert report.verdict is Verdict.PASS
    assert report.judged_to == len(life.events) == report.events
    assert (len(life.checkpoints), len(life.keys), len(report.streams)) == (7, 2, 2)


@pytest.mark.parametrize("how", EVENTS)
def test_no_event_can_be_touched(life: Evidence, how: str) -> None:
    """
    Every single event, removed, doubled, swapped with the next or altered by a bit: no verdict is PASS.
    """
    for index in range(len(life.events)):
        report = replace(life, events=EVENTS[how](life.events, index)).judge()
        assert report.verdict is not Verdict.PASS, index
        if how not in ("other body_digest", "other digest"):  # these are computed anew, and only the server is doubted
            assert report.judged_to <= index + 1, index


def test_an_altered_header_is_seen(life: Evidence) -> None:
    """
    A header that says something else is another event, whichever of its bytes says so.
    """
    for index, event in enumerate(life.events):
        header = event_pb2.EventHeader.FromString(event.header)
        header.type = "server.patrolled"
        forged = event_pb2.StoredEvent()
        forged.CopyFrom(event)
        forged.header = header.SerializeToString()
        events = [*life.events[:index], forged, *life.events[index + 1 :]]
        if forged.header != event.header:
            assert replace(life, events=events).judge().verdict is Verdict.UNKNOWN, index


def rewritten(events: Sequence[event_pb2.StoredEvent], drop: int) -> list[event_pb2.StoredEvent]:
    """What a forger who holds the database makes of it: an event is gone, all that follows is hashed anew."""
    heads: dict[str, tuple[int, bytes]] = {}
    forged: list[event_pb2.StoredEvent] = []
    for index, event in enumerate(events):
        if index == drop:
            continue
        header = event_pb2.EventHeader.FromString(event.header)
        sequence, previous = heads.get(header.stream, (0, b""))
        header.sequence = sequence + 1
        data = header.SerializeToString(deterministic=True)
        digest = chain.event_digest(previous, data, event.body_digest)
        heads[header.stream] = (header.sequence, digest)
        forged.append(
            event_pb2.StoredEvent(
                header=data, body=event.body, body_digest=event.body_digest, previous=previous, digest=digest,
                position=len(forged) + 1,
            )
        )  # fmt: skip
    return forged


def test_a_chain_hashed_anew_fits_no_signature(life: Evidence) -> None:
    """
    Whoever rewrites the database can make every chain fit again, and still no checkpoint does.
    """
    for drop in range(len(life.events)):
        report = replace(life, events=rewritten(life.events, drop)).judge()
        assert report.verdict is not Verdict.PASS, drop
        assert report.judged_to <= drop, drop


CHECKPOINTS: dict[str, Callable[[Sequence[event_pb2.SignedCheckpoint], int], list[event_pb2.SignedCheckpoint]]] = {
    "removed": removed,
    "doubled": doubled,
    "swapped": swapped,
    "other content": lambda all_, index: _checkpoint(all_, index, "checkpoint"),
    "other signature": lambda all_, index: _checkpoint(all_, index, "signature"),
}


def _checkpoint(all_: Sequence[event_pb2.SignedCheckpoint], index: int, field: str) -> list[event_pb2.SignedCheckpoint]:
    signed = event_pb2.SignedCheckpoint()
    signed.CopyFrom(all_[index])
    setattr(signed, field, flip(getattr(signed, field)))
    return [*all_[:index], signed, *all_[index + 1 :]]


@pytest.mark.parametrize("how", CHECKPOINTS)
def test_no_checkpoint_can_be_touched(life: Evidence, how: str) -> None:
    """
    Every checkpoint, removed, doubled, swapped with the next or altered: no verdict is PASS.
    """
    for index in range(len(life.checkpoints)):
        report = replace(life, checkpoints=CHECKPOINTS[how](life.checkpoints, index)).judge()
        assert report.verdict is not Verdict.PASS, index


def test_without_checkpoints_or_keys_nothing_is_known(life: Evidence) -> None:
    """
    A log alone proves nothing; nor do checkpoints without the keys that signed them.
    """
    assert replace(life, checkpoints=[]).judge().verdict is Verdict.UNKNOWN
    assert replace(life, keys=[]).judge().verdict is Verdict.UNKNOWN
    assert replace(life, keys=life.keys[:1]).judge().verdict is Verdict.UNKNOWN
    assert replace(life, keys=life.keys[1:]).judge().verdict is Verdict.UNKNOWN


def test_a_tail_that_was_cut_off_is_seen(life: Evidence) -> None:
    """
    However much is missing at the end, a checkpoint that covers it says so.
    """
    for length in range(len(life.events)):
        report = replace(life, events=life.events[:length]).judge()
        assert report.verdict is Verdict.UNKNOWN
        assert "a checkpoint covers it" in report.problems[-1].message


def test_an_interval_ends_where_checkpoints_do(life: Evidence) -> None:
    """
    Without the last checkpoint, each server passes up to its last covered event, and is unknown from the next on.
    """
    report = replace(life, checkpoints=life.checkpoints[:-1]).judge()

    times: dict[str, list[int]] = {}
    for event in life.events:
        header = event_pb2.EventHeader.FromString(event.header)
        times.setdefault(header.stream, []).append(micros(header.time))
    split = [stream for stream in report.streams.values() if len(stream.intervals) == 2]
    assert split
    for stream in split:
        covered, beyond = stream.intervals
        of = times[stream.stream]
        assert (covered.verdict, covered.first, covered.end) == (Verdict.PASS, 1, of[covered.last - 1])
        assert (beyond.verdict, beyond.first, beyond.begin) == (Verdict.UNKNOWN, covered.last + 1, of[covered.last])
        assert (beyond.last, beyond.end) == (len(of), of[-1])


def test_a_stream_that_was_dropped_is_seen(life: Evidence) -> None:
    """
    All events of one server are gone and the rest is hashed and numbered anew: no checkpoint fits.
    """
    streams = sorted(life.proofs)
    for stream in streams:
        rest = [one for one in life.events if event_pb2.EventHeader.FromString(one.header).stream != stream]
        report = replace(life, events=rewritten(rest, -1)).judge()
        assert report.verdict is Verdict.UNKNOWN
        assert report.judged_to == 0


def test_a_key_is_trusted_or_vouched_for(life: Evidence) -> None:
    """
    The log's first key must be one that is trusted, or the second, which then needs no vouching; no other will do.
    """
    first, second = (key.public_key for key in life.keys)

    assert life.judge(frozenset({first})).verdict is Verdict.PASS
    assert life.judge(frozenset({first, second})).verdict is Verdict.PASS
    assert life.judge(frozenset({bytes(32)})).verdict is Verdict.UNKNOWN
    assert life.judge(frozenset()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("how", ["removed", "doubled", "swapped", "other body", "other digest"])
def test_one_stream_is_judged_by_its_proof_alone(life: Evidence, how: str) -> None:
    """
    A server's events and the proof of where they ended pass without the rest of the log, and nothing of them can be
    touched.
    """

    def verdict(stream: str, events: Sequence[event_pb2.StoredEvent]) -> Verdict:
        judge = Judge("lifecycle", stream=stream)
        for key in life.keys:
            judge.key(key)
        judge.proof(life.proofs[stream])
        for event in events:
            judge.event(event)
        return judge.report().verdict

    for stream in life.proofs:
        own = [one for one in life.events if event_pb2.EventHeader.FromString(one.header).stream == stream]
        assert verdict(stream, own) is Verdict.PASS
        for index in range(len(own)):
            assert verdict(stream, EVENTS[how](own, index)) is not Verdict.PASS, index
        assert verdict(stream, own[:-1]) is Verdict.UNKNOWN


def test_withheld_bodies_leave_the_chain_whole_and_the_verdict_unknown(life: Evidence) -> None:
    """
    A tenant sees his own bodies: he verifies that nothing is missing, and cannot judge what he does not see.
    """
    theirs = []
    for event in life.events:
        shown = event_pb2.StoredEvent()
        shown.CopyFrom(event)
        if event_pb2.EventBody.FromString(event.body).project != "demo":
            shown.ClearField("body")
        theirs.append(shown)
    report = replace(life, events=theirs).judge()

    assert report.problems == ()
    assert report.judged_to == len(life.events)
    assert report.verdict is Verdict.UNKNOWN
    assert not any(stream.findings for stream in report.streams.values())


def test_what_is_no_checkpoint_is_told_and_breaks_nothing(life: Evidence) -> None:
    """
    Garbage where a later checkpoint, or a proof's, should be: a finding, not an error of the verifier.
    """
    garbage = event_pb2.SignedCheckpoint(checkpoint=b"\xff\xff")
    early = replace(life, checkpoints=[*life.checkpoints[:1], life.checkpoints[1], garbage], events=life.events[:3])
    assert early.judge().verdict is Verdict.UNKNOWN
    assert replace(life, checkpoints=[*life.checkpoints[:-1], garbage]).judge().verdict is Verdict.UNKNOWN

    stream = min(life.proofs)
    judge = Judge("lifecycle", stream=stream)
    judge.proof(event_pb2.StreamProof(stream=stream, checkpoint=garbage))
    for event in life.events:
        judge.event(event)
    assert judge.report().verdict is Verdict.UNKNOWN
