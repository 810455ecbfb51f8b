# SPDX-License-Identifier: Apache-2.0
"""Pools: servers that have something in common, counted. They follow from the servers; nobody makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from services.inventory.domain.flavor import FlavorSpec
from services.inventory.domain.placement import Candidate, Wish, fits

SAMPLES = 10


class PoolKind(StrEnum):
    """What the servers of a pool have in common."""

    CLASS = "class"
    CAPABILITY = "capability"
    RACK = "rack"
    FLAVOR = "flavor"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """How many servers of a pool are unavailable for one reason, and up to ten of them."""

    reason: str
    count: int
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool; every server of it is available, reserved or counted under a reason."""

    kind: PoolKind
    value: str
    total: int
    available: int
    reserved: int
    unavailable: tuple[Unavailable, ...]

    @property
    def name(self) -> str:
        """The resource name; what no resource name may hold is percent-encoded."""
        return f"pools/{self.kind}.{quote(self.value, safe='=:@+,')}"


@dataclass(slots=True)
class _Tally:
    total: int = 0
    available: int = 0
    reserved: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def count(self, server: Candidate) -> None:
        self.total += 1
        if server.in_use:
            self.reserved += 1
        elif reason := server.why_not:
            self.reasons.setdefault(reason, []).append(server.name)
        else:
            self.available += 1


def pools(servers: Iterable[Candidate], flavors: Mapping[str, FlavorSpec], kind: PoolKind | None) -> list[Pool]:
    """All pools of *kind* (None: of every kind), by kind and value. A flavor's pool is there even if it is empty."""
    tallies: dict[tuple[PoolKind, str], _Tally] = {}
    wishes = {name: Wish(spec) for name, spec in flavors.items()} if kind in {None, PoolKind.FLAVOR} else {}
    for name in wishes:
        tallies[PoolKind.FLAVOR, name] = _Tally()
    for server in servers:
        for key in _memberships(server, kind):
            tallies.setdefault(key, _Tally()).count(server)
        for name, wish in wishes.items():
            if fits(wish, server):
                tallies[PoolKind.FLAVOR, name].count(server)
    order = list(PoolKind)
    return [
        Pool(
            kind=key[0],
            value=key[1],
            total=tally.total,
            available=tally.available,
            reserved=tally.reserved,
            unavailable=_reasons(tally),
        )
        for key, tally in sorted(tallies.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    ]


def _memberships(server: Candidate, kind: PoolKind | None) -> Iterator[tuple[PoolKind, str]]:
    if server.resource_class and kind in {None, PoolKind.CLASS}:
        yield PoolKind.CLASS, server.resource_class
    if kind in {None, PoolKind.CAPABILITY}:
        for key, value in server.capabilities.items():
            yield PoolKind.CAPABILITY, f"{key}={value}"
    if server.rack and kind in {None, PoolKind.RACK}:
        yield PoolKind.RACK, server.rack


def _reasons(tally: _Tally) -> tuple[Unavailable, ...]:
    return tuple(
        Unavailable(reason, len(names), tuple(sorted(names)[:SAMPLES]))
        for reason, names in sorted(tally.reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    )
