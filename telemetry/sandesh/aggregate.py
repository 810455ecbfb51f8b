# SPDX-License-Identifier: Apache-2.0
"""How several generators' word on one attribute becomes one: the ``aggtype`` annotations.

Values are in the long form of the analytics API (see `telemetry.sandesh.flat.attribute_tree`). They
must contradict neither their type nor each other; else a LookupError, TypeError or ValueError comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, TypeAlias

Tree: TypeAlias = dict[str, Any]

_WHOLE: Final = frozenset({"byte", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"})


def aggregate(told: Mapping[str, Tree]) -> Tree | list[list[Any]]:
    """One attribute, told by the generators that are the keys of *told* (at least one).

    Returns:
        a single value where the attribute says how to add up, otherwise the different values, each
        followed by its generators.
    """
    sample = next(iter(told.values()))
    match sample["@type"], sample.get("@aggtype"):
        case type_, "sum" if type_ in _WHOLE:
            return sample | {"#text": str(sum(int(tree["#text"]) for tree in told.values()))}
        case "struct", "sum":
            return _struct_sum(sample, told)
        case "list", "union":
            return _list_union(sample, told)
        case "map", "union":
            return _map_union(sample, told)
        case "list", "append":
            return _consolidated(_appended(sample, told))
        case _:
            return _distinct(told)


def _distinct(told: Mapping[str, Tree]) -> list[list[Any]]:
    found: dict[str, list[Any]] = {}
    for generator, tree in told.items():
        found.setdefault(_same(tree), [tree]).append(generator)
    return list(found.values())


def _struct_sum(sample: Tree, told: Mapping[str, Tree]) -> Tree:
    name = _content(sample)
    sums: dict[str, Tree] = {}
    for tree in told.values():
        for field, value in tree[name].items():
            if value["@type"] in _WHOLE:
                so_far = sums.setdefault(field, {"@type": value["@type"], "#text": "0"})
                so_far["#text"] = str(int(so_far["#text"]) + int(value["#text"]))
    return sample | {name: sums}


def _list_union(sample: Tree, told: Mapping[str, Tree]) -> Tree:
    name = _content(sample["list"])
    distinct = {_same(element): element for tree in told.values() for element in _as_list(tree["list"][name])}
    return sample | {"list": _list(sample, name, list(distinct.values()))}


def _appended(sample: Tree, told: Mapping[str, Tree]) -> Tree:
    name = _content(sample["list"])
    elements = [element for tree in told.values() for element in _as_list(tree["list"][name])]
    return sample | {"list": _list(sample, name, elements)}


def _consolidated(tree: Tree) -> Tree:
    """Adds up the numbers of structs that have the same value in their ``listkey`` field."""
    name = _content(tree["list"])
    elements = tree["list"][name]
    keys = [field for field, value in _fields(elements[0]) if value.get("@aggtype") == "listkey"]
    if not keys:
        return tree
    merged: dict[str, Tree] = {}
    for element in elements:
        first = merged.get(element[keys[0]]["#text"])
        if first is None:
            merged[element[keys[0]]["#text"]] = deepcopy(element)
            continue
        for field, value in _fields(element):
            if value["@type"] in _WHOLE and value.get("@aggtype") != "listkey":
                first[field]["#text"] = str(int(first[field]["#text"]) + int(value["#text"]))
    return tree | {"list": _list(tree, name, list(merged.values()))}


def _map_union(sample: Tree, told: Mapping[str, Tree]) -> Tree:
    """All entries, under keys that begin with their generator's name and a colon."""
    values = [name for name in sample["map"] if not name.startswith("@") and name != "element"]
    name = values[-1] if values else None
    elements: list[Any] = []
    parts: list[Any] = []
    for generator, tree in told.items():
        size = int(tree["map"]["@size"])
        given = _as_list(tree["map"]["element"]) if size else []
        for index in range(size):
            key = given[index if name else 2 * index]
            elements.append(f"{generator}:{json.dumps(key)}")
            if name:
                parts.append(_as_list(tree["map"][name])[index])
            else:
                elements.append(given[2 * index + 1])
    count = len(parts) if name else len(elements) // 2
    union = {"@key": "string", "@value": sample["map"]["@value"], "element": elements, "@size": str(count)}
    return sample | {"map": union | ({name: parts} if name else {})}


def _list(sample: Tree, name: str, elements: list[Any]) -> Tree:
    return {"@type": sample["list"]["@type"], "@size": str(len(elements)), name: elements}


def _content(tree: Tree) -> str:
    """The name of what is inside, which is not an attribute."""
    return [name for name in tree if not name.startswith(("@", "#"))][-1]


def _fields(element: object) -> list[tuple[str, Tree]]:
    return list(element.items()) if isinstance(element, dict) else []


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(tree: object) -> str:
    return json.dumps(tree, sort_keys=True)
