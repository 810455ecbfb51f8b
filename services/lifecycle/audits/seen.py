# SPDX-License-Identifier: Apache-2.0
"""What is compared: the other services' rows as they show them, and lifecycle's own with their claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.server import PortClass, Server, Tag

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Portion(Generic[T]):
    """Some rows of another service, how many were read for them, and where to go on; "" at the end."""

    rows: Sequence[T]
    read: int
    token: str


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A bare metal instance's lease as ipam has it.

    Attributes:
        owner: ``projects/{project}/instances/{instance}``.
        held: it is leased, neither resting nor free.
    """

    name: str
    owner: str
    network: str
    vrf: str
    address: str
    epoch: int
    held: bool
    create_time: datetime


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """A server's pool row as inventory has it.

    Attributes:
        server: its UUID.
        available: whether inventory offers it.
        holder: the instance it is reserved for; "" for none.
        deleting: its deletion was asked for.
        since: when the row last changed.
    """

    server: str
    available: bool
    holder: str
    state_version: int
    deleting: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class AttachmentSeen:
    """A port as network has it: what was last asked of it.

    Attributes:
        port: ``servers/{uuid}/ports/{port}``.
        server: the UUID.
        settled: what was read back last is what was asked for.
        since: when it was asked for.
    """

    port: str
    server: str
    port_class: PortClass
    networks: tuple[Tag, ...]
    settled: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class LeftoverSeen:
    """What another service finds left over at its controller: `bms.network.v1.Leftover`, `bms.ipam.v1.Leftover`.

    Attributes:
        name: as that service names it.
        server: the UUID of the server that it says it is for; "" if it says none.
        since: when it was made there; None if nobody says.
        removable: the service would remove it.
    """

    name: str
    server: str
    why: str
    since: datetime | None
    removable: bool
    etag: str


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A server of lifecycle's own, with who works on it.

    Attributes:
        due: when somebody should look at it; None: when something happens.
        claim_until: when the claim on it ends; None if nobody has one.
    """

    server: Server
    due: datetime | None = None
    claim_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance of lifecycle's own, with who seeks a server for it; see ServerRow."""

    instance: Instance
    due: datetime | None = None
    claim_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperationSeen:
    """An operation that is not done: its name, what it is about, since when."""

    name: str
    subject: str
    create_time: datetime
