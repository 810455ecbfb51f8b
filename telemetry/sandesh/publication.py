# SPDX-License-Identifier: Apache-2.0
"""What a collector makes of a message: which object it is about, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.sandesh.decode import Decoded
from telemetry.sandesh.schema import Kind
from telemetry.sandesh.tree import Node, stored_xml


@dataclass(frozen=True, slots=True)
class UveUpdate:
    """A change of one UVE by one generator.

    Only the attributes given change; each is replaced whole. There is no unsetting of one attribute.

    Attributes:
        struct: the type, as the analytics API names it.
        table: the object table.
        key: the object's name in it.
        deleted: everything this generator said of the object in *struct* is gone.
        attributes: name and XML, in the order sent; the key is not among them.
        timestamp: microseconds since 1970; the ``__T`` of the UVE.
        sequence: the generator's own number of this update.
    """

    struct: str
    table: str
    key: str
    deleted: bool
    attributes: tuple[tuple[str, str], ...]
    timestamp: int
    sequence: int


def uve_update(message: Decoded) -> UveUpdate | None:
    """What *message* changes, or None if it is no UVE or alarm, or one that names no object.

    A UVE with its key and nothing else changes nothing and stays invisible.
    """
    if message.header.kind not in {Kind.UVE, Kind.ALARM}:
        return None
    data = message.body.child("data")
    if data is None or not data.children:
        return None
    struct = data.children[0]
    keys = [field for field in struct.children if field.key is not None]
    table = (keys[0].key or "") if keys else ""
    if not table:
        return None
    return UveUpdate(
        struct=struct.name,
        table=table,
        key=":".join(field.text for field in keys),
        deleted=any(field.name == "deleted" and field.text == "true" for field in struct.children),
        attributes=tuple((field.name, stored_xml(field)) for field in struct.children if field.key is None),
        timestamp=message.header.timestamp,
        sequence=message.header.sequence,
    )


def object_names(message: Node) -> tuple[tuple[str, str], ...]:
    """The objects that *message* is about, as (table, key), each once, in order."""
    found: dict[tuple[str, str], None] = {}
    waiting = [message]
    while waiting:
        field = waiting.pop()
        if "key" in field.attributes and (table := field.key):
            found[table, field.text] = None
        if field.children:
            waiting.extend(reversed(field.children))
    return tuple(found)
