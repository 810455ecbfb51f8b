# SPDX-License-Identifier: Apache-2.0
"""Nothing can be taken from a signed log, and no older one put in its place, without being seen."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bms.event.v1 import event_pb2
from services.kernel.errors import Corrupt
from services.kernel.events import Head
from tests.runtime import recompute
from tests.runtime.signed import SAMPLE, Rig
from tests.support.stores import MakeDatabase


@pytest.fixture
def rig(make_database: MakeDatabase, tmp_path: Path) -> Rig:
    return Rig(make_database(SAMPLE), tmp_path / "data")


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
