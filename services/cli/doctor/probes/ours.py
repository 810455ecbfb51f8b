# SPDX-License-Identifier: Apache-2.0
"""Asks our services which networks and servers there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from services.cli.boot_ports import boot_ports, plugged
from services.cli.doctor.contrail_facts import OurNetwork, Plug
from services.cli.doctor.facts import Seen
from services.cli.doctor.probes.services import Ways, why_not
from services.cli.failures import CliError

if TYPE_CHECKING:
    import grpc

T = TypeVar("T")
_PAGE = 1000


def networks(address: str, ways: Ways) -> Seen[tuple[OurNetwork, ...]]:
    """All networks that network at *address* has."""
    return _asked(address, ways, "network", _networks)


def plugs(address: str, ways: Ways) -> Seen[tuple[Plug, ...]]:
    """All ports of servers that inventory at *address* says are plugged in."""
    return _asked(address, ways, "inventory", _plugs)


def _networks(channel: grpc.Channel, more: dict[str, Any]) -> tuple[OurNetwork, ...]:
    from bms.network.v1 import network_pb2
    from bms.network.v1.network_service_pb2_grpc import NetworkServiceStub

    stub, request = NetworkServiceStub(channel), network_pb2.ListNetworksRequest(parent="projects/-", page_size=_PAGE)
    found = []
    while True:
        page = stub.ListNetworks(request, **more)
        for each in page.networks:
            kind = network_pb2.PortClass.Name(each.network_class).removeprefix("PORT_CLASS_").lower()
            found.append(OurNetwork(each.name, kind))
        if not page.next_page_token:
            return tuple(found)
        request.page_token = page.next_page_token


def _plugs(channel: grpc.Channel, more: dict[str, Any]) -> tuple[Plug, ...]:
    from bms.inventory.v1 import server_pb2
    from bms.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

    stub, request = InventoryServiceStub(channel), server_pb2.ListServersRequest(page_size=_PAGE)
    found = []
    while True:
        page = stub.ListServers(request, **more)
        for each in page.servers:
            boot = {port.mac_address for port in boot_ports(each)}
            found += [
                Plug(
                    each.name, each.display_name, port.mac_address, port.switch_name, port.switch_port,
                    port.mac_address in boot,
                )
                for port in plugged(each)
            ]  # fmt: skip
        if not page.next_page_token:
            return tuple(found)
        request.page_token = page.next_page_token


def _asked(address: str, ways: Ways, name: str, read: Callable[[grpc.Channel, dict[str, Any]], T]) -> Seen[T]:
    import grpc

    from services.cli.channel import open_channel

    if ways.token is None:
        return Seen(None, f"{name} was not asked: {ways.tokenless}")
    try:
        ways.token.may_cross(address, tls=ways.ca is not None)
        metadata = (("authorization", f"Bearer {ways.token.read()}"),)
        with open_channel(address, ways.ca, ways.cert, ways.key) as channel:
            return Seen(read(channel, {"metadata": metadata, "timeout": ways.seconds}))
    except CliError as error:
        return Seen(None, f"{name} was not asked: {error}")
    except grpc.RpcError as error:
        return Seen(None, f"{name}: {why_not(error)}")
