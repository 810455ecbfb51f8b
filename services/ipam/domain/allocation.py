# SPDX-License-Identifier: Apache-2.0
"""Which address comes next: decided from a few numbers of the prefix, never from the set of its addresses.

Addresses become rows in chunks, from the lowest upwards: the *frontier* is where the next chunk begins. A caller takes
the row that has been free for longest; one that nobody ever had counts as free for ever. While few rows exist the
frontier is moved rather than an address used again, so that small prefixes go once around before anything returns; from
`ROUND` rows on, what was released comes first, so that the table stays as large as the greatest use there ever was.
docs/decisions/0010-choosing-an-address.md has the alternatives and their figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.ipam.domain.addresses import Address, address_of
from services.ipam.domain.prefixes import Prefix, without

ROUND = 4096
"""So many addresses are made before one is used again."""

_SMALLEST_CHUNK = 32
_GREATEST_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Frontier:
    """How far the rows of a prefix have been made.

    Attributes:
        next: number of the first address not looked at yet; None when all have been.
        made: how many addresses were looked at.
    """

    next: int | None
    made: int = 0

    @property
    def may_reuse(self) -> bool:
        """Whether an address that somebody had is chosen before the frontier is moved."""
        return self.next is None or self.made >= ROUND

    @property
    def chunk_size(self) -> int:
        """How many addresses the next move makes: as many as there are, so that who needs few does not pay for many."""
        return min(max(self.made, _SMALLEST_CHUNK), _GREATEST_CHUNK)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The addresses that a move of the frontier makes, and the frontier after it."""

    addresses: tuple[Address, ...]
    frontier: Frontier


def start(prefix: Prefix) -> Frontier:
    """The frontier of a new prefix."""
    return Frontier(prefix.choices[0].first)


def reopened(before: Prefix, after: Prefix, frontier: Frontier) -> Frontier:
    """The frontier of a prefix whose choices changed: back at the lowest address that can be chosen only now.

    Rows that are there already are passed over once more.
    """
    added = without(after.choices, before.choices)
    if not added or (frontier.next is not None and frontier.next <= added[0].first):
        return frontier
    return Frontier(added[0].first, frontier.made)


def advance(prefix: Prefix, frontier: Frontier) -> Chunk:
    """Moves *frontier* over the next addresses that may be chosen; over none if it is at the end."""
    if frontier.next is None:
        return Chunk((), frontier)
    wanted = frontier.chunk_size
    found: list[Address] = []
    following: int | None = None
    at = frontier.next
    for pool in prefix.choices:
        if pool.last < at:
            continue
        number = max(at, pool.first)
        while number <= pool.last and len(found) < wanted:
            address = address_of(number, prefix.version)
            if prefix.may_have(address):
                found.append(address)
            number += 1
        if number <= pool.last:
            following = number
            break
    return Chunk(tuple(found), Frontier(following, frontier.made + len(found)))
