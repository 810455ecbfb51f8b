# SPDX-License-Identifier: Apache-2.0
"""The hardware as lifecycle needs it: acts apart from readings.

An act records a wish with the controller and returns; it may be called again with the same ``request_id`` and then
changes nothing more. A reading is made afresh at every call. Where another system moves the hardware itself
(Ironic's deploy powers the server), the act is empty and the reading tells what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from services.kernel.errors import PeerUnavailable, WrongState
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


class NotNow(PeerUnavailable):
    """What does not let the server be worked on now is not its BMC; the same call may go through later.

    Attributes:
        code: what is waited for, of domain/waits.py.
    """

    def __init__(self, code: str, message: str, *, remedy: str = "", **facts: str) -> None:
        super().__init__(message, remedy=remedy, **facts)
        self.code = code


class TakenElsewhere(WrongState):
    """Somebody else holds the server in its controller, or used it since we last did: nothing of ours is done to it."""


def wait_for(error: PeerUnavailable) -> str:
    """The code of the wait that *error*, raised by a method of `Hardware`, leads to."""
    return error.code if isinstance(error, NotNow) else "BMC_SILENT"


class JobKind(StrEnum):
    """Long work that a controller does by itself once it is started."""

    INSPECT = "inspect"
    CLEAN = "clean"
    MANUAL_CLEAN = "manual_clean"
    DEPLOY = "deploy"
    RESCUE = "rescue"


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


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """What to write.

    Attributes:
        checksum: ``sha256:…`` or ``sha512:…``.
        kernel_uri, ramdisk_uri: empty for a whole-disk image.
        glance_id: its id in Glance; empty: it is not there.
    """

    image: str
    source_uri: str
    checksum: str
    kernel_uri: str = ""
    kernel_checksum: str = ""
    ramdisk_uri: str = ""
    ramdisk_checksum: str = ""
    glance_id: str = ""


@dataclass(frozen=True, slots=True)
class Booking:
    """What Nova is told of an instance whose server it shall deploy and hold.

    Attributes:
        instance: its name.
        project: the tenant's, as we call it.
        flavor: Nova's flavorid.
        image: Glance's id.
        leases: the names of the leases whose ports the server gets, those of untagged networks.
    """

    instance: str
    project: str
    flavor: str
    image: str
    leases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What a job shall do.

    Attributes:
        kind: which work.
        disks: CLEAN: serial numbers of every disk to erase (all that inspection found).
        image: DEPLOY: what to write to the root disk.
        config_drive: the secret document: DEPLOY, with host name, keys and user data; RESCUE, with the keys. Never
            logged.
        steps: MANUAL_CLEAN: what to run, in order.
        booking: DEPLOY: Nova shall do it, as this says; None: whoever holds the server does.
        instance, leases: DEPLOY without a booking: whose it is, and the names of its leases on untagged networks, for a
            controller that moves ports.
    """

    kind: JobKind
    disks: tuple[str, ...] = ()
    image: ImageOrder | None = None
    config_drive: bytes = b""
    steps: tuple[CleanStep, ...] = ()
    booking: Booking | None = None
    instance: str = ""
    leases: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Leaves out the config drive, which is secret."""
        return f"JobOrder(kind={self.kind}, disks={self.disks!r}, image={self.image!r})"


@dataclass(frozen=True, slots=True)
class Marks:
    """Flags that a controller of its own shows others, so that they leave the server alone as we do."""

    retired: bool = False
    retired_reason: str = ""
    protected: bool = False
    protected_reason: str = ""


@dataclass(frozen=True, slots=True)
class ConsoleSeen:
    """Where a server's console is; whoever has the address has the console, so it is never kept, logged or recorded."""

    type: str
    url: str

    def __repr__(self) -> str:
        """Leaves out the address, which is secret."""
        return f"ConsoleSeen(type={self.type!r})"


class JobPhase(StrEnum):
    """How a job stands."""

    ABSENT = "absent"
    """The controller does not know of it: it was never started, or forgotten."""
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HardwareFacts:
    """What inspection found. Zero and empty mean unknown."""

    cpu_arch: str = ""
    cpus: int = 0
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
        again: of a RUNNING job: it makes no sense to ask again sooner.
        hold: what the controller calls its hold of the server, of a job with a booking that has come so far.
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
    again: timedelta = timedelta()
    hold: str = ""
    reason: str = ""
    message: str = ""
    facts: HardwareFacts | None = None
    disks: tuple[DiskSeen, ...] = ()
    image: ImageSeen | None = None


@dataclass(frozen=True, slots=True)
class CardPort:
    """One port as inventory has it; empty means unknown."""

    mac_address: str
    switch_name: str = ""
    switch_port: str = ""
    switch_id: str = ""
    pxe_enabled: bool = False
    port_group: str = ""
    physical_network: str = ""


@dataclass(frozen=True, slots=True)
class ServerCard:
    """What inventory knows of a server, for a controller that describes it to others. Empty means unknown.

    Attributes:
        properties: what is declared or was inspected.
        root_device_hints: which disk is the root disk, in Ironic's words: ``serial``, ``wwn``, ``size`` ...
        port_groups: label -> mode.
    """

    display_name: str = ""
    resource_class: str = ""
    traits: tuple[str, ...] = ()
    properties: HardwareFacts = HardwareFacts()
    root_device_hints: tuple[tuple[str, str], ...] = ()
    ports: tuple[CardPort, ...] = ()
    port_groups: tuple[tuple[str, str], ...] = ()


class Hardware(Protocol):
    """The controllers of the servers: simulated, Ironic, Nova.

    Where PeerUnavailable is raised, it may be `NotNow`: then the server's BMC is not what keeps silent.
    """

    @property
    def moves_ports(self) -> bool:
        """Whether the controller puts a server's ports onto private networks within its own jobs.

        Then they are asked for before a job and read there within it; a clean takes them off again, a deployment and a
        rescue leave them.
        """
        ...

    def verify(self, target: Target) -> None:
        """Proves that the BMC answers and takes the stored login. May be called again.

        Raises:
            PeerUnavailable: the BMC does not answer, or the controller is still finding out; a retry may help.
            WrongState: it answers and refuses the login (reason in the facts).
            TakenElsewhere: somebody else holds the server.
        """
        ...

    def check_offer(self, target: Target, booking: Booking) -> None:
        """That the server is there for *booking*, whose leases may not be known yet, and the tenant may have it.

        Raises:
            PeerUnavailable: the controller does not answer, or does not offer it yet.
            TakenElsewhere: somebody else has it.
            BmsError: it would be refused: the tenant's quota, or what the site lacks.
        """
        ...

    def reserve(self, target: Target, instance: str, *, request_id: str) -> str:
        """Has the controller hold the server for *instance*, so that nobody else who asks it there gets the server.

        May be called again, and for the same *request_id* changes nothing more. Answers what the controller calls the
        hold; empty if nobody but us can ask it for servers.

        Raises:
            PeerUnavailable: the controller does not answer, or cannot say now.
            TakenElsewhere: somebody else was first.
        """
        ...

    def unreserve(self, target: Target) -> None:
        """The controller holds the server for nobody, if it did for us; what others hold is left. May be called again.

        Raises:
            PeerUnavailable: the controller does not answer, or does not let go now.
        """
        ...

    def describe(self, target: Target, card: ServerCard, *, project: str) -> None:
        """Has the controller know of the server what *card* says, as far as its state allows now.

        What others told the controller stays. May be called again.

        Args:
            project: whose instance holds the server; empty: nobody's.

        Raises:
            PeerUnavailable: the controller does not answer, or not now.
        """
        ...

    def adopt(self, target: Target, image: ImageOrder | None, *, project: str) -> None:
        """Has the controller take a server in use for one that it deployed itself with *image*, as far as it can tell.

        Nothing is powered, written or erased. May be called again; one that it holds as deployed already is left so.

        Raises:
            PeerUnavailable: the controller does not answer, or is not through yet.
            WrongState: it does not take it; why.
        """
        ...

    def read_power(self, target: Target) -> PowerSeen:
        """The power now; ``unknown`` if the controller answers but cannot tell.

        Raises:
            PeerUnavailable: the BMC does not answer.
        """
        ...

    def set_power(self, target: Target, *, on: bool, request_id: str) -> PowerSeen:
        """Asks for power *on* or off (hard), and reads it afresh; asking for what is changes nothing.

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
            TakenElsewhere: somebody else was first; of an order with a booking alone.
        """
        ...

    def read_job(self, target: Target, *, request_id: str) -> JobReading:
        """The job of *request_id* now.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...

    def mark(self, target: Target, marks: Marks) -> None:
        """Has the controller show *marks* of the server, those of before gone. May be called again.

        Where the controller has no such flags, or does not know the server, nothing happens.

        Raises:
            PeerUnavailable: the controller does not answer, or does not take them now.
        """
        ...

    def console(self, target: Target) -> ConsoleSeen:
        """Where the server's console is; it is opened if it was not. May be called again.

        It is closed before the next job begins, but for a RESCUE.

        Raises:
            PeerUnavailable: the controller does not answer, or does not open it now.
            ConsoleNotOffered: the controller has none for the server.
        """
        ...

    def forget(self, target: Target) -> None:
        """Ends whatever job runs and forgets what was known of the server; called when it leaves our care."""
        ...


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """Whom a controller holds a server for.

    Attributes:
        server: its UUID.
        state: in the controller's word.
        holder: the id that it is held under; "" if nobody has it.
        hold, instance: the id and the instance of the note that we leave beside a hold of ours; "" without one.
        used: it lies there otherwise than it was last offered by us.
    """

    server: str
    state: str
    holder: str = ""
    hold: str = ""
    instance: str = ""
    used: bool = False


class Holds(Protocol):
    """The servers that a controller has and holds for whoever asks; where others can ask it for servers."""

    def page(self, after: str, size: int) -> tuple[list[HoldSeen], bool]:
        """Up to *size* servers whose UUIDs come after *after*, in that order, and whether there are more.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...

    def hold(self, server: str) -> HoldSeen | None:
        """One server, read now; None if the controller has none of this UUID.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...
