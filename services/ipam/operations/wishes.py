# SPDX-License-Identifier: Apache-2.0
"""What callers ask of leases, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.ipam.domain.addresses import Address, Version
from services.ipam.domain.leases import Holding, Owner


@dataclass(frozen=True, slots=True)
class Wanted:
    """An address asked for.

    Attributes:
        address: the very address wanted, None for any.
        version: 4 or 6; None for that of the address, or 4 if the network has an IPv4 prefix, else 6.
        fence: of the worker's claim on the owner, 0 if it is no worker's.
        host_name: "" for none.
    """

    project: str
    network: str
    owner: Owner
    address: Address | None = None
    version: Version | None = None
    fence: int = 0
    host_name: str = ""

    def holding(self, version: Version) -> Holding:
        """What the owner has one lease for."""
        owner = self.owner
        return Holding(self.project, self.network, owner.kind, owner.resource, owner.interface, version)


@dataclass(frozen=True, slots=True)
class Detached:
    """What proves that an owner is off the network: its server, when that was read, SHA-256 over what was read."""

    server: str
    read_time: datetime
    digest: bytes

    @property
    def facts(self) -> dict[str, str]:
        """The proof as an event tells it."""
        return {
            "detached_server": self.server,
            "detached_read_time": self.read_time.isoformat(),
            "detached_reading_digest": self.digest.hex(),
        }


@dataclass(frozen=True, slots=True)
class Waived:
    """What allows a release without proof: the name of a forced action, or of a server whose adoption failed."""

    by: str
    forced: bool

    @property
    def event_type(self) -> str:
        """What the release is called in the log."""
        return "address.forced_free" if self.forced else "address.withdrawn"

    @property
    def facts(self) -> dict[str, str]:
        """The reason as an event tells it."""
        return {"without_proof": self.by}
