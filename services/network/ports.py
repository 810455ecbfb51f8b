# SPDX-License-Identifier: Apache-2.0
"""The fabric as network needs it: writing a switch port's configuration apart from reading it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.network.domain import PortConfig, SwitchPort


@dataclass(frozen=True, slots=True)
class PortFact:
    """What the switch or controller answered about one port.

    Attributes:
        config: what is configured there; None if it did not answer.
        read_time: when it was read.
        digest: SHA-256 over the raw answer, 32 bytes; empty if there was none.
        detail: what it said instead of an answer, for people.
    """

    port: SwitchPort
    config: PortConfig | None
    read_time: datetime
    digest: bytes = b""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PortOrder:
    """What one switch port shall be.

    Attributes:
        mac_address: of the server's port that is plugged in there, lower case with colons.
        port_group: the name of the bond it belongs to; empty for none. A controller makes one attachment of all orders
            of a group, with one link for each.
    """

    port: SwitchPort
    config: PortConfig
    mac_address: str
    port_group: str = ""


class Fabric(Protocol):
    """The switches, or the controller that configures them: simulated, Contrail, Neutron."""

    def write(self, server: str, orders: tuple[PortOrder, ...], *, request_id: str) -> None:
        """Asks for *orders* on ports that *server* (its UUID) is plugged into; may be called again.

        They may take effect later, or never: only `read` tells. What can be written is, even where one order fails.

        Raises:
            PeerUnavailable: a switch or the controller does not take the wish; a retry may help.
        """
        ...

    def read(self, ports: tuple[SwitchPort, ...]) -> tuple[PortFact, ...]:
        """Each of *ports* as configured now, in order, never from a cache; ``config`` None: no answer."""
        ...
