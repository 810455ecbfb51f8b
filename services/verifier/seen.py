# SPDX-License-Identifier: Apache-2.0
"""An event as the invariants read it: parsed once, with times as microseconds."""

from __future__ import annotations

from collections.abc import Container, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from services.verifier.verdict import Witness

_NO_NETWORKS: frozenset[str] = frozenset()
_header = event_pb2.EventHeader.FromString
_body = event_pb2.EventBody.FromString


class PortEvidence:
    """What an event says of one port; see bms.event.v1.PortReading.

    Attributes:
        read_time: in microseconds; 0 for what was only asked for.
        reading_digest: empty for that.
    """

    __slots__ = ("networks", "port", "port_class", "read_time", "reading_digest")

    def __init__(self, reading: event_pb2.PortReading) -> None:
        self.port = reading.port
        self.port_class = reading.port_class
        # A slice is made in C; walking over a repeated field costs three times as much.
        networks = reading.networks[:]
        self.networks = frozenset(networks) if networks else _NO_NETWORKS
        if reading.HasField("read_time"):
            stamp = reading.read_time
            self.read_time = stamp.seconds * 1_000_000 + stamp.nanos // 1000
        else:
            self.read_time = 0
        self.reading_digest = reading.reading_digest


_NOTHING: tuple[PortEvidence, ...] = ()


class Seen:
    """One event, out of its stored bytes.

    What few invariants ask for is read when they do: each field of a message costs as much as a check.

    Attributes:
        header_bytes, body_bytes: as stored; the body's are empty where it is withheld.
        position: in the log.
        after: the stream's state after it.
        body: None where it is withheld.
        ports: what its evidence says of ports.
        power: what its evidence says of power; None where it says nothing.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no event's.
    """

    __slots__ = (
        "_header", "_witness", "after", "body", "body_bytes", "header_bytes", "ports", "position", "power",
        "sequence", "stream", "type",
    )  # fmt: skip

    def __init__(self, stored: event_pb2.StoredEvent) -> None:
        self.header_bytes = data = stored.header
        self._header = header = _header(data)
        self._witness: Witness | None = None
        self.position = stored.position
        self.stream = header.stream
        self.sequence = header.sequence
        self.type = header.type
        self.after = header.state_after
        self.body: event_pb2.EventBody | None = None
        self.ports: Sequence[PortEvidence] = _NOTHING
        self.power: event_pb2.PowerReading | None = None
        self.body_bytes = data = stored.body
        if data:
            self.body = body = _body(data)
            if body.HasField("evidence"):
                evidence = body.evidence
                if readings := evidence.ports[:]:
                    self.ports = [PortEvidence(reading) for reading in readings]
                if evidence.HasField("power"):
                    self.power = evidence.power

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
            header = self._header
            stamp = header.time
            time = stamp.seconds * 1_000_000 + stamp.nanos // 1000
            witness = self._witness = Witness(header.id, self.position, self.sequence, self.type, time)
        return witness


def first_of(seen: Seen, classes: Container[str]) -> PortEvidence | None:
    """The first port that the event asks or reads to be of one of *classes*; None if none is."""
    for port in seen.ports:
        if port.port_class in classes:
            return port
    return None


def micros(stamp: Timestamp) -> int:
    """Microseconds since 1970."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
