# SPDX-License-Identifier: Apache-2.0
"""An event as the invariants read it: parsed once, with times as microseconds."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from services.verifier.verdict import Witness

_NO_NETWORKS: frozenset[str] = frozenset()


class PortEvidence:
    """What an event says of one port; see bms.event.v1.PortReading.

    Attributes:
        read_time: in microseconds; 0 for what was only asked for.
    """

    __slots__ = ("networks", "port", "port_class", "read_time", "reading_digest")

    def __init__(self, reading: event_pb2.PortReading) -> None:
        self.port = reading.port
        self.port_class = reading.port_class
        networks = reading.networks
        self.networks = frozenset(networks) if networks else _NO_NETWORKS
        self.read_time = micros(reading.read_time)
        self.reading_digest = reading.reading_digest


_NOTHING: tuple[PortEvidence, ...] = ()


class Seen:
    """One event, out of its stored bytes.

    What few invariants ask for is read when they do: each field of a message costs as much as a check.

    Attributes:
        position: in the log.
        after: the stream's state after it.
        body: None where it is withheld.
        evidence: None where it cites none.
        ports: what its evidence says of ports.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no event's.
    """

    __slots__ = ("_header", "_witness", "after", "body", "evidence", "ports", "position", "sequence", "stream", "type")

    def __init__(self, stored: event_pb2.StoredEvent) -> None:
        self._header = header = event_pb2.EventHeader.FromString(stored.header)
        self._witness: Witness | None = None
        self.position = stored.position
        self.stream = header.stream
        self.sequence = header.sequence
        self.type = header.type
        self.after = header.state_after
        self.body: event_pb2.EventBody | None = None
        self.evidence: event_pb2.Evidence | None = None
        self.ports: Sequence[PortEvidence] = _NOTHING
        if data := stored.body:
            self.body = body = event_pb2.EventBody.FromString(data)
            if body.HasField("evidence"):
                self.evidence = evidence = body.evidence
                if readings := evidence.ports:
                    self.ports = [PortEvidence(reading) for reading in readings]

    @property
    def before(self) -> str:
        """The stream's state before it."""
        return self._header.state_before

    @property
    def time(self) -> int:
        """When it was recorded, in microseconds."""
        return micros(self._header.time)

    @property
    def witness(self) -> Witness:
        """The event as a finding cites it."""
        witness = self._witness
        if witness is None:
            witness = Witness(self._header.id, self.position, self.sequence, self.type, self.time)
            self._witness = witness
        return witness


def micros(stamp: Timestamp) -> int:
    """Microseconds since 1970."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
