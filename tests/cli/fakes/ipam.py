# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N802 -- the contracts' names
# The verbs that no test calls are left to the generated classes, which refuse them.
# mypy: disable-error-code="abstract,misc"
"""Ipam, as far as the command line needs it."""

from __future__ import annotations

import uuid
from typing import Any

from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, prefix_pb2
from tests.cli.fakes.answers import found, paged
from tests.cli.fakes.world import World


class Ipam(ipam_service_pb2_grpc.IpamServiceServicer):
    """Prefixes and leases."""

    def __init__(self, world: World) -> None:
        self.world = world

    def CreatePrefix(self, request: Any, context: Any) -> Any:
        request.prefix.name = f"{request.parent}/prefixes/{request.prefix_id}"
        self.world.prefixes[request.prefix.name] = request.prefix
        return request.prefix

    def ListPrefixes(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.prefixes.values()))
        return prefix_pb2.ListPrefixesResponse(prefixes=rows, next_page_token=token)

    def GetPrefix(self, request: Any, context: Any) -> Any:
        return found(self.world.prefixes, request.name, context)

    def UpdatePrefix(self, request: Any, context: Any) -> Any:
        prefix = found(self.world.prefixes, request.prefix.name, context)
        for path in request.update_mask.paths:
            prefix.ClearField(path)
        request.update_mask.MergeMessage(request.prefix, prefix, replace_message_field=True)
        return prefix

    def LeaseAddress(self, request: Any, context: Any) -> Any:
        lease = lease_pb2.AddressLease(
            name=f"{request.parent}/leases/{uuid.uuid4()}", address=request.address or "10.1.0.9", owner=request.owner,
            network=request.network, epoch=3, state=lease_pb2.AddressLease.STATE_LEASED,
        )  # fmt: skip
        self.world.leases[lease.name] = lease
        return lease

    def LeaseAddresses(self, request: Any, context: Any) -> Any:
        leases = [
            lease_pb2.AddressLease(name=f"{request.parent}/leases/{version}", address=address, owner=request.owner)
            for version, address in ((4, "10.1.0.9"), (6, "2001:db8::9"))
        ]
        self.world.leases.update({lease.name: lease for lease in leases})
        return lease_pb2.LeaseAddressesResponse(leases=leases)

    def GetLease(self, request: Any, context: Any) -> Any:
        return found(self.world.leases, request.name, context)

    def ListLeases(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.leases.values()))
        return lease_pb2.ListLeasesResponse(leases=rows, next_page_token=token)

    def ReleaseLease(self, request: Any, context: Any) -> Any:
        lease = found(self.world.leases, request.name, context)
        lease.state = lease_pb2.AddressLease.STATE_COOLING
        return lease
