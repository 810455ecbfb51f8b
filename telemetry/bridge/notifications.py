# SPDX-License-Identifier: Apache-2.0
"""Ironic's versioned notifications: what each is, and what follows from it. Pure.

What the API sends (create, update, delete, maintenance_set) holds what was asked for, so only its ``end`` is true. What
the conductor sends (power, provision, console) holds the node as it was just saved, whatever the status: a deploy that
failed is as true as one that began.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

LONGEST: Final = 4 << 20
"""Bytes; a node with everything in it has 20 thousand, and a config drive may add to them."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TYPE = re.compile(r"baremetal\.([a-z_]{1,40})\.([a-z_]{1,40})\.([a-z_]{1,40})")

Kind = tuple[str, str, str]
"""Object, action and status: the parts of ``baremetal.node.power_set.end``."""


class Meaning(Enum):
    """What follows from a notification."""

    APPEARS = "a new node, as the body says"
    STANDS = "the node is as the body says"
    GOES = "the node is gone"
    PORT_STANDS = "the port is as the body says"
    PORT_GOES = "the port is gone"
    NOTHING = "nothing of a server changed"
    LOOK = "unknown: Ironic is asked how things are"


_CRUD = ("create", "update", "delete")
_ENDS = ("start", "end", "error")
_CONDUCTOR = {
    "power_set": _ENDS,
    "console_set": _ENDS,
    "console_restore": _ENDS,
    "provision_set": ("start", "end", "success", "error"),
    "power_state_corrected": ("success",),
}
NO_SERVER: Final = (
    "allocation", "chassis", "deploytemplate", "inspectionrule", "portgroup", "runbook", "trait", "volumeconnector",
    "volumetarget",
)  # fmt: skip
"""Objects that are no part of `IronicNode`, whichever events they have."""


def _table() -> Iterator[tuple[Kind, Meaning]]:
    for name in ("node", "port"):
        for action in (*_CRUD, "maintenance_set") if name == "node" else _CRUD:
            for status in _ENDS:
                yield (name, action, status), Meaning.NOTHING
    yield ("node", "create", "end"), Meaning.APPEARS
    yield ("node", "update", "end"), Meaning.STANDS
    yield ("node", "maintenance_set", "end"), Meaning.STANDS
    yield ("node", "delete", "end"), Meaning.GOES
    yield ("port", "create", "end"), Meaning.PORT_STANDS
    yield ("port", "update", "end"), Meaning.PORT_STANDS
    yield ("port", "delete", "end"), Meaning.PORT_GOES
    for action, statuses in _CONDUCTOR.items():
        for status in statuses:
            yield ("node", action, status), Meaning.STANDS
    for name in NO_SERVER:
        for action in _CRUD:
            for status in _ENDS:
                yield (name, action, status), Meaning.NOTHING


TABLE: Final[Mapping[Kind, Meaning]] = MappingProxyType(dict(_table()))
"""Every event type that Ironic emits (doc/source/admin/notifications.rst, api/controllers/v1/notification_utils.py)."""


class PoisonError(Exception):
    """A message that is no notification of Ironic's. Says why, and repeats nothing of it: a body may hold secrets."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification.

    Attributes:
        type: such as ``baremetal.node.power_set.end``.
        meaning: what follows from it.
        publisher: ``publisher_id``: the process that sent it.
        id: ``message_id``; may be empty.
        uuid: of the thing; empty only where nothing follows from it.
        node: of the node that the thing belongs to, or is; may be empty for a port.
        said: when it was sent, by the sender's clock.
        data: ``ironic_object.data``, as it came.
    """

    type: str
    meaning: Meaning
    publisher: str
    id: str
    uuid: str
    node: str
    said: datetime | None
    data: Mapping[str, Any]


def meaning_of(kind: Kind) -> Meaning:
    """What follows from an event of *kind*, known or not."""
    if kind[0] in NO_SERVER:
        return Meaning.NOTHING
    # A later Ironic may tell more of nodes and ports. Whether its body is wish or fact we cannot know.
    unknown = Meaning.LOOK if kind[0] in ("node", "port") else Meaning.NOTHING
    return TABLE.get(kind, unknown)


def parse(body: bytes) -> Notification:
    """The notification in *body*.

    Raises:
        PoisonError: there is none.
    """
    if len(body) > LONGEST:
        msg = f"it has {len(body)} bytes, more than {LONGEST}"
        raise PoisonError(msg)
    message = _unwrapped(body)
    type_ = message.get("event_type")
    found = _TYPE.fullmatch(type_) if isinstance(type_, str) else None
    if found is None or not isinstance(type_, str):
        msg = "it has no event_type of Ironic's"
        raise PoisonError(msg)
    meaning = meaning_of((found[1], found[2], found[3]))
    payload = message.get("payload")
    data = payload.get("ironic_object.data") if isinstance(payload, dict) else None
    if not isinstance(data, dict):
        if meaning is not Meaning.NOTHING:
            msg = "it has no payload"
            raise PoisonError(msg)
        data = {}
    uuid, node = uuid_of(data.get("uuid")), uuid_of(data.get("node_uuid"))
    if not uuid and meaning is not Meaning.NOTHING:
        msg = f"it names no {found[1]}"
        raise PoisonError(msg)
    return Notification(
        type=type_,
        meaning=meaning,
        publisher=_text(message.get("publisher_id")),
        id=_text(message.get("message_id")),
        uuid=uuid,
        node=uuid if found[1] == "node" else node,
        said=moment(message.get("timestamp")),
        data=data,
    )


def uuid_of(value: object) -> str:
    """*value* as a UUID in its one form; empty if it is none."""
    text = value.lower() if isinstance(value, str) else ""
    return text if _UUID.fullmatch(text) else ""


def moment(value: object) -> datetime | None:
    """A time as Ironic writes it, with a zone or, meaning UTC, without; None if it is none."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _unwrapped(body: bytes) -> dict[str, Any]:
    try:
        outer = json.loads(body)
        # oslo.messaging's format 2.0 has one JSON document in another; 1.0 has not.
        inner = json.loads(outer["oslo.message"]) if isinstance(outer, dict) and "oslo.message" in outer else outer
    except (ValueError, TypeError, RecursionError):
        msg = "it is not JSON"
        raise PoisonError(msg) from None
    if not isinstance(inner, dict):
        msg = "it is no JSON object"
        raise PoisonError(msg)
    return inner


def _text(value: object) -> str:
    return value[:255] if isinstance(value, str) else ""
