# SPDX-License-Identifier: Apache-2.0
"""Checkpoints say what the log says, and nothing can be taken from it afterwards without being seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bms.event.v1 import event_pb2
from services.kernel.effect import observed
from services.kernel.errors import Corrupt, WrongState
from services.kernel.events import Event, Head
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import EVENTS, STANDBY, Checkpointer
from services.runtime.database import Database, Transaction, open_database
from services.runtime.eventlog import EventLog
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness
from services.verifier.chain import START as START_OF_LOG
from services.verifier.chain import Heads, root_of, running_digest
from services.verifier.keys import Keys
from tests.runtime import recompute
from tests.support.clocks import START, SequentialIds
from tests.support.stores import MakeDatabase
from tests.support.wire import Wire, reader

SAMPLE = "tests.runtime.sample"


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class Rig:
    """A log, its checkpointer, and whoever reads both over the wire."""

    database: Database
    folder: Path
    chained: bool = True
    seed: str = ""
    heads: dict[str, Head] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = SequentialIds(f"rig {self.seed}")
        self.log = EventLog(self.database, self.ids, chained=self.chained)
        self.now = START
        self.start()

    def start(self) -> None:
        """A fresh process over the same files."""
        self.keys = KeyFiles(self.folder / "sample.signing.key")
        self.witness = Witness(self.folder / "sample.checkpoint")
        self.checkpointer = Checkpointer("lifecycle", self.database, self.ids, self.keys, self.witness)
        self.wire = Wire(EventLogServicer("lifecycle", self.database, self.checkpointer), reader())

    def append(self, *streams: str) -> None:
        """An event of each of *streams*, in one transaction."""

        def write(tx: Transaction) -> None:
            for stream in streams:
                event = Event(stream=stream, type="note.written", time=START, actor="alice", project="demo")
                self.heads[stream] = self.log.append(tx, event, self.heads.get(stream, Head()))

        self.database.transact(write, label="append")
        self.log.seal_all()

    def tick(self, *, ending: bool = True) -> bool:
        self.now += timedelta(seconds=1)
        return self.checkpointer.tick(self.now, ending=ending)

    def tick_on(self) -> None:
        """Until there is nothing left."""
        while self.tick():
            pass

    def events(self) -> list[event_pb2.StoredEvent]:
        rows = self.log.list(after=0, limit=100_000, wait=0).events
        return [
            event_pb2.StoredEvent(
                header=row.header,
                body=row.body,
                body_digest=row.body_digest,
                previous=row.previous,
                digest=row.digest,
                position=row.position,
            )
            for row in rows
        ]

    def signed(self, **request: Any) -> list[event_pb2.SignedCheckpoint]:
        answer = self.wire.ok("ListCheckpoints", event_pb2.ListCheckpointsRequest(**request))
        return list(answer.checkpoints)

    def signing_keys(self, **request: Any) -> list[event_pb2.SigningKey]:
        return list(self.wire.ok("ListSigningKeys", event_pb2.ListSigningKeysRequest(**request)).keys)

    def checkpoints(self, **request: Any) -> list[event_pb2.Checkpoint]:
        """All of the log, each with a good signature."""
        keys = self.signing_keys(log=request.get("log", ""))
        return [recompute.opened(signed, keys) for signed in self.signed(**request)]

    def proof(self, stream: str) -> event_pb2.StreamProof:
        found: event_pb2.StreamProof = self.wire.ok("GetStreamProof", event_pb2.GetStreamProofRequest(stream=stream))
        return found

    def fits(self) -> bool:
        """Whether the log is what its newest checkpoint says."""
        return recompute.fits(self.signed(newest=True)[0], self.signing_keys(), self.events())

    def execute(self, sql: str, *params: object) -> int:
        return self.database.transact(lambda tx: tx.execute(sql, params), label="sabotage")


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


# ---- what is done to a log afterwards


def _cut(rig: Rig) -> None:
    rig.execute("DELETE FROM events WHERE position > 7")


def _drop(rig: Rig) -> None:
    rig.execute("DELETE FROM events WHERE stream = 'b'")


def _drop_and_close_up(rig: Rig) -> None:
    # As somebody would who knows that positions are dense.
    rig.execute("DELETE FROM events WHERE stream = 'c'")
    rows = rig.database.read(lambda tx: tx.all("SELECT position FROM events ORDER BY position"))
    for place, row in enumerate(rows, 1):
        rig.execute("UPDATE events SET position = ? WHERE position = ?", place, row["position"])


def _alter(rig: Rig) -> None:
    events = rig.events()
    body = event_pb2.EventBody.FromString(events[2].body)
    body.actor = "nobody"
    rig.execute("UPDATE events SET body = ? WHERE position = 3", body.SerializeToString())


def _alter_and_chain_again(rig: Rig) -> None:
    # As somebody would who knows the formulas: the whole stream is hashed anew.
    previous = b""
    for event in rig.events():
        header = event_pb2.EventHeader.FromString(event.header)
        if header.stream != "a":
            continue
        body = event_pb2.EventBody.FromString(event.body)
        body.actor = "nobody"
        event.body = body.SerializeToString()
        digest = recompute.event_digest(event, previous)
        hashed = sha256(b"bms.event.v1.body\0" + event.body).digest()
        rig.execute(
            "UPDATE events SET body = ?, body_digest = ?, previous = ?, digest = ? WHERE position = ?",
            *(event.body, hashed, previous, digest, event.position),
        )
        previous = digest


def _swap(rig: Rig) -> None:
    for old, new in ((4, 104), (5, 4), (104, 5)):
        rig.execute("UPDATE events SET position = ? WHERE position = ?", new, old)


@pytest.mark.parametrize(
    "sabotage", [_cut, _drop, _drop_and_close_up, _alter, _alter_and_chain_again, _swap], ids=lambda each: each.__name__
)
def test_what_is_done_to_a_log_is_seen(rig: Rig, sabotage: Callable[[Rig], None]) -> None:
    """
    Cut off, dropped, altered, hashed anew or put in another order: the log no longer is what its checkpoint says.
    """
    rig.append("a", "b", "a", "c", "b", "a", "d", "a", "d")
    rig.tick_on()
    assert rig.fits()

    sabotage(rig)

    assert not rig.fits()


def test_a_log_whose_end_was_cut_off_is_not_signed_further(rig: Rig) -> None:
    """
    New events that take the places of those cut off are never covered by a checkpoint, however many come.
    """
    rig.append("a", "b", "a")
    rig.tick_on()
    rig.execute("DELETE FROM events WHERE position = 3")
    rig.heads["a"] = Head(1, rig.events()[0].digest)
    rig.append("a", "b", "b")

    for _ in range(2):
        with pytest.raises(Corrupt):
            rig.tick_on()
        rig.start()
    assert len(rig.signed()) == 1

    rig.witness.ask_for_new_log()
    rig.tick_on()
    assert [(each.number, each.position) for each in rig.checkpoints()] == [(1, 5)]
    assert rig.fits()


@pytest.mark.parametrize(
    "sabotage",
    [
        "DELETE FROM events WHERE position = 5",
        "UPDATE events SET sequence = 9 WHERE position = 5",
        "UPDATE checkpoint_heads SET sequence = 7 WHERE stream = 'b'",
        "DELETE FROM checkpoint_heads WHERE stream = 'b'",
    ],
)
def test_what_does_not_fit_together_is_not_signed(rig: Rig, sabotage: str) -> None:
    """
    A hole in positions or sequences, or heads that are not those of the last checkpoint, stop the signing.
    """
    rig.append("a", "b", "a")
    rig.tick_on()
    rig.append("c", "a", "d")
    rig.execute(sabotage)
    rig.start()

    with pytest.raises(Corrupt):
        rig.tick_on()

    assert len(rig.signed()) == 1


# ---- restored databases


def _backup(rig: Rig) -> Callable[[], None]:
    """Copies all tables; answers what puts them back."""
    tables = ("events", "checkpoint_logs", "checkpoints", "signing_keys", "checkpoint_heads")
    kept = {table: rig.database.read(lambda tx, table=table: tx.all(f"SELECT * FROM {table}")) for table in tables}  # type: ignore[misc]  # a default
    heads = dict(rig.heads)

    def restore() -> None:
        for table, rows in kept.items():
            rig.execute(f"DELETE FROM {table}")
            for row in rows:
                names = [name for name in row if name != "ordinal" or table == "checkpoint_logs"]
                marks = ", ".join("?" for _ in names)
                rig.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", *(row[n] for n in names))
        rig.heads = dict(heads)

    return restore


@pytest.mark.parametrize("more", [0, 1, 5], ids=lambda more: f"{more} more")
def test_a_restored_database_goes_on_as_another_log(rig: Rig, more: int) -> None:
    """
    A database that is older than what the process has seen of it is said loudly, and never signed under the old log:
    the new one covers everything again, names where the old one was, and both stay to be read.
    """
    rig.append("a", "b")
    rig.tick_on()
    restore = _backup(rig)
    rig.append("a", "c")
    rig.tick_on()
    (old, _) = rig.checkpoints()
    last_known = recompute.checkpoint_digest(rig.signed()[0])
    restore()
    for _ in range(more):
        rig.append("b")

    rig.start()
    with capture_logs() as lines:
        rig.tick_on()

    (found,) = [line for line in lines if line["event"] == "log.restored"]
    assert (found["log_level"], found["before"], found["seen"]) == ("error", old.log, 2)
    (new,) = rig.checkpoints()
    assert new.log != old.log
    assert (new.number, new.position, new.previous, new.restored_from) == (1, 2 + more, b"", last_known)
    assert rig.fits()
    assert [each.number for each in rig.checkpoints(log=old.log)] == [1]
    rig.start()
    rig.append("a")
    rig.tick_on()
    assert [each.log for each in rig.checkpoints()] == [new.log] * 2


def test_a_database_restored_under_a_running_process_is_noticed(rig: Rig) -> None:
    """
    It needs no restart: what the process has seen is compared before each checkpoint.
    """
    rig.append("a")
    rig.tick_on()
    old = rig.checkpoints()[0].log
    restore = _backup(rig)
    rig.append("a")
    rig.tick_on()
    restore()
    rig.append("b")
    rig.tick_on()

    assert rig.checkpoints()[0].log != old
    assert rig.fits()


def test_a_lost_witness_is_no_restored_database(rig: Rig) -> None:
    """
    The file outside of the database is a memory, no proof: without it, or with nonsense in it, the log goes on.
    """
    for content in (None, b"", b"{}", b"[1]"):
        rig.append("a")
        rig.tick_on()
        file = rig.folder / "sample.checkpoint"
        file.unlink() if content is None else file.write_bytes(content)
        rig.start()
    rig.append("a")
    rig.tick_on()

    assert [each.number for each in rig.checkpoints()] == [1, 2, 3, 4, 5]


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
