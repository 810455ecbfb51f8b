# SPDX-License-Identifier: Apache-2.0
"""How the analytics API renders UVEs, from the XML that a collector stored.

Consumers were written against these answers, so the odd corners are kept: outer white space is gone, an
empty string is null, a list of size 0 is not shown, a set is null, elements of lists and values of maps stay text, an
attribute of 100,000 characters or more is dropped. Where the reference loses the rest of a UVE over one
attribute (lists of lists), this renders the attribute.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from telemetry.sandesh.aggregate import aggregate
from telemetry.sandesh.decode import parse_fragment
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.tree import Node

Json: TypeAlias = Any
"""A value of JSON."""

LARGEST: Final = 100_000
"""Attributes of this many characters of XML, and longer ones, are not shown."""

_WHOLE: Final = frozenset({"byte", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"})
_NUMBERS: Final = frozenset({"float", "double"})
# An attribute that contradicts its own type, or its other tellers, is not shown.
_CONTRADICTIONS: Final = (DecodeError, ValueError, KeyError, TypeError, AttributeError, IndexError)


def attribute_tree(xml: str) -> dict[str, Json] | None:
    """A stored attribute in the long form of the API, or None if it is not shown.

    Attributes of the element are ``@name``, its text ``#text``, its children are under their names, as
    a list where there are several (the form of the xmltodict library).
    """
    if len(xml) >= LARGEST or not xml.startswith("<"):
        return None
    try:
        tree = _tree(parse_fragment(xml))
    except DecodeError:
        return None
    if not isinstance(tree, dict) or "@type" not in tree:
        return None
    if tree["@type"] == "list":
        inner = tree.get("list")
        if not isinstance(inner, dict) or inner.get("@size") == "0":
            return None
        _as_lists(inner)
    return tree


def flatten(tree: Mapping[str, Json]) -> Json:
    """The short form of an attribute whose parts are of the types they claim; else it raises what it may."""
    match tree["@type"]:
        case "struct":
            return _struct(_inner(tree))
        case "list":
            return _list(tree["list"])
        case "map":
            return _map(tree["map"])
        case type_:
            return _scalar(type_, tree.get("#text"))


def flat_attribute(xml: str) -> Json:
    """The short form of a stored attribute; None also for one that is not shown."""
    tree = attribute_tree(xml)
    try:
        return None if tree is None else flatten(tree)
    except _CONTRADICTIONS:
        return None


class UveView:
    """One object as all its generators tell it: struct, attribute, generator."""

    def __init__(self) -> None:
        self._state: dict[str, dict[str, dict[str, dict[str, Json]]]] = {}

    def add(self, struct: str, generator: str, attributes: Mapping[str, str]) -> None:
        """Adds the stored attributes of one generator; ``__T`` among them, if it shall be shown.

        Args:
            struct: the type.
            generator: its name, as ``str`` of an `Identity` gives it.
            attributes: XML by name.
        """
        for name, xml in attributes.items():
            tree = attribute_tree(xml)
            if tree is not None:
                self._state.setdefault(struct, {}).setdefault(name, {})[generator] = tree

    def full(self, wanted: Mapping[str, Collection[str]] | None = None) -> dict[str, dict[str, Json]]:
        """The long form: each attribute with the generators that say so.

        Args:
            wanted: the structs to show, each with the attributes to show or none for all; everything if None.
        """
        return self._rendered(wanted, short=False)

    def flat(self, wanted: Mapping[str, Collection[str]] | None = None) -> dict[str, dict[str, Json]]:
        """The short form: plain values.

        Generators that disagree give ``[[value, generator…], [value, generator…]]``, unless the attribute says how
        to add them up (``aggtype``). For *wanted* see `full`.
        """
        return self._rendered(wanted, short=True)

    def _rendered(self, wanted: Mapping[str, Collection[str]] | None, *, short: bool) -> dict[str, dict[str, Json]]:
        shown: dict[str, dict[str, Json]] = {}
        for struct, attributes in self._state.items():
            if wanted is not None and struct not in wanted:
                continue
            chosen = wanted[struct] if wanted is not None else ()
            for name, told in attributes.items():
                if chosen and name not in chosen:
                    continue
                try:
                    value = _one(told, short=short)
                except _CONTRADICTIONS:
                    continue  # the others are shown
                shown.setdefault(struct, {})[name] = value
        return shown


def _one(told: Mapping[str, dict[str, Json]], *, short: bool) -> Json:
    added = aggregate(told)
    if isinstance(added, dict):
        return flatten(added) if short else added
    if not short:
        return added
    values = [[flatten(tree), *generators] for tree, *generators in added]
    return values[0][0] if len(values) == 1 else values


def _tree(node: Node) -> Json:
    tree: dict[str, Json] = {f"@{name}": value for name, value in node.attributes.items()}
    for child in node.children:
        value = _tree(child)
        if child.name not in tree:
            tree[child.name] = value
        elif isinstance(tree[child.name], list):
            tree[child.name].append(value)
        else:
            tree[child.name] = [tree[child.name], value]
    text = node.text.strip()
    if not tree:
        return text or None
    if text:
        tree["#text"] = text
    return tree


def _as_lists(inner: dict[str, Json]) -> None:
    """One element is a list too."""
    for name, value in inner.items():
        if not name.startswith("@") and not isinstance(value, list):
            inner[name] = [value]


def _inner(tree: Mapping[str, Json]) -> Json:
    names = [name for name in tree if not name.startswith(("@", "#"))]
    if len(names) != 1:
        msg = "a struct attribute holds one struct"
        raise DecodeError(msg)
    return tree[names[0]]


def _struct(inner: Json) -> dict[str, Json]:
    return {name: flatten(value) for name, value in inner.items()} if isinstance(inner, dict) else {}


def _list(inner: Mapping[str, Json]) -> list[Json]:
    names = [name for name in inner if not name.startswith(("@", "#"))]
    if not names:
        return []
    elements = inner[names[-1]]
    elements = elements if isinstance(elements, list) else [elements]
    return [_element(names[-1], element) for element in elements]


def _element(name: str, element: Json) -> Json:
    if not isinstance(element, dict):
        return element
    match name:
        case "list" | "set":
            return _list(element)
        case "map":
            return _map(element)
        case _:
            return _struct(element)


def _map(inner: Mapping[str, Json]) -> dict[str, Json]:
    size = int(inner["@size"])
    if not size:
        return {}
    keys = inner["element"]
    values = [name for name in inner if not name.startswith(("@", "#")) and name != "element"]
    if values:
        keys = keys if isinstance(keys, list) else [keys]
        parts = inner[values[-1]]
        parts = parts if isinstance(parts, list) else [parts]
        return {_key(keys[index]): _map_value(values[-1], parts[index]) for index in range(size)}
    # An empty value comes out as the word None: str() of it, in the reference.
    return {_key(keys[2 * index]): str(keys[2 * index + 1]) for index in range(size)}


def _map_value(name: str, value: Json) -> Json:
    return _element(name, value) if isinstance(value, dict) else {}


def _key(key: Json) -> str:
    return "null" if key is None else str(key)


def _scalar(type_: str, text: str | None) -> Json:
    if text is None:
        return None
    if type_ in _WHOLE or type_ in _NUMBERS:
        try:
            return int(text) if type_ in _WHOLE else float(text)
        except ValueError:
            msg = f"the text is no {type_}"
            raise DecodeError(msg) from None
    if type_ == "bool" and text in {"true", "false"}:
        return text == "true"
    return text
