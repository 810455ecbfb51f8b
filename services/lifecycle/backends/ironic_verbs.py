# SPDX-License-Identifier: Apache-2.0
"""What operators have Ironic do beside a server's way through the pool: clean steps by hand, flags of nodes.

Of the flags, those that we set are noted in ``extra.bms.marks``; what somebody else set stays as he left it.
"""

from __future__ import annotations

import json
import re

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node
from services.lifecycle.ports import JobKind, JobOrder, Marks

_ARGS = re.compile(r"""['"]?args['"]?\s*[:=].*""", re.DOTALL)


def clean_steps(order: JobOrder) -> dict[str, object]:
    """What Ironic is told with the verb ``clean``; it may name arguments that are nobody else's business."""
    return {
        "clean_steps": [
            {"interface": step.interface, "step": step.step, "args": json.loads(step.args)} for step in order.steps
        ]
    }


def without_args(text: str) -> str:
    """What Ironic says of a step, without the arguments that it repeats: they are shown to nobody."""
    return _ARGS.sub("'args': ...", text)


def mark(api: IronicApi, server: str, marks: Marks, deadline: Deadline) -> None:
    """Sets ``retired`` and ``protected`` as *marks* says. An available node is led to manageable to be retired.

    Raises:
        PeerUnavailable: Ironic is not there yet.
    """
    node = api.settled(server, deadline)
    if marks.retired and node.state == "available":
        # Ironic retires no node that is available: Nova may have it in the next moment.
        api.provision(server, "manage", deadline)
        while node.state == "available" and deadline.pause():
            node = api.settled(server, deadline)
        if node.state == "available":
            msg = "Ironic still leads the node out of available"
            raise PeerUnavailable(msg, peer="ironic")
    wanted = {"retired": marks.retired, "protected": marks.protected}
    ours = _ours(node)
    changes: list[dict[str, object]] = []
    for name, reason in (("retired", marks.retired_reason), ("protected", marks.protected_reason)):
        if wanted[name]:
            changes += [_set(f"/{name}", value=True), _set(f"/{name}_reason", value=reason)]
        elif name in ours:
            changes.append(_set(f"/{name}", value=False))
    if changes:
        marked = sorted(name for name, is_on in wanted.items() if is_on)
        changes.append(_set("/extra/bms", value={**node.ours, "marks": marked}))
        api.call("PATCH", f"/nodes/{server}", deadline, changes)


def unmark(api: IronicApi, node: Node, order: JobOrder, verb: str, deadline: Deadline) -> Node:
    """*node* without the flags of ours that would have Ironic refuse *verb*; it is marked anew when it rests."""
    hindering = set()
    if order.kind is not JobKind.RESCUE:
        hindering.add("protected")
    if verb == "provide":
        hindering.add("retired")
    gone = sorted(hindering & set(_ours(node)))
    if not gone or not verb:
        return node
    server = node.text("uuid")
    left = {**node.ours, "marks": sorted(set(_ours(node)) - hindering)}
    changes = [*(_set(f"/{name}", value=False) for name in gone), _set("/extra/bms", value=left)]
    api.call("PATCH", f"/nodes/{server}", deadline, changes)
    return api.node(server, deadline)


def is_retired(node: Node) -> bool:
    """Whether we had it retired: Ironic leads it to manageable where it leads others to available."""
    return "retired" in _ours(node)


def _ours(node: Node) -> list[str]:
    found = node.ours.get("marks")
    return [str(one) for one in found] if isinstance(found, list) else []


def _set(path: str, *, value: object) -> dict[str, object]:
    return {"op": "add", "path": path, "value": value}
