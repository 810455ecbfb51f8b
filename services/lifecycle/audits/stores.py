# SPDX-License-Identifier: Apache-2.0
"""The other services as audits need them: their books page by page, and single entries to look at again.

StoreClients speaks them over the contracts; tests bring fakes with state. Every method raises PeerUnavailable or
DeadlineExceeded when the service does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from bms.inventory.v1 import inventory_service_pb2_grpc, server_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2
from bms.network.v1 import attachment_pb2, network_pb2, network_service_pb2_grpc
from services.kernel.errors import NotFound
from services.kernel.names import PORT, SERVER
from services.lifecycle.audits.left import AddressLeftovers, FabricLeftovers, Leftovers
from services.lifecycle.audits.seen import AttachmentSeen, LeaseSeen, PoolSeen, Portion
from services.lifecycle.domain.server import PortClass, Tag
from services.runtime.outbound import Peer

_CLASSES = {network_pb2.PortClass.Value(f"PORT_CLASS_{one.name}"): one for one in PortClass}


class Stores(Protocol):
    """What the other services hold."""

    def leases(self, token: str, size: int) -> Portion[LeaseSeen]:
        """The addresses that are leased to bare metal instances."""
        ...

    def lease(self, name: str) -> LeaseSeen | None:
        """A lease; None if ipam has none of this name."""
        ...

    def pools(self, token: str, size: int) -> Portion[PoolSeen]:
        """Every server's pool row."""
        ...

    def pool(self, server: str) -> PoolSeen | None:
        """A server's pool row; None if inventory has no such server."""
        ...

    def attachments(self, token: str, size: int) -> Portion[AttachmentSeen]:
        """Every port that network knows."""
        ...

    def attachments_of(self, server: str) -> Sequence[AttachmentSeen]:
        """The ports of one server that network knows."""
        ...

    @property
    def fabric(self) -> Leftovers:
        """What network finds at the fabric's controller."""
        ...

    @property
    def addresses(self) -> Leftovers:
        """What ipam finds at the controller of addresses."""
        ...


class StoreClients:
    """The other services over their contracts; satisfies `Stores`."""

    def __init__(self, inventory: Peer, ipam: Peer, network: Peer) -> None:
        self._inventory, self._ipam, self._network = inventory, ipam, network
        self._servers = inventory_service_pb2_grpc.InventoryServiceStub(inventory.channel)
        self._addresses = ipam_service_pb2_grpc.IpamServiceStub(ipam.channel)
        self._ports = network_service_pb2_grpc.NetworkServiceStub(network.channel)
        self.fabric: Leftovers = FabricLeftovers(network)
        self.addresses: Leftovers = AddressLeftovers(ipam)

    def leases(self, token: str, size: int) -> Portion[LeaseSeen]:
        """See Stores."""
        request = lease_pb2.ListLeasesRequest(
            parent="projects/-", filter="state = LEASED", page_size=size, page_token=token
        )
        found = self._ipam.call(self._addresses.ListLeases, request)
        rows = [_lease(one) for one in found.leases if _is_bare_metal(one)]
        return Portion(rows, len(found.leases), found.next_page_token)

    def lease(self, name: str) -> LeaseSeen | None:
        """See Stores."""
        try:
            return _lease(self._ipam.call(self._addresses.GetLease, lease_pb2.GetLeaseRequest(name=name)))
        except NotFound:
            return None

    def pools(self, token: str, size: int) -> Portion[PoolSeen]:
        """See Stores."""
        request = server_pb2.ListServersRequest(page_size=size, page_token=token)
        found = self._inventory.call(self._servers.ListServers, request)
        return Portion([_pool(one) for one in found.servers], len(found.servers), found.next_page_token)

    def pool(self, server: str) -> PoolSeen | None:
        """See Stores."""
        request = server_pb2.GetServerRequest(name=SERVER.format(server))
        try:
            return _pool(self._inventory.call(self._servers.GetServer, request))
        except NotFound:
            return None

    def attachments(self, token: str, size: int) -> Portion[AttachmentSeen]:
        """See Stores."""
        request = attachment_pb2.ListPortAttachmentsRequest(page_size=size, page_token=token)
        found = self._network.call(self._ports.ListPortAttachments, request)
        return Portion([_attachment(one) for one in found.attachments], len(found.attachments), found.next_page_token)

    def attachments_of(self, server: str) -> Sequence[AttachmentSeen]:
        """See Stores."""
        # A server has 64 ports at most.
        request = attachment_pb2.ListPortAttachmentsRequest(page_size=64, filter=f"server = {SERVER.format(server)}")
        return [_attachment(one) for one in self._network.call(self._ports.ListPortAttachments, request).attachments]


def _is_bare_metal(lease: lease_pb2.AddressLease) -> bool:
    return lease.owner.kind == lease_pb2.Owner.KIND_BARE_METAL_INSTANCE


def _lease(lease: lease_pb2.AddressLease) -> LeaseSeen:
    return LeaseSeen(
        name=lease.name,
        owner=lease.owner.resource,
        network=lease.network,
        vrf=lease.vrf,
        address=lease.address,
        epoch=lease.epoch,
        held=lease.state == lease_pb2.AddressLease.STATE_LEASED,
        create_time=_moment(lease.create_time),
    )


def _pool(server: server_pb2.Server) -> PoolSeen:
    holder = server.pool.reserved_by
    changed = server.pool.update_time if server.pool.HasField("update_time") else server.create_time
    return PoolSeen(
        server=SERVER.parse(server.name)[0],
        available=server.pool.available,
        holder=holder if holder.startswith("projects/") else "",
        state_version=server.pool.state_version,
        deleting=server.HasField("delete_time"),
        since=_moment(changed),
    )


def _attachment(found: attachment_pb2.PortAttachment) -> AttachmentSeen:
    return AttachmentSeen(
        port=found.name,
        server=PORT.parse(found.name)[0],
        port_class=_CLASSES.get(found.requested.port_class, PortClass.UNKNOWN),
        networks=tuple(Tag(tag.network, tag.vlan_tag) for tag in found.requested.networks),
        settled=found.settled,
        since=_moment(found.request_time),
    )


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
