# SPDX-License-Identifier: Apache-2.0
"""The verbs that lead a server out of the site: retired, it is offered to nobody, and comes to rest as enrolled."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.calls import Call
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.beginning import not_at_work
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import short_enough


def retire(books: Books, call: Call, uuid: str, reason: str) -> Server:
    """Offered to nobody from now on; available -> enrolled, elsewhere what runs on it, or is done to it, goes on."""
    short_enough(reason, "reason")
    server = books.server(uuid)
    retired = replace(server, retired=True, retired_reason=reason)
    told = note(
        server, retired, "server.retired", call.now,
        actor=call.caller.subject, request_id=call.request_id, message=reason,
    )  # fmt: skip
    if server.state is not State.AVAILABLE:
        return books.write(Change(retired, (told,)), call.now, due=call.now).server
    not_at_work(server)
    left = retired.moved(Trigger.KEPT, call.now)
    moved = note(
        retired, left, "server.state_changed", call.now,
        actor=call.caller.subject, request_id=call.request_id, reason=Trigger.KEPT.value.upper(),
    )  # fmt: skip
    return books.write(Change(left, (told, moved)), call.now, due=call.now).server


def unretire(books: Books, call: Call, uuid: str) -> Server:
    """Like any other again; one that is enrolled has to be provided."""
    server = books.server(uuid)
    kept = replace(server, retired=False, retired_reason="")
    told = note(server, kept, "server.unretired", call.now, actor=call.caller.subject, request_id=call.request_id)
    return books.write(Change(kept, (told,)), call.now, due=call.now).server
