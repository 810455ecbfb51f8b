# SPDX-License-Identifier: Apache-2.0
"""An event as the invariants read it: parsed once, with times as microseconds."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from services.verifier.verdict import Witness


@dataclass(slots=True)
class Seen:
    """One event.

    Attributes:
        time: when it was recorded, in microseconds.
        before, after: the stream's state before and after it.
        body: None where it is withheld.
        witness: the event as a finding cites it.
    """

    stream: str
    sequence: int
    type: str
    time: int
    before: str
    after: str
    body: event_pb2.EventBody | None
    witness: Witness


def read(stored: event_pb2.StoredEvent) -> Seen:
    """Parses the stored bytes.

    Raises:
        google.protobuf.message.DecodeError: they are no event's.
    """
    header = event_pb2.EventHeader.FromString(stored.header)
    time = micros(header.time)
    kind = header.type
    sequence = header.sequence
    return Seen(
        header.stream,
        sequence,
        kind,
        time,
        header.state_before,
        header.state_after,
        event_pb2.EventBody.FromString(stored.body) if stored.body else None,
        Witness(header.id, stored.position, sequence, kind, time),
    )


def micros(stamp: Timestamp) -> int:
    """Microseconds since 1970."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
