# SPDX-License-Identifier: Apache-2.0
"""Alarms that any generator raised, in the XML of a stored ``UVEAlarms`` attribute. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Final

import orjson

from telemetry.sandesh.decode import parse_fragment
from telemetry.sandesh.errors import DecodeError
from telemetry.sandesh.tree import Node, stored_xml

STRUCT: Final = "UVEAlarms"
ATTRIBUTE: Final = "alarms"

_INFO: Final = "UVEAlarmInfo"
_TOKEN_FIELDS: Final = frozenset({"host_ip", "http_port", "timestamp"})


@dataclass(frozen=True, slots=True)
class Token:
    """Which raising of an alarm is meant: where its generator's introspection is, and when it was raised."""

    host: str
    port: int
    since: int


class TokenError(Exception):
    """It is no token; the text is the reference's."""


@dataclass(frozen=True, slots=True)
class Raised:
    """One alarm.

    Attributes:
        since: when it was raised, microseconds since 1970.
        token: None if its generator gave none that can be read.
    """

    type: str
    since: int
    token: Token | None


def parse_token(text: str) -> Token:
    """What a token says.

    Raises:
        TokenError: it cannot be read, or says something else.
    """
    try:
        given = orjson.loads(base64.b64decode(text))
    except (binascii.Error, ValueError):
        msg = 'Failed to decode "token"'
        raise TokenError(msg) from None
    if not isinstance(given, dict) or _TOKEN_FIELDS - given.keys():
        msg = "Invalid token value"
        raise TokenError(msg)
    host, port, since = given["host_ip"], given["http_port"], given["timestamp"]
    if not isinstance(host, str) or type(port) is not int or type(since) is not int:
        msg = "Invalid token value"
        raise TokenError(msg)
    return Token(host, port, since)


def raised(xml: str) -> tuple[Raised, ...]:
    """The alarms in the attribute *xml*; those without a type or a time are left out."""
    return tuple(one for info in _infos(_tree(xml)) if (one := _raised(info)) is not None)


def with_known(xml: str, known: Container[tuple[str, int]]) -> str:
    """The attribute *xml* with ``ack`` true for those alarms whose type and time are *known*."""
    root = _tree(xml)
    if root is None or not any(_named(info) in known for info in _infos(root)):
        return xml
    return _each(root, lambda info: _acknowledged(info) if _named(info) in known else info)


def only(xml: str, *, known: bool) -> str | None:
    """The attribute *xml* with those alarms alone that are acknowledged, or are not; None if there are none."""
    root = _tree(xml)
    if root is None or not any(_is_known(info) is known for info in _infos(root)):
        return None
    return _each(root, lambda info: info if _is_known(info) is known else None)


def _tree(xml: str) -> Node | None:
    try:
        return parse_fragment(xml)
    except DecodeError:
        return None


def _each(root: Node, made: Callable[[Node], Node | None]) -> str:
    """The attribute with what *made* makes of each alarm; None leaves it out."""
    lists = []
    for part in root.children:
        children = [new for old in part.children if (new := made(old) if old.name == _INFO else old) is not None]
        lists.append(part._replace(children=tuple(children), attributes=part.attributes | {"size": str(len(children))}))
    return stored_xml(root._replace(children=tuple(lists)))


def _is_known(info: Node) -> bool:
    return _text(info, "ack") == "true"


def _infos(root: Node | None) -> Iterator[Node]:
    for part in root.children if root is not None else ():
        yield from (info for info in part.children if info.name == _INFO)


def _named(info: Node) -> tuple[str, int] | None:
    type_, since = _text(info, "type"), _text(info, "timestamp")
    return (type_, int(since)) if type_ and since.isascii() and since.isdecimal() and len(since) < 19 else None


def _raised(info: Node) -> Raised | None:
    named = _named(info)
    if named is None:
        return None
    try:
        token = parse_token(_text(info, "token"))
    except TokenError:
        token = None
    return Raised(*named, token)


def _text(info: Node, name: str) -> str:
    found = info.child(name)
    return found.text.strip() if found is not None else ""


def _acknowledged(info: Node) -> Node:
    if info.child("ack") is None:
        return info._replace(children=(*info.children, Node("ack", {"type": "bool"}, (), "true")))
    return info._replace(
        children=tuple(field._replace(text="true") if field.name == "ack" else field for field in info.children)
    )
