# SPDX-License-Identifier: Apache-2.0
"""Reads the XML that Sandesh writers write, several times as fast as a parser that reads any XML.

It knows elements, attributes in double quotes, text and the five entities: all that both reference writers and ours
make of their values. At the first sign of anything else (a comment, CDATA, a namespace, an element closed in itself, a
carriage return, a forbidden character, a fault) it answers None, and the parser decides. So it refuses nothing, and
what it reads is what the parser would have read; a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, cast

from telemetry.sandesh.tree import Node

DEEPEST: Final = 200
"""Elements inside each other; below the parser's own limit."""
LONGEST: Final = 1024 * 1024
"""Bytes; above, the parser's own limits on text would be near."""

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_TAG: Final = re.compile(rf'({_NAME})((?: {_NAME}="[^"<>&\n\t]*")*)', re.ASCII)
_ATTRIBUTE: Final = re.compile(rf' ({_NAME})="([^"]*)"', re.ASCII)
_OTHER_ENTITY: Final = re.compile("&(?!amp;|apos;|lt;|gt;|quot;)")
_COMMON: Final = bytes([9, 10, *range(32, 256)])
# Makes a `Node` of a tuple: twice as fast as by its fields, and there are a hundred in a message.
_node: Final = cast("Callable[[type[Node], tuple[object, ...]], Node]", tuple.__new__)


class _Tag(NamedTuple):
    """The beginning of an element: its name, its attributes, and what stands behind the ``<`` of its end."""

    name: str
    attributes: dict[str, str]
    end: str


def read(data: bytes) -> Node | None:
    """The element that *data* is, or None where the parser must decide."""
    text = _plain(data)
    if text is None:
        return None
    entities = "&" in text
    before, *pieces = text.split("<")
    if before or not pieces:
        return None
    # Of each open element but the innermost: how it begins, and its children so far.
    held: list[tuple[_Tag | None, list[Node]]] = []
    tag: _Tag | None = None
    children: list[Node] = []
    end = ""
    leaf = False
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if leaf:
            # Its end, which was seen already.
            leaf = False
        elif piece == end and tag is not None:
            node = _node(Node, (tag.name, tag.attributes, tuple(children), ""))
            tag, children = held.pop()
            children.append(node)
            end = tag.end if tag else ""
        else:
            written, closed, inner = piece.partition(">")
            found = _known_tag(written) if len(written) <= _REMEMBERED else _tag(written)
            if found is None or not closed:
                return None
            if following == found.end:
                if entities and "&" in inner:
                    inner = _unescaped(inner)
                children.append(_node(Node, (found.name, found.attributes, (), "" if inner.isspace() else inner)))
                leaf = True
            else:
                if inner or len(held) == DEEPEST:
                    return None
                held.append((tag, children))
                tag, children, end = found, [], found.end
    return children[0] if len(children) == 1 and not held else None


def _plain(data: bytes) -> str | None:
    """*data* as text, or None if something in it is not to be read here."""
    if len(data) > LONGEST or data.translate(None, _COMMON) or b"]]>" in data or b"xmlns" in data:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if not data.isascii() and ("\ufffe" in text or "\uffff" in text):
        return None
    return None if "&" in text and _OTHER_ENTITY.search(text) else text


_REMEMBERED: Final = 256
"""Characters of a tag that is remembered: generators write the same few hundred again and again, none of them long."""


@lru_cache(maxsize=4096)
def _known_tag(written: str) -> _Tag | None:
    """`_tag`, remembered. What is given is shared: not to be changed."""
    return _tag(written)


def _tag(written: str) -> _Tag | None:
    """What stands between ``<`` and ``>`` at the beginning of an element; None if it is something else."""
    match = _TAG.fullmatch(written)
    if match is None:
        return None
    pairs = _ATTRIBUTE.findall(match[2])
    attributes = dict(pairs)
    if len(attributes) < len(pairs):
        return None
    return _Tag(match[1], attributes, f"/{match[1]}>")


def _unescaped(text: str) -> str:
    # The ampersand last: what it leaves behind is no entity.
    text = text.replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    return text.replace("&amp;", "&")
