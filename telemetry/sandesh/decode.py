# SPDX-License-Identifier: Apache-2.0
"""From a frame to a message, whoever made it.

What the reference collector takes, this takes: fields in any order, unknown fields and messages,
attributes in any order and with either quote, self-closing elements, the two optional header fields.
What closes a session there closes it here: NUL, broken XML, anything beside the two elements. Where
the reference crashes (an attribute after ``identifier`` in the header), this reads on.

What the usual writers write is read by `telemetry.sandesh.quick`; everything else by a parser, which is hardened: no
entities but the five of XML, no DTD, no network, libxml2's limits on depth and text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lxml import etree

from telemetry.sandesh import quick
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.header import Header
from telemetry.sandesh.schema import RANGES, Scalar
from telemetry.sandesh.text import ILLEGAL
from telemetry.sandesh.tree import Node

_PARSER: Final = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)

_HEADER: Final = "SandeshHeader"
# By identifier, as the reference reads it: the names are for people.
_TEXTS: Final = {
    1: "namespace",
    3: "module",
    4: "source",
    5: "context",
    11: "category",
    12: "node_type",
    13: "instance",
    14: "address",
}
_NUMBERS: Final = {
    2: ("timestamp", Scalar.I64),
    6: ("sequence", Scalar.I32),
    7: ("version_sig", Scalar.I32),
    8: ("kind", Scalar.I32),
    9: ("hints", Scalar.I32),
    10: ("level", Scalar.I32),
    15: ("pid", Scalar.I32),
}
_REQUIRED: Final = frozenset({"timestamp", "module", "source", "kind"})
_DEFAULTS: Final = {
    "node_type": "",
    "instance": "",
    "sequence": 0,
    "version_sig": 0,
    "hints": 0,
    "level": 0,
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message.

    Attributes:
        header: what stood in front of it.
        body: its element, named like the message type.
        repaired: characters that XML forbids, or bytes that are no UTF-8, were replaced by U+FFFD.
    """

    header: Header
    body: Node
    repaired: bool = False


def decode(frame: bytes, *, repair: bool = True) -> Decoded:
    """The message in a whole *frame*, envelope included.

    Args:
        frame: as `telemetry.sandesh.framing.FrameReader` gives it.
        repair: take messages with forbidden characters, as the reference collector does, and
            replace these. Neither reference writer checks its strings: refusing would throw a
            generator out again at every resync, for one bad string.

    Raises:
        DecodeError: the content is no message.
    """
    root, repaired = quick.read(frame), False
    if root is None:
        parsed, repaired = _parse(frame, repair=repair)
        root = _node(parsed)
    if root.name != "sandesh" or len(root.children) != 2:
        msg = "a frame holds a header and one message"
        raise DecodeError(msg)
    header, body = root.children
    if header.name != _HEADER:
        msg = f"{header.name} stands where the header belongs"
        raise DecodeError(msg)
    return Decoded(_header(header), body, repaired)


def parse_fragment(xml: str) -> Node:
    """A single element, such as a stored attribute.

    Raises:
        DecodeError: *xml* is not well formed.
    """
    try:
        return _node(etree.fromstring(xml.encode("utf-8", "surrogatepass"), _PARSER))
    except etree.XMLSyntaxError as error:
        raise DecodeError(_reason(error)) from None


def _parse(frame: bytes, *, repair: bool) -> tuple[etree._Element, bool]:
    try:
        return etree.fromstring(frame, _PARSER), False
    except etree.XMLSyntaxError as error:
        if not repair or b"\0" in frame:
            raise DecodeError(_reason(error)) from None
        reason = _reason(error)
    mended = ILLEGAL.sub("\ufffd", frame.decode("utf-8", "replace")).encode()
    if mended == frame:
        raise DecodeError(reason)
    try:
        return etree.fromstring(mended, _PARSER), True
    except etree.XMLSyntaxError as error:
        raise DecodeError(_reason(error)) from None


def _reason(error: etree.XMLSyntaxError) -> str:
    # The parser's own words quote what it read, and that may be a secret: say where, not what.
    return f"not well-formed XML, at column {error.offset}"


def _node(element: etree._Element) -> Node:
    name = element.tag
    if name.startswith("{"):
        msg = "an element in a namespace"
        raise DecodeError(msg)
    return Node(
        name,
        dict(element.items()),  # type: ignore[arg-type]  # bytes only where str was given as bytes
        # Most elements are leaves, and an iterator over nothing costs as much as one over something.
        tuple(map(_node, element)) if len(element) else (),
        _text(element),
    )


def _text(element: etree._Element) -> str:
    text = element.text
    # Blank text becomes empty, as in the reference.
    return "" if text is None or text.isspace() else text


def _header(element: Node) -> Header:
    found: dict[str, str | int] = {}
    for child in element.children:
        number = child.attributes.get("identifier", "")
        # A number we do not know is a field to come.
        identifier = int(number) if number.isascii() and number.isdigit() else 0
        if identifier in _TEXTS:
            found[_TEXTS[identifier]] = child.text
        elif identifier in _NUMBERS:
            name, scalar = _NUMBERS[identifier]
            found[name] = _whole(child, scalar)
    if missing := _REQUIRED - found.keys():
        msg = f"the header lacks {', '.join(sorted(missing))}"
        raise DecodeError(msg)
    return Header(**{**_DEFAULTS, **found})  # type: ignore[arg-type]


def _whole(element: Node, scalar: Scalar) -> int:
    low, high = RANGES[scalar]
    try:
        number = int(element.text)
    except ValueError:
        msg = f"header: {element.name} is no number"
        raise DecodeError(msg) from None
    if not low <= number <= high:
        msg = f"header: {element.name} is out of range"
        raise DecodeError(msg)
    return number
