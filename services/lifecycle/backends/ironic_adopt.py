# SPDX-License-Identifier: Apache-2.0
"""A server in use becomes a node that Ironic takes for deployed; so that it can be rebuilt, rescued and given back."""

from __future__ import annotations

from services.kernel.errors import WrongState
from services.lifecycle.backends import ironic_facts as facts
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node
from services.lifecycle.backends.ironic_gates import require_isolation
from services.lifecycle.ports import ImageOrder, NotNow

_ASKED = "adopting"
"""In ``extra.bms``: how the node stood when its adoption was asked for."""


def adopt(api: IronicApi, server: str, image: ImageOrder | None, deadline: Deadline) -> None:
    """Leads the node to ``active`` by Ironic's ``adopt``, which powers, writes and erases nothing.

    Raises:
        PeerUnavailable: Ironic is not through yet, or keeps the node apart from nobody.
        WrongState: Ironic could not, and says why; the node is as before.
    """
    while True:
        node = api.settled(server, deadline)
        require_isolation(node)
        asked = node.ours.get(_ASKED)
        if node.state == "active":
            _note(api, node, None, deadline)
            return
        if node.state == "available":
            # No clean follows, nor was one needed: it only goes back to where its adoption may begin.
            api.lead(node, "manage", deadline)
        elif node.state == "adopt failed" and asked is not None and asked != node.moved:
            _note(api, node, None, deadline)
            msg = f"Ironic cannot adopt servers/{server}: {node.error or 'it does not say why'}"
            raise WrongState(msg, remedy="Mend what Ironic names, and adopt it again.", subject=f"servers/{server}")
        elif node.state in ("manageable", "adopt failed"):
            info = facts.image(image) if image is not None else {}
            api.patch(server, {f"/instance_info/{key}": value for key, value in info.items()}, deadline)
            _note(api, node, node.moved, deadline)
            api.provision(server, "adopt", deadline)
        elif node.state not in ("adopting", "verifying"):
            msg = f"Ironic shows the node {node.state}, from where it adopts none"
            raise WrongState(msg, remedy="Look at the node in Ironic.", subject=f"servers/{server}", state=node.state)
        if not deadline.pause():
            msg = f"Ironic shows the node {node.state}; it is adopting it"
            raise NotNow("CONTROLLER_BUSY", msg, peer="ironic", server=server)


def _note(api: IronicApi, node: Node, moved: str | None, deadline: Deadline) -> None:
    left = {key: value for key, value in node.ours.items() if key != _ASKED}
    kept = left if moved is None else {**left, _ASKED: moved}
    if kept != node.ours:
        api.patch(node.text("uuid"), {"/extra/bms": kept}, deadline)
