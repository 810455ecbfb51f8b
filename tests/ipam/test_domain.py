# SPDX-License-Identifier: Apache-2.0
"""The rules of prefixes and of choosing, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.ipam.domain.addresses import Address, Network, address_of, from_key, key
from services.ipam.domain.allocation import ROUND, Frontier, advance, reopened, start
from services.ipam.domain.prefixes import Prefix, Range, Tuning, gateway_of, usable, without
from services.kernel.errors import InvalidField

NOW = datetime(2026, 1, 1, tzinfo=UTC)

addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
)


@st.composite
def networks(draw: st.DrawFn, smallest: int = 0) -> Network:
    """Any network; *smallest* is how many bits its hosts have at least."""
    bits = draw(st.sampled_from([32, 128]))
    length = draw(st.integers(0, bits - smallest))
    number = draw(st.integers(0, 2**length - 1)) << (bits - length)
    return ip_network((number, length)) if bits == 128 else ip_network((IPv4Address(number), length))


def a_prefix(
    cidr: Network,
    gateway: Address | None = None,
    pools: tuple[Range, ...] = (),
    reserved: tuple[Range, ...] = (),
) -> Prefix:
    return Prefix(
        name="projects/demo/prefixes/p1",
        uid="uid",
        project="demo",
        cidr=cidr,
        vrf="demo.blue",
        network="projects/demo/networks/blue",
        gateway=gateway,
        tuning=Tuning(pools=pools, reserved=reserved, cool_down=timedelta()),
        create_time=NOW,
        update_time=NOW,
    )


@given(addresses, addresses)
def test_keys_sort_as_addresses_do(one: Address, other: Address) -> None:
    """
    Keys read back, have one length per version, and sort by version, then by number.
    """
    assert from_key(key(one)) == one
    assert (key(one) < key(other)) == ((one.version, int(one)) < (other.version, int(other)))


@pytest.mark.parametrize(
    ("cidr", "first", "last"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
        ("10.0.0.0/30", "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/31", "10.0.0.0", "10.0.0.1"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
        ("0.0.0.0/0", "0.0.0.1", "255.255.255.254"),
        ("2001:db8::/64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8::/126", "2001:db8::1", "2001:db8::3"),
        ("2001:db8::/127", "2001:db8::", "2001:db8::1"),
        ("2001:db8::7/128", "2001:db8::7", "2001:db8::7"),
        ("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_what_hosts_may_have(cidr: str, first: str, last: str) -> None:
    """
    Network and broadcast addresses are nobody's; prefixes of one or two addresses have none (RFC 3021, 6164).
    """
    found = usable(ip_network(cidr))

    assert (found.first, found.last) == (int(ip_address(first)), int(ip_address(last)))


@pytest.mark.parametrize(
    ("cidr", "given_gateway", "expected"),
    [
        ("10.0.0.0/24", "", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.254", "10.0.0.254"),
        ("10.0.0.0/24", "none", None),
        ("10.0.0.0/31", "", "10.0.0.0"),
        ("10.0.0.0/32", "", None),
        ("2001:db8::/64", "", "2001:db8::1"),
        ("2001:db8::/127", "", "2001:db8::"),
        ("2001:db8::/128", "", None),
    ],
)
def test_the_gateway_that_holds(cidr: str, given_gateway: str, expected: str | None) -> None:
    """
    The first usable address unless said otherwise; a single address has nothing to spare for one.
    """
    found = gateway_of(ip_network(cidr), given_gateway, "gateway")

    assert found == (None if expected is None else ip_address(expected))


@given(networks(smallest=2), st.integers(0, 2**128), st.integers(1, 4))
def test_what_is_made_may_be_had(cidr: Network, pick: int, moves: int) -> None:
    """
    No chunk holds the network, broadcast or gateway address, all are inside, and none is made twice. Of two addresses
    neither is the network's or the broadcast's (RFC 3021, RFC 6164).
    """
    hosts = usable(cidr)
    gateway = address_of(hosts.first + pick % (hosts.last - hosts.first + 1), cidr.version)
    prefix = a_prefix(cidr, gateway)
    frontier = start(prefix)
    made: list[Address] = []
    for _ in range(moves):
        chunk = advance(prefix, frontier)
        made += chunk.addresses
        frontier = chunk.frontier

    assert len(set(made)) == len(made) == frontier.made
    assert gateway not in made
    if cidr.num_addresses > 2:
        assert cidr.network_address not in made
        assert not (cidr.version == 4 and cidr.broadcast_address in made)
    assert all(address in cidr for address in made)
    assert made == sorted(made, key=int)


CIDR = ip_network("10.0.0.0/24")


@st.composite
def ranges(draw: st.DrawFn, smallest: int = 0) -> tuple[Range, ...]:
    """Ranges of `CIDR`, rising and apart."""
    base = int(CIDR.network_address)
    edges = draw(st.sets(st.integers(0, 255), min_size=smallest, max_size=24))
    ends = sorted(edges) + ([max(edges)] if len(edges) % 2 else [])
    return tuple(Range(base + first, base + last) for first, last in zip(ends[::2], ends[1::2], strict=True))


def to_the_end(prefix: Prefix, frontier: Frontier) -> list[Address]:
    """All that moving the frontier to its end makes."""
    made: list[Address] = []
    while frontier.next is not None:
        chunk = advance(prefix, frontier)
        made += chunk.addresses
        frontier = chunk.frontier
    assert advance(prefix, frontier).addresses == ()
    return made


@given(ranges(smallest=1), ranges(), st.integers(1, 254))
def test_the_frontier_goes_over_everything_once(
    pools: tuple[Range, ...], reserved: tuple[Range, ...], gateway: int
) -> None:
    """
    Moved to its end, the frontier made exactly the addresses of the pools that somebody may have, none of them
    reserved, and as many as the prefix says that there are.
    """
    prefix = a_prefix(CIDR, IPv4Address(int(CIDR.network_address) + gateway), pools, reserved)
    assume(prefix.choices)

    made = to_the_end(prefix, start(prefix))

    assert sorted(made, key=int) == made
    assert set(made) == {address for address in CIDR if prefix.is_chosen_from(address)}
    assert len(made) == prefix.capacity
    assert not any(int(address) in one for address in made for one in reserved)


@given(ranges(), ranges(), ranges(), ranges(), st.integers(0, 6))
def test_a_changed_prefix_makes_what_it_had_not_made(
    pools: tuple[Range, ...], reserved: tuple[Range, ...], wider: tuple[Range, ...], less: tuple[Range, ...], moves: int
) -> None:
    """
    However pools and reserved ranges change, and whenever: what was made before and is made afterwards are together all
    that may be chosen by then.
    """
    before, after = a_prefix(CIDR, None, pools, reserved), a_prefix(CIDR, None, wider, less)
    assume(before.choices and after.choices)
    made: set[Address] = set()
    frontier = start(before)
    for _ in range(moves):
        chunk = advance(before, frontier)
        made |= set(chunk.addresses)
        frontier = chunk.frontier

    made |= set(to_the_end(after, reopened(before, after, frontier)))

    assert {address for address in CIDR if after.is_chosen_from(address)} <= made


@given(ranges(), ranges())
def test_what_is_left_of_ranges(some: tuple[Range, ...], taken: tuple[Range, ...]) -> None:
    """
    The difference of ranges holds exactly the numbers that it should, in ranges that rise and lie apart.
    """

    def numbers(given_ranges: tuple[Range, ...]) -> list[int]:
        return [number for one in given_ranges for number in range(one.first, one.last + 1)]

    left = without(some, taken)

    assert numbers(left) == sorted(set(numbers(some)) - set(numbers(taken)))


@pytest.mark.parametrize(
    ("cidr", "capacity"),
    [
        ("10.0.0.0/24", 254),
        ("10.0.0.0/8", 2**24 - 2),
        ("10.0.0.0/31", 2),
        ("10.0.0.1/32", 1),
        ("2001:db8::/64", 2**64 - 1),
    ],
)
def test_how_many_there_are(cidr: str, capacity: int) -> None:
    """
    A prefix's capacity is counted, not enumerated.
    """
    assert a_prefix(ip_network(cidr)).capacity == capacity


def test_chunks_grow_with_the_prefix() -> None:
    """
    The first move of even the widest prefix makes few addresses; later ones make more, up to a bound.
    """
    prefix = a_prefix(ip_network("::/0"))
    frontier = start(prefix)
    sizes = []
    for _ in range(7):
        chunk = advance(prefix, frontier)
        sizes.append(len(chunk.addresses))
        frontier = chunk.frontier

    assert sizes == [32, 32, 64, 128, 256, 512, 512]


def test_when_an_address_is_used_again() -> None:
    """
    Not before the first round is made, or there is nothing else.
    """
    assert not Frontier(5, 0).may_reuse
    assert not Frontier(5, ROUND - 1).may_reuse
    assert Frontier(5, ROUND).may_reuse
    assert Frontier(None, 3).may_reuse


@given(networks(), addresses)
def test_a_gateway_is_a_hosts_address(cidr: Network, address: Address) -> None:
    """
    A gateway that no host of the prefix could have is refused; any other is taken.
    """
    inside = address.version == cidr.version and int(address) in usable(cidr)
    if inside:
        assert gateway_of(cidr, str(address), "gateway") == address
    else:
        with pytest.raises(InvalidField):
            gateway_of(cidr, str(address), "gateway")
