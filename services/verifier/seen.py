# SPDX-License-Identifier: Apache-2.0
"""An event as the invariants read it: parsed once, with times as microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from services.verifier.verdict import Witness


@dataclass(slots=True)
class PortEvidence:
    """What an event says of one port; see bms.event.v1.PortReading.

    Attributes:
        read_time: in microseconds; 0 for what was only asked for.
    """

    port: str
    port_class: str
    networks: frozenset[str]
    read_time: int
    reading_digest: bytes


_NOTHING: tuple[PortEvidence, ...] = ()


@dataclass(slots=True)
class Seen:
    """One event.

    Attributes:
        time: when it was recorded, in microseconds.
        before, after: the stream's state before and after it.
        body: None where it is withheld.
        ports: what its evidence says of ports.
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
    ports: Sequence[PortEvidence] = _NOTHING


def read(stored: event_pb2.StoredEvent) -> Seen:
    """Parses the stored bytes.

    Raises:
        google.protobuf.message.DecodeError: they are no event's.
    """
    header = event_pb2.EventHeader.FromString(stored.header)
    stamp = header.time  # see `micros`; a call for each event would be a fiftieth of judging
    time = stamp.seconds * 1_000_000 + stamp.nanos // 1000
    kind = header.type
    sequence = header.sequence
    witness = Witness(header.id, stored.position, sequence, kind, time)
    if not stored.body:
        return Seen(header.stream, sequence, kind, time, header.state_before, header.state_after, None, witness)
    body = event_pb2.EventBody.FromString(stored.body)
    ports: Sequence[PortEvidence] = _NOTHING
    if body.HasField("evidence") and (readings := body.evidence.ports):
        ports = [_port(reading) for reading in readings]
    return Seen(header.stream, sequence, kind, time, header.state_before, header.state_after, body, witness, ports)


def _port(reading: event_pb2.PortReading) -> PortEvidence:
    return PortEvidence(
        reading.port, reading.port_class, frozenset(reading.networks), micros(reading.read_time), reading.reading_digest
    )


def micros(stamp: Timestamp) -> int:
    """Microseconds since 1970."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
