# SPDX-License-Identifier: Apache-2.0
"""What the verbs need of their store: one object per transaction, in the words of the domain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.kernel.events import Event, Head
from services.kernel.pages import Page, PageRequest
from services.network.domain.attachments import Attachment, Reading
from services.network.domain.networks import Network
from services.network.domain.switch_ports import SwitchPort


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison that the rows of a listing must pass: *field* is equal to *value*, or is not."""

    field: str
    equal: bool
    value: str | int


class NetworkStore(Protocol):
    """Networks."""

    def network(self, name: str) -> tuple[Network, int] | None:
        """The network of this name, and how many ports are on it."""
        ...

    def lock_network(self, name: str) -> tuple[Network, int] | None:
        """The same, kept from being attached to until the transaction ends."""
        ...

    def networks_named(self, names: Collection[str]) -> dict[str, Network]:
        """Those of these names."""
        ...

    def hold_networks(self, names: Collection[str]) -> dict[str, Network]:
        """The same, kept from being deleted until the transaction ends."""
        ...

    def networks_on(self, fabric_ids: Collection[str]) -> dict[str, Network]:
        """Those that the fabric calls so."""
        ...

    def network_of_class(self, port_class: str) -> Network | None:
        """The site's network of a private class."""
        ...

    def insert_network(self, network: Network) -> bool:
        """Keeps a new network; False: its name, private class, or what the fabric calls it is taken."""
        ...

    def save_head(self, network: Network, head: Head) -> None:
        """Keeps the end of its stream."""
        ...

    def delete_network(self, network: Network) -> None:
        """Removes it."""
        ...

    def list_networks(self, project: str, page: PageRequest, where: Sequence[Condition]) -> Page[tuple[Network, int]]:
        """A page of the networks of *project*, of all if it is "", by name."""
        ...

    def free_vlan(self, first: int, last: int) -> int:
        """The lowest VLAN of the range that no network has; 0 if there is none."""
        ...


class AttachmentStore(Protocol):
    """Servers' fences and streams, and their ports."""

    def claim(self, server: str, fence: int) -> tuple[int, Head]:
        """Raises the server's fence to *fence* if it is lower, and keeps others from changing its ports meanwhile.

        Answers the highest fence seen, and the end of the server's stream.
        """
        ...

    def save_server_head(self, server: str, head: Head) -> None:
        """Keeps the end of a server's stream."""
        ...

    def lock_servers(self, servers: Sequence[str]) -> dict[str, tuple[int, Head]]:
        """As `claim` of each of *servers* that was ever claimed, but raises no fence: `save_servers` does."""
        ...

    def save_servers(self, servers: Mapping[str, tuple[int, Head]]) -> None:
        """Keeps fences and the ends of streams of servers that are locked."""
        ...

    def attachments(self, server: str) -> list[Attachment]:
        """The ports of a server, by name."""
        ...

    def ports_and_fence(self, server: str) -> tuple[list[Attachment], int]:
        """The ports of a server, by name, and the highest fence seen of it (0 without ports); one statement."""
        ...

    def holder(self, plug: SwitchPort) -> str:
        """The port that is plugged in there, "" if none is."""
        ...

    def save(self, changes: Sequence[tuple[Attachment, Attachment | None]]) -> None:
        """Keeps ports, each new or changed from what it was before; at least one, none twice."""
        ...

    def save_readings(self, attachments: Sequence[Attachment]) -> None:
        """Writes what was read of ports that stay on the networks they are on, and nothing else of them."""
        ...

    def attachments_of(self, servers: Sequence[str]) -> list[Attachment]:
        """The ports of several servers, by name."""
        ...

    def fences(self, servers: Sequence[str]) -> dict[str, int]:
        """The highest fence seen of each of *servers* that was ever seen; locks nothing."""
        ...

    def save_same(self, readings: Sequence[tuple[Attachment, Reading]]) -> None:
        """Writes when and how ports were read again that show what they showed before.

        Each as it was read from here: one that was asked something, plugged in elsewhere or read later since is left.
        """
        ...

    def confirm(self, server: str, readings: Sequence[tuple[Attachment, Reading]], fence: int) -> bool:
        """As `save_same` of all ports of *server*, unless a higher *fence* was seen (0: whatever was seen).

        False: not all of them were as they were when the reading began, and the whole is to be recorded by `claim`.
        """
        ...

    def forget(self, attachment: Attachment) -> None:
        """Removes a port."""
        ...

    def list_attachments(self, page: PageRequest, where: Sequence[Condition]) -> Page[Attachment]:
        """A page of ports by name."""
        ...


class Store(NetworkStore, AttachmentStore, Protocol):
    """Everything in one transaction, its log included."""

    def append(self, event: Event, head: Head) -> Head:
        """Appends to the log; answers the stream's new end, which the caller keeps on the row."""
        ...

    def append_each(self, events: Sequence[tuple[Event, Head]]) -> list[Head]:
        """As `append`, for several streams at once."""
        ...

    def end_of(self, stream: str) -> Head:
        """The end of a stream whose row is gone."""
        ...
