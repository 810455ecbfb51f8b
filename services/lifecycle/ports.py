# SPDX-License-Identifier: Apache-2.0
"""The hardware as lifecycle needs it: acts apart from readings.

An act records a wish with the controller and returns; it may be called again with the same ``request_id`` and then
changes nothing more. A reading is made afresh at every call. Where another system moves the hardware itself
(Ironic's deploy powers the server), the act is empty and the reading tells what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.kernel.events import DiskSeen, ImageSeen, PowerSeen


@dataclass(frozen=True, slots=True)
class Target:
    """The server an act or reading is meant for.

    Attributes:
        server: its UUID.
        fence: the number of the claim under which the caller works.
    """

    server: str
    fence: int


class JobKind(StrEnum):
    """Long work that a controller does by itself once it is started."""

    INSPECT = "inspect"
    CLEAN = "clean"
    DEPLOY = "deploy"
    RESCUE = "rescue"


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """What to write.

    Attributes:
        checksum: ``sha256:…`` or ``sha512:…``.
        kernel_uri, ramdisk_uri: empty for a whole-disk image.
    """

    image: str
    source_uri: str
    checksum: str
    kernel_uri: str = ""
    kernel_checksum: str = ""
    ramdisk_uri: str = ""
    ramdisk_checksum: str = ""


    MANUAL_CLEAN = "manual_clean"
@dataclass(frozen=True, slots=True)
class JobOrder:
    """What a job shall do.

@dataclass(frozen=True, slots=True)
class CleanStep:
    """One step of a manual clean; *args* is a JSON object as text, the same for the same arguments."""

    interface: str
    step: str
    args: str = "{}"

    @property
    def label(self) -> str:
        """``raid.create_configuration``: what may be shown of it."""
        return f"{self.interface}.{self.step}"


    Attributes:
        kind: which work.
        disks: CLEAN: serial numbers of every disk to erase (all that inspection found).
        image: DEPLOY: what to write to the root disk.
        config_drive: the secret document: DEPLOY, with host name, keys and user data; RESCUE, with the keys. Never
            logged.
    """

    kind: JobKind
    disks: tuple[str, ...] = ()
    image: ImageOrder | None = None
    config_drive: bytes = b""

    def __repr__(self) -> str:
        """Leaves out the config drive, which is secret."""
        return f"JobOrder(kind={self.kind}, disks={self.disks!r}, image={self.image!r})"


class JobPhase(StrEnum):
    """How a job stands."""

    ABSENT = "absent"
    """The controller does not know of it: it was never started, or forgotten."""
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


        steps: MANUAL_CLEAN: what to run, in order.
@dataclass(frozen=True, slots=True)
class HardwareFacts:
    """What inspection found. Zero and empty mean unknown."""

    cpu_arch: str = ""
    cpus: int = 0
    steps: tuple[CleanStep, ...] = ()
    memory_mb: int = 0
    local_gb: int = 0
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    capabilities: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class JobReading:
    """A job as the controller shows it now.

    Attributes:
        percent: 0 to 100.
        stage: the controller's word for what it is doing, for people.
        reason, message: of a FAILED job: an UPPER_SNAKE word and a sentence.
        facts: of a passed INSPECT.
        disks: of a passed INSPECT, all disks found; of a CLEAN, every disk that is there: those erased with method,
            times and sample digest, others (which nobody inspected) without; of a passed DEPLOY, every disk that was
            there, if the controller tells.
        image: of a passed DEPLOY, as verified by reading back.
    """

    phase: JobPhase
    percent: int = 0
    stage: str = ""
    reason: str = ""
    message: str = ""
    facts: HardwareFacts | None = None
    disks: tuple[DiskSeen, ...] = ()
    image: ImageSeen | None = None


class Hardware(Protocol):
    """The controllers of the servers: simulated, Ironic, Nova."""

    def verify(self, target: Target) -> None:
        """Proves that the BMC answers and takes the stored login. May be called again.

        Raises:
            PeerUnavailable: the BMC does not answer, or the controller is still finding out; a retry may help.
            WrongState: it answers and refuses the login (reason in the facts).
        """
        ...

    def read_power(self, target: Target) -> PowerSeen:
        """The power now; ``unknown`` if the controller answers but cannot tell.

        Raises:
            PeerUnavailable: the BMC does not answer.
        """
        ...

    def set_power(self, target: Target, *, on: bool, request_id: str) -> None:
        """Asks for power *on* or off (hard).

        Raises:
            PeerUnavailable: the BMC does not answer.
        """
        ...

    def reboot(self, target: Target, *, request_id: str) -> None:
        """Asks for one power cycle.

        Raises:
            PeerUnavailable: the BMC does not answer.
        """
        ...

    def reset_bmc(self, target: Target) -> None:
        """Restarts the BMC itself; the server's power and what it runs are left alone. May be called again.

        Raises:
            PeerUnavailable: the BMC does not take even that.
            WrongState: this backend cannot restart a BMC.
        """
        ...

    def start_job(self, target: Target, order: JobOrder, *, request_id: str) -> None:
        """Starts a job; one of the same *request_id* that exists is left as it is, another that runs is ended first.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...

    def read_job(self, target: Target, *, request_id: str) -> JobReading:
        """The job of *request_id* now.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...

    def forget(self, target: Target) -> None:
        """Ends whatever job runs and forgets what was known of the server; called when it leaves our care."""
        ...


@dataclass(frozen=True, slots=True)
class Bmc:
    """Where a server's BMC is and how to log in; lives only as long as one call."""

    address: str
    port: int
    driver: str
    username: str
    password: str

    def __repr__(self) -> str:
        """Leaves out the login, which is secret."""
        return f"Bmc(address={self.address!r}, port={self.port}, driver={self.driver!r})"


class Credentials(Protocol):
    """Where a hardware backend gets a BMC's login, at each use."""

    def of(self, server: str) -> Bmc:
        """The login of *server*'s BMC."""
        ...
