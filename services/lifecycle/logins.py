# SPDX-License-Identifier: Apache-2.0
"""The logins of BMCs, remembered for a while, so that looking at a fleet does not ask inventory for each again.

They are kept in memory alone, and nothing shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.kernel.clock import Clock
from services.lifecycle.bmc import Bmc

MOST = 20_000
"""How many are remembered at most; the oldest goes first."""
LONGEST = timedelta(hours=12)
"""How long one is remembered at most. Changes are told by inventory's log, or by a BMC that refuses what was known."""


@dataclass(slots=True)
class Logins:
    """Satisfies `services.lifecycle.ports.RememberedCredentials`; may be called from any thread.

    Args:
        ask: inventory, which answers the login of a server's BMC.
    """

    ask: Callable[[str], Bmc]
    clock: Clock
    _known: dict[str, tuple[Bmc, datetime]] = field(default_factory=dict, init=False, repr=False)
    _forgotten: int = field(default=0, init=False)

    def of(self, server: str) -> Bmc:
        """See `Credentials.of`."""
        asked, forgotten = self.clock.now(), self._forgotten
        bmc = self.ask(server)
        self._known.pop(server, None)
        # Else inventory may have answered what it was told to change right then.
        if forgotten == self._forgotten:
            while len(self._known) >= MOST:
                self._known.pop(next(iter(self._known), server), None)
            self._known[server] = (bmc, asked)
        return bmc

    def remembered(self, server: str) -> Bmc:
        """See `RememberedCredentials.remembered`."""
        known = self._known.get(server)
        if known is not None and self.clock.now() - known[1] < LONGEST:
            return known[0]
        return self.of(server)

    def forget(self, server: str) -> None:
        """See `RememberedCredentials.forget`."""
        self._forgotten += 1
        self._known.pop(server, None)
