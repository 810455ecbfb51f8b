# SPDX-License-Identifier: Apache-2.0
"""Valid events and messages; tests say what differs."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from services.kernel.chain import body_digest, digest
from services.runtime.times import to_micros
from telemetry.events import Followed
from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.header import Identity, header_of
from telemetry.sandesh.reception import Received
from telemetry.sandesh.schema import Message
from tests.support.clocks import START

SERVER = "9f1a3c52-6c0c-4b1e-9a47-0d6c7a5b1e01"
OTHER = "9f1a3c52-6c0c-4b1e-9a47-0d6c7a5b1e02"
SENDER = Identity("host-1", "bms-telemetry", "Config", "0")
T0 = to_micros(START)


def stamp(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made


def event_id(service: str, position: int, branch: int = 0) -> str:
    return f"{sum(map(ord, service)):08x}-{branch:04x}-4000-8000-{position:012x}"


def stored(
    service: str = "lifecycle",
    position: int = 1,
    *,
    type: str = "server.state_changed",  # noqa: A002 -- the contract's name
    stream: str = f"servers/{SERVER}",
    before: str = "",
    after: str = "",
    time: int | None = None,
    previous: bytes = b"",
    branch: int = 0,
    **body: Any,
) -> event_pb2.StoredEvent:
    """An event as *service* stores it at *position*; in another *branch*, one that was another after a restore."""
    header = event_pb2.EventHeader(
        id=event_id(service, position, branch),
        stream=stream,
        sequence=position,
        time=stamp(T0 + position * 1_000_000 if time is None else time),
        type=type,
        state_before=before,
        state_after=after,
    ).SerializeToString()
    contents = event_pb2.EventBody(salt=bytes(16), actor=body.pop("actor", service), **body).SerializeToString()
    hashed = body_digest(contents)
    return event_pb2.StoredEvent(
        header=header,
        body=contents,
        body_digest=hashed,
        previous=previous,
        digest=digest(previous, header, hashed),
        position=position,
    )


def followed(service: str = "lifecycle", position: int = 1, **given: Any) -> Followed:
    """The same as a follower gets it."""
    return Followed.of(service, stored(service, position, **given))


def received(message: Message, values: dict[str, Any], *, sender: Identity = SENDER, time: int = T0) -> Received:
    """*values* as our collector receives them from *sender*."""
    frame = encode(header_of(message, sender, time, 1), message, values)
    return Received(sender, decode(frame), frame, time)
