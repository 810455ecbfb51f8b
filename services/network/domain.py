# SPDX-License-Identifier: Apache-2.0
"""Networks, what ports are asked to be, and what follows from what is configured on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.kernel.errors import InvalidField, WrongState
from services.kernel.events import Head
from services.kernel.names import NETWORK

MIN_VLAN, MAX_VLAN = 2, 4094
CHOSEN_VLANS = range(100, 4000)
"""Where VLANs are chosen for networks that name none; the rest is left to those who do."""
VNI_BASE = 10_000
"""A network's VXLAN identifier is this plus its VLAN: unique as that is, and readable."""
MAX_TAGS = 64
MAX_PORTS = 64
MAX_SERVERS = 256
"""How many servers' ports are read in one go."""


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


@dataclass(frozen=True, slots=True, order=True)
class SwitchPort:
    """One port of one switch: Contrail's physical-router and physical-interface."""

    switch: str
    port: str


@dataclass(frozen=True, slots=True)
class PortConfig:
    """What is configured on a switch port. Networks are named by what the fabric calls them, `Segment.fabric_id`.

    Attributes:
        untagged: the network of untagged frames; empty for none.
        tagged: pairs of (tag on the wire, network). Tag 0: a second untagged one, which no port should have.

    A port with neither carries no traffic: that is quarantine.
    """

    untagged: str = ""
    tagged: frozenset[tuple[int, str]] = frozenset()

    @property
    def networks(self) -> frozenset[str]:
        """Every network of the fabric that the port is in."""
        return frozenset({self.untagged} - {""} | {network for _, network in self.tagged})


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


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A network on a port; ``vlan_tag`` is the tag on the wire, 0 for untagged."""

    network: str
    vlan_tag: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """Where a port (``servers/{uuid}/ports/{port}``) is plugged in; ``port_group``, ``switch_id``: empty for none."""

    port: str
    mac_address: str
    plug: SwitchPort
    port_group: str = ""
    switch_id: str = ""


class Purpose(StrEnum):
    """Whom a wish is meant for where Ironic moves ports too: a STEP is its own to take, the others are always ours."""

    STEP = "step"
    CUT = "cut"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a port is asked to be; ``tags`` are sorted. QUARANTINE has none."""

    port_class: PortClass
    tags: tuple[Tag, ...] = ()
    purpose: Purpose = Purpose.STEP

    def same(self, other: Wish) -> bool:
        """Whether a port that is as *other* says is as this says."""
        return (self.port_class, self.tags) == (other.port_class, other.tags)

    def after(self, before: Wish) -> Wish:
        """This wish where *before* stands: what was asked of the fabric once is not taken back by a mere step."""
        return before if self.same(before) and self.purpose is Purpose.STEP else self


QUARANTINE = Wish(PortClass.QUARANTINE)
FOUND = Wish(PortClass.UNKNOWN)
"""The wish of a port that is registered as it was found: nobody asked it to be anything yet."""


@dataclass(frozen=True, slots=True)
class PortSetup:
    """What else a controller has set on what is at a switch port; nothing of it says who can reach whom.

    Attributes:
        security_groups: their ids, sorted.
        dhcp_options: ``4:67=boot.img``, of the IP version before the colon; sorted.
    """

    security_groups: tuple[str, ...] = ()
    dhcp_options: tuple[str, ...] = ()


NO_SETUP = PortSetup()
"""That of switch ports without a controller, and of quarantine."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the fabric showed of a port.

    Attributes:
        digest: over what it answered; empty if it did not.
        detail: what is strange about it, for people.
        breach: why isolation is at stake there, whoever has the server, a sentence; empty if it is not.
        asked: the attachment's count of wishes when the reading began. A reading says nothing of later wishes, and
            clocks of two machines could not tell which came first.
    """

    port_class: PortClass
    tags: tuple[Tag, ...]
    read_time: datetime
    digest: bytes = b""
    detail: str = ""
    asked: int = 0
    setup: PortSetup = NO_SETUP
    breach: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A port: what was last asked for, and what was last read back.

    Attributes:
        server: the UUID.
        project: of a TENANT wish, the instance's project; else empty.
        request_time: when the wish last changed.
        observed: None before the first reading.
        asked: how often the wish changed; 0 while the port is as it was found, 1 while it is as it was registered.
    """

    server: str
    link: Link
    wish: Wish
    project: str
    request_time: datetime
    observed: Reading | None = None
    asked: int = 1

    @property
    def settled(self) -> bool:
        """Whether a reading made since the wish shows what was asked for. While false, the port counts as both."""
        seen = self.observed
        if not self.asked:
            return seen is not None and seen.port_class is not PortClass.UNKNOWN
        return (
            seen is not None
            and seen.asked == self.asked
            and (seen.port_class, seen.tags) == (self.wish.port_class, self.wish.tags)
        )

    @property
    def isolated(self) -> bool:
        """Whether it was asked into quarantine and seen there."""
        return self.settled and self.wish.port_class is PortClass.QUARANTINE

    @property
    def untouched(self) -> bool:
        """Whether nothing but quarantine was ever asked of it, and no switch told anything of it when last asked."""
        return self.asked == 1 and (self.observed is None or self.observed.port_class is PortClass.UNKNOWN)

    @property
    def networks(self) -> frozenset[str]:
        """The networks it is on, asked for or seen."""
        seen = self.observed.tags if self.observed else ()
        return frozenset(tag.network for tag in (*self.wish.tags, *seen))


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


def check_wish(wish: Wish, where: str) -> None:
    """Refuses a wish that no port can be; *where* is its path in the request.

    Raises:
        InvalidField: too many or too few networks for the class, two untagged ones, a tag or network twice, or a
            purpose of another class.
    """
    tags = wish.tags
    most = {PortClass.QUARANTINE: 0, PortClass.TENANT: MAX_TAGS}.get(wish.port_class, 1)
    least = 0 if wish.port_class is PortClass.QUARANTINE else 1
    if not least <= len(tags) <= most:
        wanted = "no network" if not most else "one network" if most == 1 else f"1 to {most} networks"
        raise InvalidField(
            field=f"{where}.networks", description=f"has {len(tags)}, and a {wish.port_class} port takes {wanted}"
        )
    meant = {Purpose.CUT: PortClass.QUARANTINE, Purpose.RESTORE: PortClass.TENANT}.get(wish.purpose, wish.port_class)
    if wish.port_class is not meant:
        raise InvalidField(
            field=f"{where}.purpose",
            description=f"is {wish.purpose}, and the port shall be {wish.port_class}",
            remedy="Cut into QUARANTINE, restore to TENANT, or leave it out.",
        )
    for tag in tags:
        if tag.vlan_tag:
            check_vlan(tag.vlan_tag, f"{where}.networks")
    for what, values in (("tag", [tag.vlan_tag for tag in tags]), ("network", [tag.network for tag in tags])):
        if twice := next(_repeated(values), None):
            said = "two untagged networks" if twice == "0" and what == "tag" else f"the {what} {twice} twice"
            raise InvalidField(
                field=f"{where}.networks", description=f"has {said}", remedy="Give each network a tag of its own."
            )


def _repeated(values: Sequence[object]) -> Iterator[str]:
    return (str(value) for at, value in enumerate(values) if value in values[:at])


def config_of(wish: Wish, known: Mapping[str, str]) -> PortConfig:
    """What to configure for *wish*; *known* is what the fabric calls its networks."""
    untagged = next((known[tag.network] for tag in wish.tags if not tag.vlan_tag), "")
    return PortConfig(untagged, frozenset((tag.vlan_tag, known[tag.network]) for tag in wish.tags if tag.vlan_tag))


def class_of(config: PortConfig, networks: Mapping[str, Network]) -> tuple[PortClass, tuple[Tag, ...], str]:
    """The class that follows from what is configured, the networks seen, and what is strange about it.

    A network of the fabric that is none of ours, two untagged ones, networks of two classes and networks of two
    projects make it UNKNOWN: such a port is nothing that anybody asked for.

    Args:
        networks: ours, by what the fabric calls them.
    """
    seen = sorted(({(0, config.untagged)} if config.untagged else set()) | config.tagged)
    tags = tuple(sorted(Tag(networks[known].name, tag) for tag, known in seen if known in networks))
    if breach := breach_of(config, networks):
        return PortClass.UNKNOWN, tags, breach
    if sum(not tag for tag, _ in seen) > 1:
        return PortClass.UNKNOWN, tags, "several untagged networks"
    if not seen:
        return PortClass.QUARANTINE, (), ""
    return networks[seen[0][1]].network_class, tags, ""


def breach_of(config: PortConfig, networks: Mapping[str, Network]) -> str:
    """Why what is configured puts isolation at stake, whoever has the server; empty if it does not.

    A network of the fabric that is none of ours, networks of two classes, and networks of two projects do.

    Args:
        networks: ours, by what the fabric calls them.
    """
    foreign = sorted(config.networks - set(networks))
    if foreign:
        which = ", ".join(f"VLAN {one}" if one.isdigit() else one for one in foreign)
        return f"{which} belongs to no network"
    classes = {networks[known].network_class for known in config.networks}
    if len(classes) > 1:
        return f"networks of several classes: {', '.join(sorted(classes))}"
    if len({networks[known].project for known in config.networks}) > 1:
        return "networks of several projects"
    return ""


def spread(wishes: Mapping[str, Wish], links: Iterable[Link]) -> dict[str, Wish]:
    """*wishes* by port, extended to the other members of each port's group.

    Raises:
        InvalidField: two members of a group are asked to be different things.
    """
    groups: dict[str, tuple[str, Wish]] = {}
    known = list(links)
    for link in known:
        if link.port_group and link.port in wishes:
            first, wish = groups.setdefault(link.port_group, (link.port, wishes[link.port]))
            if wish != wishes[link.port]:
                raise InvalidField(
                    field="wishes",
                    description=f"asks {first} and {link.port} of group {link.port_group} to be different things",
                    remedy="Ask the same of every port of a group; naming one is enough.",
                    port_group=link.port_group,
                )
    members = {link.port: groups[link.port_group][1] for link in known if link.port_group in groups}
    return {**wishes, **members}


def check_change(before: Attachment, wish: Wish, project: str) -> None:
    """Refuses to put a port onto a tenant's network from anywhere but quarantine or the same tenant's networks.

    Lifecycle orders the steps; this holds even if it does not. The port counts as what was asked for and as what was
    seen until both agree.

    Raises:
        WrongState: it is, or may be, in another class, or another project's.
    """
    if wish.port_class is not PortClass.TENANT or (wish.same(before.wish) and before.project == project):
        return
    seen = before.observed
    now = seen.port_class if seen else PortClass.UNKNOWN
    tags = seen.tags if seen else ()
    asked = ((before.wish.port_class, before.wish.tags),) if before.asked else ()
    for port_class, networks in (*asked, (now, tags)):
        own = all(NETWORK.parse(tag.network)[0] == project for tag in networks)
        if port_class is PortClass.QUARANTINE or (port_class is PortClass.TENANT and own):
            continue
        what = f"{port_class}" if port_class is not PortClass.TENANT else "on another project's network"
        msg = f"{before.link.port} is {what}, and a port goes to a tenant's network from quarantine alone"
        raise WrongState(
            msg,
            remedy="Put the port into quarantine, read it back, then attach it.",
            subject=before.link.port,
            state=port_class,
        )
