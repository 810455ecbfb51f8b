# SPDX-License-Identifier: Apache-2.0
"""Networks that ports of servers can be put onto, and how they are known on the fabric."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.kernel.errors import InvalidField
from services.kernel.events import Head
from services.kernel.names import NETWORK

MIN_VLAN, MAX_VLAN = 2, 4094
CHOSEN_VLANS = range(100, 4000)
"""Where VLANs are chosen for networks that name none; the rest is left to those who do."""
VNI_BASE = 10_000
"""A network's VXLAN identifier is this plus its VLAN: unique as that is, and readable."""


class PortClass(StrEnum):
    """What a port of a server may do."""

    QUARANTINE = "quarantine"
    PROVISIONING = "provisioning"
    CLEANING = "cleaning"
    RESCUE = "rescue"
    TENANT = "tenant"
    UNKNOWN = "unknown"

    @property
    def private(self) -> bool:
        """Whether there is one network of this class on a site, the administrator's."""
        return self in {PortClass.PROVISIONING, PortClass.CLEANING, PortClass.RESCUE}


@dataclass(frozen=True, slots=True)
class Segment:
    """How a network is known on the fabric.

    Attributes:
        fabric_id: what the fabric, or its controller, calls it; unique.
        vlan: its VLAN; 0 if it has none of its own there.
        vni: its VXLAN identifier; 0 for none.
    """

    fabric_id: str
    vlan: int = 0
    vni: int = 0

    @classmethod
    def of_vlan(cls, vlan: int) -> Segment:
        """That of a fabric without a controller, where the VLAN is all there is."""
        return cls(str(vlan), vlan, VNI_BASE + vlan)


@dataclass(frozen=True, slots=True)
class Network:
    """A network that server ports can be attached to.

    Attributes:
        name: ``projects/{project}/networks/{network}``.
        network_class: TENANT, or one of the private classes.
        segment: how it is known on the fabric.
        version: changes with every change.
        head: the end of its stream of events.
    """

    name: str
    display_name: str
    network_class: PortClass
    segment: Segment
    create_time: datetime
    update_time: datetime
    version: int = 1
    head: Head = field(default_factory=Head)

    @property
    def project(self) -> str:
        """Whose it is."""
        return NETWORK.parse(self.name)[0]

    @property
    def vrf(self) -> str:
        """The address space of its prefixes, ``{project}.{network}``."""
        return ".".join(NETWORK.parse(self.name))


def check_vlan(vlan: int, where: str) -> int:
    """*vlan*, if it is one that a network or tag may have.

    Raises:
        InvalidField: it is not 2 to 4094.
    """
    if MIN_VLAN <= vlan <= MAX_VLAN:
        return vlan
    raise InvalidField(
        field=where,
        description=f"{vlan} is not between {MIN_VLAN} and {MAX_VLAN}",
        remedy="Choose another VLAN, or give none.",
        given=str(vlan),
    )
