# SPDX-License-Identifier: Apache-2.0
"""What network and ipam find left over at their controllers, over their contracts; tests bring fakes with state.

Every method raises PeerUnavailable or DeadlineExceeded when the service does not answer, or its controller does not.
"""

from __future__ import annotations

from datetime import UTC
from typing import Protocol

from bms.ipam.v1 import ipam_service_pb2_grpc
from bms.ipam.v1 import leftover_pb2 as of_ipam
from bms.network.v1 import leftover_pb2 as of_network
from bms.network.v1 import network_service_pb2_grpc
from services.kernel.errors import NotFound
from services.kernel.names import SERVER
from services.lifecycle.audits.seen import LeftoverSeen, Portion
from services.runtime.outbound import Peer

_LISTING = 25.0
"""Seconds: a controller is listed, or asked several times, for one answer."""


class Leftovers(Protocol):
    """What one service finds left over."""

    def page(self, token: str, size: int) -> Portion[LeftoverSeen]:
        """The next of them."""
        ...

    def one(self, name: str) -> LeftoverSeen | None:
        """One of them as it is now; None if there is none of this name.

        Raises:
            InvalidField: it is no name of such.
        """
        ...

    def remove(self, name: str, etag: str, request_id: str, *, check: bool) -> None:
        """Has it removed, if it is as *etag* says. *check*: nothing is removed.

        Raises:
            NotFound: it is not left over any more.
            Stale: it has changed.
            WrongState: the service does not remove it.
        """
        ...


class FabricLeftovers:
    """Network's."""

    def __init__(self, network: Peer) -> None:
        self._peer = network
        self._stub = network_service_pb2_grpc.NetworkServiceStub(network.channel)

    def page(self, token: str, size: int) -> Portion[LeftoverSeen]:
        """See Leftovers."""
        request = of_network.ListLeftoversRequest(page_size=size, page_token=token)
        found = self._peer.call(self._stub.ListLeftovers, request, deadline=_LISTING)
        return Portion([_at_fabric(one) for one in found.leftovers], found.examined_count, found.next_page_token)

    def one(self, name: str) -> LeftoverSeen | None:
        """See Leftovers."""
        try:
            return _at_fabric(self._peer.call(self._stub.GetLeftover, of_network.GetLeftoverRequest(name=name)))
        except NotFound:
            return None

    def remove(self, name: str, etag: str, request_id: str, *, check: bool) -> None:
        """See Leftovers."""
        request = of_network.RemoveLeftoverRequest(name=name, etag=etag, request_id=request_id, validate_only=check)
        self._peer.call(self._stub.RemoveLeftover, request, deadline=_LISTING)


class AddressLeftovers:
    """ipam's."""

    def __init__(self, ipam: Peer) -> None:
        self._peer = ipam
        self._stub = ipam_service_pb2_grpc.IpamServiceStub(ipam.channel)

    def page(self, token: str, size: int) -> Portion[LeftoverSeen]:
        """See Leftovers. However long it is: those of one prefix."""
        request = of_ipam.ListLeftoversRequest(page_size=size, page_token=token)
        found = self._peer.call(self._stub.ListLeftovers, request, deadline=_LISTING)
        return Portion([_at_addresses(one) for one in found.leftovers], found.examined_count, found.next_page_token)

    def one(self, name: str) -> LeftoverSeen | None:
        """See Leftovers."""
        try:
            return _at_addresses(self._peer.call(self._stub.GetLeftover, of_ipam.GetLeftoverRequest(name=name)))
        except NotFound:
            return None

    def remove(self, name: str, etag: str, request_id: str, *, check: bool) -> None:
        """See Leftovers."""
        request = of_ipam.RemoveLeftoverRequest(name=name, etag=etag, request_id=request_id, validate_only=check)
        self._peer.call(self._stub.RemoveLeftover, request, deadline=_LISTING)


def _at_fabric(found: of_network.Leftover) -> LeftoverSeen:
    return LeftoverSeen(
        name=found.name,
        server=SERVER.parse(found.server)[0] if found.server else "",
        why=found.why,
        since=found.create_time.ToDatetime(tzinfo=UTC) if found.HasField("create_time") else None,
        removable=found.removable,
        etag=found.etag,
    )


def _at_addresses(found: of_ipam.Leftover) -> LeftoverSeen:
    return LeftoverSeen(found.name, "", found.why, None, found.removable, found.etag)
