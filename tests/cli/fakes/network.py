# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N802 -- the contracts' names
# The verbs that no test calls are left to the generated classes, which refuse them.
# mypy: disable-error-code="abstract,misc"
"""Network, as far as the command line needs it."""

from __future__ import annotations

from typing import Any

from google.protobuf import empty_pb2

from bms.network.v1 import network_pb2, network_service_pb2_grpc
from tests.cli.fakes.answers import found, paged
from tests.cli.fakes.world import World


class Network(network_service_pb2_grpc.NetworkServiceServicer):
    """Networks."""

    def __init__(self, world: World) -> None:
        self.world = world

    def CreateNetwork(self, request: Any, context: Any) -> Any:
        request.network.name = f"{request.parent}/networks/{request.network_id}"
        request.network.vlan_id = request.network.vlan_id or 100
        self.world.networks[request.network.name] = request.network
        return request.network

    def GetNetwork(self, request: Any, context: Any) -> Any:
        return found(self.world.networks, request.name, context)

    def ListNetworks(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.networks.values()))
        return network_pb2.ListNetworksResponse(networks=rows, next_page_token=token)

    def DeleteNetwork(self, request: Any, context: Any) -> Any:
        found(self.world.networks, request.name, context)
        return empty_pb2.Empty()
