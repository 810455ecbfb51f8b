# SPDX-License-Identifier: Apache-2.0
"""Addresses beside a controller that gives addresses too: what it has, and what it must keep for us.

docs/decisions/0044-addresses-in-neutron.md says how the two are held equal, whoever dies when.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from services.ipam.domain.addresses import Address
from services.ipam.domain.leases import Lease, LeaseState
from services.ipam.domain.prefixes import Range

UNSURE = "?"
"""A lease's ``hold`` while the controller may have been told of it, and what it calls it is not known."""

HALF_DONE = timedelta(minutes=5)
"""How long a lease that nobody was told of waits for its caller to come again; longer than any caller waits."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has an address at the controller.

    Attributes:
        ref: what the controller calls that which has it.
        lease: the name of the lease of ours that it says it is; "" if it says none.
        kind: what it is, in the controller's word (``compute:nova``); "" if it does not say.
        device: the id of the thing behind; "" if there is none.
        project: whose it is; "" if nobody's.
    """

    address: Address
    ref: str
    lease: str = ""
    kind: str = ""
    device: str = ""
    project: str = ""
    mac_address: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """The holder as events and errors tell it."""
        told = {
            "holder": self.ref,
            "holder_kind": self.kind,
            "holder_device": self.device,
            "mac_address": self.mac_address,
        }
        return {name: text for name, text in told.items() if text}

    def same_as(self, other: Holder | None) -> bool:
        """Whether *other* is the same owner of the same address."""
        return other is not None and (self.address, self.ref) == (other.address, other.ref)


@dataclass(frozen=True, slots=True)
class Marked:
    """What the controller has that says it is there for a lease of ours, as it was read.

    Attributes:
        used: what uses it, for people; "" if nothing does.
        says: what else counts of it: two that are equal are as they were.
    """

    holder: Holder
    used: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class Realm:
    """A range of addresses as the controller has it.

    Attributes:
        ref: what the controller calls it; read by nobody but the plane that wrote it.
        shown: the same for people.
        pools: where the controller chooses; empty for everywhere.
    """

    ref: str
    shown: str
    gateway: Address | None
    dns_servers: tuple[Address, ...] = ()
    pools: tuple[Range, ...] = ()


class Taken(Exception):
    """The controller gave the address to somebody else."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(str(holder.address))
        self.holder = holder


class MacTaken(Exception):
    """The MAC address is another's in the same network."""

    def __init__(self, mac_address: str, holder: Holder) -> None:
        super().__init__(mac_address)
        self.mac_address = mac_address
        self.holder = holder


def parked_mac(lease: str) -> str:
    """The MAC address that the controller is told while the owner's is not known, or no longer his to use.

    Made of the lease's name, so that whoever says it says the same; locally administered, and no multicast.
    """
    digest = hashlib.sha256(lease.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def mac_of(lease: Lease) -> str:
    """The MAC address that the controller must be told for *lease* as it stands."""
    if lease.state is LeaseState.LEASED and lease.owner.mac_address:
        return lease.owner.mac_address
    return parked_mac(lease.name)


def is_held_right(lease: Lease, holder: Holder | None) -> bool:
    """Whether the controller keeps for *lease* what it should.

    A leased address with a parked MAC address is right as well: the owner's may be in use for his other IP version.
    """
    if holder is None or holder.lease != lease.name:
        return False
    return holder.mac_address in (mac_of(lease), parked_mac(lease.name))
