# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON as trees of texts, read with suspicion.

Every value stays the text that stands in the file. YAML would take ``10:20:30:40:50:60`` for a number and ``no`` for a
truth; whoever reads a field knows what it holds and reads the text as that. Aliases are refused (a few hundred bytes of
them expand to gigabytes), and so are tags, keys that are there twice, and depth beyond reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn, TypeAlias

import yaml

Tree: TypeAlias = "str | list[Tree] | dict[str, Tree] | None"
"""A text, nothing, a list or a map."""

MAX_DEPTH = 16
MAX_VALUES = 2_000_000

_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_PLAIN_TAGS = frozenset({"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Malformed(ValueError):
    """The text is no such tree. The message says where and why, and repeats nothing of it."""


def from_yaml(text: str) -> Tree:
    """The tree of the one document in *text*.

    Raises:
        Malformed: it is not YAML, or more of it than we take.
    """
    events = _events(text)
    builder = _Builder(events)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            break
    else:
        return None
    tree = builder.node(next(events), 0)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            _refuse(event, "a second document begins; a file holds one")
    return tree


def from_json(text: str) -> Tree:
    """The tree of *text*.

    Raises:
        Malformed: it is not JSON, or more of it than we take.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        msg = f"line {error.lineno}, character {error.colno}: is not well-formed JSON"
        raise Malformed(msg) from None
    except RecursionError:
        msg = f"is nested deeper than {MAX_DEPTH} levels"
        raise Malformed(msg) from None
    return _texts(value, 0)


def _events(text: str) -> Iterator[Any]:  # yaml.Event, which its stubs do not tell apart
    try:
        for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            if count > MAX_VALUES:
                _refuse(event, f"there are more than {MAX_VALUES} values")
            yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, character {mark.column + 1}: " if mark else ""
        # The parser's own words may quote the file, passwords and all.
        hint = "look at the indentation, and put values that begin with * & ! % @ ` in quotes"
        msg = f"{where}is not well-formed YAML; {hint}"
        raise Malformed(msg) from None
    except yaml.YAMLError:
        msg = "is not well-formed YAML: it holds characters that YAML does not allow"
        raise Malformed(msg) from None


class _Builder:
    """Builds the tree from the parser's events, without its composer, which would follow aliases."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events

    def node(self, event: Any, depth: int) -> Tree:
        """The node that begins with *event*."""
        if isinstance(event, yaml.AliasEvent):
            _refuse(event, "an alias (*name) is not taken; write the value out, or in quotes if it begins with *")
        if depth > MAX_DEPTH:
            _refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None and event.tag not in _PLAIN_TAGS:
            _refuse(event, "a tag (!name) is not taken; put the value in quotes if it begins with !")
        if isinstance(event, yaml.ScalarEvent):
            value: str = event.value
            return None if event.implicit[0] and value in _NOTHING else value
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Tree] = []
            for inner in self._events:
                if isinstance(inner, yaml.SequenceEndEvent):
                    break
                items.append(self.node(inner, depth + 1))
            return items
        return self._map(depth)

    def _map(self, depth: int) -> Tree:
        pairs: dict[str, Tree] = {}
        for inner in self._events:
            if isinstance(inner, yaml.MappingEndEvent):
                break
            if not isinstance(inner, yaml.ScalarEvent):
                _refuse(inner, "a key is not a plain text")
            if inner.value in pairs:
                _refuse(inner, "a key is there twice in one map")
            pairs[inner.value] = self.node(next(self._events), depth + 1)
        return pairs


def _refuse(event: Any, description: str) -> NoReturn:
    mark = event.start_mark
    msg = f"line {mark.line + 1}, character {mark.column + 1}: {description}"
    raise Malformed(msg)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a key is there twice in one object"
        raise Malformed(msg)
    return found


def _no_number(_word: str) -> NoReturn:
    msg = "holds NaN or Infinity, which are not JSON"
    raise Malformed(msg)


def _texts(value: Any, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        msg = f"is nested deeper than {MAX_DEPTH} levels"
        raise Malformed(msg)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [_texts(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _texts(item, depth + 1) for key, item in value.items()}
    return value if value is None or isinstance(value, str) else str(value)
