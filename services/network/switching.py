# SPDX-License-Identifier: Apache-2.0
"""Between the records and the fabric: what is recorded is sent, what is read is recorded, outside of transactions."""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

from services.kernel.calls import Call
from services.kernel.errors import BmsError, Busy, Stale
from services.network.domain.attachments import Attachment, Link, Reading
from services.network.domain.networks import Network
from services.network.operations.attachments import (
    check_fence,
    observe,
    reading_of,
    readings_of,
)
from services.network.operations.looking import keep_same, record
from services.network.operations.sending import Sending, asked_of, asked_of_each, by_server, sending
from services.network.operations.store import Store
from services.network.operations.together import MOST_PORTS, Asked, Seen, awaits, observe_together
from services.network.ports import Controller, Fabric, Plug, PortFact
from services.runtime.database import Database, Transaction
from services.runtime.writing import impatient

_LOCKS = 1024
_ROUNDS = 4


class ToRead(NamedTuple):
    """A server whose ports somebody wants read."""

    call: Call
    server: str
    fence: int


Readings = list[tuple[str, Reading]]
"""Of the ports of a server, by port."""


class Switching:
    """Sends wishes to a fabric and records its readings.

    Args:
        store_of: the store of a transaction.
        controller: tells which private networks tenants can reach by now; None: it has no networks to be opened.
    """

    def __init__(
        self,
        database: Database,
        store_of: Callable[[Transaction], Store],
        fabric: Fabric,
        controller: Controller | None = None,
    ) -> None:
        self._database = database
        self._store_of = store_of
        self._fabric = fabric
        self._controller = controller
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def turn(self, server: str) -> AbstractContextManager[object]:
        """Keeps others in this process from asking and sending for *server* meanwhile."""
        # Not hash(): a run of the same seed meets the same neighbours behind one lock.
        return self._locks[zlib.crc32(server.encode()) % _LOCKS]

    def send(self, server: str, ports: Sequence[str], *, request_id: str, meant: Sending | None = None) -> None:
        """Writes to the fabric what is recorded of *ports* now, which may be younger than what the caller recorded.

        Two who send for one server must not leave the older wish on the switch: within this process they follow one
        another, by `turn`, and across processes each looks again after writing and repeats if they have moved on.

        Args:
            meant: what is recorded, of who recorded it within the same turn; None: it is looked up.

        Raises:
            Busy: the records changed again and again.
            PeerUnavailable: the fabric does not take it; the wish stays, the same request may be repeated.
        """
        for _ in range(_ROUNDS):
            if meant is None:
                meant = self._database.read(lambda tx: sending(self._store_of(tx), server, ports))
            if not meant.orders:
                return
            self._fabric.write(server, meant.orders, request_id=request_id)
            if self._database.read_one(lambda tx: asked_of(self._store_of(tx), server, ports)) == meant.asked:
                return
            meant = None
        msg = f"others keep changing what the ports of servers/{server} shall be"
        raise Busy(msg, remedy="Send the same request again.", name=f"servers/{server}")

    def send_each(self, asked: Sequence[tuple[Asked, Sending]]) -> list[bool]:
        """`send` of what was just recorded for several servers, each in its turn: whether it was sent.

        What was not is to be sent by `send`, whose refusal is its own.
        """
        sent = [self._written(one, meant) for one, meant in asked]
        of_server = {one.server: one.wishes for (one, _), was in zip(asked, sent, strict=True) if was}
        if not of_server:
            return sent
        now = self._database.read_one(lambda tx: asked_of_each(self._store_of(tx), of_server))
        return [was and now[one.server] == meant.asked for (one, meant), was in zip(asked, sent, strict=True)]

    def _written(self, one: Asked, meant: Sending) -> bool:
        try:
            if meant.orders:
                self._fabric.write(one.server, meant.orders, request_id=one.call.request_id)
        except BmsError:
            return False  # he is told when he sends by himself
        return True

    def read(self, call: Call, server: str, fence: int) -> list[tuple[str, Reading]]:
        """Reads every port of *server* from the fabric now, and records it; one reading by port.

        Raises:
            Stale: *fence* is lower than one seen before.
            PeerUnavailable: the controller of the fabric does not answer at all.
        """
        ports, highest = self._database.read_one(lambda tx: self._store_of(tx).ports_and_fence(server))
        if not ports and not fence:
            return []
        check_fence(server, fence, highest)
        pairs = list(zip(ports, self._facts(ports), strict=True))
        return self._database.transact(
            lambda tx: record(self._store_of(tx), call, server, pairs, fence, highest), label="network.observe"
        )

    def read_each(self, wanted: Sequence[ToRead]) -> list[Readings | None]:
        """`read` of several servers, of which a port each was asked to be something since it was last read.

        None for whoever must go alone: nothing of his was recorded. Whatever it raises, nothing was; or, if the
        database stopped answering, nothing or everything.

        Raises:
            PeerUnavailable: the controller of the fabric does not answer at all.
        """
        servers = sorted({one.server for one in wanted})
        known = by_server(self._database.read_one(lambda tx: self._store_of(tx).attachments_of(servers)))
        ports = [port for mine in known.values() if len(mine) <= MOST_PORTS and awaits(mine) for port in mine]
        facts: dict[str, list[tuple[Attachment, PortFact]]] = defaultdict(list)
        for port, fact in zip(ports, self._facts(ports), strict=True):
            facts[port.server].append((port, fact))
        seen = {
            place: Seen(one.call, one.server, facts[one.server], one.fence)
            for place, one in enumerate(wanted)
            if one.server in facts
        }

        def recorded(tx: Transaction) -> dict[int, Readings]:
            impatient(tx)
            return observe_together(self._store_of(tx), seen)

        found = self._database.transact(recorded, label="network.observe.together") if seen else {}
        return [found.get(place) for place in range(len(wanted))]

    def look_at(self, server: str, links: Sequence[Link]) -> list[tuple[str, Reading]]:
        """Reads the switch ports of *links* for *server*, and who is registered at each; nothing is recorded.

        Its own ports are read along: a controller that knows where it is plugged in tells the two apart by that.

        Raises:
            PeerUnavailable: the controller of the fabric does not answer at all.
        """

        def known(tx: Transaction) -> list[Attachment]:
            return self._store_of(tx).attachments(server)

        own = self._database.read(known)
        asked = {link.plug for link in links}
        plugs = tuple(_plug(server, link) for link in links)
        beside = tuple(plug for plug in _plugs(own) if plug.port not in asked)
        facts = self._fabric.read((*plugs, *beside))[: len(plugs)]

        def judged(tx: Transaction) -> list[tuple[str, Reading]]:
            store = self._store_of(tx)
            networks = store.networks_on({one for fact in facts if fact.config for one in fact.config.networks})
            # Asked after the reading: whoever came in between is named.
            return [
                (store.holder(link.plug), reading_of(fact, networks, 0))
                for link, fact in zip(links, facts, strict=True)
            ]

        return self._database.read(judged)

    def look(self, call: Call, servers: Mapping[str, int]) -> dict[str, list[tuple[str, Reading]]]:
        """`read` of many servers: one call of the fabric, and one transaction for all ports that show nothing new.

        A server of which a higher fence was seen than given is left out: another worker has it.

        Args:
            servers: the fence that is given for each.

        Raises:
            PeerUnavailable: the controller of the fabric does not answer at all.
        """

        def known(tx: Transaction) -> tuple[dict[str, int], list[Attachment]]:
            store, names = self._store_of(tx), sorted(servers)
            return store.fences(names), store.attachments_of(names)

        fences, ports = self._database.read(known) if servers else ({}, [])
        ours = {server for server, fence in servers.items() if not fence or fence >= fences.get(server, 0)}
        ports = [port for port in ports if port.server in ours]
        pairs = list(zip(ports, self._facts(ports), strict=True))
        if not pairs:
            return {server: [] for server in servers if server in ours}
        seen, moved = self._database.transact(
            lambda tx: keep_same(self._store_of(tx), pairs), label="network.observe_many"
        )
        for server in moved:
            mine = [pair for pair in pairs if pair[0].server == server]
            try:
                self._database.transact(
                    lambda tx, server=server, mine=mine: self._observe(  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                        tx, call, server, mine, servers[server]
                    ),
                    label="network.observe",
                )
            except Stale:
                ours.discard(server)
        return {server: seen.get(server, []) for server in servers if server in ours}

    def _observe(
        self, tx: Transaction, call: Call, server: str, facts: Sequence[tuple[Attachment, PortFact]], fence: int
    ) -> None:
        store = self._store_of(tx)
        observe(store, call, server, readings_of(store, facts), fence)

    def _facts(self, ports: Sequence[Attachment]) -> tuple[PortFact, ...]:
        """What the fabric shows at *ports*; of those on a private network also whether that is the site's alone still.

        Networks are asked for only where a port is on a private one, all of them at once.

        Raises:
            PeerUnavailable: the controller of the fabric does not answer.
        """
        facts = self._fabric.read(_plugs(ports)) if ports else ()
        there = {one for fact in facts if fact.config for one in fact.config.networks}
        if self._controller is None or not there:
            return facts
        networks = self._database.read(lambda tx: self._store_of(tx).networks_on(there))
        private = {ident for ident, network in networks.items() if network.network_class.private}
        opened = self._controller.opened(private) if private else {}
        return tuple(_told(fact, networks, opened) for fact in facts) if opened else facts


def _told(fact: PortFact, networks: Mapping[str, Network], opened: Mapping[str, str]) -> PortFact:
    """*fact*, saying that a private network it shows was *opened*."""
    config = fact.config
    found = next((ident for ident in sorted(config.networks) if ident in opened), "") if config is not None else ""
    if not found:
        return fact
    why = f"{networks[found].name} is the site's alone, and {opened[found]}"
    return replace(fact, breach="; ".join(part for part in (fact.breach, why) if part))


def _plugs(ports: Sequence[Attachment]) -> tuple[Plug, ...]:
    return tuple(_plug(one.server, one.link) for one in ports)


def _plug(server: str, link: Link) -> Plug:
    return Plug(server, link.plug, link.mac_address, link.port_group, link.switch_id)
