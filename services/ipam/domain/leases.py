# SPDX-License-Identifier: Apache-2.0
"""Leases: who holds an address, and what the address itself remembers of all who ever did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.ipam.domain.addresses import Address, Version
from services.kernel.events import Head
from services.kernel.names import stable_uuid


class Kind(StrEnum):
    """What kind of owner."""

    BARE_METAL_INSTANCE = "bare_metal_instance"
    VIRTUAL_MACHINE = "virtual_machine"


class LeaseState(StrEnum):
    """How a lease stands."""

    LEASED = "leased"
    COOLING = "cooling"
    FREED = "freed"


class AddressState(StrEnum):
    """How an address stands; also the words of its stream."""

    FREE = "free"
    LEASED = "leased"
    COOLING = "cooling"
    EXTERNAL = "external"
    """A controller beside us gave it to somebody."""
    PENDING = "pending"
    """It is being granted, and the controller is not sure to keep it yet. No event says this word: nobody has it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds an address.

    Attributes:
        resource: ``projects/{project}/instances/{instance}``, or any id of a virtual machine.
        interface: which of its interfaces; "" is one too.
        mac_address: "" if not known yet.
    """

    kind: Kind
    resource: str
    interface: str = ""
    mac_address: str = ""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one owner has one lease for: asking for it again answers the same lease."""

    project: str
    network: str
    kind: Kind
    resource: str
    interface: str
    version: Version


@dataclass(frozen=True, slots=True)
class Lease:
    """An owner's hold on an address. It keeps what its prefix said, for those who look back when the prefix is gone.

    Attributes:
        name: ``projects/{project}/leases/{uuid}``.
        prefix_uid: see `services.ipam.domain.prefixes.Prefix.uid`.
        epoch: how often the address had been granted, this grant included.
        free_time: when it becomes, or became, free; None while leased.
        pending: nobody was told of it: it is being granted, or was given up before anybody was.
        hold: what the controller that keeps the address for it calls that; "" where none does.
        settle_time: when something is to be done at the controller; None for nothing.
        keep_time: until when, after its rest, the address is kept for the owner; None if it is not.
        host_name: asked for by the owner; "" for none.
        domain: that of the prefix.
    """

    name: str
    project: str
    vrf: str
    address: Address
    prefix_length: int
    gateway: Address | None
    dns_servers: tuple[Address, ...]
    prefix: str
    prefix_uid: str
    network: str
    owner: Owner
    epoch: int
    state: LeaseState
    create_time: datetime
    free_time: datetime | None = None
    pending: bool = False
    hold: str = ""
    settle_time: datetime | None = None
    keep_time: datetime | None = None
    host_name: str = ""
    domain: str = ""

    @property
    def fqdn(self) -> str:
        """The owner's host name with its domain; "" without a host name."""
        return f"{self.host_name}.{self.domain}" if self.host_name and self.domain else self.host_name

    @property
    def stream(self) -> str:
        """The stream of its address."""
        return stream_of(self.vrf, self.address)

    @property
    def holding(self) -> Holding:
        """What its owner has it for."""
        owner = self.owner
        version = self.address.version
        return Holding(self.project, self.network, owner.kind, owner.resource, owner.interface, version)


@dataclass(frozen=True, slots=True)
class AddressRow:
    """One address of a VRF: the row whose change is the grant, and the head of its stream.

    Attributes:
        epoch: how often it was granted.
        lease: name of the last lease, "" if there was none.
        free_time: when it becomes, or became, free; None while leased, for one that nobody ever had, and for one that
            rests until a controller has let go of it.
        head: the end of its stream. Rows outlive their prefix, since neither epochs nor streams start again.
    """

    vrf: str
    address: Address
    state: AddressState
    epoch: int = 0
    lease: str = ""
    free_time: datetime | None = None
    head: Head = field(default_factory=Head)

    def is_free(self, now: datetime) -> bool:
        """Whether somebody may have it: it is free, or its rest has ended."""
        if self.state is AddressState.COOLING:
            return self.free_time is not None and self.free_time <= now
        return self.state is AddressState.FREE


def stream_of(vrf: str, address: Address) -> str:
    """The stream in which everything that happens to *address* is recorded.

    Headers of events are seen by everybody, and a VRF is often called after a project: the stream names it by a UUID
    made of its name. The name itself stands in the evidence, which is for those who may see it.
    """
    return f"vrfs/{stable_uuid('vrf', vrf)}/addresses/{address}"
