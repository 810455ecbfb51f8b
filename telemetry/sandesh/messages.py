# SPDX-License-Identifier: Apache-2.0
"""The messages we speak.

`IRONIC_NODE_INFO` is field-compatible with the last schema of Contrail's own bare-metal bridge
(release R2008 and later), so that everything which reads those UVEs reads ours. The generator's
messages about itself are the ones that every Contrail process sends. `BMS_LIFECYCLE_EVENT_LOG` and
`BMS_LOG_CHECKPOINT` are ours.

The ``TypedDict`` beside each struct is the same fact for the type checker: what a caller may put in.
"""

from __future__ import annotations

from typing import Final, Required, TypedDict

from telemetry.sandesh import statistics
from telemetry.sandesh.schema import Field, ListOf, MapOf, Scalar, Struct, Type, control, object_log, uve

OBJECT_SERVER_TABLE: Final = "ObjectServerTable"
OBJECT_CONFIG_NODE: Final = "ObjectConfigNode"
OBJECT_GENERATOR_INFO: Final = "ObjectGeneratorInfo"


def _fields(*rows: tuple[int, str, Type], optional: bool = True) -> tuple[Field, ...]:
    return tuple(Field(name, type_, identifier, optional=optional) for identifier, name, type_ in rows)


def _key(table: str) -> Field:
    return Field("name", Scalar.STRING, 1, (("key", table),))


# --- a bare metal server -------------------------------------------------------------------------


class DriverInfo(TypedDict, total=False):
    """How the server's BMC is reached. Credentials have no business here; the fields exist for compatibility."""

    ipmi_address: str
    ipmi_password: str
    ipmi_username: str
    ipmi_terminal_port: int
    deploy_kernel: str
    deploy_ramdisk: str


class InstanceInfo(TypedDict, total=False):
    """What is deployed on the server. Numbers are text, as Ironic sends them."""

    root_gb: str
    display_name: str
    memory_mb: str
    vcpus: str
    local_gb: str
    nova_host_id: str
    configdrive: str
    image_checksum: str
    image_source: str
    image_type: str
    image_url: str


class NodeProperties(TypedDict, total=False):
    """What the server is made of."""

    cpu_arch: str
    cpus: int
    local_gb: int
    memory_mb: int
    capabilities: str


class LocalLinkConnection(TypedDict, total=False):
    """The switch port that a server port is cabled to."""

    switch_info: str
    port_id: str
    switch_id: str


class InternalPortInfo(TypedDict, total=False):
    """The network ports that are attached to a server port."""

    tenant_vif_port_id: str
    provisioning_vif_port_id: str


class PortInfo(TypedDict, total=False):
    """A port of the server."""

    name: Required[str]
    pxe_enabled: bool
    mac_address: str
    create_timestamp: str
    port_uuid: str
    local_link_connection: LocalLinkConnection
    internal_info: InternalPortInfo


class IronicNode(TypedDict, total=False):
    """A server. ``name`` is its UUID; timestamps are ISO 8601 text."""

    name: Required[str]
    deleted: bool
    provision_state: str
    power_state: str
    driver: str
    instance_uuid: str
    maintenance: bool
    provision_update_timestamp: str
    update_timestamp: str
    create_timestamp: str
    host_name: str
    publisher_id: str
    event_type: str
    network_interface: str
    driver_info: DriverInfo
    instance_info: InstanceInfo
    node_properties: NodeProperties
    port_info: list[PortInfo]


_DRIVER_INFO = Struct(
    "DriverInfo",
    _fields(
        (1, "ipmi_address", Scalar.STRING),
        (2, "ipmi_password", Scalar.STRING),
        (3, "ipmi_username", Scalar.STRING),
        (4, "ipmi_terminal_port", Scalar.U32),
        (5, "deploy_kernel", Scalar.STRING),
        (6, "deploy_ramdisk", Scalar.STRING),
    ),
)
_INSTANCE_INFO = Struct(
    "InstanceInfo",
    _fields(
        (1, "root_gb", Scalar.STRING),
        (2, "display_name", Scalar.STRING),
        (3, "memory_mb", Scalar.STRING),
        (4, "vcpus", Scalar.STRING),
        (5, "local_gb", Scalar.STRING),
        (6, "nova_host_id", Scalar.STRING),
        (7, "configdrive", Scalar.STRING),
        (8, "image_checksum", Scalar.STRING),
        (9, "image_source", Scalar.STRING),
        (10, "image_type", Scalar.STRING),
        (11, "image_url", Scalar.STRING),
    ),
)
_NODE_PROPERTIES = Struct(
    "NodeProperties",
    _fields(
        (1, "cpu_arch", Scalar.STRING),
        (2, "cpus", Scalar.U32),
        (3, "local_gb", Scalar.U32),
        (4, "memory_mb", Scalar.U64),
        (5, "capabilities", Scalar.STRING),
    ),
)
_LOCAL_LINK_CONNECTION = Struct(
    "LocalLinkConnection",
    _fields((1, "switch_info", Scalar.STRING), (2, "port_id", Scalar.STRING), (3, "switch_id", Scalar.STRING)),
)
_INTERNAL_PORT_INFO = Struct(
    "InternalPortInfo",
    _fields((1, "tenant_vif_port_id", Scalar.STRING), (2, "provisioning_vif_port_id", Scalar.STRING)),
)
_PORT_INFO = Struct(
    "PortInfo",
    (
        Field("name", Scalar.STRING, 1),
        *_fields(
            (2, "pxe_enabled", Scalar.BOOL),
            (3, "mac_address", Scalar.STRING),
            (4, "create_timestamp", Scalar.STRING),
            (5, "port_uuid", Scalar.STRING),
            (6, "local_link_connection", _LOCAL_LINK_CONNECTION),
            (7, "internal_info", _INTERNAL_PORT_INFO),
        ),
    ),
)
IRONIC_NODE: Final = Struct(
    "IronicNode",
    (
        _key(OBJECT_SERVER_TABLE),
        *_fields(
            (2, "deleted", Scalar.BOOL),
            (3, "provision_state", Scalar.STRING),
            (4, "power_state", Scalar.STRING),
            (5, "driver", Scalar.STRING),
            (6, "instance_uuid", Scalar.STRING),
            (7, "maintenance", Scalar.BOOL),
            (8, "provision_update_timestamp", Scalar.STRING),
            (9, "update_timestamp", Scalar.STRING),
            (10, "create_timestamp", Scalar.STRING),
            (11, "host_name", Scalar.STRING),
            (12, "publisher_id", Scalar.STRING),
            (13, "event_type", Scalar.STRING),
            (14, "network_interface", Scalar.STRING),
            (15, "driver_info", _DRIVER_INFO),
            (16, "instance_info", _INSTANCE_INFO),
            (17, "node_properties", _NODE_PROPERTIES),
            (18, "port_info", ListOf(_PORT_INFO)),
        ),
    ),
)
IRONIC_NODE_INFO: Final = uve("IronicNodeInfo", IRONIC_NODE)


class BmsLifecycleEventLogFields(TypedDict, total=False):
    """One event of a server's life.

    ``time`` is microseconds since 1970 UTC; ``sequence`` counts within ``stream`` without gaps;
    ``position`` is the place in the service's whole log, by which a reader resumes; ``digest`` is
    lower-case hexadecimal; ``text`` says it in a sentence.
    """

    name: Required[str]
    event_id: str
    stream: str
    sequence: int
    event_type: str
    state_before: str
    state_after: str
    time: int
    actor: str
    project: str
    operation: str
    reason: str
    digest: str
    position: int
    detail: str
    text: str


BMS_LIFECYCLE_EVENT_LOG: Final = object_log(
    "BmsLifecycleEventLog",
    (
        _key(OBJECT_SERVER_TABLE),
        *_fields(
            (2, "event_id", Scalar.STRING),
            (3, "stream", Scalar.STRING),
            (4, "sequence", Scalar.I64),
            (5, "event_type", Scalar.STRING),
            (6, "state_before", Scalar.STRING),
            (7, "state_after", Scalar.STRING),
            (8, "time", Scalar.I64),
            (9, "actor", Scalar.STRING),
            (10, "project", Scalar.STRING),
            (11, "operation", Scalar.STRING),
            (12, "reason", Scalar.STRING),
            (13, "digest", Scalar.STRING),
            (14, "position", Scalar.I64),
            (15, "detail", Scalar.STRING),
            (16, "text", Scalar.STRING),
        ),
    ),
    category="BMS",
)


class BmsLogCheckpointFields(TypedDict, total=False):
    """The newest signed checkpoint of a service's event log.

    ``name`` is ``logs/{service}``; ``time`` is microseconds since 1970 UTC; digests are lower-case hexadecimal;
    ``checkpoint`` and ``signature`` are base64, and with the log's public key prove the rest; ``complaint`` says what
    the service no longer stands by.
    """

    name: Required[str]
    service: str
    log: str
    number: int
    position: int
    streams: int
    running_digest: str
    heads_root: str
    time: int
    key_id: str
    checkpoint: str
    signature: str
    complaint: str


BMS_LOG_CHECKPOINT: Final = object_log(
    "BmsLogCheckpoint",
    (
        _key(OBJECT_SERVER_TABLE),
        *_fields(
            (2, "service", Scalar.STRING),
            (3, "log", Scalar.STRING),
            (4, "number", Scalar.I64),
            (5, "position", Scalar.I64),
            (6, "streams", Scalar.I64),
            (7, "running_digest", Scalar.STRING),
            (8, "heads_root", Scalar.STRING),
            (9, "time", Scalar.I64),
            (10, "key_id", Scalar.STRING),
            (11, "checkpoint", Scalar.STRING),
            (12, "signature", Scalar.STRING),
            (13, "complaint", Scalar.STRING),
        ),
    ),
    category="BMS",
)

# --- a generator, about itself -------------------------------------------------------------------

_CONNECTION_INFO = Struct(
    "ConnectionInfo",
    (
        *_fields((1, "type", Scalar.STRING), (2, "name", Scalar.STRING), optional=False),
        *_fields((3, "server_addrs", ListOf(Scalar.STRING))),
        *_fields((4, "status", Scalar.STRING), optional=False),
        *_fields((5, "description", Scalar.STRING)),
    ),
)
_PROCESS_STATUS = Struct(
    "ProcessStatus",
    (
        *_fields(
            (1, "module_id", Scalar.STRING),
            (2, "instance_id", Scalar.STRING),
            (3, "state", Scalar.STRING),
            optional=False,
        ),
        *_fields((4, "connection_infos", ListOf(_CONNECTION_INFO)), (6, "description", Scalar.STRING)),
    ),
)
NODE_STATUS: Final = Struct(
    "NodeStatus",
    (
        _key(""),
        *_fields((2, "deleted", Scalar.BOOL)),
        Field("process_status", ListOf(_PROCESS_STATUS), 4, (("aggtype", "union"),), optional=True),
    ),
)
# Node managers send more in this struct, hence a signature that is given, not computed.
NODE_STATUS_UVE: Final = uve("NodeStatusUVE", NODE_STATUS, version_sig=-622861121)

_SANDESH_CLIENT_INFO = Struct(
    "SandeshClientInfo",
    _fields(
        (1, "status", Scalar.STRING),
        (2, "successful_connections", Scalar.U32),
        (3, "pid", Scalar.U32),
        (4, "http_port", Scalar.U32),
        (5, "start_time", Scalar.U64),
        (6, "collector_name", Scalar.STRING),
        (9, "rx_socket_stats", statistics.SOCKET_STATISTICS),
        (10, "tx_socket_stats", statistics.SOCKET_STATISTICS),
        (11, "collector_ip", Scalar.STRING),
        (12, "collector_list", ListOf(Scalar.STRING)),
    ),
)
_COUNTED = (("metric", "agg"), ("tags", ".__key"))
MODULE_CLIENT_STATE: Final = Struct(
    "ModuleClientState",
    (
        _key(OBJECT_GENERATOR_INFO),
        *_fields(
            (2, "deleted", Scalar.BOOL),
            (3, "client_info", _SANDESH_CLIENT_INFO),
            (5, "sm_queue_count", Scalar.U64),
            (6, "sm_stats", statistics.STATE_MACHINE_STATISTICS),
            (7, "session_stats", statistics.SESSION_STATISTICS),
            (8, "session_rx_socket_stats", statistics.SOCKET_STATISTICS),
            (9, "session_tx_socket_stats", statistics.SOCKET_STATISTICS),
            (14, "max_sm_queue_count", Scalar.U64),
        ),
        Field("msg_type_agg", MapOf(Scalar.STRING, statistics.MESSAGE_STATISTICS), 10, _COUNTED, optional=True),
        Field("tx_msg_agg", MapOf(Scalar.STRING, Scalar.U64), 20, _COUNTED, optional=True),
    ),
)
SANDESH_MODULE_CLIENT_TRACE: Final = uve("SandeshModuleClientTrace", MODULE_CLIENT_STATE)

# --- the handshake -------------------------------------------------------------------------------

SANDESH_CTRL_CLIENT_TO_SERVER: Final = control(
    "SandeshCtrlClientToServer",
    _fields(
        (1, "source", Scalar.STRING),
        (2, "module_name", Scalar.STRING),
        (3, "sucessful_connections", Scalar.U32),  # sic: the misspelling is the protocol's
        (4, "uve_types", ListOf(Scalar.STRING)),
        (5, "pid", Scalar.U32),
        (6, "http_port", Scalar.U32),
        (7, "node_type_name", Scalar.STRING),
        (8, "instance_id_name", Scalar.STRING),
        optional=False,
    ),
)
_UVE_TYPE_INFO = Struct(
    "UVETypeInfo", _fields((1, "type_name", Scalar.STRING), (2, "seq_num", Scalar.U32), optional=False)
)
SANDESH_CTRL_SERVER_TO_CLIENT: Final = control(
    "SandeshCtrlServerToClient",
    _fields((1, "type_info", ListOf(_UVE_TYPE_INFO)), (2, "success", Scalar.BOOL), optional=False),
)
