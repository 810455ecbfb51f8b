# SPDX-License-Identifier: Apache-2.0
"""An event as a service answered it: parsed for us, and its stored bytes for everybody after us."""

from __future__ import annotations

from dataclasses import dataclass

from bms.event.v1 import event_pb2
from telemetry.store.events import EventRow

SERVICES = ("inventory", "ipam", "lifecycle", "network")
"""Whose logs are followed."""

_SERVER = "servers/"
_UUID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Followed:
    """One event of one service's log.

    Attributes:
        position: its place in that log, from 1.
        digest: its link in its stream's chain, empty in logs without one.
        previous: the digest of the stream's event before; empty for the first and in logs without a chain.
        stored: the bytes of its StoredEvent, never to be made anew.
    """

    service: str
    position: int
    header: event_pb2.EventHeader
    body: event_pb2.EventBody
    digest: bytes
    stored: bytes
    previous: bytes = b""

    @classmethod
    def of(cls, service: str, event: event_pb2.StoredEvent) -> Followed:
        """Reads *event* as *service* answered it."""
        return cls(
            service=service,
            position=event.position,
            header=event_pb2.EventHeader.FromString(event.header),
            body=event_pb2.EventBody.FromString(event.body),
            digest=event.digest,
            stored=event.SerializeToString(),
            previous=event.previous,
        )

    @property
    def server(self) -> str:
        """The UUID of the server whose stream this is, or of whose part; "" for other streams."""
        return server_of(self.header.stream)

    @property
    def time(self) -> int:
        """When its service recorded it, microseconds since 1970."""
        return self.header.time.ToMicroseconds()

    def row(self, shift: int = 0) -> EventRow:
        """As it is kept; our positions are greater than the service's by *shift*."""
        return EventRow(
            service=self.service,
            position=self.position + shift,
            stream=self.header.stream,
            time=self.time,
            type=self.header.type,
            project=self.body.project,
            instance=self.body.instance,
            event=self.stored,
        )


def server_of(name: str) -> str:
    """The UUID in the resource name of a server or of a part of it; "" if *name* is of something else."""
    if not name.startswith(_SERVER):
        return ""
    uuid = name[len(_SERVER) :].split("/", 1)[0]
    return uuid if len(uuid) == _UUID_LENGTH else ""
