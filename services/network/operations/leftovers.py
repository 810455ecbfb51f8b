# SPDX-License-Identifier: Apache-2.0
"""What bears our mark at a controller and stands for nothing that was asked for: judged against the records. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.kernel.calls import Call
from services.kernel.errors import NotFound, Stale, WrongState
from services.kernel.events import Event
from services.kernel.names import LEFTOVER, SERVER
from services.network.domain.attachments import Attachment
from services.network.domain.networks import Network
from services.network.operations.store import Store
from services.network.ports import Marked

GRACE = timedelta(minutes=10)
"""How long ago it must have been made, and its server's ports asked for anything: what is being made is no leftover."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One that stands for nothing.

    Attributes:
        removable: network has, or had, ports of its server: it can be no other manager's.
        wishes: its server's ports, and how often each was asked for something.
    """

    marked: Marked
    why: str
    removable: bool
    wishes: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """Its resource name."""
        return LEFTOVER.format(self.marked.ident)

    @property
    def etag(self) -> str:
        """Changes with what the controller shows of it, and with what was asked for."""
        return f'"{hashlib.sha256(repr((self.marked, self.wishes)).encode()).hexdigest()[:16]}"'


def leftovers(store: Store, marked: Sequence[Marked], now: datetime) -> list[Leftover]:
    """Those of *marked* that are left over."""
    servers = sorted({one.server for one in marked})
    if not servers:
        return []
    of_server: dict[str, list[Attachment]] = {}
    for attachment in store.attachments_of(servers):
        of_server.setdefault(attachment.server, []).append(attachment)
    known = store.fences(servers)
    names = {tag.network for ports in of_server.values() for one in ports for tag in one.wish.tags}
    networks = store.networks_named(names) if names else {}
    found = (judged(one, of_server.get(one.server, ()), networks, now, known=one.server in known) for one in marked)
    return [one for one in found if one is not None]


def judged(
    marked: Marked, ports: Sequence[Attachment], networks: Mapping[str, Network], now: datetime, *, known: bool
) -> Leftover | None:
    """*marked*, if it is left over.

    Args:
        ports: all of its server's.
        networks: those that *ports* were asked onto, by name, as far as they are there.
        known: whether there ever were ports of its server.
    """
    since = [one.request_time for one in ports] + ([marked.create_time] if marked.create_time else [])
    if any(now - moment < GRACE for moment in since):
        return None
    wishes = wishes_of(ports)
    if not ports:
        why = f"network has no ports of servers/{marked.server}" if known else f"servers/{marked.server} was never here"
        return Leftover(marked, f"{marked.kind} {marked.ident}: {why}", known, wishes)
    if not marked.unit:
        return None
    own = [one for one in ports if marked.unit in (one.link.port, one.link.mac_address, one.link.port_group)]
    if marked.shows:
        why = f"{marked.kind} {marked.ident} shows {marked.unit}, and servers/{marked.server} has nothing of that name"
        return None if own else Leftover(marked, why, removable=True, wishes=wishes)
    if any(not one.asked for one in own):
        # What was there when the server was found stays, whoever made it.
        return None
    wanted = {
        networks[tag.network].segment.fabric_id for one in own for tag in one.wish.tags if tag.network in networks
    }
    if marked.fabric_id in wanted:
        return None
    whose = f"{own[0].link.port} was asked to be {own[0].wish.port_class.value}" if own else "no port is called so"
    why = f"{marked.kind} {marked.ident} is for {marked.unit} of servers/{marked.server} in network {marked.fabric_id}"
    return Leftover(marked, f"{why}, and {whose}", removable=True, wishes=wishes)


def wishes_of(ports: Sequence[Attachment]) -> tuple[tuple[str, int], ...]:
    """`Leftover.wishes` of *ports*, all of a server's: another one when they were registered or asked anew."""
    return tuple((one.link.port, one.asked) for one in ports)


def check(leftover: Leftover | None, name: str, etag: str) -> Leftover:
    """*leftover*, if it is one that may be removed as *etag* says.

    Raises:
        NotFound: it is none.
        Stale: it has changed.
        WrongState: it may be another manager's.
    """
    if leftover is None:
        msg = f"{name} is not left over"
        raise NotFound(msg, remedy="Nothing needs to be done; list again to see what there is.", name=name)
    if etag and etag != leftover.etag:
        msg = f"{name} has changed since it was looked at: its etag is {leftover.etag}"
        raise Stale(msg, remedy="List again.", name=name)
    if not leftover.removable:
        msg = f"network never had ports of servers/{leftover.marked.server}: it may be another manager's"
        remedy = "Remove it at the controller, if no other manager works there."
        raise WrongState(msg, remedy=remedy, subject=name)
    return leftover


def tell(store: Store, call: Call, leftover: Leftover, type_: str) -> None:
    """Records *type_* of *leftover* in the log of its server."""
    marked = leftover.marked
    highest, head = store.claim(marked.server, 0)
    event = Event(
        stream=SERVER.format(marked.server),
        type=type_,
        time=call.now,
        actor=call.caller.subject,
        request_id=call.request_id,
        fence=highest,
        message=leftover.why,
        facts={"leftover": leftover.name, "kind": marked.kind, "fabric_id": marked.fabric_id},
    )
    store.save_server_head(marked.server, store.append(event, head))
