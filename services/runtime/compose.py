# SPDX-License-Identifier: Apache-2.0
"""What every service is composed over. Each has a ``compose.py``, which its process and the simulation share: what is
simulated is what runs.
"""

from __future__ import annotations

from typing import Protocol

from services.kernel.clock import Clock, Ids
from services.runtime.database import Database
from services.runtime.outbound import Peer
from services.runtime.page_tokens import PageTokens
from services.runtime.secrets import Vault
from services.runtime.server import Add
from services.runtime.writing import Writer

Served = tuple[Add, object]
"""A generated ``add_XServicer_to_server`` and the servicer, for `services.runtime.server.build_server`."""


class Ground(Protocol):
    """The parts under a service; in its process they are `services.runtime.foundation.Foundation`."""

    @property
    def clock(self) -> Clock:
        """The time that everything in the process goes by."""
        ...

    @property
    def ids(self) -> Ids:
        """Makes its identities."""
        ...

    @property
    def database(self) -> Database:
        """Its database."""
        ...

    @property
    def vault(self) -> Vault:
        """Seals its secrets."""
        ...

    @property
    def writer(self) -> Writer:
        """Does each request once."""
        ...

    @property
    def page_tokens(self) -> PageTokens:
        """Signs its page tokens."""
        ...

    def peer(self, service: str) -> Peer:
        """A channel of its own to the other service called *service*."""
        ...
