# SPDX-License-Identifier: Apache-2.0
"""What inventory's log leads to: servers are enrolled, learned anew, and let go."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.lifecycle.domain import walk
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.plugging import cut_anew, replugged, unread, wiring
from services.lifecycle.domain.server import Intent, Port, Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.beginning import is_quarantining, let_go
from services.lifecycle.operations.books import Books

_UNTOUCHED = (State.ENROLLED, State.UNEXPECTED)


def enroll(books: Books, fresh: Server, new_id: str) -> bool:
    """Adds a server inventory has just registered, or opens the log of one that came back; learns what changed.

    False if where its ports are plugged in cannot all be learned yet, and must be told again: it is at work, or in use,
    or a port that is to go is on a network and is being cut first.

    Args:
        new_id: the identity of what is begun so that its ports are read where they are plugged in now.
    """
    now = fresh.state_since
    known = books.find_server(fresh.uuid)
    if known is None:
        opened = _enrolled(fresh)
        books.insert_server(opened.server, opened.events)
        return True
    if known.closed:
        back = replace(fresh, version=known.version, fence=known.fence, head=known.head)
        books.write(_enrolled(back), now, due=None)
        return True
    # One at work is told of anew when it comes to rest, whatever changed meanwhile.
    news = known.card_changed or (fresh.card_changed and known.intent is None)
    told = replace(known, display_name=fresh.display_name, unmanaged=fresh.unmanaged, card_changed=news)
    change, whole = _replugged(told, fresh.ports, now, new_id)
    if change.server != known:
        books.write(change, now, due=now)
    return whole


def close(books: Books, uuid: str, intent: Intent) -> bool:
    """Begins closing the log of a server that inventory deletes, unless it is at work; True once the log is closed.

    Until then it must be asked again: the server comes to rest, or whoever took its closing over does.
    """
    server = books.find_server(uuid)
    if server is None or server.closed:
        return True
    if server.instance or server.leases or (server.intent is not None and not is_quarantining(server)):
        # Addresses held until it is off come first, too: nobody could give them back any more.
        return False
    if not server.connected:
        intent = replace(intent, index=len(plan_of(intent.kind)) - 1)
    calm = let_go(books, intent.create_time, server, None, "the server was deleted from inventory")
    change = walk.begin(calm, None, intent, intent.create_time)
    books.write(change, intent.create_time, due=intent.create_time)
    return False


def _enrolled(server: Server) -> Change:
    facts = {"name": server.display_name}
    event = note(server, server, "server.enrolled", server.state_since, actor="inventory", facts=facts)
    return Change(server, (event,))


def _replugged(server: Server, told: tuple[Port, ...], now: datetime, new_id: str) -> tuple[Change, bool]:
    """*server* with its ports as *told*, as far as it can take them, and whether that is all."""
    ports, whole = replugged(server.ports, told)
    taken = replace(server, ports=ports)
    if server.intent is None and (server.state in _UNTOUCHED or wiring(ports) == wiring(server.ports)):
        return Change(taken), whole
    if ports == server.ports:
        return Change(server), whole
    if server.intent is None and server.state is State.AVAILABLE and not server.connected:
        return _cutting(taken, IntentKind.REPLUG, now, new_id), whole
    if server.intent is None and server.state is State.QUARANTINED:
        return _cutting(taken, IntentKind.QUARANTINE, now, new_id), whole
    if is_quarantining(server) or (server.intent is not None and server.intent.step.name is StepName.DETACH_ALL):
        cut, events = cut_anew(taken, now)
        return Change(cut, tuple(events)), whole
    # A step at work has its own view of the ports, and what an instance has is not touched.
    return Change(server), False


def _cutting(server: Server, kind: IntentKind, now: datetime, new_id: str) -> Change:
    intent = Intent(new_id, kind, "", "inventory", now, now)
    return walk.begin(replace(server, ports=unread(server.ports)), None, intent, now)
