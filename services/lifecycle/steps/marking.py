# SPDX-License-Identifier: Apache-2.0
"""Flags of a controller of its own that follow ours, so that whoever else looks there leaves the server alone."""

from __future__ import annotations

from dataclasses import replace

import structlog

from services.kernel.errors import BmsError
from services.lifecycle.domain.findings import IN_USE
from services.lifecycle.domain.server import Server
from services.lifecycle.ports import Hardware, Marks, Target

_log = structlog.get_logger("bms.marking")


def wanted_marks(server: Server) -> Marks:
    """What its controller should show of *server*."""
    # Ironic protects what is deployed alone; nor is there anything to protect elsewhere.
    guarded = server.protected and server.state in IN_USE
    return Marks(
        retired=server.retired,
        retired_reason=server.retired_reason,
        protected=guarded,
        protected_reason=server.protected_reason if guarded else "",
    )


def marked(server: Server, hardware: Hardware) -> Server:
    """*server*, at rest, after its controller was told what is new.

    One that does not take it is told again at the next look: nothing of ours waits for that.
    """
    wanted = wanted_marks(server)
    if wanted == server.marked:
        return server
    try:
        hardware.mark(Target(server.uuid, server.fence), wanted)
    except BmsError as error:
        _log.info("server.not_marked", server=server.name, reason=error.reason, error=str(error))
        return server
    return replace(server, marked=wanted)
