# SPDX-License-Identifier: Apache-2.0
"""Ipam, spoken over its contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, prefix_pb2
from services.lifecycle.domain.server import Lease
from services.lifecycle.peers import Cooling, DetachProof
from services.runtime.outbound import Peer


class IpamClient:
    """bms.ipam.v1; satisfies peers.Addresses."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = ipam_service_pb2_grpc.IpamServiceStub(peer.channel)

    def serves(self, network: str, project: str) -> bool:
        """See peers.Addresses."""
        request = prefix_pb2.ListPrefixesRequest(
            parent=f"projects/{project}", filter=f'network = "{network}"', page_size=1
        )
        return bool(self._peer.call(self._stub.ListPrefixes, request).prefixes)

    def lease(
        self, project: str, owner: str, network: str, address: str, mac_address: str, fence: int, request_id: str
    ) -> Lease:
        """See peers.Addresses."""
        request = lease_pb2.LeaseAddressRequest(
            parent=f"projects/{project}", network=network, owner=_owner(owner, network, mac_address),
            address=address, fence=fence, request_id=request_id,
        )  # fmt: skip
        return _lease(self._peer.call(self._stub.LeaseAddress, request))

    def lease_each(
        self,
        project: str,
        owner: str,
        network: str,
        addresses: Sequence[str],
        mac_address: str,
        fence: int,
        request_id: str,
    ) -> tuple[Lease, ...]:
        """See peers.Addresses."""
        request = lease_pb2.LeaseAddressesRequest(
            parent=f"projects/{project}", network=network, owner=_owner(owner, network, mac_address),
            addresses=addresses, fence=fence, request_id=request_id,
        )  # fmt: skip
        return tuple(map(_lease, self._peer.call(self._stub.LeaseAddresses, request).leases))

    def held_by(self, project: str, owner: str) -> tuple[Lease, ...]:
        """See peers.Addresses."""
        leases: list[Lease] = []
        token = ""
        while True:
            request = lease_pb2.ListLeasesRequest(
                parent=f"projects/{project}", filter=f'owner = "{owner}" AND state = LEASED', page_token=token
            )
            found = self._peer.call(self._stub.ListLeases, request)
            leases += [_lease(one) for one in found.leases]
            token = found.next_page_token
            if not token:
                return tuple(leases)

    def release(self, lease: Lease, proof: DetachProof, fence: int, request_id: str) -> Cooling:
        """See peers.Addresses."""
        request = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch, fence=fence, request_id=request_id)
        request.detach.server = proof.server
        request.detach.reading_digest = proof.digest
        request.detach.read_time.FromDatetime(proof.read_time)
        return self._released(request)

    def release_unproven(self, lease: Lease, allowed_by: str, fence: int, request_id: str) -> Cooling:
        """See peers.Addresses."""
        return self._released(
            lease_pb2.ReleaseLeaseRequest(
                name=lease.name, epoch=lease.epoch, fence=fence, request_id=request_id, without_proof=allowed_by
            )
        )

    def _released(self, request: lease_pb2.ReleaseLeaseRequest) -> Cooling:
        found = self._peer.call(self._stub.ReleaseLease, request)
        free = found.free_time.ToDatetime(UTC) if found.HasField("free_time") else None
        return Cooling(found.name, found.vrf, found.address, found.epoch, free)


def _owner(instance: str, network: str, mac_address: str) -> lease_pb2.Owner:
    kind = lease_pb2.Owner.KIND_BARE_METAL_INSTANCE
    return lease_pb2.Owner(kind=kind, resource=instance, interface=network, mac_address=mac_address)


def _lease(found: lease_pb2.AddressLease) -> Lease:
    return Lease(
        name=found.name,
        network=found.network,
        vrf=found.vrf,
        address=found.address,
        prefix_length=found.prefix_length,
        gateway=found.gateway,
        epoch=found.epoch,
        dns_servers=tuple(found.dns_servers),
    )
