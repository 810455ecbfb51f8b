# SPDX-License-Identifier: Apache-2.0
"""Consoles: whose may be asked for, and the record of each that was opened."""

from __future__ import annotations

from services.kernel.calls import Call
from services.kernel.errors import WrongState
from services.lifecycle.domain.findings import IN_USE
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.books import Books

_USES = (InstanceState.ACTIVE, InstanceState.STOPPED, InstanceState.RESCUED)


def server_of(books: Books, instance: Instance) -> Server:
    """The server whose console the tenant of *instance* may see: one that is his, and not being worked on in private.

    Raises:
        WrongState: it is not.
    """
    server = books.find_server(instance.server) if instance.server else None
    if server is None or instance.state not in _USES or server.state not in IN_USE or server.instance != instance.name:
        msg = f"{instance.name} is {instance.state.value}: its console is not its project's to see now"
        raise WrongState(
            msg,
            remedy="Wait until it is active, stopped or rescued.",
            subject=instance.name,
            state=instance.state.value,
        )
    return server


def opened(books: Books, call: Call, server: Server, kind: str) -> None:
    """Records that the console was opened: who, and what kind; never where."""
    event = note(
        server, server, "console.opened", call.now, actor=call.caller.subject, request_id=call.request_id,
        facts={"type": kind[:60]},
    )  # fmt: skip
    books.write(Change(server, (event,)), call.now, due=call.now)
