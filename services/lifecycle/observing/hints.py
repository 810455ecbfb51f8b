# SPDX-License-Identifier: Apache-2.0
"""Ironic's notifications, as far as they are of use: which node should be read now. Pure.

What a notification says is not believed: it is late, may come twice, and some never come. Its body may hold anything
that people put into a node, so nothing of it is repeated, in errors neither.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from services.kernel.errors import InvalidField

LONGEST = 1 << 20
"""Bytes; a node with everything in it has 20 thousand."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TYPE = re.compile(r"baremetal(\.[a-z_]{1,40}){1,4}")


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened to a node.

    Attributes:
        node: its UUID; "" if the notification is of no node, such as one of a chassis.
        type: such as ``baremetal.node.power_set.end``.
    """

    node: str
    type: str


def hint_of(body: bytes) -> Hint:
    """What *body* hints at.

    Raises:
        InvalidField: it is no notification of Ironic's; says why and repeats nothing of it.
    """
    if len(body) > LONGEST:
        raise _poison(f"it has {len(body)} bytes")
    message = _inner(body)
    type_ = message.get("event_type")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        raise _poison("it has no event_type of Ironic's")
    payload = message.get("payload")
    data = payload.get("ironic_object.data") if isinstance(payload, dict) else None
    if not isinstance(data, dict):
        raise _poison("it has no payload")
    node = data.get("uuid") if type_.startswith("baremetal.node.") else data.get("node_uuid")
    if node is None and not type_.startswith("baremetal.node."):
        return Hint("", type_)
    if not isinstance(node, str) or not _UUID.fullmatch(node.lower()):
        raise _poison("it names no node")
    return Hint(node.lower(), type_)


def _inner(body: bytes) -> dict[str, object]:
    try:
        outer = json.loads(body)
        # oslo.messaging wraps one JSON document in another.
        inner = json.loads(outer["oslo.message"]) if isinstance(outer, dict) and "oslo.message" in outer else outer
    except (ValueError, TypeError, RecursionError):
        raise _poison("it is not JSON") from None
    if not isinstance(inner, dict):
        raise _poison("it is no object")
    return inner


def _poison(why: str) -> InvalidField:
    return InvalidField("notification", why)
