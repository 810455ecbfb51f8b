# SPDX-License-Identifier: Apache-2.0
"""A controller of its own knows of a server what inventory does, and whose it is."""

from __future__ import annotations

from dataclasses import replace

import structlog

from services.kernel.errors import BmsError
from services.lifecycle.domain.notes import project_of
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.peers import Inventory, Registered
from services.lifecycle.ports import Hardware, Target

_log = structlog.get_logger("bms.describing")
_UNTOUCHED = frozenset({State.ENROLLED, State.UNEXPECTED})


def is_news(server: Server) -> bool:
    """Whether there is something of *server*, at rest, that its controller was not told."""
    if server.state in _UNTOUCHED or server.unmanaged or server.closed or server.taken_elsewhere:
        return False
    return server.card_changed or project_of(server.instance) != server.holder_told


def described(server: Server, registered: Registered, hardware: Hardware) -> Server:
    """*server* after its controller was told of it.

    Raises:
        PeerUnavailable: the controller does not answer, or not now.
    """
    project = project_of(server.instance)
    hardware.describe(Target(server.uuid, server.fence), registered.card, project=project)
    return replace(server, holder_told=project, card_changed=False)


def described_at_rest(server: Server, inventory: Inventory, hardware: Hardware) -> Server:
    """*server* after its controller was told what is new; one that does not take it is told at the next look."""
    if not is_news(server):
        return server
    try:
        return described(server, inventory.server(server.uuid), hardware)
    except BmsError as error:
        _log.info("server.not_described", server=server.name, reason=error.reason, error=str(error))
        return replace(server, card_changed=True)
