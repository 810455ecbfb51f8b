# SPDX-License-Identifier: Apache-2.0
"""Who may take a server: reservations, lifecycle's reports, pools and explanations."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from services.inventory.domain import server as domain
from services.inventory.domain.checks import Checks
from services.inventory.domain.placement import Candidate, Failure, Wish, failures, refusal
from services.inventory.domain.pools import Pool, PoolKind, pools
from services.inventory.domain.server import Disk, PoolRow, Properties, Server
from services.inventory.operations import catalogue
from services.inventory.operations.events import event, values
from services.inventory.operations.ports import Catalogue, Servers
from services.inventory.operations.ports import Pool as PoolPort
from services.kernel.calls import Call
from services.kernel.errors import Exhausted, InvalidField, WrongState
from services.kernel.names import INSTANCE

MAX_COUNT = 100
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Order:
    """A reservation asked for.

    Attributes:
        holder: the instance.
        flavor, image: their ids; image "" for none.
        excluded: UUIDs not to take.
        among: if not empty, only these UUIDs are taken.
    """

    holder: str
    flavor: str
    image: str = ""
    count: int = 1
    excluded: frozenset[str] = frozenset()
    among: frozenset[str] = frozenset()

    @property
    def project(self) -> str:
        """The project of the holder."""
        return INSTANCE.parse(self.holder, "holder")[0]


@dataclass(frozen=True, slots=True)
class Report:
    """What lifecycle says about a server; ``properties`` None keeps what is stored."""

    uuid: str
    state_version: int
    available: bool = False
    reason: str = ""
    held_by: str = ""
    properties: Properties | None = None
    disks: tuple[Disk, ...] = ()
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of a report; ``pool`` is None if the server is gone, ``operation`` the deletion that it ended."""

    pool: PoolRow | None
    applied: bool
    operation: str = ""


def wish(rows: Catalogue, order: Order) -> Wish:
    """The constraints of an order.

    Raises:
        NotFound: the flavor does not exist, or the image does not for the holder's project.
        WrongState: one of them was made in OpenStack, and is gone there or not usable.
    """
    flavor = catalogue.flavor_for(rows, order.flavor)
    image = catalogue.image_for(rows, order.image, order.project) if order.image else None
    return Wish(flavor.spec, image.spec if image else None)


def reserve(servers: Servers, pool: PoolPort, wanted: Wish, call: Call, order: Order) -> list[Server]:
    """Takes as many servers as were ordered, or none. The same holder gets the same servers again.

    Raises:
        Exhausted: there are not enough; `why_refused` says why.
    """
    pool.lock_holder(order.holder)
    kept: list[Server] = []
    for held in pool.reserved_by(order.holder):
        if held.uuid not in order.excluded:
            kept.append(held)
        elif not held.pool.held:
            # Lifecycle refused it a moment ago: it goes back, and another is taken instead.
            _give_back(servers, call, held)
    kept = kept[: order.count]
    missing = order.count - len(kept)
    if not missing:
        return kept
    taken = _take(pool, wanted, order, missing)
    if len(taken) < missing:
        msg = f"{order.count} servers were asked for, {len(kept) + len(taken)} would do"
        raise Exhausted(msg, wanted=str(order.count))
    for server in taken:
        row = replace(server.pool, reserved_by=order.holder, held=False, update_time=call.now)
        told = event(call, server.name, "server.reserved", instance=order.holder, project=order.project)
        after = replace(server, pool=row, sequence=servers.record(told, server.sequence))
        servers.save_pool(server, after)
        kept.append(after)
    return kept


def why_refused(pool: PoolPort, wanted: Wish, order: Order) -> Exhausted:
    """The refusal of an order, with the most frequent reasons."""
    barred = order.excluded
    if order.among:
        barred |= {each.uuid for each in pool.everything() if each.uuid not in order.among}
    return refusal(wanted, order.count, pool.everything(), barred)


def release(servers: Servers, pool: PoolPort, call: Call, holder: str, uuids: frozenset[str]) -> None:
    """Gives back what *holder* reserved and lifecycle never began to use; what it uses stays.

    Args:
        uuids: only these servers; empty for all.
    """
    pool.lock_holder(holder)
    for server in pool.reserved_by(holder):
        if not server.pool.held and (not uuids or server.uuid in uuids):
            _give_back(servers, call, server)


def report(rows: Servers, call: Call, said: Report) -> Reported:
    """Applies lifecycle's report, if it is newer than the last.

    Raises:
        InvalidFields: it contradicts itself.
        WrongState: it closes a server that nobody deletes.
    """
    inspected, disks = _checked(said)
    server = rows.get_for_change(said.uuid)
    if server is None:
        return Reported(None, applied=False)
    if said.state_version <= server.pool.state_version:
        return Reported(server.pool, applied=False)
    if said.closed:
        return _closed(rows, call, server)
    if inspected is not None and (inspected, disks) != (server.inspected, server.disks):
        after = replace(server, inspected=inspected, disks=disks, update_time=call.now)
        facts = values(server.properties, after.properties, "properties.")
        if disks != server.disks:
            facts["disks"] = ", ".join(disk.serial for disk in disks)[:200]
        told = event(call, server.name, "server.updated", reason="INSPECTED", facts=facts)
        after = replace(after, sequence=rows.record(told, server.sequence))
        rows.save(server, after)
        server = after
    row = _after(server, said)
    if row == replace(server.pool, state_version=said.state_version):
        rows.note_version(server.uuid, said.state_version)
        return Reported(row, applied=True)
    row = replace(row, update_time=call.now)
    facts = {
        "available": "true" if row.available else "false",
        "unavailable_reason": row.unavailable_reason,
        "reserved_by": row.reserved_by,
        "state_version": str(row.state_version),
    }
    held = row.reserved_by if row.reserved_by.startswith("projects/") else ""
    told = event(
        call,
        server.name,
        "server.pool_changed",
        facts=facts,
        instance=held,
        project=_project(held),
        reason=row.unavailable_reason,
    )
    rows.save_pool(server, replace(server, pool=row, sequence=rows.record(told, server.sequence)))
    return Reported(row, applied=True)


def list_pools(rows: Catalogue, pool: PoolPort, kind: PoolKind | None) -> list[Pool]:
    """All pools of *kind*, by kind and value."""
    flavors = {name: flavor.spec for name, flavor in rows.flavors().items()}
    return pools(pool.everything(), flavors, kind)


def explain(rows: Catalogue, pool: PoolPort, flavor: str, image: str) -> list[tuple[Candidate, list[Failure]]]:
    """Every server with what speaks against it: those that would do first, then by name.

    Raises:
        NotFound: there is no such flavor or image.
    """
    wanted = Wish(catalogue.get_flavor(rows, flavor).spec, catalogue.get_image(rows, image).spec if image else None)
    found = [(server, failures(wanted, server)) for server in pool.everything()]
    return sorted(found, key=lambda each: (bool(each[1]), each[0].display_name))


def _take(pool: PoolPort, wanted: Wish, order: Order, missing: int) -> list[Server]:
    """Up to *missing* available servers that satisfy the order.

    Each holder starts looking at another place of the fleet, so that those who ask at the same moment seldom want the
    same server; and servers that somebody is just taking are passed over, and waited for only if no others are left.
    """
    # The first 32 digits of a digest make a place among UUIDs, the same for the same holder.
    digits = hashlib.sha256(order.holder.encode()).hexdigest()
    start = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
    taken: list[Server] = []
    passed: list[str] = []
    for portion in pool.available(wanted.flavor.resource_class, start):
        fitting = [
            each.uuid
            for each in portion
            if each.uuid not in order.excluded
            and (not order.among or each.uuid in order.among)
            and not failures(wanted, each)
        ]
        taken += pool.take(fitting, missing - len(taken), wait=False)
        if len(taken) == missing:
            return taken
        passed += fitting
    got = {each.uuid for each in taken}
    return taken + pool.take([uuid for uuid in passed if uuid not in got], missing - len(taken), wait=True)


def _give_back(rows: Servers, call: Call, server: Server) -> None:
    holder = server.pool.reserved_by
    row = replace(server.pool, reserved_by="", update_time=call.now)
    told = event(call, server.name, "server.released", instance=holder, project=_project(holder))
    rows.save_pool(server, replace(server, pool=row, sequence=rows.record(told, server.sequence)))


def _after(server: Server, said: Report) -> PoolRow:
    """The pool row after a report."""
    row = replace(server.pool, state_version=said.state_version)
    if server.delete_time is not None:
        return row  # reserved for the deletion, whatever else is said
    if said.available:
        return replace(row, ready=True, reason="", reserved_by="", held=False)
    return replace(
        row,
        ready=False,
        reason=said.reason or "UNAVAILABLE",
        reserved_by=said.held_by or row.reserved_by,
        held=bool(said.held_by),
    )


def _closed(rows: Servers, call: Call, server: Server) -> Reported:
    if server.delete_time is None:
        msg = f"{server.name} is not being deleted"
        raise WrongState(msg, remedy="Ask for its deletion with DeleteServer first.", subject=server.name)
    operation = server.pool.reserved_by
    facts = {"display_name": server.spec.display_name}
    rows.record(event(call, server.name, "server.deleted", operation=operation, facts=facts), server.sequence)
    rows.remove(server)
    return Reported(None, applied=True, operation=operation)


def _checked(said: Report) -> tuple[Properties | None, tuple[Disk, ...]]:
    if said.state_version <= 0:
        field, description = "state_version", "is not a number from 1 on"
        raise InvalidField(field, description)
    if said.held_by:
        INSTANCE.parse(said.held_by, "held_by")
        if said.available:
            field, description = "held_by", "names an instance of a server that is said to be available"
            raise InvalidField(field, description)
    if said.reason and not _REASON.fullmatch(said.reason):
        field, description = "unavailable_reason", "is not an UPPER_SNAKE word"
        raise InvalidField(field, description)
    if said.properties is None:
        return None, ()
    checks = Checks()
    properties = domain.checked_properties(said.properties, checks)
    disks = domain.checked_disks(said.disks, checks)
    checks.raise_for("")
    return properties, disks


def _project(instance: str) -> str:
    return instance.split("/")[1] if instance.startswith("projects/") else ""
