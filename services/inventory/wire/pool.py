# SPDX-License-Identifier: Apache-2.0
"""Reservations, reports, pools and explanations on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bms.inventory.v1 import pool_pb2
from services.inventory.domain.placement import Candidate, Failure
from services.inventory.domain.pools import Pool, PoolKind
from services.inventory.operations.linking import MAX_LINKS, NewLink
from services.inventory.operations.pool import MAX_COUNT, Order, Report, Reported
from services.inventory.wire.servers import disks, properties, to_pool_row
from services.kernel.errors import InvalidField
from services.kernel.names import FLAVOR, IMAGE, INSTANCE, SERVER

MAX_SERVERS = 1000

_KINDS = {
    pool_pb2.POOL_KIND_CLASS: PoolKind.CLASS,
    pool_pb2.POOL_KIND_CAPABILITY: PoolKind.CAPABILITY,
    pool_pb2.POOL_KIND_RACK: PoolKind.RACK,
    pool_pb2.POOL_KIND_FLAVOR: PoolKind.FLAVOR,
}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def order(request: pool_pb2.ReserveServersRequest) -> Order:
    """The reservation that *request* asks for.

    Raises:
        InvalidField: a name or the count is malformed.
    """
    INSTANCE.parse(request.holder, "holder")
    if not 0 <= request.count <= MAX_COUNT:
        field, description = "count", f"is not within 1 and {MAX_COUNT}"
        raise InvalidField(field, description, remedy="Ask for more servers by another instance.")
    return Order(
        holder=request.holder,
        flavor=FLAVOR.parse(request.flavor, "flavor")[0],
        image=IMAGE.parse(request.image, "image")[0] if request.image else "",
        count=request.count or 1,
        excluded=servers(request.excluded_servers, "excluded_servers"),
        among=servers(request.servers, "servers"),
    )


def servers(names: Sequence[str], field: str) -> frozenset[str]:
    """The UUIDs in *names*.

    Raises:
        InvalidField: there are too many, or one is malformed.
    """
    if len(names) > MAX_SERVERS:
        raise InvalidField(field, f"holds {len(names)}, at most {MAX_SERVERS} are taken")
    return frozenset(SERVER.parse(name, f"{field}[{at}]")[0] for at, name in enumerate(names))


def report(request: pool_pb2.ReportServerRequest) -> Report:
    """What *request* reports.

    Raises:
        InvalidField: the server's name is malformed.
    """
    found = request.HasField("properties")
    return Report(
        uuid=SERVER.parse(request.server, "server")[0],
        state_version=request.state_version,
        available=request.available,
        reason=request.unavailable_reason,
        held_by=request.held_by,
        properties=properties(request.properties) if found else None,
        disks=disks(request.disks) if found else (),
        closed=request.closed,
    )


def links(request: pool_pb2.RelinkServerRequest) -> list[NewLink]:
    """The links that *request* asks for.

    Raises:
        InvalidField: there are none or too many, one is incomplete, or two are of one port or one switch port.
    """
    if not 0 < len(request.links) <= MAX_LINKS:
        raise InvalidField("links", f"does not hold 1 to {MAX_LINKS} links")
    found: list[NewLink] = []
    for at, given in enumerate(request.links):
        for field, text in (("switch_name", given.switch_name), ("switch_port", given.switch_port)):
            if not text:
                raise InvalidField(f"links[{at}].{field}", "is missing: a link needs the switch and its port")
        if given.port in {link.port for link in found}:
            raise InvalidField(f"links[{at}].port", "is named twice")
        if (given.switch_name, given.switch_port) in {(link.switch_name, link.switch_port) for link in found}:
            raise InvalidField(f"links[{at}].switch_port", "is named twice")
        found.append(NewLink(given.port, given.switch_name, given.switch_port, given.switch_id))
    return found


def to_report(reported: Reported) -> pool_pb2.ReportServerResponse:
    """What inventory holds after a report."""
    response = pool_pb2.ReportServerResponse(applied=reported.applied)
    if reported.pool is not None:
        response.pool.CopyFrom(to_pool_row(reported.pool))
    return response


def kind(number: pool_pb2.PoolKind.ValueType) -> PoolKind | None:
    """The kind of pool; None for all."""
    return _KINDS.get(number)


def to_pools(found: Iterable[Pool], *, names: bool) -> Iterable[pool_pb2.Pool]:
    """*found*, with the names of servers or, for tenants, without."""
    for pool in found:
        yield pool_pb2.Pool(
            name=pool.name,
            kind=_KIND_NUMBERS[pool.kind],
            value=pool.value,
            total_count=pool.total,
            available_count=pool.available,
            reserved_count=pool.reserved,
            unavailable=[
                pool_pb2.UnavailableCount(reason=each.reason, count=each.count, servers=each.servers if names else ())
                for each in pool.unavailable
            ],
        )


def to_candidate(server: Candidate, failures: Sequence[Failure]) -> pool_pb2.Candidate:
    """One server and what speaks against it."""
    return pool_pb2.Candidate(
        server=server.name,
        display_name=server.display_name,
        eligible=not failures,
        failures=[
            pool_pb2.ConstraintFailure(constraint=each.constraint, wanted=each.wanted, found=each.found)
            for each in failures
        ],
    )
