# SPDX-License-Identifier: Apache-2.0
"""One scalar value as the text between its tags.

Each function refuses what its type cannot hold. The reference writers wrap numbers that are out of
range and drop whole messages over a wrong type, both without a word.
"""

from __future__ import annotations

import ipaddress
import math
import re
import uuid
from collections.abc import Callable
from typing import Final

from telemetry.sandesh.schema import RANGES, Scalar

ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A code point that XML 1.0 does not allow, not even escaped."""


class UnencodableError(Exception):
    """A value its type cannot hold. The caller knows the field and says so."""


def escaped(text: str) -> str:
    """*text* as both reference writers escape it: ``& ' < >`` and no others, the ampersand first."""
    return text.replace("&", "&amp;").replace("'", "&apos;").replace("<", "&lt;").replace(">", "&gt;")


def string(value: object) -> str:
    """Text. Carriage returns are written raw and arrive as line feeds, as XML has it."""
    # Enumerations of strings arrive as their plain text.
    return escaped(_legal(str.__str__(value) if isinstance(value, str) else value))


def boolean(value: object) -> str:
    """``true`` or ``false``."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise UnencodableError(_not("a bool", value))


def double(value: object) -> str:
    """A finite number, in the shortest form that reads back equal."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnencodableError(_not("a number", value))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        msg = "is not finite"
        raise UnencodableError(msg)
    return repr(number)


def xml(value: object) -> str:
    """Raw XML in a CDATA section, which cannot hold its own end."""
    text = _legal(value)
    if "]]>" in text:
        msg = "holds ]]>, the end of a CDATA section"
        raise UnencodableError(msg)
    return f"<![CDATA[{text}]]>"


def address(value: object) -> str:
    """An IP address of either family."""
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return escaped(str(value))
    text = _legal(value)
    try:
        ipaddress.ip_address(text)
    except ValueError:
        msg = "is no IP address"
        raise UnencodableError(msg) from None
    return escaped(text)


def unique_id(value: object) -> str:
    """A UUID."""
    if isinstance(value, uuid.UUID):
        return str(value)
    text = _legal(value)
    try:
        uuid.UUID(text)
    except ValueError:
        msg = "is no UUID"
        raise UnencodableError(msg) from None
    return escaped(text)


def whole(scalar: Scalar) -> Callable[[object], str]:
    """The writer of whole numbers of the type *scalar*."""
    low, high = RANGES[scalar]

    def text(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnencodableError(_not("a whole number", value))
        if not low <= value <= high:
            msg = f"is not between {low} and {high}, the limits of {scalar.value}"
            raise UnencodableError(msg)
        return int.__repr__(value)

    return text


WRITERS: Final[dict[Scalar, Callable[[object], str]]] = {
    Scalar.BOOL: boolean,
    Scalar.DOUBLE: double,
    Scalar.STRING: string,
    Scalar.XML: xml,
    Scalar.IPADDR: address,
    Scalar.UUID: unique_id,
    **{scalar: whole(scalar) for scalar in RANGES},
}
"""The writer of every scalar type."""


def _legal(value: object) -> str:
    if not isinstance(value, str):
        raise UnencodableError(_not("text", value))
    if found := ILLEGAL.search(value):
        msg = f"holds U+{ord(found[0]):04X}, which XML does not allow"
        raise UnencodableError(msg)
    return value


def _not(wanted: str, value: object) -> str:
    return f"is {type(value).__name__}, not {wanted}"
