# SPDX-License-Identifier: Apache-2.0
"""Prefixes: which of their addresses may be given to whom, without ever listing them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network
from itertools import pairwise

from services.ipam.domain.addresses import Address, Network, Version, address_of, parse_address
from services.kernel.errors import InvalidField
from services.kernel.names import NETWORK

DEFAULT_COOL_DOWN = timedelta(minutes=10)
MAX_COOL_DOWN = timedelta(days=30)
MAX_STICKY = timedelta(days=30)
"""Not longer than a freed lease is remembered."""
MAX_DNS_SERVERS = 8
MAX_POOLS = 64
"""As many ranges of a kind."""
NO_GATEWAY = "none"


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses of one IP version from *first* to *last*, both included, as numbers."""

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last


@dataclass(frozen=True, slots=True)
class Tuning:
    """What of a prefix may be changed while it is used; see `Prefix`."""

    pools: tuple[Range, ...] = ()
    reserved: tuple[Range, ...] = ()
    dns_servers: tuple[Address, ...] = ()
    cool_down: timedelta = DEFAULT_COOL_DOWN
    shared: bool = False
    sticky: timedelta = timedelta()
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A range of addresses of one network.

    Attributes:
        name: ``projects/{project}/prefixes/{prefix}``.
        uid: tells it from an earlier or later prefix of the same name.
        vrf: the address space; prefixes of one VRF never overlap.
        network: ``projects/{project}/networks/{network}``.
        gateway: given to nobody; None if it has none.
        tuning: its pools, where free addresses are chosen, by rising address and apart, empty for every usable address;
            its reserved ranges, of which nobody is given any, likewise; how long a released address rests, and how long
            it is kept for its last owner after that; whether other projects' virtual machines may have addresses; and
            the domain of host names.
        realm: see `services.ipam.domain.holding.Realm.ref`; "" where no controller has the range.
        container: whether it is divided into other prefixes; it then gives no addresses and has no network.
        parent, parent_uid: the container that it is a part of; "" for none.
        depth: how many containers it lies in. Prefixes of one VRF and depth never overlap.
    """

    name: str
    uid: str
    project: str
    cidr: Network
    vrf: str
    network: str
    gateway: Address | None
    tuning: Tuning
    create_time: datetime
    update_time: datetime
    realm: str = ""
    container: bool = False
    parent: str = ""
    parent_uid: str = ""
    depth: int = 0

    @property
    def version(self) -> Version:
        """4 or 6."""
        return 4 if isinstance(self.cidr, IPv4Network) else 6

    @property
    def pools(self) -> tuple[Range, ...]:
        """Where free addresses are chosen; empty for every usable address."""
        return self.tuning.pools

    @property
    def dns_servers(self) -> tuple[Address, ...]:
        """Name servers for its users."""
        return self.tuning.dns_servers

    @property
    def choices(self) -> tuple[Range, ...]:
        """Where free addresses are chosen: ranges rising and apart, at least one if `require_choice` passed.

        Network, broadcast and gateway addresses may lie inside; no reserved range does.
        """
        return without(self.tuning.pools or (usable(self.cidr),), self.tuning.reserved)

    @property
    def capacity(self) -> int:
        """How many addresses can be chosen in all; of a container, how many there are."""
        if self.container:
            return self.cidr.num_addresses
        choices = self.choices
        hosts = usable(self.cidr)
        ends = (int(self.cidr.network_address), int(self.cidr.broadcast_address))
        nobodys = {end for end in ends if end not in hosts}
        if self.gateway is not None:
            nobodys.add(int(self.gateway))
        inside = sum(1 for number in nobodys if any(number in pool for pool in choices))
        return sum(pool.last - pool.first + 1 for pool in choices) - inside

    def is_reserved(self, address: Address) -> bool:
        """Whether *address* lies in a reserved range."""
        return any(int(address) in reserved for reserved in self.tuning.reserved)

    def may_have(self, address: Address) -> bool:
        """Whether somebody may have *address*: not reserved, and not the network's, the broadcast or the gateway."""
        inside = address.version == self.version and int(address) in usable(self.cidr)
        return inside and address != self.gateway and not self.is_reserved(address)

    def is_chosen_from(self, address: Address) -> bool:
        """Whether *address* is one that may be chosen for somebody who wants any."""
        return self.may_have(address) and any(int(address) in pool for pool in self.choices)


def without(ranges: Sequence[Range], taken: Sequence[Range]) -> tuple[Range, ...]:
    """What of *ranges* is not in *taken*; both rising and apart, and so is the answer."""
    return tuple(piece for one in ranges for piece in _pieces(one, taken))


def _pieces(one: Range, taken: Sequence[Range]) -> Iterator[Range]:
    at = one.first
    for hole in taken:
        if hole.last < at or hole.first > one.last:
            continue
        if hole.first > at:
            yield Range(at, hole.first - 1)
        at = hole.last + 1
    if at <= one.last:
        yield Range(at, one.last)


def tuned(prefix: Prefix, tuning: Tuning, now: datetime) -> Prefix:
    """*prefix* as changed at *now*: its update_time differs from the one before, whatever the clock says.

    Raises:
        InvalidField: it would have no address to give.
    """
    changed = replace(prefix, tuning=tuning, update_time=max(now, prefix.update_time + timedelta(microseconds=1)))
    require_choice(changed)
    return changed


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


def ranges_of(cidr: Network, given: Sequence[tuple[str, str]], field: str) -> tuple[Range, ...]:
    """The pools or reserved ranges of a prefix, sorted; *given* are the start and the end of each.

    Raises:
        InvalidField: there are too many, one is not inside *cidr* or ends before it starts, or two overlap.
    """
    if len(given) > MAX_POOLS:
        raise InvalidField(
            field, f"has {len(given)} ranges", remedy=f"Give at most {MAX_POOLS}.", count=str(len(given))
        )
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
                field, f"two ranges hold {shown}", remedy="Give ranges that lie apart.", address=str(shown)
            )
    return tuple(found)


def require_choice(prefix: Prefix) -> None:
    """Refuses a prefix that could never give anybody an address.

    Raises:
        InvalidField: its pools hold addresses alone that nobody may have.
    """
    if prefix.container:
        return
    for pool in prefix.choices:
        # Beside what is reserved, at most three addresses are nobody's: one of the first four can be given if any can.
        for number in range(pool.first, min(pool.last, pool.first + 3) + 1):
            if prefix.may_have(address_of(number, prefix.version)):
                return
    raise InvalidField(
        _narrowing(prefix.tuning),
        f"leaves no address of {prefix.cidr} to give: network, broadcast, gateway and reserved addresses are nobody's",
        remedy=f"Give wider pools, reserve less, or give the gateway {NO_GATEWAY}.",
        cidr=str(prefix.cidr),
    )


def _narrowing(tuning: Tuning) -> str:
    """The field that leaves too few addresses."""
    if tuning.reserved:
        return "prefix.reserved"
    return "prefix.pools" if tuning.pools else "prefix.gateway"


def derived_vrf(network: str) -> str:
    """The address space of *network* where none is named: ``{project}.{network}``, as the network service has it."""
    return ".".join(NETWORK.parse(network, "prefix.network"))


def _range(hosts: Range, version: Version) -> str:
    return f"{address_of(hosts.first, version)} to {address_of(hosts.last, version)}"
