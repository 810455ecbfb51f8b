# SPDX-License-Identifier: Apache-2.0
"""What is wrong with whom a controller holds a server for. Pure.

A server in quarantine stays held for the instance before, by design: its hold ends when it is available. So it is
judged where it is offered, or not ours to use yet, and where an instance has the use of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from services.lifecycle.audits.leaks import Kind, Leak, mark_of
from services.lifecycle.audits.seen import ServerRow
from services.lifecycle.domain.states import State
from services.lifecycle.ports import HoldSeen

GRACE = timedelta(minutes=2)
"""How long a server must have been as it is: a worker's last call may still be on its way when its claim has ended."""

_FREE = frozenset({State.AVAILABLE, State.ENROLLED})
_IN_USE = frozenset({State.ACTIVE, State.RESCUED})


def of_hold(seen: HoldSeen, row: ServerRow | None, now: datetime) -> Iterator[Leak]:
    """What is wrong with *seen*; others' holds of servers that no instance of ours has are their own affair."""
    name = f"servers/{seen.server}"
    noted = f"the controller has our hold of it for {seen.instance or 'nobody'} ({seen.hold})"
    if row is None or row.server.closed:
        if seen.hold:
            heard = "has not heard of it" if row is None else "has closed its log"
            since = now if row is None else row.server.state_since
            mark = f"{seen} {row is None}"
            yield Leak(
                Kind.NODE_HOLD_OF_UNKNOWN_SERVER, name, f"{noted}, and lifecycle {heard}", since, mark,
                seen.instance, seen.server,
            )  # fmt: skip
        return
    server = row.server
    if server.intent is not None or now - server.state_since < GRACE:
        return

    def leak(kind: Kind, why: str, owner: str) -> Leak:
        return Leak(kind, name, why, server.state_since, f"{seen} {mark_of(server)}", owner, server.uuid)

    if server.instance and server.state in _IN_USE:
        if not seen.holder:
            why = f"{server.instance} has the server, and the controller holds it for nobody ({seen.state})"
            yield leak(Kind.NODE_HOLD_LOST, why, server.instance)
        elif seen.holder != seen.hold or seen.instance != server.instance:
            whom = seen.instance if seen.holder == seen.hold else f"{seen.holder}, which is none of ours"
            why = f"{server.instance} has the server, and the controller holds it for {whom}"
            yield leak(Kind.NODE_HELD_ELSEWHERE, why, server.instance)
    elif not server.instance and server.state in _FREE and seen.hold and seen.holder in ("", seen.hold):
        # Held for somebody else, the note beside it is of no use to anybody, and goes with our next hold.
        kind = Kind.NODE_HOLD_USED if seen.used else Kind.NODE_HOLD_OF_NOBODY
        used = f", and shows it used since ({seen.state})" if seen.used else ""
        yield leak(kind, f"{noted}{used}, and nobody of ours has it", seen.instance)
