# SPDX-License-Identifier: Apache-2.0
"""Where the verifier at work reads the logs: lifecycle's own, and ipam's over its contract."""

from __future__ import annotations

from collections.abc import Sequence

from bms.event.v1 import event_pb2
from services.runtime.eventlog import EventLog
from services.runtime.outbound import Peer

_BATCH = 1000
WAIT_SECONDS = 10
"""How long ipam keeps a question open until there is news."""


def own(log: EventLog, after: int) -> Sequence[event_pb2.StoredEvent]:
    """The events of this service's log after a position."""
    return [row.stored() for row in log.list(after=after, limit=_BATCH, wait=0).events]


class IpamLog:
    """ipam's log, as the bytes that were stored. A question waits for news, and ends when *peer* is closed."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        # Stubs answer parsed events, whose bytes are not those that were hashed: the twin message keeps them.
        self._list = peer.channel.unary_unary(
            "/bms.ipam.v1.IpamService/ListEvents",
            request_serializer=event_pb2.ListEventsRequest.SerializeToString,
            response_deserializer=event_pb2.ListStoredEventsResponse.FromString,
        )

    def __call__(self, after: int) -> Sequence[event_pb2.StoredEvent]:
        """The events after a position; none if there were none for a while.

        Raises:
            PeerUnavailable, DeadlineExceeded: ipam does not answer.
        """
        request = event_pb2.ListEventsRequest(after=after, page_size=_BATCH, wait_seconds=WAIT_SECONDS)
        return self._peer.call(self._list, request, deadline=WAIT_SECONDS + 10.0).events
