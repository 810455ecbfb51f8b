# SPDX-License-Identifier: Apache-2.0
"""Leases, and what is asked of them, on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from bms.ipam.v1 import lease_pb2
from services.ipam.domain.addresses import (
    Address,
    Version,
    parse_address,
    parse_host_name,
    parse_mac,
)
from services.ipam.domain.leases import Kind, Lease, LeaseState, Owner
from services.ipam.operations.wishes import Detached, Waived, Wanted
from services.kernel.errors import InvalidField
from services.kernel.names import FORCED_ACTION, NETWORK, PROJECT, SERVER
from services.runtime.times import to_timestamp

_MAX_RESOURCE = 255
_MAX_INTERFACE = 255
_DIGEST = 32
_KINDS = {
    lease_pb2.Owner.KIND_BARE_METAL_INSTANCE: Kind.BARE_METAL_INSTANCE,
    lease_pb2.Owner.KIND_VIRTUAL_MACHINE: Kind.VIRTUAL_MACHINE,
}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_STATE_NUMBERS = {
    LeaseState.LEASED: lease_pb2.AddressLease.STATE_LEASED,
    LeaseState.COOLING: lease_pb2.AddressLease.STATE_COOLING,
    LeaseState.FREED: lease_pb2.AddressLease.STATE_FREED,
}


def wanted_of_each_version(
    request: lease_pb2.LeaseAddressesRequest,
) -> tuple[Wanted, Mapping[Version, Address]]:
    """What *request* asks for of each IP version, and the very addresses it names.

    Raises:
        InvalidField: a field is malformed.
    """
    found: dict[Version, Address] = {}
    for index, text in enumerate(request.addresses):
        address = parse_address(text, f"addresses[{index}]")
        if address.version in found:
            raise InvalidField(
                f"addresses[{index}]",
                f"{address} is a second IPv{address.version} address",
                remedy="Give at most one of each IP version.",
                given=str(address),
            )
        found[address.version] = address
    return wanted(request), found


def wanted(request: lease_pb2.LeaseAddressRequest | lease_pb2.LeaseAddressesRequest) -> Wanted:
    """The address that *request* asks for; one for several versions names neither address nor version.

    Raises:
        InvalidField: a field is malformed.
    """
    single = request if isinstance(request, lease_pb2.LeaseAddressRequest) else lease_pb2.LeaseAddressRequest()
    (project,) = PROJECT.parse(request.parent, "parent")
    NETWORK.parse(request.network, "network")
    owner = request.owner
    if owner.kind not in _KINDS:
        raise InvalidField("owner.kind", "is not given", remedy="Say what kind of owner it is.")
    versions: dict[int, Version | None] = {0: None, 4: 4, 6: 6}
    if single.ip_version not in versions:
        raise InvalidField(
            "ip_version",
            f"{single.ip_version} is no IP version",
            remedy="Give 4, 6 or 0.",
            given=str(single.ip_version),
        )
    return Wanted(
        project=project,
        network=request.network,
        owner=Owner(
            kind=_KINDS[owner.kind],
            resource=_readable(owner.resource, "owner.resource", _MAX_RESOURCE),
            interface=_readable(owner.interface, "owner.interface", _MAX_INTERFACE),
            mac_address=parse_mac(owner.mac_address, "owner.mac_address"),
        ),
        address=parse_address(single.address, "address") if single.address else None,
        version=versions[single.ip_version],
        fence=fence(request.fence),
        host_name=parse_host_name(request.host_name, "host_name"),
    )


def fence(given: int) -> int:
    """The fence *given*.

    Raises:
        InvalidField: it is negative.
    """
    if given < 0:
        raise InvalidField("fence", "is negative", remedy="Give the claim's fence, or none.", given=str(given))
    return given


def detached(request: lease_pb2.ReleaseLeaseRequest) -> Detached | Waived | None:
    """The proof that *request* gives, or what it gives instead; None if it gives neither.

    Raises:
        InvalidField: it is none, or both are given.
    """
    if request.without_proof:
        if request.HasField("detach"):
            raise InvalidField("without_proof", "is given beside a proof", remedy="Give one of the two.")
        forced = "/forcedActions/" in request.without_proof
        (FORCED_ACTION if forced else SERVER).parse(request.without_proof, "without_proof")
        return Waived(request.without_proof, forced)
    if not request.HasField("detach"):
        return None
    proof = request.detach
    SERVER.parse(proof.server, "detach.server")
    if len(proof.reading_digest) != _DIGEST:
        raise InvalidField(
            "detach.reading_digest",
            f"has {len(proof.reading_digest)} bytes",
            remedy=f"Give the {_DIGEST} bytes of the reading's SHA-256.",
        )
    return Detached(proof.server, proof.read_time.ToDatetime(tzinfo=UTC), proof.reading_digest)


def lease_message(lease: Lease) -> lease_pb2.AddressLease:
    """*lease* as the contract has it."""
    owner = lease.owner
    return lease_pb2.AddressLease(
        name=lease.name,
        vrf=lease.vrf,
        address=str(lease.address),
        prefix_length=lease.prefix_length,
        gateway="" if lease.gateway is None else str(lease.gateway),
        dns_servers=[str(server) for server in lease.dns_servers],
        prefix=lease.prefix,
        network=lease.network,
        owner=lease_pb2.Owner(
            kind=_KIND_NUMBERS[owner.kind],
            resource=owner.resource,
            interface=owner.interface,
            mac_address=owner.mac_address,
        ),
        epoch=lease.epoch,
        state=_STATE_NUMBERS[lease.state],
        create_time=to_timestamp(lease.create_time),
        free_time=None if lease.free_time is None else to_timestamp(lease.free_time),
        keep_time=None if lease.keep_time is None else to_timestamp(lease.keep_time),
        host_name=lease.host_name,
        fqdn=lease.fqdn,
        reverse_name=lease.address.reverse_pointer,
    )


def leases_message(leases: Sequence[Lease]) -> lease_pb2.LeaseAddressesResponse:
    """The leases of an interface as the contract has them."""
    return lease_pb2.LeaseAddressesResponse(leases=[lease_message(lease) for lease in leases])


def _readable(text: str, field: str, longest: int) -> str:
    if len(text) > longest:
        raise InvalidField(field, f"has {len(text)} characters", remedy=f"Give at most {longest}.")
    if not text.isprintable():
        raise InvalidField(field, "has characters that cannot be printed", remedy="Leave them out.")
    return text
