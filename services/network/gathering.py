# SPDX-License-Identifier: Apache-2.0
"""Callers who wait at the same moment are served as one, where no controller has to be waited for.

Whoever leads records what all of them ask for in one transaction, and then writes it to the fabric for one after the
other; or he reads all of their ports, and records what he was shown in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bms.network.v1 import attachment_pb2
from services.network.operations.sending import Sending
from services.network.operations.store import Store
from services.network.operations.together import MOST_PORTS, Asked, attach_together
from services.network.switching import Readings, Switching, ToRead
from services.network.wire import attachments as attachment_wire
from services.runtime.database import Database, Transaction
from services.runtime.together import Together
from services.runtime.writing import Writer


class Request(NamedTuple):
    """One caller's request, and what it asks for."""

    message: attachment_pb2.AttachPortsRequest
    asked: Asked


class Recorded(NamedTuple):
    """The answer to a request.

    Attributes:
        sent: whether it was sent to the fabric; else the caller sends it.
        sending: what is recorded since nobody else had a turn; None: it is to be looked up.
    """

    response: attachment_pb2.AttachPortsResponse
    sending: Sending | None = None
    sent: bool = False


class Gathering:
    """Attaches and reads for many.

    Args:
        store: makes the store of a transaction.
        controlled: a controller is asked about the fabric: each waits for it by himself.
    """

    def __init__(
        self,
        database: Database,
        store: Callable[[Transaction], Store],
        writer: Writer,
        switching: Switching,
        *,
        controlled: bool,
    ) -> None:
        # SQLite's writers share their commits anyway, and wait for each other.
        self._gathers = database.dialect == "postgresql" and not controlled
        self._store = store
        self._writer = writer
        self._switching = switching
        self._attaching: Together[Request, Recorded] = Together(self.attached)
        self._reading: Together[ToRead, Readings] = Together(switching.read_each)

    def attach(self, request: Request, alone: Callable[[], Recorded]) -> Recorded:
        """Records one caller's wishes and sends them, together with others' if they wait too; or *alone*.

        It is the caller's turn to ask and send for his server (`Switching.turn`).
        """
        call, wishes = request.asked.call, request.asked.wishes
        if not self._gathers or call.validate_only or not 0 < len(wishes) <= MOST_PORTS:
            return alone()
        return self._attaching.ask(request, alone)

    def read(self, wanted: ToRead) -> Readings:
        """`Switching.read`, together with others if they wait too."""

        def alone() -> Readings:
            return self._switching.read(wanted.call, wanted.server, wanted.fence)

        return self._reading.ask(wanted, alone) if self._gathers else alone()

    def attached(self, requests: Sequence[Request]) -> list[Recorded | None]:
        """What several callers ask for, recorded and sent; None for whoever must go alone.

        Whatever it raises, nothing was recorded; or, if the database stopped answering, nothing or everything.
        """
        sending: dict[int, Sending] = {}

        def verb(tx: Transaction, new: Sequence[int]) -> dict[int, attachment_pb2.AttachPortsResponse]:
            found = attach_together(self._store(tx), {place: requests[place].asked for place in new})
            sending.update((place, one.sending) for place, one in found.items())
            return {place: attachment_wire.attached(one.ports) for place, one in found.items()}

        answers = self._writer.together([(one.asked.call, one.message) for one in requests], verb)
        there = [place for place, answer in enumerate(answers) if answer is not None]
        sent = self._switching.send_each([(requests[place].asked, sending[place]) for place in there])
        done = dict(zip(there, sent, strict=True))
        return [None if answer is None else Recorded(answer, sent=done[place]) for place, answer in enumerate(answers)]
