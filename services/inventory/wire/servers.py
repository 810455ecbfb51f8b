# SPDX-License-Identifier: Apache-2.0
"""Servers, imports and deletions on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty

from bms.inventory.v1 import pool_pb2, server_pb2
from services.inventory.domain.import_rows import Fault
from services.inventory.domain.import_text import ImportForm
from services.inventory.domain.importing import MAX_FAULTS, Action, violation
from services.inventory.domain.server import (
    DEFAULT_DRIVER,
    Bmc,
    Disk,
    Location,
    Login,
    NodeType,
    PoolRow,
    Port,
    PortGroup,
    Properties,
    Server,
    ServerSpec,
    port_name,
)
from services.inventory.operations.imports import Imported
from services.inventory.operations.servers import Deletion
from services.runtime.etags import etag
from services.runtime.masks import merged
from services.runtime.operations import OperationRow, to_operation
from services.runtime.times import to_timestamp

_NODE_TYPES = {
    server_pb2.NODE_TYPE_BAREMETAL: NodeType.BAREMETAL,
    server_pb2.NODE_TYPE_PRIVATE: NodeType.PRIVATE,
    server_pb2.NODE_TYPE_ESXI: NodeType.ESXI,
    server_pb2.NODE_TYPE_OVS_COMPUTE: NodeType.OVS_COMPUTE,
    server_pb2.NODE_TYPE_SRIOV_COMPUTE: NodeType.SRIOV_COMPUTE,
}
_NODE_TYPE_NUMBERS = {kind: number for number, kind in _NODE_TYPES.items()}
_FORMS = {
    server_pb2.IMPORT_FORMAT_YAML: ImportForm.YAML,
    server_pb2.IMPORT_FORMAT_JSON: ImportForm.JSON,
    server_pb2.IMPORT_FORMAT_CSV: ImportForm.CSV,
}
_ACTIONS = {
    Action.CREATE: server_pb2.ImportedServer.ACTION_CREATE,
    Action.UPDATE: server_pb2.ImportedServer.ACTION_UPDATE,
    Action.UNCHANGED: server_pb2.ImportedServer.ACTION_UNCHANGED,
}


def spec(message: server_pb2.Server) -> ServerSpec:
    """What *message* says about a server; nothing is checked yet."""
    bmc, location = message.bmc, message.location
    return ServerSpec(
        display_name=message.display_name,
        node_type=_NODE_TYPES.get(message.node_type, NodeType.BAREMETAL),
        unmanaged=message.unmanaged,
        bmc=Bmc(bmc.address, bmc.port, bmc.driver or DEFAULT_DRIVER, bmc.kept_by_controller),
        ports=tuple(
            Port(
                mac_address=port.mac_address,
                label=port.label,
                switch_name=port.switch_name,
                switch_port=port.switch_port,
                switch_id=port.switch_id,
                pxe_enabled=port.pxe_enabled,
                port_group=port.port_group,
                speed_mbps=port.speed_mbps,
                physical_network=port.physical_network,
            )
            for port in message.ports
        ),
        port_groups=tuple(PortGroup(group.label, group.mode) for group in message.port_groups),
        properties=properties(message.properties),
        resource_class=message.resource_class,
        location=Location(location.site, location.rack, location.unit),
        labels=dict(message.labels),
        description=message.description,
        root_device_hints=dict(message.root_device_hints),
    )


def login(message: server_pb2.Server) -> Login:
    """The login that *message* gives."""
    return Login(message.bmc.username, message.bmc.password)


def changed(server: Server, request: server_pb2.UpdateServerRequest) -> tuple[ServerSpec, Login]:
    """What *request* makes of *server*.

    Raises:
        InvalidFields: its mask names no field of a server.
    """
    message = merged(to_server(server), request.server, request.update_mask.paths)
    return spec(message), login(message)


def properties(message: server_pb2.HardwareProperties) -> Properties:
    """The hardware that *message* tells."""
    return Properties(
        cpu_arch=message.cpu_arch,
        cpus=message.cpus,
        memory_mb=message.memory_mb,
        local_gb=message.local_gb,
        manufacturer=message.manufacturer,
        model=message.model,
        serial_number=message.serial_number,
        capabilities=dict(message.capabilities),
    )


def disks(messages: Sequence[server_pb2.Disk]) -> tuple[Disk, ...]:
    """The disks that *messages* tell."""
    return tuple(Disk(each.serial, each.size_bytes, each.model, each.media) for each in messages)


def to_server(server: Server) -> server_pb2.Server:
    """*server* as everybody sees it: without its login."""
    said, best, location = server.spec, server.properties, server.spec.location
    message = server_pb2.Server(
        name=server.name,
        display_name=said.display_name,
        node_type=_NODE_TYPE_NUMBERS[said.node_type],
        unmanaged=said.unmanaged,
        bmc=server_pb2.Bmc(
            address=said.bmc.address,
            port=said.bmc.port,
            driver=said.bmc.driver,
            has_credentials=server.has_credentials,
            kept_by_controller=said.bmc.kept_by_controller,
        ),
        ports=[
            server_pb2.Port(
                name=port_name(server.uuid, port.mac_address),
                mac_address=port.mac_address,
                label=port.label,
                switch_name=port.switch_name,
                switch_port=port.switch_port,
                switch_id=port.switch_id,
                pxe_enabled=port.pxe_enabled,
                port_group=port.port_group,
                speed_mbps=port.speed_mbps,
                physical_network=port.physical_network,
            )
            for port in said.ports
        ],
        port_groups=[server_pb2.PortGroup(label=group.label, mode=group.mode) for group in said.port_groups],
        resource_class=said.resource_class,
        labels=said.labels,
        description=said.description,
        root_device_hints=said.root_device_hints,
        disks=[
            server_pb2.Disk(serial=disk.serial, size_bytes=disk.size_bytes, model=disk.model, media=disk.media)
            for disk in server.disks
        ],
        pool=to_pool_row(server.pool),
        create_time=to_timestamp(server.create_time),
        update_time=to_timestamp(server.update_time),
        etag=etag(server.sequence),
    )
    if best != Properties():
        message.properties.CopyFrom(_to_properties(best))
    if location != Location():
        message.location.CopyFrom(server_pb2.Location(site=location.site, rack=location.rack, unit=location.unit))
    if server.delete_time is not None:
        message.delete_time.CopyFrom(to_timestamp(server.delete_time))
    return message


def to_pool_row(row: PoolRow) -> server_pb2.PoolRow:
    """Who may take a server."""
    return server_pb2.PoolRow(
        available=row.available,
        unavailable_reason=row.unavailable_reason,
        reserved_by=row.reserved_by,
        state_version=row.state_version,
        update_time=to_timestamp(row.update_time),
    )


def to_credentials(server: Server, stored: Login) -> pool_pb2.GetServerCredentialsResponse:
    """The one message that carries a login out."""
    bmc = server.spec.bmc
    return pool_pb2.GetServerCredentialsResponse(
        address=bmc.address, port=bmc.port, driver=bmc.driver, username=stored.username, password=stored.password,
        kept_by_controller=bmc.kept_by_controller,
    )  # fmt: skip


def form(request: server_pb2.ImportServersRequest) -> ImportForm | None:
    """The form that *request* says its file has."""
    return _FORMS.get(request.format)


def to_imported(imported: Sequence[Imported], *, validate_only: bool) -> server_pb2.ImportServersResponse:
    """What an import did, or would do. A server that is not registered has no name yet."""
    actions = [each.planned.action for each in imported]
    return server_pb2.ImportServersResponse(
        servers=[
            server_pb2.ImportedServer(
                row=each.planned.row,
                server="" if validate_only and each.planned.before is None else f"servers/{each.uuid}",
                display_name=each.planned.spec.display_name,
                action=_ACTIONS[each.planned.action],
                changed_fields=each.planned.changed,
                can_be_provided=each.planned.spec.can_be_provided,
            )
            for each in imported
        ],
        created_count=actions.count(Action.CREATE),
        updated_count=actions.count(Action.UPDATE),
        unchanged_count=actions.count(Action.UNCHANGED),
    )


def to_faults(faults: Sequence[Fault]) -> server_pb2.ImportServersResponse:
    """The answer of an import that was asked to list what is wrong."""
    told = [(fault, violation(fault)) for fault in faults[:MAX_FAULTS]]
    return server_pb2.ImportServersResponse(
        faults=[
            server_pb2.ImportFault(row=fault.row, column=fault.column, field=said.field, description=said.description)
            for fault, said in told
        ],
        fault_count=len(faults),
    )


def deletion_row(deletion: Deletion) -> OperationRow:
    """A deletion that lifecycle has yet to let happen."""
    return OperationRow(
        name=deletion.operation,
        project="",
        subject=deletion.server,
        done=False,
        metadata=_metadata(deletion.server, deletion.create_time, "waiting_for_lifecycle"),
        response=None,
        error=None,
        create_time=deletion.create_time,
        update_time=deletion.create_time,
    )


def deletion_done(row: OperationRow, now: datetime) -> OperationRow:
    """*row*, ended well."""
    empty = AnyMessage()
    empty.Pack(Empty())
    return OperationRow(
        name=row.name,
        project=row.project,
        subject=row.subject,
        done=True,
        metadata=_metadata(row.subject, row.create_time, "done"),
        response=empty.SerializeToString(),
        error=None,
        create_time=row.create_time,
        update_time=now,
    )


def to_deletion(row: OperationRow) -> operations_pb2.Operation:
    """A deletion as an Operation."""
    return to_operation(row)


def _metadata(server: str, create_time: datetime, stage: str) -> bytes:
    packed = AnyMessage()
    packed.Pack(server_pb2.DeleteServerMetadata(server=server, create_time=to_timestamp(create_time), stage=stage))
    return packed.SerializeToString()


def _to_properties(best: Properties) -> server_pb2.HardwareProperties:
    return server_pb2.HardwareProperties(
        cpu_arch=best.cpu_arch,
        cpus=best.cpus,
        memory_mb=best.memory_mb,
        local_gb=best.local_gb,
        manufacturer=best.manufacturer,
        model=best.model,
        serial_number=best.serial_number,
        capabilities=best.capabilities,
    )
