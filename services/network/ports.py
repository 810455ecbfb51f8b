# SPDX-License-Identifier: Apache-2.0
"""The fabric as network needs it: writing a switch port's configuration apart from reading it back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.network.domain.attachments import Link
from services.network.domain.networks import PortClass, Segment
from services.network.domain.switch_ports import NO_SETUP, PortConfig, PortSetup, SwitchPort
from services.network.domain.wishes import Wish


@dataclass(frozen=True, slots=True)
class DhcpOption:
    """What a DHCP server tells a port that boots: *name* is its number or word, as the controller knows it."""

    name: str
    value: str
    ip_version: int = 4


@dataclass(frozen=True, slots=True)
class PortFact:
    """What the switch or controller answered about one port.

    Attributes:
        config: what is configured there; None if it did not answer.
        read_time: when it was read.
        digest: SHA-256 over the raw answer, 32 bytes; empty if there was none.
        detail: what it said instead of an answer, for people.
        doubt: why *config* is no more than what may be configured there; such a port is UNKNOWN, never in quarantine.
            Empty if it is certain.
        setup: what else the controller has set there.
        breach: why isolation is at stake, beyond what *config* says by itself; empty if it is not.
    """

    port: SwitchPort
    config: PortConfig | None
    read_time: datetime
    digest: bytes = b""
    detail: str = ""
    doubt: str = ""
    setup: PortSetup = NO_SETUP
    breach: str = ""


@dataclass(frozen=True, slots=True)
class Plug:
    """A port of a server in a switch port.

    Attributes:
        server: its UUID.
        mac_address: of the server's port, lower case with colons.
        port_group: the name of the bond it belongs to; empty for none.
        switch_id: the switch's MAC address or datapath id; empty if nobody said.
    """

    server: str
    port: SwitchPort
    mac_address: str
    port_group: str = ""
    switch_id: str = ""


@dataclass(frozen=True, slots=True)
class PortOrder:
    """What one switch port shall be.

    Attributes:
        mac_address: of the server's port that is plugged in there, lower case with colons.
        port_group: the name of the bond it belongs to; empty for none. A controller makes one attachment of all orders
            of a group, with one link for each.
        port_class: what the configuration is for.
        switch_id: the switch's MAC address or datapath id; empty if nobody said.
        acts: it is carried out even where another system moves the ports.
    """

    port: SwitchPort
    config: PortConfig
    mac_address: str
    port_group: str = ""
    port_class: PortClass = PortClass.QUARANTINE
    switch_id: str = ""
    acts: bool = False


class Fabric(Protocol):
    """The switches, or the controller that configures them: simulated, Contrail, Neutron."""

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        """Asks for *orders* on ports that *server* (its UUID) is plugged into; may be called again.

        They may take effect later, or never: only `read` tells. What can be written is, even where one order fails.

        Raises:
            PeerUnavailable: a switch or the controller does not take the wish; a retry may help.
        """
        ...

    def read(self, plugs: tuple[Plug, ...]) -> tuple[PortFact, ...]:
        """The switch port of each of *plugs*, of any servers, as configured now; in order, never from a cache.

        ``config`` None: no answer.
        """
        ...


class Controller(Protocol):
    """What makes the networks of a fabric that has a controller: Contrail, Neutron. Every call may be made again."""

    def make(self, name: str, display_name: str, network_class: PortClass, vlan: int, *, dry: bool) -> Segment:
        """Makes the network *name*, or takes over one of others if *name* says so; the same one when called again.

        Args:
            vlan: which it shall have; 0 leaves it to the controller.
            dry: checks everything and makes nothing; of a network that is not there yet the answer is not known.

        Raises:
            AlreadyExists: the VLAN is taken.
            Exhausted: the controller has none left.
            InvalidField: this controller cannot make it so, or it cannot be taken over.
            IsolationImpossible: it does not keep apart those who are on it from others.
            NotFound: the one to take over is not there.
            PeerUnavailable: the controller does not answer.
        """
        ...

    def remove(self, name: str) -> None:
        """Removes the network *name* if we made it; one that was taken over stays, and one that is gone is fine.

        Raises:
            PeerUnavailable: the controller does not answer.
            StillInUse: others use it.
        """
        ...

    def refusal(self, wishes: Collection[Wish]) -> str:
        """Why *wishes* can never be carried out here, for people; empty if they can. Asked before they are recorded.

        Raises:
            PeerUnavailable: the controller does not say what it can do.
        """
        ...

    def opened(self, fabric_ids: Collection[str]) -> Mapping[str, str]:
        """Those of the site's private networks *fabric_ids* that tenants can see, join or reach by now, with why.

        As few requests as there are kinds of ways in, however many networks. One that is gone is not among them.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Marked:
    """One of a controller's objects that bears our mark.

    Attributes:
        ident: its UUID there.
        kind: what it is, in the controller's word.
        server: the UUID of the server that it says it is for.
        unit: the MAC address or name of the server's port, or the name of its port group; "": it stands for the whole
            server.
        fabric_id: of the network that it is in; "" if it is in none.
        create_time: None if the controller does not say.
        says: what else counts of it: two that are equal are as they were.
        shows: it shows the server to the controller's users, and is in no network.
    """

    ident: str
    kind: str
    server: str
    unit: str
    fabric_id: str
    create_time: datetime | None
    says: str = ""
    shows: bool = False


class Leftovers(Protocol):
    """What a controller has that bears our mark; nothing else of it is answered or touched. Each call may be repeated.

    Every method raises PeerUnavailable when the controller does not answer, or will not.
    """

    def page(self, after: str, size: int) -> tuple[list[Marked], str]:
        """The next of them, from *after* on ("" at the beginning), of *size* of its objects; where to go on, or "".

        In an order in which they can be removed.
        """
        ...

    def marked(self, ident: str) -> Marked | None:
        """One, read now; None if there is none that bears our mark."""
        ...

    def remove(self, marked: Marked) -> bool:
        """Removes it, if it is still exactly so; False if it is not."""
        ...


class Mirror(Protocol):
    """Where a controller's own users see which servers there are. Nothing that we do depends on it."""

    def show(self, server: str, links: Sequence[Link]) -> None:
        """Has the controller know *server* (its UUID) with *links*, all its ports; without any it forgets the server.

        Of what others told it of the server nothing is changed. May be called again.

        Raises:
            PeerUnavailable: the controller does not answer.
        """
        ...
