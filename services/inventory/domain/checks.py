# SPDX-License-Identifier: Apache-2.0
"""Checking values given by people: every fault is collected, none stops the search for the next.

No description repeats the value it refuses. A column shifted by one puts a password where a port number should be, and
a fault that quoted it would carry the password into logs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from services.kernel.errors import FieldViolation, InvalidFields

_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:@ /+-]{0,253}[A-Za-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}([:-]?)([0-9a-f]{2}\1){4}[0-9a-f]{2}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_SCHEMES = ("http", "https", "file", "glance")


class Checks:
    """The faults found so far."""

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []

    def refuse(self, field: str, description: str) -> None:
        """Notes a fault of *field*, a path such as ``ports[2].mac_address``."""
        self.violations.append(FieldViolation(field, description))

    def raise_for(self, prefix: str) -> None:
        """Refuses with all faults found, their paths beginning with *prefix* (``server.``).

        Raises:
            InvalidFields: there was one at least.
        """
        if self.violations:
            raise InvalidFields(
                [FieldViolation(prefix + each.field, each.description) for each in self.violations],
                remedy="Correct the fields named and send the request again.",
            )

    def text(self, field: str, value: str, limit: int, *, required: bool = False, lines: bool = False) -> str:
        """*value*, if it may be stored and shown: at most *limit* characters, none of them a control character.

        Args:
            required: an empty value is a fault.
            lines: line ends and tabs are fine.
        """
        if not value:
            if required:
                self.refuse(field, "is required and missing")
            return value
        if len(value) > limit:
            self.refuse(field, f"is longer than {limit} characters")
        elif value != value.strip() and not lines:
            self.refuse(field, "begins or ends with white space")
        elif not _printable(value, lines=lines):
            self.refuse(field, "holds characters that cannot be shown")
        return value

    def word(self, field: str, value: str, limit: int = 255) -> str:
        """*value*, if it is empty or letters, digits, spaces and ``_ . : @ / + -``, a letter or digit at both ends."""
        if value and (len(value) > limit or not _WORD.fullmatch(value)):
            self.refuse(
                field, f"is not at most {limit} letters, digits and _ . : @ / + -, with a letter or digit at both ends"
            )
        return value

    def number(self, field: str, value: int, low: int, high: int) -> int:
        """*value*, if it is within *low* and *high*."""
        if not low <= value <= high:
            self.refuse(field, f"is not within {low} and {high}")
        return value

    def at_most(self, field: str, values: Iterable[object], limit: int) -> None:
        """Refuses more than *limit* values."""
        if (count := sum(1 for _ in values)) > limit:
            self.refuse(field, f"holds {count}, at most {limit} are taken")

    def pairs(self, field: str, pairs: Mapping[str, str], *, value_limit: int) -> dict[str, str]:
        """*pairs* in the order of their keys, if there are at most 64, with keys of at most 63 plain characters."""
        self.at_most(field, pairs, 64)
        for key, value in pairs.items():
            if not _KEY.fullmatch(key):
                self.refuse(
                    field,
                    "has a key that is not 1 to 63 letters, digits and _ . / -, with a letter or digit at both ends",
                )
            else:
                self.text(f"{field}.{key}", value, value_limit)
        return dict(sorted(pairs.items()))

    def mac(self, field: str, value: str) -> str:
        """The MAC address *value* in lower case with colons."""
        lower = value.lower()
        if not value:
            self.refuse(field, "is required and missing")
            return value
        if not _MAC.fullmatch(lower):
            self.refuse(
                field, "is not a MAC address: six pairs of hexadecimal digits, with colons, dashes or nothing between"
            )
            return value
        digits = lower.replace(":", "").replace("-", "")
        if int(digits[:2], 16) & 1 or digits == "0" * 12:
            self.refuse(field, "is not the address of one network card (it is zero, multicast or broadcast)")
        return ":".join(digits[at : at + 2] for at in range(0, 12, 2))

    def host(self, field: str, value: str) -> str:
        """The host *value* in its canonical form: an IPv4 or IPv6 address, or a lower-case host name."""
        if not value:
            self.refuse(field, "is required and missing")
            return value
        try:
            address = ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
        except ValueError:
            lower = value.lower()
            # What is all digits and dots was meant as an address.
            if len(lower) <= 253 and _HOST.fullmatch(lower) and not lower.replace(".", "").isdigit():
                return lower.removesuffix(".")
            self.refuse(field, "is not an IPv4 or IPv6 address or a host name")
            return value
        if address.is_unspecified or address.is_multicast:
            self.refuse(field, "is an unspecified or multicast address")
        return str(address)

    def uri(self, field: str, value: str, *, required: bool = False) -> str:
        """*value*, if it is an URI we fetch from, without a login in it."""
        self.text(field, value, 2048, required=required)
        if not value:
            return value
        try:
            parts = urlsplit(value)
            login = parts.username is not None or parts.password is not None or "@" in parts.netloc
            named = {"file": parts.path, "glance": parts.netloc or parts.path}
            whole = bool(named.get(parts.scheme, parts.hostname))
            _ = parts.port
        except ValueError:
            self.refuse(field, "is not a well-formed URI")
            return value
        if parts.scheme not in _SCHEMES:
            self.refuse(field, "does not begin with http:, https:, file: or glance:")
        elif login:
            self.refuse(field, "holds a user name or password; an URI is shown to everybody who may use the image")
        elif not whole:
            self.refuse(field, "names no host or file")
        return value

    def checksum(self, field: str, value: str, *, required: bool = False) -> str:
        """*value* in lower case, if it is ``sha256:`` or ``sha512:`` and a whole digest."""
        if not value:
            if required:
                self.refuse(field, "is required and missing")
            return value
        lower = value.lower()
        if not _CHECKSUM.fullmatch(lower):
            self.refuse(field, "is not sha256: and 64, or sha512: and 128 hexadecimal digits")
        return lower


def _printable(value: str, *, lines: bool) -> bool:
    if value.isprintable():
        return True
    # isprintable knows no line ends and no spaces but U+0020; those of other scripts are fine in a text.
    return all(
        character.isprintable() or character.isspace() for character in value if lines or character not in "\n\r\t\v\f"
    ) and not any(ord(character) < 32 and not (lines and character in "\n\r\t") for character in value)
