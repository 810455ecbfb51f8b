# SPDX-License-Identifier: Apache-2.0
"""The other services, spoken over their contracts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2_grpc, pool_pb2, server_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, prefix_pb2
from bms.network.v1 import attachment_pb2, network_pb2, network_service_pb2_grpc
from services.kernel.errors import BmsError, NotFound, PeerUnavailable
from services.kernel.events import DiskSeen
from services.kernel.names import SERVER
from services.lifecycle.bmc import Bmc
from services.lifecycle.domain.server import Lease, Move, Port, PortClass, Report, Tag
from services.lifecycle.peers import (
    Cooling,
    DetachProof,
    FlavorCard,
    Heard,
    PlaceReading,
    PortWish,
    Reading,
    Registered,
)
from services.lifecycle.ports import CardPort, HardwareFacts, ImageOrder, ServerCard
from services.runtime.outbound import Peer

_PROVIDABLE = (server_pb2.NODE_TYPE_UNSPECIFIED, server_pb2.NODE_TYPE_BAREMETAL)
_CLASSES = {one: network_pb2.PortClass.Value(f"PORT_CLASS_{one.name}") for one in PortClass}
_CLASS_OF = {number: one for one, number in _CLASSES.items()}
_LOOK_SECONDS = 30.0
"""How long network may take to read the ports of many servers."""


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


class InventoryClient:
    """bms.inventory.v1; satisfies peers.Inventory and ports.Credentials."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = inventory_service_pb2_grpc.InventoryServiceStub(peer.channel)

    def server(self, uuid: str) -> Registered:
        """See peers.Inventory."""
        found = self._peer.call(self._stub.GetServer, server_pb2.GetServerRequest(name=SERVER.format(uuid)))
        return Registered(
            uuid=uuid,
            display_name=found.display_name,
            ports=tuple(
                Port(
                    port.name,
                    port.mac_address,
                    port.switch_name,
                    port.switch_port,
                    port.pxe_enabled,
                    port.port_group,
                    switch_id=port.switch_id,
                )
                for port in found.ports
            ),
            providable=not found.unmanaged and found.node_type in _PROVIDABLE,
            deleting=found.HasField("delete_time"),
            card=_card(found),
            etag=found.etag,
        )

    def of(self, server: str) -> Bmc:
        """See ports.Credentials."""
        found = self._peer.call(
            self._stub.GetServerCredentials, pool_pb2.GetServerCredentialsRequest(server=SERVER.format(server))
        )
        kept = found.kept_by_controller
        return Bmc(found.address, found.port, found.driver, found.username, found.password, kept)

    def credentials(self, uuid: str) -> Bmc:
        """See peers.Inventory."""
        return self.of(uuid)

    def flavor_exists(self, flavor: str) -> None:
        """See peers.Inventory."""
        self._peer.call(self._stub.GetFlavor, catalogue_pb2.GetFlavorRequest(name=flavor))

    def flavor(self, flavor: str) -> FlavorCard:
        """See peers.Inventory."""
        found = self._peer.call(self._stub.GetFlavor, catalogue_pb2.GetFlavorRequest(name=flavor))
        traits = frozenset(key for key, value in found.capabilities.items() if value == "true")
        return FlavorCard(found.name, traits, found.mirror.remote_id)

    def image(self, image: str, project: str) -> ImageOrder:
        """See peers.Inventory."""
        found = self._peer.call(self._stub.GetImage, catalogue_pb2.GetImageRequest(name=image, for_project=project))
        return ImageOrder(
            image=found.name,
            source_uri=found.source_uri,
            checksum=found.checksum,
            kernel_uri=found.kernel_uri,
            kernel_checksum=found.kernel_checksum,
            ramdisk_uri=found.ramdisk_uri,
            ramdisk_checksum=found.ramdisk_checksum,
            glance_id=found.mirror.remote_id,
        )

    def reserve(self, holder: str, flavor: str, image: str, excluded: tuple[str, ...]) -> str:
        """See peers.Inventory."""
        found = self._peer.call(
            self._stub.ReserveServers,
            pool_pb2.ReserveServersRequest(
                holder=holder, flavor=flavor, image=image, count=1, excluded_servers=set(excluded)
            ),
        )
        return SERVER.parse(found.servers[0].name)[0]

    def release_reservation(self, holder: str) -> None:
        """See peers.Inventory."""
        self._peer.call(self._stub.ReleaseReservation, pool_pb2.ReleaseReservationRequest(holder=holder))

    def report(
        self,
        server: str,
        version: int,
        report: Report,
        facts: HardwareFacts | None,
        disks: tuple[DiskSeen, ...],
        *,
        closed: bool,
    ) -> None:
        """See peers.Inventory."""
        request = pool_pb2.ReportServerRequest(
            server=SERVER.format(server),
            state_version=version,
            available=report.available,
            unavailable_reason=report.reason,
            held_by=report.held_by,
            closed=closed,
        )
        if facts is not None:
            request.properties.CopyFrom(
                server_pb2.HardwareProperties(
                    cpu_arch=facts.cpu_arch,
                    cpus=facts.cpus,
                    memory_mb=facts.memory_mb,
                    local_gb=facts.local_gb,
                    manufacturer=facts.manufacturer,
                    model=facts.model,
                    serial_number=facts.serial_number,
                    capabilities=dict(facts.capabilities),
                )
            )
            request.disks.extend(server_pb2.Disk(serial=disk.serial, size_bytes=disk.size_bytes) for disk in disks)
        self._peer.call(self._stub.ReportServer, request)

    def relink(self, server: str, moves: tuple[Move, ...], etag: str, request_id: str, *, check: bool = False) -> None:
        """See peers.Inventory."""
        request = pool_pb2.RelinkServerRequest(
            server=SERVER.format(server),
            etag=etag,
            request_id=request_id,
            validate_only=check,
            links=[
                pool_pb2.ServerLink(
                    port=move.port,
                    switch_name=move.switch_name,
                    switch_port=move.switch_port,
                    switch_id=move.switch_id,
                )
                for move in moves
            ],
        )
        self._peer.call(self._stub.RelinkServer, request)

    def events(self, after: int, wait: int) -> tuple[tuple[Heard, ...], int]:
        """See peers.Inventory."""
        request = event_pb2.ListEventsRequest(after=after, wait_seconds=wait)
        found = self._peer.call(self._stub.ListEvents, request, deadline=wait + 10.0)
        heard = tuple(Heard(event.position, event.header.stream, event.header.type) for event in found.events)
        return heard, found.next_after


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
            read_time=_moment(reading.read_time),
            digest=reading.reading_digest,
            detail=reading.detail,
            breach=reading.breach,
        )
        for reading in found
    )


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
        free = _moment(found.free_time) if found.HasField("free_time") else None
        return Cooling(found.name, found.vrf, found.address, found.epoch, free)


def _card(found: server_pb2.Server) -> ServerCard:
    facts = found.properties
    return ServerCard(
        display_name=found.display_name,
        resource_class=found.resource_class,
        properties=HardwareFacts(
            facts.cpu_arch, facts.cpus, facts.memory_mb, facts.local_gb, facts.manufacturer, facts.model,
            facts.serial_number, tuple(sorted(facts.capabilities.items())),
        ),
        root_device_hints=tuple(sorted(found.root_device_hints.items())),
        ports=tuple(
            CardPort(
                port.mac_address, port.switch_name, port.switch_port, port.switch_id, port.pxe_enabled,
                port.port_group, port.physical_network,
            )
            for port in found.ports
        ),
        port_groups=tuple((group.label, group.mode) for group in found.port_groups),
    )  # fmt: skip


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
