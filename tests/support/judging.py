# SPDX-License-Identifier: Apache-2.0
"""Judges the log of a service under test, as it stands, without checkpoints."""

from __future__ import annotations

from bms.event.v1 import event_pb2
from services.runtime.database import Database
from services.runtime.eventlog import EventLog
from services.verifier.judge import trial_of
from services.verifier.seen import Seen
from services.verifier.track import Track
from services.verifier.verdict import Finding, StreamReport


def stored_events(database: Database, log: EventLog) -> list[event_pb2.StoredEvent]:
    """Everything that is committed, as served."""
    if database.dialect == "postgresql":
        while log.seal():
            pass
    found: list[event_pb2.StoredEvent] = []
    while True:
        listed = log.list(after=len(found), limit=1000, wait=0)
        if not listed.events:
            return found
        found += [row.stored() for row in listed.events]


def judged(service: str, events: list[event_pb2.StoredEvent]) -> dict[str, StreamReport]:
    """What the verifier says of each stream, as if a checkpoint covered all of it."""
    tracks: dict[str, Track] = {}
    for stored in events:
        seen = Seen(stored)
        track = tracks.setdefault(seen.stream, Track(seen.stream, trial_of(service, seen.stream)))
        track.take(stored, seen, chained=True)
    return {stream: track.report(None) for stream, track in tracks.items()}


def findings(service: str, events: list[event_pb2.StoredEvent]) -> list[Finding]:
    """Everything that the verifier finds wrong."""
    return [finding for report in judged(service, events).values() for finding in report.findings]
