# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are made by themselves, and at the end everything is covered."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bms.event.v1 import event_pb2
from services.kernel.clock import RandomIds, SystemClock
from services.kernel.errors import PeerUnavailable
from services.kernel.events import Event, Head
from services.runtime import checkpoint_store as store
from services.runtime.auth import Tokens
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog
from services.runtime.foundation import Foundation
from services.runtime.metrics import Metrics
from services.runtime.notary import Notary
from services.runtime.page_tokens import PageTokens
from services.runtime.secrets import Vault
from services.runtime.settings import Settings
from services.runtime.writing import Replies, Writer
from tests.support.stores import MakeDatabase

ROOT = Path(__file__).parents[2]


class Process:
    """What a service's ``__main__`` builds, as far as its log goes."""

    def __init__(self, database: Database, folder: Path) -> None:
        (folder / "tokens.json").write_text("[]")
        (folder / "tokens.json").chmod(0o600)
        self.environ = {"BMS_DATA_DIR": str(folder)}
        settings = Settings.read("ipam", self.environ)
        vault = Vault(settings.data.key_file)
        base = Foundation(
            settings, SystemClock(), RandomIds(), database, vault, Tokens.load(settings.data.tokens_file),
            Writer(database, Replies(b"k" * 32)), PageTokens(b"k" * 32), Metrics(),
        )  # fmt: skip
        self.database = database
        self.log = EventLog(database, RandomIds(), chained=True)
        self.notary = Notary(base, self.log)
        self.head = Head()

    def append(self) -> None:
        event = Event("vrfs/r/addresses/10.0.0.1", "address.leased", SystemClock().now(), "anna")
        self.head = self.database.transact(lambda tx: self.log.append(tx, event, self.head), label="append")

    def newest(self) -> event_pb2.Checkpoint | None:
        def find(tx: Transaction) -> store.StoredCheckpoint | None:
            log = store.current_log(tx)
            return store.newest(tx, log.log) if log else None

        found = self.database.read(find)
        return event_pb2.Checkpoint.FromString(found.checkpoint) if found else None

    def admin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services.runtime.logadmin", *arguments]
        return subprocess.run(
            command, env=self.environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def process(make_database: MakeDatabase, tmp_path: Path) -> Process:
    return Process(make_database("services.ipam"), tmp_path)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def _covered(process: Process) -> int:
    newest = process.newest()
    return newest.position if newest else 0


def test_events_are_covered_within_seconds_and_all_at_the_end(process: Process) -> None:
    """
    A running service covers what is committed by itself; when it ends, the very last event too, which on PostgreSQL
    nobody has sealed yet.
    """
    process.append()
    process.log.start_sealer()
    process.notary.start()
    eventually(lambda: _covered(process) == 1)
    process.log.drain()
    process.append()
    process.notary.stop()

    assert _covered(process) == 2


def test_a_notary_that_never_began_ends(process: Process) -> None:
    """
    A service that could not start stops without a checkpoint.
    """
    process.append()
    process.notary.stop()

    assert process.newest() is None


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_administrator_rotates_and_begins_anew(process: Process) -> None:
    """
    Both verbs act on a service that runs, over SQLite's one-process lock; each says what follows.
    """
    process.append()
    process.notary.start()
    eventually(lambda: process.newest() is not None)
    before = process.newest()
    assert before is not None

    done = process.admin("rotate-key", "ipam")
    assert (done.returncode, done.stderr) == (0, "")
    process.append()
    eventually(lambda: _covered(process) == 2)
    rotated = process.newest()
    assert rotated is not None
    assert rotated.key_id == done.stdout.split()[0] != before.key_id

    done = process.admin("new-log", "ipam")
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: (found := process.newest()) is not None and found.log != rotated.log)
    process.notary.stop()
    renewed = process.newest()
    assert renewed is not None
    assert (renewed.number, renewed.position, renewed.key_id) == (1, 2, rotated.key_id)


@pytest.mark.parametrize("arguments", [(), ("rotate-key",), ("rotate-key", "telemetry"), ("delete", "ipam")])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_administrator_is_told_what_there_is(process: Process, arguments: tuple[str, ...]) -> None:
    """
    A line that is not understood does nothing and is answered with those that are.
    """
    done = process.admin(*arguments)

    assert done.returncode == 2
    assert "new-log SERVICE" in done.stderr


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_refusal_to_sign_is_said_once(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same complaint is not repeated every second.
    """
    monkeypatch.setattr("services.runtime.notary.PACE", 0.01)
    monkeypatch.setattr("services.runtime.notary.REFUSED_PACE", 0.01)
    process.append()
    process.notary.start()
    eventually(lambda: _covered(process) == 1)
    with capture_logs() as lines:
        process.database.transact(lambda tx: tx.execute("DELETE FROM events"), label="sabotage")
        eventually(lambda: any(line["event"] == "checkpoint.refused" for line in lines))
        threading.Event().wait(0.1)
        process.notary.stop()

    refused = [line for line in lines if line["event"] == "checkpoint.refused"]
    assert [(line["reason"], line["log_level"]) for line in refused] == [("CORRUPT", "error")]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_no_refusal(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is waited for, which is said once and as a warning; signing goes on when it is back.
    """
    monkeypatch.setattr("services.runtime.notary.PACE", 0.01)
    monkeypatch.setattr("services.runtime.notary.REFUSED_PACE", 0.01)
    tick, away = Checkpointer.tick, threading.Event()

    def ticks(checkpointer: Checkpointer, now: datetime, *, ending: bool = False) -> bool:
        if away.is_set():
            msg = "no connection is free"
            raise PeerUnavailable(msg)
        return tick(checkpointer, now, ending=ending)

    monkeypatch.setattr(Checkpointer, "tick", ticks)
    process.append()
    away.set()
    with capture_logs() as lines:
        process.notary.start()
        eventually(lambda: any(line["event"] == "checkpoint.postponed" for line in lines))
        threading.Event().wait(0.1)
        away.clear()
        eventually(lambda: _covered(process) == 1)
        process.notary.stop()

    said = [(line["event"], line["log_level"]) for line in lines if line["event"].startswith("checkpoint.")]
    assert said.count(("checkpoint.postponed", "warning")) == 1
    assert not [event for event, level in said if level == "error"]
