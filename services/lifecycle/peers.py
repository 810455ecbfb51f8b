# SPDX-License-Identifier: Apache-2.0
"""The other services as lifecycle needs them. clients.py speaks them over the contracts; tests bring fakes with state.

Every method raises PeerUnavailable or DeadlineExceeded when the service does not answer, and otherwise the BmsError
that the service refused with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.kernel.events import DiskSeen
from services.lifecycle.bmc import Bmc
from services.lifecycle.domain.server import Lease, Move, Port, PortClass, Report, Tag
from services.lifecycle.ports import HardwareFacts, ImageOrder, ServerCard


@dataclass(frozen=True, slots=True)
class Registered:
    """A server as inventory has it.

    Attributes:
        providable: baremetal and managed: it may be provided, cleaned and taken.
        deleting: its deletion was asked for.
        card: what a controller may be told of it.
        etag: of inventory's record, for `Inventory.relink`.
    """

    uuid: str
    display_name: str
    ports: tuple[Port, ...]
    providable: bool
    deleting: bool
    card: ServerCard = field(default_factory=ServerCard)
    etag: str = ""


@dataclass(frozen=True, slots=True)
class FlavorCard:
    """What lifecycle needs to know of a flavor.

    Attributes:
        traits: the capabilities that it asks for by ``true``.
        nova_id: its flavorid in Nova; empty: it is not there.
    """

    name: str
    traits: frozenset[str] = frozenset()
    nova_id: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of inventory's log."""

    position: int
    stream: str
    type: str


class Inventory(Protocol):
    """What there is, and who may take it."""

    def server(self, uuid: str) -> Registered:
        """The server; NotFound if there is none."""
        ...

    def credentials(self, uuid: str) -> Bmc:
        """The login of its BMC; lives only as long as one call."""
        ...

    def flavor_exists(self, flavor: str) -> None:
        """NotFound if there is no such flavor."""
        ...

    def flavor(self, flavor: str) -> FlavorCard:
        """The flavor; NotFound if there is none."""
        ...

    def image(self, image: str, project: str) -> ImageOrder:
        """The image, if *project* may use it; else NotFound."""
        ...

    def reserve(self, holder: str, flavor: str, image: str, excluded: tuple[str, ...]) -> str:
        """The UUID of a server taken for *holder*; the same again for the same holder. Exhausted if none would do."""
        ...

    def release_reservation(self, holder: str) -> None:
        """Gives back what *holder* took and was never used."""
        ...

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
        """Tells how the server stands; an older version changes nothing."""
        ...

    def relink(self, server: str, moves: tuple[Move, ...], etag: str, request_id: str, *, check: bool = False) -> None:
        """Has ports plugged in elsewhere; as they are already, nothing happens. *check*: nothing is written.

        Stale if the record has another *etag* than the one given; WrongState if another port has a link.
        """
        ...

    def events(self, after: int, wait: int) -> tuple[tuple[Heard, ...], int]:
        """Inventory's events after a position, and the position to go on from; waits up to *wait* seconds for news."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """A port as network read it back from the fabric.

    Attributes:
        port_class: UNKNOWN where it did not answer, or answered what is no class.
        digest: empty where it did not answer.
        breach: why isolation is at stake there, whoever has the server; empty if it is not.
    """

    port: str
    port_class: PortClass
    networks: tuple[Tag, ...]
    read_time: datetime
    digest: bytes
    detail: str = ""
    breach: str = ""


@dataclass(frozen=True, slots=True)
class PlaceReading:
    """A switch port as network read it: ``holder`` is the port that is registered there, "" for none."""

    holder: str
    reading: Reading


class Purpose(StrEnum):
    """Whom a wish is meant for where a controller moves ports too: a STEP is its own to take, the others network's."""

    STEP = "step"
    CUT = "cut"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class PortWish:
    """What a port is asked to be."""

    port: str
    port_class: PortClass
    networks: tuple[Tag, ...] = ()
    purpose: Purpose = Purpose.STEP


class Networks(Protocol):
    """Networks and which port is on which."""

    def usable(self, network: str, project: str) -> None:
        """NotFound unless *project* may use the tenant network."""
        ...

    def private(self, port_class: PortClass) -> str:
        """The site's private network of a class; "" if there is none."""
        ...

    def register(
        self, server: str, ports: tuple[Port, ...], fence: int, request_id: str, *, as_found: bool = False
    ) -> None:
        """Tells of a server's ports; new ones go to quarantine, or stay *as found*; none forgets the server."""
        ...

    def attach(self, server: str, wishes: tuple[PortWish, ...], project: str, fence: int, request_id: str) -> None:
        """Asks for ports to be attached or put into quarantine."""
        ...

    def read(self, server: str, fence: int) -> tuple[Reading, ...]:
        """Every port of the server, read from the fabric now."""
        ...

    def look_at(self, server: str, places: tuple[Port, ...]) -> tuple[PlaceReading, ...]:
        """The switch ports of *places*, each read from the fabric now, in order, whoever is plugged in there."""
        ...

    def look(self, servers: Mapping[str, int]) -> dict[str, tuple[Reading, ...]]:
        """The same of each of *servers*, given its fence; one that a newer fence was seen of is left out."""
        ...


@dataclass(frozen=True, slots=True)
class Cooling:
    """A lease that was given back: its address rests until ``free_time``."""

    lease: str
    vrf: str
    address: str
    epoch: int
    free_time: datetime | None


@dataclass(frozen=True, slots=True)
class DetachProof:
    """What proves that a server is off the networks: when its ports were read, and the digest of what was read."""

    server: str
    read_time: datetime
    digest: bytes


class Addresses(Protocol):
    """The authority over addresses."""

    def serves(self, network: str, project: str) -> bool:
        """Whether the network has a prefix to lease from."""
        ...

    def lease(
        self, project: str, owner: str, network: str, address: str, mac_address: str, fence: int, request_id: str
    ) -> Lease:
        """*address*, which *owner* has on *network*; the same again for the same owner, network and IP version."""
        ...

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
        """One address for *owner* of each IP version that *network* has, IPv4 first: all or none.

        Args:
            addresses: the very ones wanted, at most one of each version.
        """
        ...

    def held_by(self, project: str, owner: str) -> tuple[Lease, ...]:
        """What *owner* holds, as ipam has it."""
        ...

    def release(self, lease: Lease, proof: DetachProof, fence: int, request_id: str) -> Cooling:
        """Gives an address back into its cool-down; one that rests already is answered as it is."""
        ...

    def release_unproven(self, lease: Lease, allowed_by: str, fence: int, request_id: str) -> Cooling:
        """The same without proof: *allowed_by* a forced action, or the server whose adoption failed."""
        ...
