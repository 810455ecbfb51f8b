# SPDX-License-Identifier: Apache-2.0
"""An instance: a tenant's hold on a server, and how its networks are laid on the server's ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.kernel.errors import WrongState
from services.lifecycle.domain.server import Port, Tag


class InstanceState(StrEnum):
    """How an instance stands; the words of bms.lifecycle.v1.Instance.State."""

    PENDING = "pending"
    DEPLOYING = "deploying"
    ACTIVE = "active"
    STOPPED = "stopped"
    RESCUED = "rescued"
    ERROR = "error"
    DELETING = "deleting"


REFUSALS = 3
"""How often the same server may be refused by our own gate before it is not asked for again."""


@dataclass(frozen=True, slots=True)
class NetworkWish:
    """A network an instance shall be on: ``vlan_tag`` 0 is untagged; of an IP version without fixed address, any."""

    network: str
    fixed_addresses: tuple[str, ...] = ()
    vlan_tag: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface as it is, filled in as it becomes known; one for each address of the instance on a network."""

    network: str
    vlan_tag: int = 0
    port: str = ""
    mac_address: str = ""
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    lease: str = ""
    connected: bool = False
    dns_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """A tenant's hold on a server.

    Attributes:
        name: ``projects/{project}/instances/{instance}``.
        server: its UUID; "" while one is sought and after it was given back.
        operation: the operation at work on it.
        actor: who asked for the operation at work.
        excluded: servers whose last gate refused it, once for each time.
        resume: the state to return to when a verb that changed nothing failed.
        protected: what destroys its disks is refused.
        version: rises with each change; every write is a compare-and-set on it.
        fence: the number of the last claim for placing it.
    """

    name: str
    project: str
    flavor: str
    image: str
    networks: tuple[NetworkWish, ...]
    create_time: datetime
    update_time: datetime
    hostname: str = ""
    ssh_public_keys: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    state: InstanceState = InstanceState.PENDING
    server: str = ""
    interfaces: tuple[Interface, ...] = ()
    error: str = ""
    site_note: str = ""
    operation: str = ""
    actor: str = ""
    excluded: tuple[str, ...] = ()
    resume: InstanceState | None = None
    protected: bool = False
    protected_reason: str = ""
    version: int = 0
    fence: int = 0

    def anew(self, now: datetime) -> Instance:
        """The instance seeking another server than the one it was given, for which it does not ask again."""
        barred = (f"servers/{self.server}",) * REFUSALS
        return replace(
            self, state=InstanceState.PENDING, server="", interfaces=(), excluded=(*self.excluded, *barred),
            update_time=now,
        )  # fmt: skip

    @property
    def login_address(self) -> str:
        """The address of the first network's interface; "" until it is leased."""
        if not self.networks:
            return ""
        first = self.networks[0].network
        return next((one.address for one in self.interfaces if one.network == first), "")


def lay_out(
    networks: Sequence[NetworkWish], ports: Sequence[Port], where: Mapping[str, str] | None = None
) -> dict[str, tuple[Tag, ...]]:
    """Which port carries which networks: port name -> its networks, ports without any left out.

    Untagged networks take a port (or a port group) each, boot ports first; tagged ones ride on the first port that does
    not carry their tag yet. The members of a group carry the same; only the first is named here, network gives the
    others the same wish.

    Args:
        where: network -> port of those that are laid already; they stay there.

    Raises:
        WrongState: there are not enough ports that are plugged in.
    """
    slots: list[str] = []
    groups: set[str] = set()
    for port in sorted((one for one in ports if one.linked), key=lambda one: (not one.pxe_enabled, one.name)):
        if port.port_group:
            if port.port_group in groups:
                continue
            groups.add(port.port_group)
        slots.append(port.name)
    laid: dict[str, list[Tag]] = {slot: [] for slot in slots}
    staying = {network: port for network, port in (where or {}).items() if port in laid}
    taken = {staying[wish.network] for wish in networks if not wish.vlan_tag and wish.network in staying}
    free = [slot for slot in slots if slot not in taken]
    for wish in networks:
        if wish.vlan_tag:
            continue
        if wish.network not in staying and not free:
            raise _no_port(networks, slots)
        laid[staying.get(wish.network) or free.pop(0)].append(Tag(wish.network))
    for wish in networks:
        if not wish.vlan_tag:
            continue
        slot = staying.get(wish.network) or next(
            (one for one in slots if all(tag.vlan_tag != wish.vlan_tag for tag in laid[one])), None
        )
        if slot is None:
            raise _no_port(networks, slots)
        laid[slot].append(Tag(wish.network, wish.vlan_tag))
    return {slot: tuple(tags) for slot, tags in laid.items() if tags}


def mac_address_on(instance: Instance, network: str, ports: Sequence[Port]) -> str:
    """The MAC address by which *instance* will be on *network*; "" while it does not fit on *ports*."""
    where = {face.network: face.port for face in instance.interfaces if face.port}
    try:
        laid = lay_out(instance.networks, ports, where)
    except WrongState:
        return ""
    return next((port.mac_address for port in ports for tag in laid.get(port.name, ()) if tag.network == network), "")


def _no_port(networks: Sequence[NetworkWish], slots: Sequence[str]) -> WrongState:
    msg = f"{len(networks)} networks do not fit on {len(slots)} ports that are plugged in"
    return WrongState(
        msg,
        remedy="Give vlan_tag to some of the networks, so that they share a port, or choose a flavor of servers with"
        " more ports.",
        networks=str(len(networks)),
        ports=str(len(slots)),
    )
