# SPDX-License-Identifier: Apache-2.0
"""Inventory, spoken over its contract."""

from __future__ import annotations

from bms.event.v1 import event_pb2
from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2_grpc, pool_pb2, server_pb2
from services.kernel.events import DiskSeen
from services.kernel.names import SERVER
from services.lifecycle.bmc import Bmc
from services.lifecycle.domain.server import Move, Port, Report
from services.lifecycle.peers import FlavorCard, Heard, Registered
from services.lifecycle.ports import CardPort, HardwareFacts, ImageOrder, ServerCard
from services.runtime.outbound import Peer

_PROVIDABLE = (server_pb2.NODE_TYPE_UNSPECIFIED, server_pb2.NODE_TYPE_BAREMETAL)


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
