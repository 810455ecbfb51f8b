# SPDX-License-Identifier: Apache-2.0
"""What an event says, before it is serialised; the wire form is bms.event.v1."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PortSeen:
    """One port as the fabric showed it (``read_time`` and ``digest`` set), or as it was asked to be."""

    port: str
    port_class: str
    networks: tuple[str, ...] = ()
    read_time: datetime | None = None
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class PowerSeen:
    """The power of a server as its BMC showed it: ``on``, ``off`` or ``unknown``."""

    power: str
    read_time: datetime
    digest: bytes


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """One disk as inspection found it, or, with a method and times, as a clean pass left it."""

    serial: str
    size_bytes: int
    method: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    sample_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class ImageSeen:
    """The image as verified on a disk."""

    image: str
    expected_checksum: str
    actual_checksum: str
    disk: str


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """One address of a lease as ipam answered: state is ``leased``, ``cooling`` or ``free``.

    Attributes:
        network: what it is for, in a server's stream; "" in an address's own.
    """

    lease: str
    vrf: str
    address: str
    epoch: int
    state: str
    free_time: datetime | None = None
    network: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read from the world, or what a peer answered."""

    ports: tuple[PortSeen, ...] = ()
    power: PowerSeen | None = None
    disks: tuple[DiskSeen, ...] = ()
    image: ImageSeen | None = None
    addresses: tuple[AddressSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one stream, as the verb or worker that did it tells it.

    Its id, sequence, salt and digests are given by the log when it is appended.

    Attributes:
        stream: the resource's name, ``servers/{uuid}``.
        type: dotted words, ``port.attach_observed``.
        time: when it was recorded, aware UTC.
        state_before, state_after: the stream's state, "" where it has none.
        actor: the caller's subject, or the service acting by itself.
        operation, request_id, fence, step: the cause; see bms.event.v1.Cause.
    """

    stream: str
    type: str
    time: datetime
    actor: str
    state_before: str = ""
    state_after: str = ""
    project: str = ""
    instance: str = ""
    operation: str = ""
    request_id: str = ""
    fence: int = 0
    step: str = ""
    reason: str = ""
    message: str = ""
    evidence: Evidence | None = None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a stream's chain, kept on the row whose compare-and-set makes the events.

    Attributes:
        sequence: of the last event, 0 before the first.
        digest: of the last event, empty before the first and in logs without a chain.
    """

    sequence: int = 0
    digest: bytes = b""
