# SPDX-License-Identifier: Apache-2.0
"""Consoles as Ironic offers them: opened when one is asked for, and closed before the node is anybody else's.

Ironic itself would start a console anew with the next deployment, at the same address: whoever had it from us could
look at the next tenant's. So what we opened, or only told of, is noted, and closed before the next job. The note has a
place of its own in ``extra``, since whoever asks for a console writes it while the worker writes ``extra.bms``.
"""

from __future__ import annotations

import json

from services.kernel.errors import ConsoleNotOffered, PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node
from services.lifecycle.ports import ConsoleSeen, JobKind, JobOrder
from services.runtime.openstack import Refused, shown

_NOTE = "bms_console"
_NONE = (400, 404, 405, 409, 501)


def open_console(api: IronicApi, server: str, deadline: Deadline) -> ConsoleSeen:
    """Where the node's console is, once Ironic has started it.

    Raises:
        ConsoleNotOffered: its driver has none, or it is not set up.
        PeerUnavailable: Ironic has not started it yet, or could not.
    """
    node = api.settled(server, deadline)
    if not _is_noted(node):
        # Before it can be open.
        api.patch(server, {f"/extra/{_NOTE}": True}, deadline)
    try:
        found = _look(api, server, deadline)
        if found is None:
            api.call("PUT", f"/nodes/{server}/states/console", deadline, {"enabled": True})
            while (found := _look(api, server, deadline)) is None and deadline.pause():
                node = api.settled(server, deadline)
                if node.text("last_error") and not node.busy:
                    break
    except Refused as error:
        if error.status in _NONE:
            raise _not_offered(server, shown(error.text)) from None
        raise
    if found is not None:
        return found
    why = node.error or "Ironic has not started it yet"
    msg = f"the console of servers/{server} does not open: {why}"
    raise PeerUnavailable(
        msg, remedy="Try again; if it lasts, look at the node in Ironic.", peer="ironic", server=server
    )


def close_console(api: IronicApi, node: Node, order: JobOrder, deadline: Deadline) -> Node:
    """*node* with the console that we opened closed, before the job of *order*; a rescue is the same tenant's."""
    if not _is_noted(node) or order.kind is JobKind.RESCUE:
        return node
    server = node.text("uuid")
    try:
        api.call("PUT", f"/nodes/{server}/states/console", deadline, {"enabled": False})
        while _look(api, server, deadline) is not None:
            if not deadline.pause():
                msg = f"Ironic has not closed the console of servers/{server} yet"
                raise PeerUnavailable(msg, peer="ironic", server=server)
    except Refused as error:
        if error.status not in _NONE:
            raise
        # Its driver has none: it was noted, and there was nothing to open.
    api.settled(server, deadline)
    api.patch(server, {f"/extra/{_NOTE}": False}, deadline)
    return api.node(server, deadline)


def _look(api: IronicApi, server: str, deadline: Deadline) -> ConsoleSeen | None:
    """The console as it is; None if it is closed. Its address must not come into any message."""
    found = json.loads(api.call("GET", f"/nodes/{server}/states/console", deadline, secret=True))
    info = found.get("console_info")
    if not found.get("console_enabled") or not isinstance(info, dict):
        return None
    return ConsoleSeen(str(info.get("type") or ""), str(info.get("url") or ""))


def _is_noted(node: Node) -> bool:
    return bool((node.data.get("extra") or {}).get(_NOTE))


def _not_offered(server: str, why: str) -> ConsoleNotOffered:
    msg = f"Ironic offers no console of servers/{server}" + (f": {why}" if why else "")
    return ConsoleNotOffered(
        msg,
        remedy=f"Give the node a console interface: openstack baremetal node set {server} --console-interface ...",
        subject=f"servers/{server}",
    )
