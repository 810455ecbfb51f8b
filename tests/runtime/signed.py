# SPDX-License-Identifier: Apache-2.0
"""A log that is signed, as tests of checkpoints drive it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bms.event.v1 import event_pb2
from services.kernel.events import Event, Head
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import Database, Transaction
from services.runtime.eventlog import EventLog
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness
from tests.runtime import recompute
from tests.support.clocks import START, SequentialIds
from tests.support.wire import Wire, reader

SAMPLE = "tests.runtime.sample"


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
