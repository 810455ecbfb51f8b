# SPDX-License-Identifier: Apache-2.0
"""Addresses and networks: read strictly, and as keys that sort as the numbers do."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, TypeAlias

from services.kernel.errors import InvalidField

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Version: TypeAlias = Literal[4, 6]

_CIDR = re.compile(r"[0-9A-Fa-f.:]{2,45}/[0-9]{1,3}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_GROUP_BIT = 1 << 40
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_MAPPED = IPv6Network("::ffff:0:0/96")


def key(address: Address) -> str:
    """*address* as text that sorts as the addresses do: its version, then all of its bits in hexadecimal.

    The version comes first, so that no IPv6 prefix, however wide, covers an IPv4 address.
    """
    return f"4{int(address):08x}" if isinstance(address, IPv4Address) else f"6{int(address):032x}"


def from_key(text: str) -> Address:
    """The address that `key` made *text* of."""
    number = int(text[1:], 16)
    return IPv4Address(number) if text[0] == "4" else IPv6Address(number)


def address_of(number: int, version: Version) -> Address:
    """The address with this number."""
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def parse_address(text: str, field: str) -> Address:
    """The address that *text* writes.

    Raises:
        InvalidField: it writes none. A zone (``fe80::1%eth0``) is refused: a lease belongs to a VRF, not to a link. So
            is IPv4 within IPv6 (``::ffff:10.1.0.7``): it would be a second name, and a second owner, of one address.
    """
    try:
        found = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        found = None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    if mapped is not None:
        raise InvalidField(field, f"{found} is the IPv4 address {mapped}", remedy=f"Give {mapped}.", given=text)
    if found is not None:
        return found
    raise InvalidField(
        field,
        f"{_shown(text)!r} is not an IPv4 or IPv6 address",
        remedy="Give an address such as 10.1.0.7 or 2001:db8::7.",
        given=_shown(text),
    )


def parse_network(text: str, field: str) -> Network:
    """The network that *text* writes, of any length, with its host bits zero.

    Raises:
        InvalidField: it writes none, its host bits are not zero, or no host has addresses there that a VRF could route
            (multicast, loopback, link-local, 0.0.0.0/8, IPv4 within IPv6).
    """
    try:
        found = ipaddress.ip_network(text, strict=False) if _CIDR.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None:
        raise InvalidField(
            field,
            f"{_shown(text)!r} is not a range of addresses",
            remedy="Give a network and a prefix length, such as 10.1.0.0/24 or 2001:db8::/64.",
            given=_shown(text),
        )
    if ipaddress.ip_address(text.partition("/")[0]) != found.network_address:
        raise InvalidField(field, f"{text} has host bits set", remedy=f"Give {found}.", given=text, network=str(found))
    if not _of_hosts(found):
        raise InvalidField(
            field,
            f"{found} holds no host's addresses",
            remedy="Give a unicast range that is not loopback, link-local, 0.0.0.0/8 or IPv4 within IPv6.",
            given=text,
        )
    return found


def _of_hosts(network: Network) -> bool:
    """Whether some of *network* may be a host's in a VRF: a link-local address belongs to a link."""
    special = network.subnet_of(_THIS_NETWORK) if isinstance(network, IPv4Network) else network.subnet_of(_MAPPED)
    return not (special or network.is_multicast or network.is_loopback or network.is_link_local)


def parse_host_name(text: str, field: str) -> str:
    """*text* as one DNS label (RFC 1123, 2.1) in lower case; "" stays so.

    Raises:
        InvalidField: it is none.
    """
    plain = text.lower()
    if not plain or _LABEL.fullmatch(plain):
        return plain
    raise InvalidField(
        field,
        f"{_shown(text)!r} is not a host name",
        remedy="Give one label of at most 63 letters, digits and hyphens, without its domain, such as web-1.",
        given=_shown(text),
    )


def parse_domain(text: str, field: str) -> str:
    """*text* as a DNS domain in lower case, without the dot at its end; "" stays so.

    Raises:
        InvalidField: it is none.
    """
    plain = text.lower().removesuffix(".")
    if not text or (len(plain) <= 253 and all(_LABEL.fullmatch(label) for label in plain.split("."))):
        return plain
    raise InvalidField(
        field,
        f"{_shown(text)!r} is not a DNS domain",
        remedy="Give labels with dots between, such as blue.example.org.",
        given=_shown(text),
    )


def parse_mac(text: str, field: str) -> str:
    """*text* as a MAC address in lower case with colons; "" stays so.

    Raises:
        InvalidField: it is none, or none of one network card: zero, multicast or broadcast.
    """
    plain = text.lower().replace("-", ":")
    if not plain:
        return plain
    if _MAC.fullmatch(plain):
        number = int(plain.replace(":", ""), 16)
        if number and not number & _GROUP_BIT:
            return plain
        raise InvalidField(
            field,
            f"{plain} is not the address of one network card (it is zero, multicast or broadcast)",
            remedy="Give that of the interface that will use the address.",
            given=plain,
        )
    raise InvalidField(
        field,
        f"{_shown(text)!r} is not a MAC address",
        remedy="Give six pairs such as 52:54:00:12:34:56.",
        given=_shown(text),
    )


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
