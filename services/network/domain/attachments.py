# SPDX-License-Identifier: Apache-2.0
"""Ports of servers: where they are plugged in, what was last asked of them, and what was last read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.kernel.errors import InvalidField, WrongState
from services.kernel.names import NETWORK
from services.network.domain.networks import PortClass
from services.network.domain.switch_ports import NO_SETUP, PortSetup, SwitchPort
from services.network.domain.wishes import Tag, Wish

MAX_PORTS = 64
MAX_SERVERS = 256
"""How many servers' ports are read in one go."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a port (``servers/{uuid}/ports/{port}``) is plugged in; ``port_group``, ``switch_id``: empty for none."""

    port: str
    mac_address: str
    plug: SwitchPort
    port_group: str = ""
    switch_id: str = ""


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
