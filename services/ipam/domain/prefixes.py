# SPDX-License-Identifier: Apache-2.0
"""Prefixes: which of their addresses may be given to whom, without ever listing them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from itertools import pairwise

from services.ipam.domain.addresses import Address, Network, Version, address_of, parse_address
from services.kernel.errors import InvalidField
from services.kernel.names import NETWORK

DEFAULT_COOL_DOWN = timedelta(minutes=10)
MAX_COOL_DOWN = timedelta(days=30)
MAX_DNS_SERVERS = 8
MAX_POOLS = 64
NO_GATEWAY = "none"


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses of one IP version from *first* to *last*, both included, as numbers."""

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last


@dataclass(frozen=True, slots=True)
class Prefix:
    """A range of addresses of one network.

    Attributes:
        name: ``projects/{project}/prefixes/{prefix}``.
        uid: tells it from an earlier or later prefix of the same name.
        vrf: the address space; prefixes of one VRF never overlap.
        network: ``projects/{project}/networks/{network}``.
        gateway: given to nobody; None if it has none.
        pools: where free addresses are chosen, by rising address and apart; empty means every usable address.
        cool_down: how long a released address rests.
        realm: see `services.ipam.domain.holding.Realm.ref`; "" where no controller has the range.
    """

    name: str
    uid: str
    project: str
    cidr: Network
    vrf: str
    network: str
    gateway: Address | None
    pools: tuple[Range, ...]
    dns_servers: tuple[Address, ...]
    cool_down: timedelta
    create_time: datetime
    update_time: datetime
    realm: str = ""

    @property
    def version(self) -> Version:
        """4 or 6."""
        return 4 if isinstance(self.cidr, IPv4Network) else 6

    @property
    def choices(self) -> tuple[Range, ...]:
        """Where free addresses are chosen: at least one range, rising and apart. Reserved addresses may lie inside."""
        return self.pools or (usable(self.cidr),)

    def may_have(self, address: Address) -> bool:
        """Whether somebody may have *address*: it is inside, and not the network's, the broadcast or the gateway."""
        return address.version == self.version and int(address) in usable(self.cidr) and address != self.gateway

    def is_chosen_from(self, address: Address) -> bool:
        """Whether *address* is one that may be chosen for somebody who wants any."""
        return self.may_have(address) and any(int(address) in pool for pool in self.choices)


def usable(cidr: Network) -> Range:
    """The addresses that hosts may have, the gateway's included.

    IPv4 up to /30 has a network and a broadcast address. In /31 both belong to hosts (RFC 3021). IPv6 up to /126 has
    the subnet-router anycast address (RFC 4291, 2.6.1) and no broadcast; in /127 both belong to hosts (RFC 6164). A
    prefix of one address is that host's.
    """
    first, last = int(cidr.network_address), int(cidr.broadcast_address)
    if last - first <= 1:
        return Range(first, last)
    return Range(first + 1, last - 1 if cidr.version == 4 else last)


def gateway_of(cidr: Network, given: str, field: str) -> Address | None:
    """The gateway of a new prefix: the first usable address if *given* is empty, None for ``none``.

    A prefix of a single address has none unless it is given: it would have nothing left to give.

    Raises:
        InvalidField: it is not an address, or no host of *cidr* may have it.
    """
    if given == NO_GATEWAY:
        return None
    hosts = usable(cidr)
    if not given:
        return None if hosts.first == hosts.last else address_of(hosts.first, cidr.version)
    gateway = parse_address(given, field)
    if gateway.version != cidr.version or int(gateway) not in hosts:
        raise InvalidField(
            field,
            f"{gateway} is no host's address in {cidr}",
            remedy=f"Give one of {_range(hosts, cidr.version)}, or {NO_GATEWAY}.",
            given=str(gateway),
            cidr=str(cidr),
        )
    return gateway


def pools_of(cidr: Network, given: Sequence[tuple[str, str]], field: str) -> tuple[Range, ...]:
    """The pools of a new prefix, sorted; *given* are the start and the end of each.

    Raises:
        InvalidField: there are too many, one is not inside *cidr* or ends before it starts, or two overlap.
    """
    if len(given) > MAX_POOLS:
        raise InvalidField(field, f"has {len(given)} pools", remedy=f"Give at most {MAX_POOLS}.", count=str(len(given)))
    found = []
    for index, (start, end) in enumerate(given):
        at = f"{field}[{index}]"
        first, last = parse_address(start, f"{at}.start"), parse_address(end, f"{at}.end")
        for name, address in (("start", first), ("end", last)):
            if address.version != cidr.version or address not in cidr:
                raise InvalidField(
                    f"{at}.{name}",
                    f"{address} is outside {cidr}",
                    remedy=f"Give addresses of {cidr}.",
                    given=str(address),
                    cidr=str(cidr),
                )
        if int(last) < int(first):
            raise InvalidField(
                f"{at}.end", f"{last} comes before {first}", remedy="Give the lower address as start.", given=str(last)
            )
        found.append(Range(int(first), int(last)))
    found.sort(key=lambda pool: pool.first)
    for below, above in pairwise(found):
        if above.first <= below.last:
            shown = address_of(above.first, cidr.version)
            raise InvalidField(
                field, f"two pools hold {shown}", remedy="Give pools that lie apart.", address=str(shown)
            )
    return tuple(found)


def require_choice(prefix: Prefix) -> None:
    """Refuses a prefix that could never give anybody an address.

    Raises:
        InvalidField: its pools hold reserved addresses alone.
    """
    for pool in prefix.choices:
        # At most three addresses of a prefix are reserved: one of the first four can be given if any can.
        for number in range(pool.first, min(pool.last, pool.first + 3) + 1):
            if prefix.may_have(address_of(number, prefix.version)):
                return
    raise InvalidField(
        "prefix.pools" if prefix.pools else "prefix.gateway",
        f"leaves no address of {prefix.cidr} to give: network, broadcast and gateway addresses are nobody's",
        remedy=f"Give wider pools, or the gateway {NO_GATEWAY}.",
        cidr=str(prefix.cidr),
    )


def derived_vrf(network: str) -> str:
    """The address space of *network* where none is named: ``{project}.{network}``, as the network service has it."""
    return ".".join(NETWORK.parse(network, "prefix.network"))


def _range(hosts: Range, version: Version) -> str:
    return f"{address_of(hosts.first, version)} to {address_of(hosts.last, version)}"
