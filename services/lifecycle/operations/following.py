# SPDX-License-Identifier: Apache-2.0
"""What inventory's log leads to: servers are enrolled, learned anew, and let go."""

from __future__ import annotations

from dataclasses import replace

from services.lifecycle.domain import walk
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.server import Intent, Port, Server
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.beginning import is_quarantining, let_go
from services.lifecycle.operations.books import Books


def enroll(books: Books, fresh: Server) -> None:
    """Adds a server inventory has just registered, or opens the log of one that came back; learns what changed."""
    now = fresh.state_since
    known = books.find_server(fresh.uuid)
    if known is None:
        opened = _enrolled(fresh)
        books.insert_server(opened.server, opened.events)
    elif known.closed:
        back = replace(fresh, version=known.version, fence=known.fence, head=known.head)
        books.write(_enrolled(back), now, due=None)
    else:
        told = replace(known, display_name=fresh.display_name, unmanaged=fresh.unmanaged)
        if known.intent is None:
            # Where it is plugged in may change only at rest; a step at work has its own view of the ports.
            told = replace(told, ports=_replugged(known, fresh))
        if told != known:
            books.write(Change(told), now, due=now)


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


def _replugged(known: Server, fresh: Server) -> tuple[Port, ...]:
    """The ports as inventory has them now, with what was read of those that are plugged in where they were."""
    before = {(port.name, port.switch_name, port.switch_port): port for port in known.ports}

    def seen(port: Port) -> Port:
        old = before.get((port.name, port.switch_name, port.switch_port))
        return replace(old, pxe_enabled=port.pxe_enabled, port_group=port.port_group) if old else port

    return tuple(seen(port) for port in fresh.ports)
