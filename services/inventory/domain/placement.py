# SPDX-License-Identifier: Apache-2.0
"""Which servers would do for a flavor and an image, and what speaks against the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from services.inventory.domain.flavor import FlavorSpec
from services.inventory.domain.image import ImageSpec
from services.kernel.errors import Exhausted


@dataclass(frozen=True, slots=True)
class Candidate:
    """What placement looks at in a server: a small part of its row. Zero and empty mean unknown.

    Attributes:
        node_type: Contrail's word.
        available: it may be reserved now; see PoolRow.
        ready: lifecycle said that it may be reserved.
        reason: why it may not be reserved.
        reserved_by: the instance, or the operation that deletes it.
        held: the instance was seen holding it.
    """

    uuid: str
    display_name: str
    node_type: str = "baremetal"
    unmanaged: bool = False
    resource_class: str = ""
    manufacturer: str = ""
    cpu_arch: str = ""
    cpus: int = 0
    memory_mb: int = 0
    local_gb: int = 0
    disks: int = 0
    rack: str = ""
    capabilities: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    available: bool = False
    ready: bool = False
    reason: str = ""
    reserved_by: str = ""
    held: bool = False
    deleting: bool = False

    @property
    def name(self) -> str:
        """The resource name."""
        return f"servers/{self.uuid}"

    @property
    def can_be_provided(self) -> bool:
        """See `services.inventory.domain.server.ServerSpec`."""
        return self.node_type == "baremetal" and not self.unmanaged

    @property
    def in_use(self) -> bool:
        """Whether an instance has it, or is about to: reserved and not on its way back to the pool."""
        return bool(self.reserved_by) and not self.deleting and (self.ready or self.held)

    @property
    def why_not(self) -> str:
        """Why nobody may reserve it, as one UPPER_SNAKE word; empty if somebody may."""
        if self.deleting:
            return "DELETING"
        if self.unmanaged:
            return "UNMANAGED"
        if not self.can_be_provided:
            return "NOT_BAREMETAL"
        return "" if self.available else self.reason or "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; no image accepts any server that the flavor does."""

    flavor: FlavorSpec
    image: ImageSpec | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One constraint that a server fails; ``found`` is empty if what it has is unknown."""

    constraint: str
    wanted: str
    found: str


def misfits(wish: Wish, server: Candidate) -> Iterator[Failure]:
    """Every constraint of *wish* that *server* fails by what it is, whoever has it."""
    flavor, image = wish.flavor, wish.image
    yield from _same("resource_class", flavor.resource_class, server.resource_class)
    if flavor.manufacturer and flavor.manufacturer.casefold() != server.manufacturer.casefold():
        yield Failure("manufacturer", flavor.manufacturer, server.manufacturer)
    yield from _same("cpu_arch", flavor.cpu_arch, server.cpu_arch)
    yield from _at_least("min_cpus", flavor.min_cpus, server.cpus)
    yield from _at_least("min_memory_mb", flavor.min_memory_mb, server.memory_mb)
    yield from _at_least("min_local_gb", flavor.min_local_gb, server.local_gb)
    yield from _at_least("min_disks", flavor.min_disks, server.disks)
    for key, wanted in flavor.capabilities.items():
        yield from _pair("capabilities", key, wanted, server.capabilities)
    for key, wanted in flavor.labels.items():
        yield from _pair("labels", key, wanted, server.labels)
    if image is not None:
        yield from _same("image.cpu_arch", image.cpu_arch, server.cpu_arch)
        yield from _at_least("image.min_local_gb", image.min_local_gb, server.local_gb)


def hindrances(server: Candidate) -> Iterator[Failure]:
    """Why *server* cannot be reserved now, whatever is asked for."""
    yield from _same("node_type", "baremetal", server.node_type)
    if server.unmanaged:
        yield Failure("unmanaged", "false", "true")
    if server.deleting:
        yield Failure("deleting", "false", "true")
    elif server.reserved_by:
        yield Failure("reserved", "nobody", server.reserved_by)
    if not server.ready and not server.deleting:
        yield Failure("available", "true", server.reason)


def failures(wish: Wish, server: Candidate) -> list[Failure]:
    """Everything that speaks against *server* now; nothing if it would do."""
    return [*misfits(wish, server), *hindrances(server)]


def fits(wish: Wish, server: Candidate) -> bool:
    """Whether *server* satisfies *wish* by what it is."""
    return next(misfits(wish, server), None) is None


def refusal(wish: Wish, count: int, servers: Iterable[Candidate], barred: frozenset[str] = frozenset()) -> Exhausted:
    """Why *count* servers cannot be had: for each server that would not do, its first reason, counted.

    Nobody's name is in it, since it reaches tenants.

    Args:
        barred: UUIDs of servers that the request itself excludes.
    """
    reasons: Counter[str] = Counter()
    eligible = total = 0
    for server in servers:
        total += 1
        misfit = next(misfits(wish, server), None)
        if misfit is not None:
            reasons[misfit.constraint] += 1
        elif server.in_use:
            reasons["RESERVED"] += 1
        elif server.why_not:
            reasons[server.why_not] += 1
        elif server.uuid in barred:
            reasons["EXCLUDED"] += 1
        else:
            eligible += 1
    told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(8))
    return Exhausted(
        f"{count} asked for, {eligible} of {total} servers would do now" + (f"; of the others: {told}" if told else ""),
        remedy="Wait until servers return to the pool, or ask for another flavor; "
        "an administrator sees each server's reason with ExplainPlacement (`bms explain`).",
        wanted=str(count),
        eligible=str(eligible),
        total=str(total),
        reasons=told,
    )


def _same(constraint: str, wanted: str, found: str) -> Iterator[Failure]:
    if wanted and wanted != found:
        yield Failure(constraint, wanted, found)


def _at_least(constraint: str, wanted: int, found: int) -> Iterator[Failure]:
    if found < wanted:
        yield Failure(constraint, str(wanted), str(found) if found else "")


def _pair(kind: str, key: str, wanted: str, found: Mapping[str, str]) -> Iterator[Failure]:
    if key not in found or found[key] != wanted:
        yield Failure(f"{kind}.{key}", wanted, found.get(key, ""))
