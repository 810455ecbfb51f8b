# SPDX-License-Identifier: Apache-2.0
"""A message as it came: elements with their attributes, of any generator and without its schema.

Values stay text until asked for, as in the reference collector, which stores XML and reads no numbers.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple, TypeAlias, Union

from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.text import escaped

Plain: TypeAlias = Union[bool, int, float, str, list["Plain"], dict[str, "Plain"], None]  # noqa: UP007 - forward references
"""A value without its XML: structs and maps are dicts, lists and sets are lists."""

_WHOLE: Final = frozenset({"byte", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "ipv4"})
_NUMBERS: Final = frozenset({"double", "float"})
_SHORT: Final = 200
"""Characters of names and attributes that are worth remembering how to write."""


class Node(NamedTuple):
    """An element: its name, attributes in order, child elements, and text (un-escaped; blank text is empty)."""

    name: str
    attributes: dict[str, str]
    children: tuple[Node, ...]
    text: str

    @property
    def type(self) -> str:
        """The ``type`` attribute; empty where there is none, as on a struct's own element."""
        return self.attributes.get("type", "")

    @property
    def key(self) -> str | None:
        """The object table that this field's value is a key of, or None."""
        return self.attributes.get("key") if self.type != "" else None

    def child(self, name: str) -> Node | None:
        """The first child called *name*."""
        return next((child for child in self.children if child.name == name), None)


def stored_xml(node: Node) -> str:
    """*node* as a collector stores it: without identifiers, empty elements closed in themselves."""
    parts: list[str] = []
    _write(node, parts)
    return "".join(parts)


def plain(node: Node) -> Plain:
    """The value of a field.

    Raises:
        DecodeError: the text is not of the announced type, or a container is not as long as it says.
    """
    match node.type:
        case "struct":
            return fields(_only(node))
        case "list" | "set" as kind:
            return _sequence(_named(node, kind))
        case "map":
            return _mapping(_named(node, "map"))
        case "sandesh":
            return fields(node)
        case type_:
            return _scalar(node, type_)


def fields(node: Node) -> dict[str, Plain]:
    """The fields of a message's or struct's own element, by name. For the errors see `plain`."""
    return {child.name: plain(child) for child in node.children}


def _write(node: Node, parts: list[str]) -> None:
    name, attributes, children, text = node
    pairs = tuple(attributes.items())
    short = len(name) + sum(map(len, chain.from_iterable(pairs))) <= _SHORT
    begun = (_begun if short else _begun.__wrapped__)(name, pairs)
    if not children:
        parts.append(f"{begun}>{escaped(text)}</{name}>" if text else f"{begun}/>")
        return
    parts.append(f"{begun}>{escaped(text)}")
    for child in children:
        _write(child, parts)
    parts.append(f"</{name}>")


@lru_cache(maxsize=4096)
def _begun(name: str, attributes: tuple[tuple[str, str], ...]) -> str:
    """The begin of an element up to its last attribute. Generators write the same few hundred again and again."""
    written = (
        f' {attribute.rpartition("}")[2]}="{escaped(value).replace(chr(34), "&quot;")}"'
        for attribute, value in attributes
        if attribute != "identifier"
    )
    return f"<{name}{''.join(written)}"


def _scalar(node: Node, type_: str) -> Plain:
    if node.children:
        msg = f"{node.name}: a {type_ or 'scalar'} has no parts"
        raise DecodeError(msg)
    return _convert(node.name, type_, node.text)


def _convert(name: str, type_: str, text: str) -> Plain:
    try:
        if type_ in _WHOLE:
            return int(text)
        if type_ in _NUMBERS:
            return float(text)
    except ValueError:
        msg = f"{name}: the text is no {type_}"
        raise DecodeError(msg) from None
    if type_ == "bool":
        if text not in {"true", "false"}:
            msg = f"{name}: the text is no bool"
            raise DecodeError(msg)
        return text == "true"
    return text


def _sequence(container: Node) -> list[Plain]:
    type_ = container.attributes.get("type", "")
    _sized(container, len(container.children))
    return [_item(child, type_) for child in container.children]


def _mapping(container: Node) -> dict[str, Plain]:
    children = container.children
    if len(children) % 2:
        msg = f"{container.name}: a key without a value"
        raise DecodeError(msg)
    _sized(container, len(children) // 2)
    type_ = container.attributes.get("value", "")
    return {key.text: _item(value, type_) for key, value in zip(children[::2], children[1::2], strict=True)}


def _item(node: Node, type_: str) -> Plain:
    match type_:
        case "struct":
            return fields(node)
        case "list" | "set":
            return _sequence(node)
        case "map":
            return _mapping(node)
        case _:
            return _scalar(node, type_)


def _sized(container: Node, count: int) -> None:
    if container.attributes.get("size") != str(count):
        msg = f"{container.name}: the size is not the number of elements"
        raise DecodeError(msg)


def _only(node: Node) -> Node:
    if len(node.children) != 1:
        msg = f"{node.name}: a struct field holds exactly one struct"
        raise DecodeError(msg)
    return node.children[0]


def _named(node: Node, kind: str) -> Node:
    only = _only(node)
    if only.name != kind:
        msg = f"{node.name}: a {kind} field holds a {kind}"
        raise DecodeError(msg)
    return only
