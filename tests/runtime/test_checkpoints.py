# SPDX-License-Identifier: Apache-2.0
"""Checkpoints say what the log says, whoever makes them and whenever he is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bms.event.v1 import event_pb2
from services.kernel.effect import observed
from services.kernel.errors import WrongState
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import EVENTS, STANDBY, Checkpointer
from services.runtime.database import open_database
from services.runtime.signing import KeyFiles
from services.verifier.chain import START as START_OF_LOG
from services.verifier.chain import Heads, root_of, running_digest
from services.verifier.keys import Keys
from tests.runtime import recompute
from tests.runtime.signed import SAMPLE, Rig
from tests.support.clocks import START
from tests.support.stores import MakeDatabase
from tests.support.wire import Wire, reader


class Crash(BaseException):
    """The process is killed here."""


@pytest.fixture
def rig(make_database: MakeDatabase, tmp_path: Path) -> Rig:
    return Rig(make_database(SAMPLE), tmp_path / "data")


@pytest.mark.parametrize("chained", [True, False])
def test_a_checkpoint_is_what_the_contract_says(make_database: MakeDatabase, tmp_path: Path, chained: bool) -> None:
    """
    Running digest, root, streams and the chain of checkpoints are those that somebody else computes from the contract's
    words, in logs with and without a chain.
    """
    rig = Rig(make_database(SAMPLE), tmp_path, chained)
    rig.append("a", "b", "a")
    rig.tick_on()
    rig.append("c", "a", "d", "é")
    rig.tick_on()

    first, second = rig.checkpoints()
    signed = rig.signed()
    events = rig.events()
    assert all(recompute.fits(each, rig.signing_keys(), events) for each in signed)
    assert (first.service, first.number, first.position, first.streams, first.previous) == ("lifecycle", 1, 3, 2, b"")
    assert (second.number, second.position, second.streams) == (2, 7, 5)
    assert second.previous == recompute.checkpoint_digest(signed[0])
    assert second.log == first.log
    assert second.time.ToDatetime(START.tzinfo) == rig.now
    assert first.restored_from == second.restored_from == b""
    assert all(event.digest == recompute.event_digest(event) for event in events if chained)


def test_nothing_new_nothing_signed(rig: Rig) -> None:
    """
    An empty log has no checkpoint and no key, and a log at rest no further ones.
    """
    rig.tick_on()
    assert (rig.signed(), rig.signed(newest=True), rig.signing_keys()) == ([], [], [])
    rig.append("a")
    rig.tick_on()
    rig.tick_on()

    assert len(rig.signed()) == 1
    (key,) = rig.signing_keys()
    assert (key.service, key.from_number, key.endorsement) == ("lifecycle", 1, b"")
    assert key.log == rig.checkpoints()[0].log


def test_many_events_take_several_checkpoints(rig: Rig) -> None:
    """
    A log that is older than its checkpoints, or a burst, is covered a thousand events at a time.
    """
    for start in range(0, 2 * EVENTS + 5, 500):
        rig.append(*(f"s{n % 37}" for n in range(start, min(start + 500, 2 * EVENTS + 5))))
    rig.tick_on()

    assert [each.position for each in rig.checkpoints()] == [EVENTS, 2 * EVENTS, 2 * EVENTS + 5]
    assert rig.fits()


def test_lists_are_paged(rig: Rig) -> None:
    """
    Checkpoints come by number, behind the one given; the newest can be had alone.
    """
    for _ in range(5):
        rig.append("a")
        rig.tick_on()

    answer = rig.wire.ok("ListCheckpoints", event_pb2.ListCheckpointsRequest(after=1, page_size=2))
    assert answer.next_after == 3
    assert [each.number for each in rig.checkpoints(after=3)] == [4, 5]
    assert rig.wire.ok("ListCheckpoints", event_pb2.ListCheckpointsRequest(after=5)).next_after == 5
    assert [each.number for each in rig.checkpoints(newest=True)] == [5]
    for request in (event_pb2.ListCheckpointsRequest(after=-1), event_pb2.ListCheckpointsRequest(page_size=-1)):
        assert rig.wire.call("ListCheckpoints", request).code.name == "INVALID_ARGUMENT"
    assert rig.signed(log="another") == []


def test_a_restart_goes_on_without_reading_events(rig: Rig) -> None:
    """
    A fresh process takes the heads from their table, and looks at no event before the last checkpoint's: with all of
    them gone, as after archiving, the next checkpoint fits all the same.
    """
    rig.append(*(f"s{n}" for n in range(50)))
    rig.tick_on()
    archived = rig.events()[:49]
    rig.execute("DELETE FROM events WHERE position < 50")
    rig.start()
    rig.append("s3", "new")
    rig.tick_on()

    assert [(each.number, each.position, each.streams) for each in rig.checkpoints()] == [(1, 50, 50), (2, 52, 51)]
    assert recompute.fits(rig.signed(newest=True)[0], rig.signing_keys(), [*archived, *rig.events()])


def test_streams_are_proven_alone(rig: Rig) -> None:
    """
    A stream's proof leads from its last event to the newest checkpoint, also in a process that has made none; a stream
    that no checkpoint covers is not found.
    """
    rig.append(*(f"s{n}" for n in range(11)), "s4")
    rig.tick_on()
    rig.append("s10", "later")

    for _ in range(2):
        for number in range(11):
            proof = rig.proof(f"s{number}")
            checkpoint = recompute.opened(proof.checkpoint, rig.signing_keys())
            assert recompute.proven_root(proof, checkpoint.streams) == checkpoint.heads_root
            assert (proof.sequence, proof.index) == (2 if number == 4 else 1, number)
        assert rig.wire.call("GetStreamProof", event_pb2.GetStreamProofRequest(stream="later")).code.name == "NOT_FOUND"
        rig.start()
    assert rig.proof("s4").digest == rig.events()[11].digest


def test_the_verifier_reads_the_same(rig: Rig) -> None:
    """
    Service and verifier were written from the contract apart from each other; keys, signatures, digests and root of one
    are those of the other, over a rotation.
    """
    rig.append("a", "b", "a", "é")
    rig.tick_on()
    rig.keys.rotate()
    rig.append("c", "a")
    rig.tick_on()

    keys, heads, running = Keys("lifecycle", None), Heads(), START_OF_LOG
    assert [keys.take(key) for key in rig.signing_keys()] == ["", ""]
    checkpoints = {each.position: each for each in rig.checkpoints()}
    for event in rig.events():
        header = event_pb2.EventHeader.FromString(event.header)
        running = running_digest(running, event.position, event.digest)
        heads.put(header.stream, header.sequence, event.digest)
        if checkpoint := checkpoints.pop(event.position, None):
            assert (running, heads.root()) == (checkpoint.running_digest, checkpoint.heads_root)
    assert not checkpoints
    for signed in rig.signed():
        assert keys.verify(signed, event_pb2.Checkpoint.FromString(signed.checkpoint)) == ""
    assert root_of(rig.proof("é"), len(heads)) == heads.root()


# ---- keys


def test_a_rotated_key_is_endorsed_by_the_one_before(rig: Rig) -> None:
    """
    The next checkpoint is signed by the new key, for which the old one speaks; earlier ones verify as before.
    """
    rig.append("a")
    rig.tick_on()
    made = KeyFiles(rig.folder / "sample.signing.key").rotate()
    for _ in range(2):
        rig.append("a")
        rig.tick_on()
        rig.start()

    first, second = rig.signing_keys()
    assert (first.from_number, second.from_number, second.key_id) == (1, 2, made)
    recompute.require_endorsed(first, second)
    assert [each.key_id for each in rig.checkpoints()] == [first.key_id, made, made]
    assert [file.name for file in rig.folder.glob("*key*")] == ["sample.signing.key"]
    answer = rig.wire.ok("ListSigningKeys", event_pb2.ListSigningKeysRequest(page_size=1))
    assert ([key.key_id for key in answer.keys], answer.next_after) == ([first.key_id], 1)
    assert [key.key_id for key in rig.signing_keys(after=1)] == [made]


def test_a_lost_key_stops_signing_until_somebody_decides(rig: Rig) -> None:
    """
    With the key gone nothing is signed by another; when an administrator asks for a new one, that it has no endorsement
    is there for everybody to see, and said loudly.
    """
    rig.append("a")
    rig.tick_on()
    (rig.folder / "sample.signing.key").unlink()
    rig.start()
    rig.append("a")
    with pytest.raises(WrongState):
        rig.tick_on()
    assert len(rig.signed()) == 1

    rig.keys.rotate()
    with capture_logs() as lines:
        rig.tick_on()
    assert [line["log_level"] for line in lines if line["event"] == "signing.key_lost"] == ["error"]
    assert [bool(key.endorsement) for key in rig.signing_keys()] == [False, False]
    assert rig.fits()


# ---- crashes and replicas


def _points(rig: Rig) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    with observed(lambda label, when: seen.append((label, when))):
        rig.tick_on()
    return seen


def test_a_process_killed_anywhere_leaves_a_log_that_goes_on(make_database: MakeDatabase, tmp_path: Path) -> None:
    """
    Killed at every effect of a checkpoint in turn, rotation included, before and after: the restarted process goes on
    with the next number, and no number has two checkpoints.
    """

    def prepared(folder: Path) -> Rig:
        rig = Rig(make_database(SAMPLE), folder)
        rig.append("a", "b")
        rig.tick_on()
        rig.keys.rotate()
        rig.append("b", "c")
        return rig

    points = _points(prepared(tmp_path / "first"))
    assert ("db.checkpoint.commit", "before") in points
    for number, _ in enumerate(points):
        rig = prepared(tmp_path / str(number))
        count = -1

        def kill(_label: str, _when: str, number: int = number) -> None:
            nonlocal count
            count += 1
            if count == number:
                raise Crash

        with pytest.raises(Crash), observed(kill):
            rig.tick_on()
        rig.start()
        rig.tick_on()

        assert [(each.number, each.position) for each in rig.checkpoints()] == [(1, 2), (2, 4)], points[number]
        recompute.require_endorsed(*rig.signing_keys())
        assert rig.fits()


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_replicas_never_tell_two_stories(make_url: Callable[[str], str], tmp_path: Path) -> None:
    """
    Three replicas that make checkpoints at once while events are written: one row of numbers, one chain, and each
    replica proves against the newest, whoever made it.
    """
    url = make_url(SAMPLE)
    databases = [open_database(url) for _ in range(3)]
    (tmp_path / "0").mkdir()
    rigs = [Rig(database, tmp_path / str(number), seed=str(number)) for number, database in enumerate(databases)]
    rigs[0].keys.choose("")
    for rig in rigs[1:]:
        rig.keys = KeyFiles(tmp_path / "0" / "sample.signing.key")
        rig.checkpointer = Checkpointer("lifecycle", rig.database, rig.ids, rig.keys, rig.witness)
        rig.wire = Wire(EventLogServicer("lifecycle", rig.database, rig.checkpointer), reader())
    done = threading.Event()

    def work(rig: Rig) -> None:
        while not done.is_set():
            rig.tick()

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, rig) for rig in rigs]
        for turn in range(60):
            rigs[turn % 3].append(f"{turn % 3}/a{turn % 7}", f"{turn % 3}/b{turn}")
        done.set()
        for each in working:
            each.result(60)
    for rig in rigs:
        rig.tick_on()

    signed = rigs[0].signed()
    checkpoints = rigs[0].checkpoints()
    assert [each.number for each in checkpoints] == list(range(1, len(checkpoints) + 1))
    assert len({each.log for each in checkpoints}) == 1
    for before, after in zip(signed, checkpoints[1:], strict=False):
        assert after.previous == recompute.checkpoint_digest(before)
    assert all(recompute.fits(each, rigs[0].signing_keys(), rigs[0].events()) for each in signed)
    for rig in rigs:
        proof = rig.proof("1/b1")
        assert recompute.proven_root(proof, checkpoints[-1].streams) == checkpoints[-1].heads_root
    for database in databases:
        database.close()


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_another_replica_steps_in_when_one_is_silent(make_url: Callable[[str], str], tmp_path: Path) -> None:
    """
    Whoever made the last checkpoint makes the next; after a few seconds without one another replica does.
    """
    url = make_url(SAMPLE)
    one, other = (Rig(open_database(url), tmp_path, seed=str(number)) for number in range(2))

    def numbers() -> Sequence[int]:
        return [each.number for each in one.checkpoints()]

    one.append("a")
    while one.tick(ending=False):
        pass
    one.append("a")
    other.now = one.now
    other.tick(ending=False)
    assert numbers() == [1]
    one.tick(ending=False)
    assert numbers() == [1, 2]
    one.append("a")
    other.now = one.now + STANDBY
    other.tick(ending=False)
    assert numbers() == [1, 2, 3]
    for rig in (one, other):
        rig.database.close()
