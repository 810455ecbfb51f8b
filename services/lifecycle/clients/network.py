# SPDX-License-Identifier: Apache-2.0
"""Network, spoken over its contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC

from bms.network.v1 import attachment_pb2, network_pb2, network_service_pb2_grpc
from services.kernel.errors import BmsError, NotFound, PeerUnavailable
from services.kernel.names import SERVER
from services.lifecycle.domain.server import Port, PortClass, Tag
from services.lifecycle.peers import PlaceReading, PortWish, Reading
from services.runtime.outbound import Peer

_CLASSES = {one: network_pb2.PortClass.Value(f"PORT_CLASS_{one.name}") for one in PortClass}
_CLASS_OF = {number: one for one, number in _CLASSES.items()}
_LOOK_SECONDS = 30.0
"""How long network may take to read the ports of many servers."""


class NetworkClient:
    """bms.network.v1; satisfies peers.Networks."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = network_service_pb2_grpc.NetworkServiceStub(peer.channel)
        self._private: dict[PortClass, str] = {}

    def usable(self, network: str, project: str) -> None:
        """See peers.Networks."""
        found = self._peer.call(self._stub.GetNetwork, network_pb2.GetNetworkRequest(name=network))
        if not network.startswith(f"projects/{project}/") or found.network_class != network_pb2.PORT_CLASS_TENANT:
            msg = f"{network} does not exist"
            raise NotFound(
                msg, remedy=f"Name a network of projects/{project}: bms network list --project {project}.", name=network
            )

    def private(self, port_class: PortClass) -> str:
        """See peers.Networks."""
        known = self._private.get(port_class)
        if known:
            return known
        request = network_pb2.ListNetworksRequest(
            parent="projects/-", filter=f"network_class = {port_class.name}", page_size=1
        )
        found = self._peer.call(self._stub.ListNetworks, request)
        if not found.networks:
            return ""
        self._private[port_class] = found.networks[0].name
        return found.networks[0].name

    def register(
        self, server: str, ports: tuple[Port, ...], fence: int, request_id: str, *, as_found: bool = False
    ) -> None:
        """See peers.Networks."""
        request = attachment_pb2.RegisterServerPortsRequest(
            server=SERVER.format(server),
            fence=fence,
            request_id=request_id,
            as_found=as_found,
            links=_links(ports),
        )
        self._peer.call(self._stub.RegisterServerPorts, request)

    def attach(self, server: str, wishes: tuple[PortWish, ...], project: str, fence: int, request_id: str) -> None:
        """See peers.Networks."""
        request = attachment_pb2.AttachPortsRequest(
            server=SERVER.format(server),
            fence=fence,
            request_id=request_id,
            project=project,
            wishes=[
                attachment_pb2.PortWish(
                    port=wish.port,
                    port_class=_CLASSES[wish.port_class],
                    networks=[
                        attachment_pb2.NetworkTag(network=tag.network, vlan_tag=tag.vlan_tag) for tag in wish.networks
                    ],
                    purpose=attachment_pb2.WishPurpose.Value(f"WISH_PURPOSE_{wish.purpose.name}"),
                )
                for wish in wishes
            ],
        )
        try:
            self._peer.call(self._stub.AttachPorts, request)
        except BmsError as error:
            if not isinstance(error, PeerUnavailable):
                self._private.clear()  # a private network may have been made anew
            raise

    def read(self, server: str, fence: int) -> tuple[Reading, ...]:
        """See peers.Networks."""
        request = attachment_pb2.ReadServerPortsRequest(server=SERVER.format(server), fence=fence)
        return _readings(self._peer.call(self._stub.ReadServerPorts, request).readings)

    def look_at(self, server: str, places: tuple[Port, ...]) -> tuple[PlaceReading, ...]:
        """See peers.Networks."""
        # Two ports may have left the same place, one after the other; network reads each place once.
        once = {(place.switch_name, place.switch_port): place for place in places}
        request = attachment_pb2.ReadSwitchPortsRequest(server=SERVER.format(server), links=_links(once.values()))
        found = dict(zip(once, self._peer.call(self._stub.ReadSwitchPorts, request).readings, strict=True))
        readings = [found[place.switch_name, place.switch_port] for place in places]
        return tuple(
            PlaceReading(one.holder, replace(_readings([one.reading])[0], port=place.name))
            for place, one in zip(places, readings, strict=True)
        )

    def look(self, servers: Mapping[str, int]) -> dict[str, tuple[Reading, ...]]:
        """See peers.Networks."""
        request = attachment_pb2.BatchReadServerPortsRequest(
            requests=[
                attachment_pb2.ReadServerPortsRequest(server=SERVER.format(server), fence=fence)
                for server, fence in servers.items()
            ]
        )
        found = self._peer.call(self._stub.BatchReadServerPorts, request, deadline=_LOOK_SECONDS)
        return {SERVER.parse(one.server)[0]: _readings(one.readings) for one in found.servers}


def _links(ports: Iterable[Port]) -> list[attachment_pb2.PortLink]:
    return [
        attachment_pb2.PortLink(
            port=port.name,
            mac_address=port.mac_address,
            switch_name=port.switch_name,
            switch_port=port.switch_port,
            port_group=port.port_group,
            switch_id=port.switch_id,
        )
        for port in ports
    ]


def _readings(found: Iterable[attachment_pb2.PortReading]) -> tuple[Reading, ...]:
    return tuple(
        Reading(
            port=reading.port,
            port_class=_CLASS_OF.get(reading.port_class, PortClass.UNKNOWN),
            networks=tuple(Tag(tag.network, tag.vlan_tag) for tag in reading.networks),
            read_time=reading.read_time.ToDatetime(UTC),
            digest=reading.reading_digest,
            detail=reading.detail,
            breach=reading.breach,
        )
        for reading in found
    )
