# SPDX-License-Identifier: Apache-2.0
"""Ports of several servers asked for, or read, in one transaction: about as many statements as for one of them.

Nobody is refused here: who would be is left out, nothing of his is written, and he goes his own way (`attach`,
`record`), where his refusal is his own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from services.kernel.calls import Call
from services.kernel.errors import BmsError, Stale
from services.kernel.events import Head
from services.network.domain.attachments import Attachment, Reading
from services.network.domain.wishes import Wish
from services.network.operations.attachments import (
    AskedFor,
    asked_for,
    check_fence,
    networks_of,
    news_of,
    readings_of,
    told,
)
from services.network.operations.sending import by_server
from services.network.operations.store import Store
from services.network.ports import PortFact

MOST_PORTS = 16
"""Of one server; one with more goes alone."""


class Asked(NamedTuple):
    """What a caller asks of a server's ports, as in `attach`."""

    call: Call
    server: str
    wishes: Mapping[str, Wish]
    project: str
    fence: int


class Seen(NamedTuple):
    """What a caller was shown of a server's ports, as in `record`."""

    call: Call
    server: str
    facts: Sequence[tuple[Attachment, PortFact]]
    fence: int


def awaits(ports: Iterable[Attachment]) -> bool:
    """Whether what is read of *ports* is news: one was asked to be something since it was last read."""
    return any(one.observed is None or one.observed.asked != one.asked for one in ports)


T = TypeVar("T", Asked, Seen)


class _Known(NamedTuple):
    """A server that is locked: the highest fence seen, the end of its stream, and its ports."""

    fence: int
    head: Head
    ports: Sequence[Attachment]


def attach_together(store: Store, asked: Mapping[int, Asked]) -> dict[int, AskedFor]:
    """Records what ports of several servers shall be; those who are left out are absent."""
    known = _known(store, asked.values())
    networks = store.hold_networks({name for one in asked.values() for name in networks_of(one.wishes)})
    found: dict[int, AskedFor] = {}
    for place, one, server in _first_of_each(asked, known):
        try:
            outcome = asked_for(one.call, server.ports, one.wishes, networks, one.project)
        except BmsError:
            continue  # he is told when he goes alone
        if len(outcome.changed) <= MOST_PORTS:
            found[place] = outcome
    if changes := [change for one in found.values() for change in one.changed]:
        store.save(changes)
    done = [(asked[place], [new for new, _ in one.changed]) for place, one in found.items()]
    _record(store, known, "port.requested", done)
    return found


def observe_together(store: Store, seen: Mapping[int, Seen]) -> dict[int, list[tuple[str, Reading]]]:
    """Records what was read of ports of several servers, and answers it; those who are left out are absent."""
    read = iter(readings_of(store, [fact for one in seen.values() for fact in one.facts]))
    mine = {place: list(islice(read, len(one.facts))) for place, one in seen.items()}
    known = _known(store, seen.values())
    news = {place: news_of(server.ports, mine[place]) for place, _, server in _first_of_each(seen, known)}
    if moved := [change for one in news.values() for change in one.moved]:
        store.save(moved)
    if stayed := [port for one in news.values() for port in one.stayed]:
        store.save_readings(stayed)
    _record(store, known, "port.observed", [(seen[place], one.changed) for place, one in news.items()])
    return {place: [(asked.link.port, reading) for asked, reading in mine[place]] for place in news}


def _known(store: Store, asked: Iterable[Asked | Seen]) -> dict[str, _Known]:
    """The servers that are asked for and were claimed before, kept from being changed by others, and their ports."""
    locked = store.lock_servers(sorted({one.server for one in asked}))
    ports = by_server(store.attachments_of(list(locked))) if locked else {}
    return {server: _Known(highest, head, ports.get(server, ())) for server, (highest, head) in locked.items()}


def _first_of_each(asked: Mapping[int, T], known: Mapping[str, _Known]) -> Iterator[tuple[int, T, _Known]]:
    """Those of *asked* who may do something to a server that is known; of two for one server the first."""
    met: set[str] = set()
    for place, one in asked.items():
        if one.server in known and one.server not in met:
            met.add(one.server)
            try:
                check_fence(one.server, one.fence, known[one.server].fence)
            except Stale:
                continue
            yield place, one, known[one.server]


def _record(
    store: Store, known: Mapping[str, _Known], kind: str, done: Sequence[tuple[Asked | Seen, Sequence[Attachment]]]
) -> None:
    """Appends the events that tell of ports, one for each server that has any, and keeps streams' ends and fences."""
    telling = [(one, ports) for one, ports in done if ports]
    events = [(told(one.call, one.server, kind, ports, one.fence), known[one.server].head) for one, ports in telling]
    heads = dict(zip((one.server for one, _ in telling), store.append_each(events) if events else (), strict=True))
    now = {
        one.server: (max(one.fence, known[one.server].fence), heads.get(one.server, known[one.server].head))
        for one, _ in done
    }
    changed = {server: end for server, end in now.items() if end != known[server][:2]}
    if changed:
        store.save_servers(changed)
