# SPDX-License-Identifier: Apache-2.0
"""Notices that a service's log is not the one that was read, and goes on with the one that is there.

A database restored from a backup takes the log's positions back. Asked for what is behind the position that was read,
it answers nothing at first; later it answers other events under the positions in between, which would be skipped in
silence. So the event that was read last must still be there, the very same. If it is not, the newest event that both
sides have is looked for; the log is read on from there, and what it no longer has is kept as lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from bms.event.v1 import event_pb2
from services.kernel.names import stable_uuid
from services.runtime.database import Transaction
from telemetry.events import Followed, server_of
from telemetry.peers import Log
from telemetry.refold import TELLING, refold
from telemetry.standing import Cause, Verdict, worsened
from telemetry.store import Store, bridge, places
from telemetry.store.places import Place
from telemetry.wording import LOG_RESTORED

PAGE: Final = 500
LEAP: Final = 10_000
"""How many of our positions are left out: more than watchers are ever told before it is kept. If we died with something
told and not kept, and the log lost it too, its position is given to no other event."""


class MovedError(Exception):
    """Somebody else has gone on with the log meanwhile; nothing was written."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The newest event that both sides have: our position of it and the service's; 0 and 0 if there is none."""

    position: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class Fork:
    """What was done.

    Attributes:
        text: a sentence.
        lost: how many events the log no longer has.
        servers: those of which something else is known now.
    """

    text: str
    lost: int
    servers: frozenset[str]


async def stands(log: Log, place: Place) -> bool:
    """Whether *log* still has the event that was read last.

    Raises:
        BmsError: the service does not answer, or refuses.
    """
    if not place.last:
        return True
    return holds(await log.list(place.at - 1, limit=1, wait=0), place)


def holds(answer: Sequence[Followed], place: Place) -> bool:
    """Whether *answer*, which a log gave, has the event that was read last."""
    return any(event.position == place.at and _same(event.stored, place.last) for event in answer)


async def agreed(log: Log, store: Store, service: str) -> Agreed:
    """The newest event that both sides have; costs a call for each 500 that one of them lacks.

    Raises:
        BmsError: the service does not answer, or refuses.
    """
    below: int | None = None
    while page := await store.read(lambda tx, below=below: places.standing(tx, service, below, PAGE)):  # type: ignore[misc]  # a default
        ours = [(kept, event_pb2.StoredEvent.FromString(kept.event).position) for kept in page]
        theirs = await _between(log, ours[-1][1], ours[0][1])
        for kept, at in ours:
            if at in theirs and _same(theirs[at], kept.event):
                return Agreed(kept.position, at)
        below = page[-1].position
    return Agreed()


async def _between(log: Log, first: int, last: int) -> dict[int, bytes]:
    """The events of *log* from position *first* to *last*."""
    found: dict[int, bytes] = {}
    after = first - 1
    while after < last and (answer := await log.list(after, limit=PAGE, wait=0)):
        found |= {event.position: event.stored for event in answer if event.position <= last}
        reached = max(event.position for event in answer)
        if reached <= after:
            break  # it repeats what it told, and has nothing behind it
        after = reached
    return found


def go_on(tx: Transaction, service: str, place: Place, common: Agreed, now: int) -> Fork:
    """Lets the log of *service* be read on behind *common*: what was read behind it is lost.

    Servers of which events are lost are what the others say of them; their isolation is UNKNOWN, if it is no worse.

    Raises:
        MovedError: the log's place is not *place* any more.
    """
    behind = place.position + LEAP
    shift = behind - common.at
    if not places.leap(tx, service, place, behind, shift, now):
        raise MovedError(service)
    streams = places.lose(tx, service, common.position)
    text = (
        f"the log of {service} does not go on where it was read to: it ends at, or is another one behind, position"
        f" {common.at} of {place.at}; {len(streams)} events are lost to it and stay here"
    )
    event_id = stable_uuid(LOG_RESTORED, service, str(place.position), str(shift))
    alarm: dict[str, Any] = {
        "name": f"logs/{service}",
        "event_id": event_id,
        "stream": f"logs/{service}",
        "event_type": LOG_RESTORED,
        "time": now,
        "actor": "telemetry",
        "reason": "LOG_RESTORED",
        "position": common.at,
        "detail": orjson.dumps({"service": service, "lost": len(streams), "read_to": place.at}).decode(),
        "text": f"ALARM: {text}",
    }
    bridge.add_outgoing(tx, service, [(behind, alarm)])
    cause = Cause(event_id, LOG_RESTORED, "log_restored", text)
    return Fork(text, len(streams), _relearn(tx, service, streams, cause, now))


def _relearn(tx: Transaction, service: str, streams: Sequence[str], cause: Cause, now: int) -> frozenset[str]:
    if service not in TELLING:
        return frozenset()
    before, after = refold(tx, {uuid for stream in streams if (uuid := server_of(stream)) and stream[-36:] == uuid})
    if service == "lifecycle":
        for uuid, known in after.items():
            # What was found broken was, whether or not the log still says so.
            said = worsened(before[uuid].standing, Verdict.UNKNOWN, now, cause)
            read = known.standing
            after[uuid] = replace(known, standing=replace(said, sequence=read.sequence, digest=read.digest))
    bridge.put_known(tx, after, set(after) if service == "inventory" else ())
    return frozenset(after)


def _same(one: bytes, other: bytes) -> bool:
    """Whether two StoredEvents are one event: by what is hashed, since fields beside it may come with a release."""
    left, right = event_pb2.StoredEvent.FromString(one), event_pb2.StoredEvent.FromString(other)
    return left.header == right.header and left.body_digest == right.body_digest
