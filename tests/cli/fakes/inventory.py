# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: N802 -- the contracts' names
# The verbs that no test calls are left to the generated classes, which refuse them.
# mypy: disable-error-code="abstract,misc"
"""Inventory, as far as the command line needs it."""

from __future__ import annotations

from typing import Any

from google.protobuf import empty_pb2

from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2_grpc, pool_pb2, server_pb2
from services.kernel.errors import AlreadyExists, WrongState
from tests.cli.fakes.answers import found, paged, refuse
from tests.cli.fakes.world import World


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Servers, flavors, images."""

    def __init__(self, world: World) -> None:
        self.world = world

    def GetServer(self, request: Any, context: Any) -> Any:
        return found(self.world.servers, request.name, context)

    def ListServers(self, request: Any, context: Any) -> Any:
        matching = [server for server in self.world.servers.values() if _matches(server, request.filter)]
        rows, token = paged(request, matching)
        return server_pb2.ListServersResponse(servers=rows, next_page_token=token)

    def CreateServer(self, request: Any, context: Any) -> Any:
        if any(each.display_name == request.server.display_name for each in self.world.servers.values()):
            refuse(context, AlreadyExists(f"{request.server.display_name} exists", remedy="Choose another name."))
        if request.validate_only:
            return request.server
        made = self.world.add_server(request.server.display_name, "enrolled")
        made.MergeFrom(request.server)
        made.bmc.password = made.bmc.username = ""
        return made

    def UpdateServer(self, request: Any, context: Any) -> Any:
        server = found(self.world.servers, request.server.name, context)
        request.update_mask.MergeMessage(
            request.server, server, replace_message_field=True, replace_repeated_field=True
        )
        server.etag = '"2"'
        return server

    def DeleteServer(self, request: Any, context: Any) -> Any:
        server = found(self.world.servers, request.name, context)
        if server.pool.reserved_by:
            refuse(
                context,
                WrongState("it is held", remedy=f"Delete {server.pool.reserved_by} first.", subject=server.name),
            )
        if request.validate_only:
            return self.world.plan("delete", request.name)
        return self.world.begin("delete", request.name)

    def ImportServers(self, request: Any, context: Any) -> Any:
        if self.world.faults:
            return server_pb2.ImportServersResponse(faults=self.world.faults, fault_count=len(self.world.faults) + 2)
        answer = server_pb2.ImportServersResponse()
        for row, name in enumerate(request.content.decode().split(), start=1):
            existing = next((each for each in self.world.servers.values() if each.display_name == name), None)
            if existing is None and not request.validate_only:
                existing = self.world.add_server(name, "enrolled")
                answer.created_count += 1
                action = server_pb2.ImportedServer.ACTION_CREATE
            elif existing is None:
                answer.created_count += 1
                action = server_pb2.ImportedServer.ACTION_CREATE
            else:
                answer.unchanged_count += 1
                action = server_pb2.ImportedServer.ACTION_UNCHANGED
            answer.servers.add(
                row=row, display_name=name, action=action, can_be_provided=not name.startswith("esx"),
                server=existing.name if existing else "",
            )  # fmt: skip
        return answer

    def GetFlavor(self, request: Any, context: Any) -> Any:
        return found(self.world.flavors, request.name, context)

    def ListFlavors(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.flavors.values()))
        return catalogue_pb2.ListFlavorsResponse(flavors=rows, next_page_token=token)

    def CreateFlavor(self, request: Any, context: Any) -> Any:
        request.flavor.name = f"flavors/{request.flavor_id}"
        self.world.flavors[request.flavor.name] = request.flavor
        return request.flavor

    def UpdateFlavor(self, request: Any, context: Any) -> Any:
        flavor = found(self.world.flavors, request.flavor.name, context)
        for path in request.update_mask.paths:
            flavor.ClearField(path)
        request.update_mask.MergeMessage(request.flavor, flavor, replace_message_field=True)
        return flavor

    def DeleteFlavor(self, request: Any, context: Any) -> Any:
        found(self.world.flavors, request.name, context)
        if not request.validate_only:
            del self.world.flavors[request.name]
        return empty_pb2.Empty()

    def GetImage(self, request: Any, context: Any) -> Any:
        return found(self.world.images, request.name, context)

    def ListImages(self, request: Any, context: Any) -> Any:
        rows, token = paged(request, list(self.world.images.values()))
        return catalogue_pb2.ListImagesResponse(images=rows, next_page_token=token)

    def CreateImage(self, request: Any, context: Any) -> Any:
        request.image.name = f"images/{request.image_id}"
        self.world.images[request.image.name] = request.image
        return request.image

    def ListPools(self, request: Any, context: Any) -> Any:
        pool = pool_pb2.Pool(
            name="pools/rack.r1", kind=pool_pb2.POOL_KIND_RACK, value="R1", total_count=3, available_count=1
        )
        pool.unavailable.add(reason="CLEANING", count=2, servers=["servers/x"])
        return pool_pb2.ListPoolsResponse(pools=[pool])

    def ExplainPlacement(self, request: Any, context: Any) -> Any:
        answer = pool_pb2.ExplainPlacementResponse(eligible_count=1)
        answer.candidates.add(server="servers/a", display_name="good", eligible=True)
        bad = answer.candidates.add(server="servers/b", display_name="bad")
        bad.failures.add(constraint="min_cpus", wanted="32", found="16")
        bad.failures.add(constraint="manufacturer", wanted="Dell Inc.")
        return answer


def _matches(server: server_pb2.Server, filter_: str) -> bool:
    known = {
        "display_name": server.display_name,
        "resource_class": server.resource_class,
        "rack": server.location.rack,
        **{f"labels.{key}": value for key, value in server.labels.items()},
    }
    for term in filter(None, filter_.split(" AND ")):
        name, _, value = term.partition("=")
        negated = name.strip().endswith("!")
        if (known.get(name.strip(" !")) == value.strip(' "')) is negated:
            return False
    return True
