# SPDX-License-Identifier: Apache-2.0
"""A repair, and what is told of it in the log of its server."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.events import Event, Evidence
from services.kernel.names import INSTANCE
from services.lifecycle.audits.leaks import Kind, Leak
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair that was found safe.

    Attributes:
        leak: as it stands.
        server: the UUID of the server in whose log it is told; "": no log of ours, only the other service's.
        done: what was done, for people.
        evidence: what was read and answered for it.
        tell: whether inventory is told of the server anew.
        fence: of the claim under which it was done, which ends with it; None: it needed none.
    """

    leak: Leak
    server: str
    done: str
    evidence: Evidence | None = None
    tell: bool = False
    fence: int | None = None


def told(server: Server, leak: Leak, call: Call, type_: str, message: str, evidence: Evidence | None) -> Event:
    """What is told of a repair in the log of *server*; of an address, to whom the address was."""
    event = note(
        server,
        server,
        type_,
        call.now,
        actor=call.caller.subject,
        reason=leak.kind.value.upper(),
        message=message,
        evidence=evidence,
        facts={"resource": leak.resource, "owner": leak.owner},
        request_id=call.request_id,
    )
    if leak.kind is not Kind.LEASE_OF_ENDED_OWNER:
        return event
    return replace(event, instance=leak.owner, project=INSTANCE.parse(leak.owner)[0])
