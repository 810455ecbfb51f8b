# SPDX-License-Identifier: Apache-2.0
"""Evidence of a server's whole life, as the genuine lifecycle records it and its checkpointer signs it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import instance_pb2
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import open_database
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness
from services.verifier.files import Writer
from services.verifier.judge import Judge
from services.verifier.verdict import Report
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig
from tests.support.clocks import SequentialIds
from tests.support.judging import stored_events
from tests.support.stores import _sqlite_copy
from tests.support.wire import Wire, reader


@dataclass(frozen=True)
class Evidence:
    """What a log publishes."""

    keys: Sequence[event_pb2.SigningKey]
    checkpoints: Sequence[event_pb2.SignedCheckpoint]
    events: Sequence[event_pb2.StoredEvent]
    proofs: dict[str, event_pb2.StreamProof] = field(default_factory=dict)
    service: str = "lifecycle"

    def judge(self, trusted: frozenset[bytes] | None = None) -> Report:
        """The verdict on all of it."""
        judge = Judge(self.service, trusted=trusted)
        for key in self.keys:
            judge.key(key)
        for checkpoint in self.checkpoints:
            judge.checkpoint(checkpoint)
        for event in self.events:
            judge.event(event)
        return judge.report()

    def write(self) -> str:
        """A file of it, checkpoints where they belong."""
        out = io.StringIO()
        writer = Writer(out)
        writer.log(self.service)
        for key in self.keys:
            writer.put(key)
        waiting = [(event_pb2.Checkpoint.FromString(one.checkpoint).position, one) for one in self.checkpoints]
        for event in self.events:
            writer.put(event)
            while waiting and waiting[0][0] == event.position:
                writer.put(waiting.pop(0)[1])
        return out.getvalue()


def live(folder: Path) -> Evidence:
    """Two servers are provided; tenants come and go, with every verb; a key is rotated; checkpoints are signed."""
    database = open_database(_sqlite_copy("services.lifecycle", folder / "lifecycle.sqlite"))
    rig = Rig(database)
    keys = KeyFiles(folder / "signing.key")
    checkpointer = Checkpointer("lifecycle", database, SequentialIds("checkpoints"), keys, Witness(folder / "seen"))
    wire = Wire(EventLogServicer("lifecycle", database, checkpointer), reader())

    def sign() -> None:
        rig.clock.advance(2)
        while checkpointer.tick(rig.clock.now(), ending=True):
            rig.clock.advance(2)

    def verb(name: str) -> None:
        rig.ok(f"{name}Instance", getattr(instance_pb2, f"{name}InstanceRequest")(name=WEB))
        rig.settle()

    rig.active(BLUE)
    rig.available(2)
    sign()
    for name in ("Stop", "Start", "Reboot"):
        verb(name)
    sign()
    green = instance_pb2.InstanceNetwork(network=GREEN)
    rig.ok("AttachNetwork", instance_pb2.AttachNetworkRequest(name=WEB, network=green))
    rig.settle()
    for network in (BLUE, GREEN):
        rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=network))
        rig.settle()
    rig.ok("AttachNetwork", instance_pb2.AttachNetworkRequest(name=WEB, network=green))
    rig.settle()
    sign()
    keys.rotate()
    for name in ("Rescue", "Unrescue"):
        verb(name)
    sign()
    rig.ok("RebuildInstance", instance_pb2.RebuildInstanceRequest(name=WEB, image="images/other"))
    rig.settle()
    sign()
    verb("Delete")
    sign()
    rig.create(BLUE, GREEN)
    rig.settle()
    sign()
    events = stored_events(database, rig.log)
    streams = {event_pb2.EventHeader.FromString(event.header).stream for event in events}
    evidence = Evidence(
        keys=list(wire.ok("ListSigningKeys", event_pb2.ListSigningKeysRequest()).keys),
        checkpoints=list(wire.ok("ListCheckpoints", event_pb2.ListCheckpointsRequest()).checkpoints),
        events=events,
        proofs={
            stream: wire.ok("GetStreamProof", event_pb2.GetStreamProofRequest(stream=stream)) for stream in streams
        },
    )
    database.close()
    return evidence
