# SPDX-License-Identifier: Apache-2.0
"""Which verdict each event must come to, told from what was asked for and nothing else: PASS, but for what
administrators forced, and for what was before an adoption.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from bms.event.v1 import event_pb2
from services.runtime.times import from_micros
from services.verifier.verdict import Verdict, worst

_FORCED = frozenset({"forced.approved", "clean.skipped", "power.attested", "address.forced_free"})
_ANEW = {"servers": "server.adopted", "vrfs": "address.leased"}
"""Kind of stream -> the event from which on it stands as if nothing had been before."""


class _Stream:
    """What is expected of one stream, event by event."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.now = Verdict.PASS
        self._there: frozenset[str] = frozenset()

    def take(self, header: event_pb2.EventHeader, body: event_pb2.EventBody) -> None:
        """The next event."""
        kind = header.type
        if kind == "disks.inspected":
            self._there = frozenset(disk.serial for disk in body.evidence.disks)
        elif kind == _ANEW.get(header.stream.partition("/")[0]) or (kind == "clean.passed" and self._full(body)):
            self.now = Verdict.PASS
        elif kind in _FORCED:
            self.now = worst(self.now, Verdict.TAINTED)
        elif kind == "server.adopt_requested":
            self.now = worst(self.now, Verdict.UNKNOWN)
        self.verdicts.append(self.now)

    def _full(self, body: event_pb2.EventBody) -> bool:
        erased = {disk.serial for disk in body.evidence.disks if disk.method}
        return bool(erased) and erased == self._there == {disk.serial for disk in body.evidence.disks}


def expected(events: Sequence[event_pb2.StoredEvent]) -> dict[str, list[Verdict]]:
    """The verdict after each event of each stream of a log, by sequence from 1."""
    streams: defaultdict[str, _Stream] = defaultdict(_Stream)
    for stored in events:
        header = event_pb2.EventHeader.FromString(stored.header)
        streams[header.stream].take(header, event_pb2.EventBody.FromString(stored.body))
    return {name: stream.verdicts for name, stream in streams.items()}


def tainted_since(events: Sequence[event_pb2.StoredEvent]) -> dict[str, list[tuple[datetime, bool]]]:
    """When each server became tainted, and when it was so no more, in order."""
    turns: defaultdict[str, list[tuple[datetime, bool]]] = defaultdict(list)
    streams: defaultdict[str, _Stream] = defaultdict(_Stream)
    for stored in events:
        header = event_pb2.EventHeader.FromString(stored.header)
        stream = streams[header.stream]
        before = stream.now
        stream.take(header, event_pb2.EventBody.FromString(stored.body))
        if (before is Verdict.TAINTED) is not (stream.now is Verdict.TAINTED):
            turns[header.stream].append((from_micros(header.time.ToMicroseconds()), stream.now is Verdict.TAINTED))
    return turns
