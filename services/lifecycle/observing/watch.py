# SPDX-License-Identifier: Apache-2.0
"""The loops that observe, put together; none has begun."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.clock import Clock
from services.lifecycle.guests.watching import Guests, Hosts
from services.lifecycle.observing.brokers import Observing
from services.lifecycle.observing.listening import Listening
from services.lifecycle.observing.lister import Lister
from services.lifecycle.observing.nodes import Nodes
from services.lifecycle.observing.observer import Observer
from services.lifecycle.store import Store
from services.runtime.database import Database
from services.runtime.loop import Loop


@dataclass(frozen=True, slots=True)
class Watch:
    """What observes a controller.

    Attributes:
        listing: the loop that lists and judges.
        hearing: the loop that listens to notifications; None: nobody told where they are.
        asking: the loop that asks Nova what is on servers that others took; None: there is no Nova.
    """

    lister: Lister
    listing: Loop
    listener: Listening | None = None
    hearing: Loop | None = None
    asking: Loop | None = None

    def start(self) -> None:
        """Begins: to listen first, so that what changes while all is listed is told."""
        if self.hearing is not None:
            self.hearing.start()
        self.listing.start()
        if self.asking is not None:
            self.asking.start()

    def stop(self) -> None:
        """Ends after what is under way."""
        if self.asking is not None:
            self.asking.stop()
        if self.hearing is not None:
            self.hearing.stop()
        if self.listener is not None:
            self.listener.close()
        self.listing.stop()
        self.lister.close()


def watch(
    database: Database, store: Store, nodes: Nodes, clock: Clock, how: Observing, hosts: Hosts | None = None
) -> Watch:
    """Puts the loops together; *hosts* is asked what others run on servers that they took."""
    asking = None
    if hosts is not None:
        asking = Loop("guests", Guests(database, store, hosts, clock).tick, clock, most=how.every)
    observer = Observer(database, store, nodes, clock)
    lister = Lister(observer, nodes, every=how.every)
    listing = Loop("observing", lister.tick, clock, most=how.every)

    def list_anew() -> None:
        lister.list_anew()
        listing.wake()

    if how.brokers is None:
        return Watch(lister, listing, asking=asking)
    listener = Listening(how.brokers, observer, list_anew)
    # A tick waits for messages by itself; after a failure it comes again when it says.
    hearing = Loop("notifications", listener.tick, clock, most=how.every)
    return Watch(lister, listing, listener, hearing, asking)
