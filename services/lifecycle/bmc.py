# SPDX-License-Identifier: Apache-2.0
"""How one logs in to a server's BMC, and where whoever reaches one gets that from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Bmc:
    """Where a server's BMC is and how to log in; lives only as long as one call, and in `services.lifecycle.logins`.

    Attributes:
        kept: the controller has driver, address and login, and is told none of them.
    """

    address: str
    port: int
    driver: str
    username: str
    password: str
    kept: bool = False

    def __repr__(self) -> str:
        """Leaves out the login, which is secret."""
        return f"Bmc(address={self.address!r}, port={self.port}, driver={self.driver!r})"


class Credentials(Protocol):
    """Where a hardware backend gets a BMC's login, at each use."""

    def of(self, server: str) -> Bmc:
        """The login of *server*'s BMC."""
        ...


class RememberedCredentials(Credentials, Protocol):
    """The same, with a memory for those who look at many servers again and again."""

    def remembered(self, server: str) -> Bmc:
        """The login of *server*'s BMC, as it was not long ago: where a BMC refuses it, `forget` it."""
        ...

    def forget(self, server: str) -> None:
        """What was remembered of *server* may not hold any more."""
        ...
