# SPDX-License-Identifier: Apache-2.0
"""The methods of LifecycleService on consoles: in, call, out. What is answered is neither kept nor logged."""

# ruff: noqa: N802 -- the methods have the contract's names

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import grpc

from bms.lifecycle.v1 import console_pb2
from services.kernel.errors import ConsoleNotOffered
from services.kernel.names import INSTANCE, SERVER
from services.lifecycle.domain.server import Server
from services.lifecycle.operations import consoles
from services.lifecycle.operations.books import Books
from services.lifecycle.ports import ConsoleSeen, Target
from services.lifecycle.store import Store
from services.runtime.context import current_call
from services.runtime.database import Database, Transaction

Context = grpc.ServicerContext


class Consoles(Protocol):
    """As much of the hardware as is asked here."""

    def console(self, target: Target) -> ConsoleSeen:
        """See `services.lifecycle.ports.Hardware.console`."""
        ...


class NoConsoles:
    """Hardware without any."""

    def console(self, target: Target) -> ConsoleSeen:
        """Refuses."""
        msg = f"nothing offers a console of servers/{target.server}"
        raise ConsoleNotOffered(msg, remedy="Use the BMC's own.", subject=f"servers/{target.server}")


class ConsoleMethods:
    """What LifecycleServicer serves of consoles."""

    _database: Database
    _store: Store
    _consoles: Consoles

    def GetServerConsole(self, request: console_pb2.GetServerConsoleRequest, context: Context) -> console_pb2.Console:
        """See the contract."""
        (uuid,) = SERVER.parse(request.name)
        return self._open(lambda books: books.server(uuid))

    def GetInstanceConsole(
        self, request: console_pb2.GetInstanceConsoleRequest, context: Context
    ) -> console_pb2.Console:
        """See the contract."""
        INSTANCE.parse(request.name)
        return self._open(lambda books: consoles.server_of(books, books.instance(request.name)))

    def _open(self, whose: Callable[[Books], Server]) -> console_pb2.Console:
        """Opens the console of the server that *whose* answers, then and still when it is open, and records that."""
        call = current_call()
        # No plain read: books keep what they show from others, which a transaction that only reads may not.
        server = self._database.transact(lambda tx: whose(self._store.within(tx)), label="console.look")
        found = self._consoles.console(Target(server.uuid, server.fence))

        def record(tx: Transaction) -> None:
            books = self._store.within(tx)
            consoles.opened(books, call, whose(books), found.type)

        self._database.transact(record, label="console")
        return console_pb2.Console(server=server.name, type=found.type, url=found.url)
