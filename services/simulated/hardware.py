# SPDX-License-Identifier: Apache-2.0
"""What a server is made of. The same BMC address always has the same hardware, so any imported server has some."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DEFAULT_PORTS = {"ipmi": 623, "pxe_ipmitool": 623, "ipmitool": 623}
REDFISH_PORT = 443


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk and what is on it.

    Attributes:
        serial: the serial number it reports.
        size: in bytes.
        media: ``nvme``, ``ssd`` or ``hdd``.
        content: ``blank``, ``image:<name>`` as a deploy wrote it, or ``data`` once somebody's system ran with it.
        owner: whose content that is: the request id of the deploy; empty when blank.
        written: checksum over what the last deploy wrote, empty otherwise.
        erased: when it was last erased, in microseconds; 0 for never.
    """

    serial: str
    size: int
    model: str
    media: str
    content: str = "blank"
    owner: str = ""
    written: str = ""
    erased: int = 0

    @property
    def erase_method(self) -> str:
        """How this kind of disk is erased."""
        return {"nvme": "nvme_format", "ssd": "ata_secure_erase"}.get(self.media, "overwrite")


@dataclass(frozen=True, slots=True)
class Chassis:
    """What inspection tells of a server beside its disks."""

    manufacturer: str
    model: str
    serial: str
    cpu_arch: str
    cpus: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class _Model:
    manufacturer: str
    model: str
    cpus: int
    memory_gib: int
    disks: tuple[tuple[str, str, int], ...]  # media, model, size in GB


_MODELS = (
    _Model("Dell Inc.", "PowerEdge R650", 32, 128, (("ssd", "MZ7LH480", 480), ("nvme", "P5500", 1920))),
    _Model("HPE", "ProLiant DL360 Gen10", 16, 64, (("ssd", "VK000480", 480), ("hdd", "ST2000NX", 2000))),
    _Model(
        "Supermicro", "SYS-620P", 64, 256, (("ssd", "MZ7LH480", 480), ("nvme", "P5500", 3840), ("nvme", "P5500", 3840))
    ),
    _Model("Lenovo", "ThinkSystem SR630", 48, 192, (("nvme", "PM9A3", 960), ("nvme", "PM9A3", 960))),
)


def bmc_key(address: str, port: int, driver: str) -> str:
    """How the rack calls a BMC: ``address:port``, with the driver's own port where none is given."""
    return f"{address}:{port or DEFAULT_PORTS.get(driver, REDFISH_PORT)}"


def made_for(bmc: str) -> tuple[Chassis, tuple[Disk, ...]]:
    """The chassis and blank disks behind the BMC called *bmc* (``address:port``), the first disk being the root disk.

    The port plays no part in it: reaching a BMC by another protocol does not change the machine.
    """
    address = bmc.rpartition(":")[0]
    seed = hashlib.sha256(b"bms simulated rack\0" + address.encode()).digest()
    kind = _MODELS[seed[0] % len(_MODELS)]
    serial = seed[1:6].hex().upper()
    chassis = Chassis(kind.manufacturer, kind.model, serial, "x86_64", kind.cpus, kind.memory_gib * 1024)
    disks = tuple(
        Disk(_serial(media, seed + bytes([number])), size * 10**9, model, media)
        for number, (media, model, size) in enumerate(kind.disks)
    )
    return chassis, disks


def _serial(media: str, seed: bytes) -> str:
    return media[0].upper() + hashlib.sha256(seed).hexdigest()[:11].upper()


def further_disk(bmc: str, number: int) -> Disk:
    """A disk that somebody plugged in later, with somebody's data on it."""
    serial = _serial("x", f"{bmc} disk {number}".encode())
    return Disk(serial, 960 * 10**9, "PM9A3", "nvme", content="data", owner="unknown")
