# SPDX-License-Identifier: Apache-2.0
"""What every service's ``__main__`` builds before its own parts."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.clock import Clock, Ids, RandomIds, SystemClock
from services.runtime.auth import Callers
from services.runtime.callers import open_callers
from services.runtime.database import Database, open_database
from services.runtime.logs import configure, register_secret
from services.runtime.metrics import Metrics
from services.runtime.migrations import require_current
from services.runtime.outbound import Peer
from services.runtime.page_tokens import PageTokens
from services.runtime.secrets import Vault, private_file
from services.runtime.settings import Settings
from services.runtime.writing import Replies, Writer


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts that are the same in every service; ``__main__`` hands each to whoever needs it."""

    settings: Settings
    clock: Clock
    ids: Ids
    database: Database
    vault: Vault
    tokens: Callers
    writer: Writer
    page_tokens: PageTokens
    metrics: Metrics

    def peer(self, service: str) -> Peer:
        """The other service called *service*, to be called with this service's own token."""
        peers = self.settings.peers
        token = private_file(peers.token_file).decode().strip()
        register_secret(token)
        return Peer(peers.addresses[service], token=token, tls=peers.tls, service=service)


def lay(settings: Settings) -> Foundation:
    """Sets up the log, and opens the database, the key and whatever knows the callers.

    Raises:
        BmsError: something is missing or unsafe; the remedy says what to do.
    """
    configure(settings.log, settings.service)
    vault = Vault(settings.data.key_file)
    tokens = open_callers(settings)
    database = open_database(settings.database.url)
    try:
        require_current(database, f"services.{settings.service}")
    except BaseException:
        database.close()
        raise
    return Foundation(
        settings=settings,
        clock=SystemClock(),
        ids=RandomIds(),
        database=database,
        vault=vault,
        tokens=tokens,
        writer=Writer(database, Replies(vault.derive(f"{settings.service}/replies"))),
        page_tokens=PageTokens(vault.derive(f"{settings.service}/page-tokens")),
        metrics=Metrics(),
    )
