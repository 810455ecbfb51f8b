# SPDX-License-Identifier: Apache-2.0
"""A server: what an administrator says it is, what inspection found, and who may take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.inventory.domain.checks import Checks

MAX_PORTS = 64
MAX_PORT_GROUPS = 16
DEFAULT_DRIVER = "redfish"
DEFAULT_BOND_MODE = "active-backup"
ROOT_DEVICE_HINTS = frozenset(
    {
        "by_path", "hctl", "model", "name", "rotational", "serial", "size", "vendor", "wwn", "wwn_vendor_extension",
        "wwn_with_extension",
    }
)  # fmt: skip
"""What the root disk may be told by, in Ironic's words."""

_DRIVER = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_OLD_DRIVERS = {"pxe_ipmitool": "ipmi", "agent_ipmitool": "ipmi", "ipmitool": "ipmi"}


class NodeType(StrEnum):
    """The kinds of node of Contrail's schema (``node.node_type``), in its spelling."""

    BAREMETAL = "baremetal"
    PRIVATE = "private"
    ESXI = "esxi"
    OVS_COMPUTE = "ovs-compute"
    SRIOV_COMPUTE = "sriov-compute"


@dataclass(frozen=True, slots=True)
class Login:
    """The login of a BMC, between the wire and the vault. Empty parts mean unknown, or: keep what is stored."""

    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Leaves out both parts, which are secret."""
        return "Login(...)"

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(self.username or self.password)

    def over(self, stored: Login) -> Login:
        """This login, with what it leaves empty taken from *stored*."""
        return Login(self.username or stored.username, self.password or stored.password)


@dataclass(frozen=True, slots=True)
class Bmc:
    """Where the management controller is; ``port`` 0 is the driver's own.

    Attributes:
        kept_by_controller: Ironic has driver, address and login, and is told none of them.
    """

    address: str = ""
    port: int = 0
    driver: str = DEFAULT_DRIVER
    kept_by_controller: bool = False

    @property
    def real_port(self) -> int:
        """The port that is spoken to: 623 for IPMI and 443 for the others where none is given."""
        return self.port or (623 if self.driver == "ipmi" else 443)


@dataclass(frozen=True, slots=True)
class Port:
    """One network port and the switch port it is plugged into; ``speed_mbps`` 0 is unknown."""

    mac_address: str
    label: str = ""
    switch_name: str = ""
    switch_port: str = ""
    switch_id: str = ""
    pxe_enabled: bool = False
    port_group: str = ""
    speed_mbps: int = 0
    physical_network: str = ""


@dataclass(frozen=True, slots=True)
class PortGroup:
    """Ports bonded together under a name."""

    label: str
    mode: str = DEFAULT_BOND_MODE


@dataclass(frozen=True, slots=True)
class Properties:
    """The hardware; memory in MiB, disk in GiB. Zero and empty mean unknown."""

    cpu_arch: str = ""
    cpus: int = 0
    memory_mb: int = 0
    local_gb: int = 0
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    capabilities: Mapping[str, str] = field(default_factory=dict)

    def over(self, declared: Properties) -> Properties:
        """These properties, with what is unknown here taken from *declared*."""
        return Properties(
            cpu_arch=self.cpu_arch or declared.cpu_arch,
            cpus=self.cpus or declared.cpus,
            memory_mb=self.memory_mb or declared.memory_mb,
            local_gb=self.local_gb or declared.local_gb,
            manufacturer=self.manufacturer or declared.manufacturer,
            model=self.model or declared.model,
            serial_number=self.serial_number or declared.serial_number,
            capabilities={**declared.capabilities, **self.capabilities},
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that inspection found."""

    serial: str
    size_bytes: int = 0
    model: str = ""
    media: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """Where it stands; ``unit`` 0 is unknown."""

    site: str = ""
    rack: str = ""
    unit: int = 0


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What an administrator says about a server."""

    display_name: str = ""
    node_type: NodeType = NodeType.BAREMETAL
    unmanaged: bool = False
    bmc: Bmc = field(default_factory=Bmc)
    ports: tuple[Port, ...] = ()
    port_groups: tuple[PortGroup, ...] = ()
    properties: Properties = field(default_factory=Properties)
    resource_class: str = ""
    location: Location = field(default_factory=Location)
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    root_device_hints: Mapping[str, str] = field(default_factory=dict)

    @property
    def can_be_provided(self) -> bool:
        """Whether it may ever be verified, cleaned (and so erased) or taken."""
        return self.node_type is NodeType.BAREMETAL and not self.unmanaged


@dataclass(frozen=True, slots=True)
class PoolRow:
    """Who may take a server: lifecycle's last word and the reservation.

    Attributes:
        ready: lifecycle said that it may be reserved.
        reason: lifecycle's UPPER_SNAKE word for why not; empty if ready.
        reserved_by: the instance, or the operation that deletes the server; empty if none.
        held: lifecycle's last report named the instance that holds it.
        state_version: of lifecycle's row, in the last report applied.
        update_time: when the row last changed.
    """

    update_time: datetime
    ready: bool = False
    reason: str = "ENROLLED"
    reserved_by: str = ""
    held: bool = False
    state_version: int = 0

    @property
    def available(self) -> bool:
        """Whether the server may be reserved now."""
        return self.ready and not self.reserved_by

    @property
    def in_use(self) -> bool:
        """Whether an instance holds it, or is about to.

        A server that lifecycle cleans or keeps in quarantine stays reserved until it is available again, but nobody
        holds it: it may be taken out of inventory.
        """
        return bool(self.reserved_by) and (self.ready or self.held)

    @property
    def unavailable_reason(self) -> str:
        """Why it may not; empty if it may."""
        if not self.ready:
            return self.reason
        return "RESERVED" if self.reserved_by else ""


@dataclass(frozen=True, slots=True)
class Server:
    """A server on record.

    Attributes:
        uuid: its identity here, in Ironic, in Contrail and in analytics.
        inspected: what inspection found; None before the first.
        has_credentials: a login and a password are stored.
        delete_time: when its deletion was asked for.
        sequence: of the last event of its stream; the version of the row, and so its etag.
    """

    uuid: str
    spec: ServerSpec
    pool: PoolRow
    create_time: datetime
    update_time: datetime
    inspected: Properties | None = None
    disks: tuple[Disk, ...] = ()
    has_credentials: bool = False
    delete_time: datetime | None = None
    sequence: int = 0

    @property
    def name(self) -> str:
        """The resource name."""
        return f"servers/{self.uuid}"

    @property
    def properties(self) -> Properties:
        """The hardware as best known: what inspection found, and where it found nothing, what was declared."""
        return self.spec.properties if self.inspected is None else self.inspected.over(self.spec.properties)


def port_name(uuid: str, mac_address: str) -> str:
    """The resource name of a port."""
    return f"servers/{uuid}/ports/{mac_address.replace(':', '')}"


def checked(spec: ServerSpec, checks: Checks) -> ServerSpec:
    """*spec* in its canonical form; whatever is wrong with it is told to *checks*."""
    groups = tuple(
        PortGroup(
            checks.text(f"port_groups[{at}].label", group.label, 255, required=True),
            checks.word(f"port_groups[{at}].mode", group.mode, 63) or DEFAULT_BOND_MODE,
        )
        for at, group in enumerate(spec.port_groups)
    )
    ports = tuple(_port(f"ports[{at}].", port, checks) for at, port in enumerate(spec.ports))
    checks.at_most("ports", ports, MAX_PORTS)
    checks.at_most("port_groups", groups, MAX_PORT_GROUPS)
    _grouped(ports, groups, checks)
    driver = _driver(spec.bmc.driver, checks)
    return ServerSpec(
        display_name=checks.text("display_name", spec.display_name, 255, required=True),
        node_type=spec.node_type,
        unmanaged=spec.unmanaged,
        bmc=Bmc(
            spec.bmc.address
            if spec.bmc.kept_by_controller and not spec.bmc.address
            else checks.host("bmc.address", spec.bmc.address),
            checks.number("bmc.port", spec.bmc.port, 0, 65535),
            driver,
            spec.bmc.kept_by_controller,
        ),
        ports=ports,
        port_groups=groups,
        properties=checked_properties(spec.properties, checks),
        resource_class=checks.word("resource_class", spec.resource_class, 80),
        location=Location(
            checks.text("location.site", spec.location.site, 255),
            checks.text("location.rack", spec.location.rack, 255),
            checks.number("location.unit", spec.location.unit, 0, 999),
        ),
        labels=checks.pairs("labels", spec.labels, value_limit=63),
        description=checks.text("description", spec.description, 1000, lines=True),
        root_device_hints=_root_device(spec.root_device_hints, checks),
    )


def told_twice(spec: ServerSpec, checks: Checks) -> None:
    """Tells *checks* each MAC address and switch port that *spec* names twice; an import looks over all its rows."""
    macs: dict[str, int] = {}
    links: dict[tuple[str, str], int] = {}
    for at, port in enumerate(spec.ports):
        if port.mac_address and (other := macs.setdefault(port.mac_address, at)) != at:
            checks.refuse(f"ports[{at}].mac_address", f"is that of ports[{other}] too")
        link = (port.switch_name, port.switch_port)
        if all(link) and (other := links.setdefault(link, at)) != at:
            checks.refuse(f"ports[{at}].switch_port", f"is that of ports[{other}] too")


def checked_properties(given: Properties, checks: Checks, prefix: str = "properties.") -> Properties:
    """*given* in its canonical form; whatever is wrong with it is told to *checks*."""
    return Properties(
        cpu_arch=checks.word(f"{prefix}cpu_arch", given.cpu_arch, 63),
        cpus=checks.number(f"{prefix}cpus", given.cpus, 0, 1_000_000),
        memory_mb=checks.number(f"{prefix}memory_mb", given.memory_mb, 0, 2**40),
        local_gb=checks.number(f"{prefix}local_gb", given.local_gb, 0, 2**40),
        manufacturer=checks.text(f"{prefix}manufacturer", given.manufacturer, 255),
        model=checks.text(f"{prefix}model", given.model, 255),
        serial_number=checks.text(f"{prefix}serial_number", given.serial_number, 255),
        capabilities=checks.pairs(f"{prefix}capabilities", given.capabilities, value_limit=255),
    )


def checked_disks(given: tuple[Disk, ...], checks: Checks) -> tuple[Disk, ...]:
    """*given*, told to *checks* where it is wrong."""
    checks.at_most("disks", given, 1000)
    for at, disk in enumerate(given):
        checks.text(f"disks[{at}].serial", disk.serial, 255, required=True)
        checks.number(f"disks[{at}].size_bytes", disk.size_bytes, 0, 2**62)
        checks.text(f"disks[{at}].model", disk.model, 255)
        checks.word(f"disks[{at}].media", disk.media, 63)
    return given


def checked_login(given: Login, checks: Checks, *, kept: bool = False) -> Login:
    """*given*, told to *checks* where it cannot be stored, as none can that the controller keeps. Never repeats it."""
    if kept and given:
        checks.refuse("bmc.kept_by_controller", "is true, and a login is given that would reach nobody")
    for name, value in (("bmc.username", given.username), ("bmc.password", given.password)):
        if len(value) > 255:
            checks.refuse(name, "is longer than 255 characters")
        elif any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in value):
            checks.refuse(name, "holds control characters")
    return given


def redeclared(server: Server, spec: ServerSpec) -> Server:
    """*server* as *spec* says it is.

    Properties that the new spec declares otherwise replace what inspection found, until the next inspection: who
    corrects a fact wants to see his correction.
    """
    inspected = server.inspected if spec.properties == server.spec.properties else None
    return replace(server, spec=spec, inspected=inspected)


def _port(at: str, port: Port, checks: Checks) -> Port:
    checks.text(f"{at}label", port.label, 255)
    checks.text(f"{at}switch_name", port.switch_name, 255)
    checks.text(f"{at}switch_port", port.switch_port, 255)
    checks.word(f"{at}switch_id", port.switch_id, 63)
    checks.number(f"{at}speed_mbps", port.speed_mbps, 0, 10_000_000)
    checks.text(f"{at}physical_network", port.physical_network, 64)
    if bool(port.switch_name) != bool(port.switch_port):
        missing = "switch_port" if port.switch_name else "switch_name"
        checks.refuse(f"{at}{missing}", "is missing: a link needs the switch and its port, or neither")
    return replace(port, mac_address=checks.mac(f"{at}mac_address", port.mac_address))


def _root_device(given: Mapping[str, str], checks: Checks) -> dict[str, str]:
    hints = checks.pairs("root_device_hints", given, value_limit=255)
    if strange := sorted(hints.keys() - ROOT_DEVICE_HINTS):
        known = ", ".join(sorted(ROOT_DEVICE_HINTS))
        checks.refuse("root_device_hints", f"names {strange[0]!r}, which is no hint; known are {known}")
    return hints


def _driver(given: str, checks: Checks) -> str:
    driver = _OLD_DRIVERS.get(given.lower(), given.lower()) or DEFAULT_DRIVER
    if not _DRIVER.fullmatch(driver):
        checks.refuse("bmc.driver", "is not 1 to 63 lower-case letters, digits, '-' and '_'")
    return driver


def _grouped(ports: tuple[Port, ...], groups: tuple[PortGroup, ...], checks: Checks) -> None:
    """Tells port groups that are there twice, and those that a port names and nobody made."""
    labels = [group.label for group in groups]
    for at, label in enumerate(labels):
        if label and label in labels[:at]:
            checks.refuse(f"port_groups[{at}].label", "is the label of another port group of this server")
    for at, port in enumerate(ports):
        if port.port_group and port.port_group not in labels:
            checks.refuse(f"ports[{at}].port_group", "is not the label of a port group of this server")
