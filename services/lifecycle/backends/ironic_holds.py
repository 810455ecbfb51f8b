# SPDX-License-Identifier: Apache-2.0
"""Whom Ironic holds a node for: ``instance_uuid``, which Nova, allocations and we set by the same compare-and-set.

Ironic sets it under the node's lock, and only where none is set; whoever comes second is refused (409). What we set
stands beside it in ``extra.bms.hold``, written by the same request, so that what is ours can be told for ever.
docs/decisions/0048-who-holds-the-node.md says why it is not an allocation.
"""

from __future__ import annotations

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node, NoNode
from services.lifecycle.ports import TakenElsewhere

HOLDER = "instance_uuid"


def take(api: IronicApi, server: str, instance: str, request_id: str, deadline: Deadline) -> str:
    """Has Ironic hold the node of *server* for *instance* under *request_id*, which it answers.

    Raises:
        PeerUnavailable: not now.
        TakenElsewhere: somebody else was first.
    """
    node = api.settled(server, deadline)
    refuse_others(node)
    if node.text(HOLDER) == request_id:
        return request_id
    if node.text(HOLDER):
        # Ours, of a hold that was not given back: a database that was restored has forgotten it.
        _clear(api, node, dict(node.ours), deadline)
        node = api.settled(server, deadline)
        refuse_others(node)
    refuse_used(node)
    kept = {**node.ours, "hold": {"id": request_id, "instance": instance}}
    try:
        api.patch(server, {f"/{HOLDER}": request_id, "/extra/bms": kept}, deadline)
    except PeerUnavailable:
        # Refused because somebody was quicker, or because of a lock that stays: the row says which.
        now = api.node(server, deadline)
        refuse_others(now)
        if now.text(HOLDER) != request_id:
            raise
    return request_id


def let_go(api: IronicApi, server: str, deadline: Deadline) -> None:
    """Has Ironic hold the node for nobody, if it did for us; notes how it stands, as it is offered now."""
    try:
        node = api.settled(server, deadline)
    except NoNode:
        return
    kept = {key: value for key, value in node.ours.items() if key != "hold"}
    if node.state == "available":
        kept["offered"] = node.moved
    if is_ours(node):
        _clear(api, node, kept, deadline)
    elif kept != node.ours and node.state == "available":
        api.patch(server, {"/extra/bms": kept}, deadline)


def is_ours(node: Node) -> bool:
    """Whether Ironic holds *node* for us."""
    return bool(node.text(HOLDER)) and node.text(HOLDER) == (node.ours.get("hold") or {}).get("id")


def refuse_others(node: Node) -> None:
    """Refuses a node that Ironic holds for somebody else.

    Raises:
        TakenElsewhere: it does.
    """
    if node.text(HOLDER) and not is_ours(node):
        server = node.text("uuid")
        msg = f"Ironic holds servers/{server} for {node.text(HOLDER)}, which is none of ours ({node.state})"
        raise TakenElsewhere(msg, subject=f"servers/{server}", holder=node.text(HOLDER))


def refuse_used(node: Node) -> None:
    """Refuses a node that was used, and given back, since it was last offered by us.

    Raises:
        TakenElsewhere: it was.
    """
    offered = node.ours.get("offered")
    if offered and offered != node.moved:
        server = node.text("uuid")
        msg = f"Ironic's node of servers/{server} was used since it was last cleaned for us: it moved at {node.moved}"
        raise TakenElsewhere(msg, subject=f"servers/{server}")


def _clear(api: IronicApi, node: Node, kept: dict[str, object], deadline: Deadline) -> None:
    operations = [
        {"op": "remove", "path": f"/{HOLDER}"},
        {"op": "add", "path": "/extra/bms", "value": kept},
    ]
    api.call("PATCH", f"/nodes/{node.text('uuid')}", deadline, operations)
