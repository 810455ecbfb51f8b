# SPDX-License-Identifier: Apache-2.0
"""Having a controller let go of a server that it holds for us and nobody of ours has.

Ironic knows no compare-and-set for that. So the server is claimed first, like by a worker: nobody of ours reserves it
meanwhile; then it is looked at once more; and `Hardware.unreserve` leaves what somebody else holds by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.kernel.calls import Call
from services.kernel.clock import Clock
from services.kernel.errors import BmsError, Busy, Stale
from services.lifecycle.audits import rows
from services.lifecycle.audits.leaks import Leak
from services.lifecycle.audits.node_holds import of_hold
from services.lifecycle.audits.telling import Repair, told
from services.lifecycle.claims import Claim, claim_one, give_back
from services.lifecycle.domain.walk import Change
from services.lifecycle.ports import Hardware, Holds, HoldSeen, Target
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction

_CLAIM = timedelta(seconds=60)
"""As long as a worker's: the controller is asked three times at most."""


@dataclass(frozen=True, slots=True)
class Releases:
    """Lets go of holds, one at a time."""

    database: Database
    store: Store
    clock: Clock
    holds: Holds
    hardware: Hardware

    def release(self, call: Call, leak: Leak) -> Repair:
        """Has the controller let go of the server that *leak* is about.

        Raises:
            Busy: somebody is at work on the server.
            Stale: it is held otherwise by now.
        """
        seen = self._as_audited(leak)
        done = f"the controller holds it for nobody: it was for {leak.owner or 'nobody'}"
        if call.validate_only:
            return Repair(leak, leak.server, done)
        claim = self.database.transact(lambda tx: self._claim(tx, call, leak, seen), label="audit.repair_requested")
        try:
            if self._as_audited(leak) != seen:
                raise _changed(leak)
            self.hardware.unreserve(Target(leak.server, claim.fence))
        except BmsError:
            # A process that dies here leaves the claim to run out, and whoever takes it over looks at the server anew.
            self.database.transact(lambda tx: give_back(tx, "servers", claim, self.clock.now()), label="claim.back")
            raise
        return Repair(leak, leak.server, done, fence=claim.fence)

    def _as_audited(self, leak: Leak) -> HoldSeen:
        seen = self.holds.hold(leak.server)
        if seen is None:
            raise _changed(leak)
        return seen

    def _claim(self, tx: Transaction, call: Call, leak: Leak, seen: HoldSeen) -> Claim:
        """Claims the server and records what is about to be asked, if it still leaks as *leak* says."""
        now = self.clock.now()
        # Locked first: who takes it while it is judged would be overlooked.
        server = self.store.server(tx, leak.server, lock=True)
        row = rows.servers(tx, {leak.server}).get(leak.server)
        if leak.mark not in {found.mark for found in of_hold(seen, row, now)}:
            raise _changed(leak)
        event = told(server, leak, call, "audit.repair_requested", leak.why, None)
        self.store.write(tx, Change(server, (event,)), now, due=now)
        claim = claim_one(tx, leak.server, now, now + _CLAIM)
        if claim is None:
            msg = f"a worker looks at {server.name}"
            raise Busy(msg, remedy="Try again in a moment.", name=server.name)
        return claim


def _changed(leak: Leak) -> Stale:
    msg = f"{leak.resource} is held otherwise than it was a moment ago"
    return Stale(msg, remedy="Audit again.", name=leak.resource)
